"""A finding as an alert: the numbers, their interval, the sentence, the comments and the query.

Takes readings from `pipeline.alerts.grouping`; gives `schemas.alerts.Alert` without id and members, which
`pipeline.alerts.watch` adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from pipeline.alerts.config import Rule
from pipeline.alerts.evidence import shown_by, typical_comments
from pipeline.alerts.grouping import Reading
from pipeline.alerts.rows import Key
from pipeline.alerts.series import moment
from pipeline.alerts.store import AlertStore
from pipeline.alerts.words import language_of, sentence
from schemas.alerts import Alert, Driver, Kind, Series, Status
from schemas.scores import share_difference

_DAY = 86_400.0


class Words:
    """The language of each tenant, the dashboard's address, and the comments."""

    def __init__(self, store: AlertStore, dashboard_url: str) -> None:
        self.store = store
        self.dashboard_url = dashboard_url
        self._languages: dict[str, str] | None = None

    def language(self, tenant: str) -> str:
        """The language to tell this tenant's alerts in."""
        if self._languages is None:
            self._languages = self.store.languages()
        return language_of(self._languages.get(tenant, ""))

    def reload(self) -> None:
        """Read the tenants' languages again when next asked."""
        self._languages = None

    def link(self, key: Key) -> str:
        """Where the dashboard shows this series; empty without a dashboard."""
        if not self.dashboard_url:
            return ""
        joint = "&" if "?" in self.dashboard_url else "?"
        place = "" if key.dimension == "all" else f"&{key.dimension}={quote(key.value)}"
        return f"{self.dashboard_url}{joint}tenant={quote(key.tenant)}{place}"


def of_spike(words: Words, reading: Reading, drivers: Sequence[Driver], at: float) -> Alert:
    """An alert about a window out of line. The interval is that of Agresti and Caffo, now minus usual."""
    key, begin = reading.key, at - reading.window
    usual_k = reading.usual * reading.worth
    change = share_difference((usual_k, reading.worth), (reading.unhappy, reading.n))
    return _alert(
        words, Kind.SPIKE, key, begin, at,
        unhappy=reading.unhappy, n=reading.n, usual=reading.usual, window=reading.window,
        share=100 * reading.unhappy / reading.n if reading.n else None,
        change=(100 * change.ci_low, 100 * change.ci_high) if change else (None, None),
        p=reading.p, q=reading.q, drivers=drivers,
    )  # fmt: skip


def of_drift(words: Words, key: Key, at: float) -> Alert:
    """An alert about a slow change: its answers are those of the last day."""
    return _alert(words, Kind.DRIFT, key, at - _DAY, at)


def of_silence(words: Words, key: Key, expected: float, at: float) -> Alert:
    """An alert about no answers in an hour in which `expected` are usual."""
    return _alert(words, Kind.SILENCE, key, at - 3600, at, usual=expected, window=3600)


def of_rule(words: Words, rule: Rule, key: Key, unhappy: float, n: float, at: float) -> Alert:
    """An alert about a limit of one's own."""
    return _alert(
        words, Kind.RULE, key, at - 60 * rule.minutes, at,
        unhappy=unhappy, n=n, usual=rule.limit, window=60 * rule.minutes,
        share=100 * unhappy / n if n else None, rule=rule.name,
    )  # fmt: skip


def _alert(
    words: Words,
    kind: Kind,
    key: Key,
    begin: float,
    at: float,
    *,
    unhappy: float = 0.0,
    n: float = 0.0,
    usual: float = 0.0,
    window: int = 0,
    share: float | None = None,
    change: tuple[float | None, float | None] = (None, None),
    p: float | None = None,
    q: float | None = None,
    drivers: Sequence[Driver] = (),
    rule: str = "",
) -> Alert:
    language = words.language(key.tenant)
    series = Series(tenant=key.tenant, dimension=key.dimension, value=key.value, measure=key.measure)
    since = moment(begin)
    summary = sentence(
        kind,
        series,
        language,
        unhappy=unhappy,
        n=n,
        usual=usual,
        window=window,
        since=f"{since:%d.%m. %H:%M}",
        rule=rule,
    )
    silent = kind is Kind.SILENCE
    return Alert(
        alert_id="",
        revision=1,
        status=Status.FIRING,
        kind=kind,
        rule=rule,
        series=series,
        summary=summary,
        language=language,
        started_at=since,
        fired_at=moment(at),
        updated_at=moment(at),
        window_seconds=window,
        unhappy=unhappy,
        n=n,
        share=share,
        usual=100 * usual if kind is Kind.SPIKE else None,
        change_low=change[0],
        change_high=change[1],
        p_value=p,
        q_value=q,
        drivers=tuple(drivers),
        comments=() if silent else typical_comments(words.store.client, key, begin, at),
        sql=shown_by(key, begin, at),
        dashboard_url=words.link(key),
    )
