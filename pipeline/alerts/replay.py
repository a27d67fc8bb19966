"""What would have fired on the past: the same watch, over a store that keeps nothing.

Used by `vocstream alerts replay`. Learns from the days before, looks every few minutes, and lists the alerts.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from clickhouse_connect.driver.client import Client

from pipeline.alerts.config import AlertConfig
from pipeline.alerts.rows import Rows
from pipeline.alerts.store import AlertStore
from pipeline.alerts.watch import Watch
from schemas.alerts import Alert, Status


class Forgetful(AlertStore):
    """Reads the facts; alerts and baselines stay in memory."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.kept: dict[str, Alert] = {}

    def save(self, alert: Alert) -> None:
        self.kept[alert.alert_id] = alert

    def newest(self, alert: Alert) -> Alert:
        return self.kept[alert.alert_id]

    def open(self) -> list[Alert]:
        return [alert for alert in self.kept.values() if alert.status is not Status.RESOLVED]

    def save_rows(self, rows: Rows, learnt_until: float, now: datetime) -> None:
        pass

    def load_rows(self, rows: Rows) -> float | None:
        return None


def replay(client: Client, config: AlertConfig, begin: float, end: float, step: float = 300.0) -> list[Alert]:
    """The alerts that would have fired between `begin` and `end` (seconds since 1970), in their order."""
    store = Forgetful(client)
    watch = Watch(store, config)
    watch.begin(begin)
    at = begin + step
    while at <= end:
        watch.tick(at)
        at += step
    return sorted(store.kept.values(), key=lambda alert: alert.fired_at)


_SHARES = """
SELECT toStartOfInterval(occurred_at, INTERVAL 15 MINUTE) AS at, tenant,
    countIf(sentiment IN ('negative', 'very_negative')) / countIf(sentiment NOT IN ('', 'unknown')) AS share
FROM feedback.enriched_responses
WHERE excluded = 0 AND sentiment NOT IN ('', 'unknown') AND occurred_at >= {begin:DateTime64(3, 'UTC')}
    AND occurred_at < {end:DateTime64(3, 'UTC')}
GROUP BY at, tenant ORDER BY tenant, at"""


def plot(client: Client, alerts: list[Alert], begin: datetime, end: datetime, path: Path) -> None:
    """Negative share of each tenant by 15 minutes, and a bar where an alert was open. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = client.query(_SHARES, parameters={"begin": begin, "end": end}).result_rows
    tenants = sorted({row[1] for row in rows} | {alert.series.tenant for alert in alerts})
    figure, panels = pyplot.subplots(
        max(1, len(tenants)), 1, sharex=True, squeeze=False, figsize=(11, 2.2 * max(1, len(tenants)))
    )
    for panel, tenant in zip(panels[:, 0], tenants, strict=False):
        mine = [row for row in rows if row[1] == tenant]
        panel.plot([row[0] for row in mine], [100 * row[2] for row in mine], linewidth=1)
        for alert in (one for one in alerts if one.series.tenant == tenant):
            panel.axvspan(alert.fired_at, alert.resolved_at or end, color="tab:red", alpha=0.25)
        panel.set(ylabel="negative %", title=tenant)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
