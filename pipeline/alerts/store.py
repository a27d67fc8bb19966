"""What the sentinel keeps in ClickHouse, so that a restart forgets nothing: alerts, notices, baselines, the lease.

Tables of migration `alerts`. Used by `pipeline.alerts.sentinel` and by `vocstream alerts`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import numpy as np
from clickhouse_connect.driver.client import Client

from pipeline.alerts.detector import Detector
from pipeline.alerts.evidence import quoted
from pipeline.alerts.rows import Key, Rows
from pipeline.alerts.series import moment
from schemas.alerts import Alert, Measure, Status
from schemas.rows import to_ms

Notices = set[tuple[str, str, str]]
"""(alert, event, receiver)."""
_ALERT_COLUMNS = (
    "tenant", "alert_id", "revision", "status", "kind", "dimension", "value", "measure", "summary", "share", "usual",
    "n", "started_at", "fired_at", "resolved_at", "updated_at", "alert",
)  # fmt: skip


_HOLDER = "SELECT holder FROM feedback.sentinel_lease WHERE until > now64(6) ORDER BY claimed_at, holder LIMIT 1"


class LeaseLost(Exception):
    """Another sentinel is active: what this one has found is not its to tell."""


class AlertStore:
    """Reads and writes over one client. With a `holder`, alerts are written only while that holder has the lease."""

    def __init__(self, client: Client, holder: str = "") -> None:
        self.client = client
        self._lease_holder = holder

    def save(self, alert: Alert) -> None:
        """Write one revision; durable when this returns. Raises LeaseLost.

        The store itself looks at the lease in the statement that writes, so a sentinel that was stopped in the middle
        of a tick and wakes up when another is active writes nothing.
        """
        holder = self._lease_holder
        held = f" WHERE ({_HOLDER}) = {quoted(holder)}" if holder else ""
        values = ", ".join(_literal(value) for value in _columns_of(alert))
        self.client.command(f"INSERT INTO feedback.alerts ({', '.join(_ALERT_COLUMNS)}) SELECT {values}{held}")
        if holder and self._first_claim() != holder:
            raise LeaseLost(holder)

    def newest(self, alert: Alert) -> Alert:
        """The same alert as it stands in the store: people acknowledge and snooze there."""
        found = self.alerts("tenant = {tenant:String} AND alert_id = {alert_id:String}", tenant=alert.series.tenant,
                            alert_id=alert.alert_id)  # fmt: skip
        return found[0] if found else alert

    def alerts(self, where: str = "1", limit: int = 1000, **parameters: Any) -> list[Alert]:
        """Alerts at their newest revision, the latest first. `where` is SQL over the columns of feedback.alerts."""
        rows = self.client.query(
            f"SELECT alert FROM feedback.alerts FINAL WHERE {where} ORDER BY fired_at DESC LIMIT {int(limit)}",
            parameters=parameters,
        ).result_rows
        return [Alert.model_validate_json(row[0]) for row in rows]

    def open(self) -> list[Alert]:
        """Alerts that are not resolved."""
        return self.alerts(f"status != '{Status.RESOLVED}'", limit=100_000)

    def notices(self) -> tuple[Notices, Notices]:
        """The notices that are done with (sent, or given up), and those that were begun and perhaps sent."""
        rows = self.client.query(
            "SELECT alert_id, event, receiver, status = 'begun' FROM feedback.alert_notices FINAL"
        ).result_rows
        done, begun = (
            {(str(alert), str(event), str(receiver)) for alert, event, receiver, unsure in rows if unsure == which}
            for which in (0, 1)
        )
        return done, begun

    def note(
        self, alert: Alert, event: str, receiver: str, *, status: str, attempts: int, error: str, at: datetime
    ) -> None:
        """Remember that a notice is begun, was sent, or was given up (then with the alert, to send it by hand)."""
        kept = alert.model_dump_json() if status == "dead" else ""
        row = [alert.alert_id, event, receiver, status, attempts, error[:1000], kept, at]
        names = ["alert_id", "event", "receiver", "status", "attempts", "error", "notice", "at"]
        self.client.insert("feedback.alert_notices", [row], column_names=names)

    def languages(self) -> dict[str, str]:
        """The language of each tenant's reports, where it has set one."""
        rows = self.client.query("SELECT tenant, language FROM feedback.tenants FINAL WHERE language != ''").result_rows
        return {str(tenant): str(language) for tenant, language in rows}

    def first_answer(self) -> datetime | None:
        """When the first response occurred; None where there is none."""
        ((count, first),) = self.client.query("SELECT count(), min(occurred_at) FROM feedback.responses").result_rows
        return first if count else None

    def save_rows(self, rows: Rows, learnt_until: float, now: datetime) -> None:
        """Keep every baseline, learnt up to that time, in one insert: all of them or none."""
        if not rows.keys:
            return
        baseline, state = rows.detector.baseline, pack(rows.detector)
        size, until = len(rows.keys), moment(learnt_until)
        self.client.insert(
            "feedback.sentinel_rows",
            [
                [key.tenant for key in rows.keys],
                [key.dimension for key in rows.keys],
                [key.value for key in rows.keys],
                [key.measure.value for key in rows.keys],
                [until] * size,
                baseline.slot_k.tolist(),
                baseline.slot_n.tolist(),
                baseline.slot_hours.tolist(),
                state.tolist(),
                [now] * size,
            ],
            column_names=[
                "tenant",
                "dimension",
                "value",
                "measure",
                "learnt_until",
                "slot_k",
                "slot_n",
                "slot_hours",
                "state",
                "saved_at",
            ],
            column_oriented=True,
        )

    def load_rows(self, rows: Rows) -> float | None:
        """Add every kept row to `rows`; the time up to which they have learnt, None where nothing is kept."""
        kept = self.client.query(
            "SELECT tenant, dimension, value, measure, slot_k, slot_n, slot_hours, state, learnt_until "
            "FROM feedback.sentinel_rows FINAL"
        ).result_rows
        if not kept:
            return None
        keys = [Key(r[0], r[1], r[2], Measure(r[3])) for r in kept]
        rows.ensure(keys)
        places = np.array([rows.number[key] for key in keys])
        baseline = rows.detector.baseline
        for name, column in (("slot_k", 4), ("slot_n", 5), ("slot_hours", 6)):
            getattr(baseline, name)[places] = [r[column] for r in kept]
        baseline.changed()
        unpack(rows.detector, places, np.array([r[7] for r in kept]))
        return max(to_ms(r[8]) for r in kept) / 1000

    def claim(self, holder: str, seconds: float) -> bool:
        """Take or renew the lease; whether `holder` holds it. A first claim is sure only when asked again later."""
        first = self._first_claim()
        if first not in (None, holder):
            return False
        self.client.command(
            "INSERT INTO feedback.sentinel_lease (holder, until) "
            f"SELECT {{holder:String}}, now64(6) + toIntervalMillisecond({round(seconds * 1000)})",
            parameters={"holder": holder},
        )
        return self._first_claim() == holder

    def release(self, holder: str) -> None:
        """Give the lease back, so that another need not wait for its end."""
        self.client.command(
            "ALTER TABLE feedback.sentinel_lease DELETE WHERE holder = {holder:String} SETTINGS mutations_sync = 1",
            parameters={"holder": holder},
        )

    def _first_claim(self) -> str | None:
        rows = self.client.query(_HOLDER).result_rows
        return str(rows[0][0]) if rows else None


def _columns_of(alert: Alert) -> tuple[object, ...]:
    series = alert.series
    return (
        series.tenant, alert.alert_id, alert.revision, alert.status.value, alert.kind.value, series.dimension,
        series.value, series.measure.value, alert.summary, alert.share, alert.usual, alert.n, alert.started_at,
        alert.fired_at, alert.resolved_at, alert.updated_at, alert.model_dump_json(),
    )  # fmt: skip


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        return f"fromUnixTimestamp64Milli({to_ms(value)})"
    if isinstance(value, float):
        return repr(float(value))
    return quoted(value) if isinstance(value, str) else str(value)


def _columns(detector: Detector) -> Iterable[tuple[Any, str]]:
    """What `pack` puts beside the slots, in order: never change the order, only append."""
    yield from ((detector.baseline, name) for name in ("stray", "spread", "seen", "hours"))
    yield from ((detector.drift, name) for name in ("sums", "pooled", "alarm"))
    yield from ((detector, name) for name in ("silent", "firing_since", "taint_from", "taint_to", "burn_k", "burn_n"))


def pack(detector: Detector) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Everything but the slots, one line a row. Whether it fires is not here: the alerts that are open say that."""
    parts = [getattr(owner, name).reshape(len(detector), -1).astype(np.float64) for owner, name in _columns(detector)]
    return np.concatenate(parts, axis=1)


def unpack(detector: Detector, places: np.ndarray[Any, Any], state: np.ndarray[Any, Any]) -> None:
    """Put what `pack` made back into the rows `places`."""
    start = 0
    for owner, name in _columns(detector):
        array = getattr(owner, name)
        width = int(np.prod(array.shape[1:], dtype=int))
        array[places] = state[:, start : start + width].reshape(len(places), *array.shape[1:]).astype(array.dtype)
        start += width
