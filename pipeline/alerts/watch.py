"""The sentinel's mind: counts in, alerts out, the clock an argument. No sockets but the store's.

`begin` loads what is kept (or learns from the facts that are there), `tick` looks once at everything and returns what
has changed, already written to `feedback.alerts`. `pipeline.alerts.sentinel` calls it in a loop and has the notices
delivered; `pipeline.alerts.replay` calls it on the past.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from pipeline.alerts.baseline import BUCKET, HOUR, PER_HOUR, Ints
from pipeline.alerts.config import AlertConfig, Rule
from pipeline.alerts.describe import Words, of_drift, of_rule, of_silence, of_spike
from pipeline.alerts.detector import Detector, DetectorSettings, Outcome
from pipeline.alerts.evidence import overlap
from pipeline.alerts.grouping import explain
from pipeline.alerts.rows import ALL, Key, Rows
from pipeline.alerts.series import count, moment, windows_of
from pipeline.alerts.stats import Floats
from pipeline.alerts.store import AlertStore
from schemas.alerts import Alert, Kind, Measure, Series, Status

log = logging.getLogger(__name__)

TOGETHER = 0.3
"""Two series belong to one alert when this share of the unhappy answers of one are the other's too."""
_BACKLOG_STEP = 900  # seconds between looks at the past while learning from it
_BACKLOG_PIECE = 24 * HOUR  # as much as one query of the past answers
_RULE_CALM = 2  # ticks within the limit that end a rule's alert


class Event(NamedTuple):
    """Something to tell: an alert that began to fire, or was resolved."""

    alert: Alert
    name: str  # `firing`, `resolved`, or `firing@TIME` when a snooze is over; the key of its notices
    again: bool = False  # it was begun before a restart, and perhaps sent


@dataclass
class Incident:
    """An alert that is open, and which of its series still burn."""

    alert: Alert
    burning: set[Key]
    calm: int = 0


@dataclass
class Watch:
    """All that is watched. Not for several threads at once."""

    store: AlertStore
    config: AlertConfig = field(default_factory=AlertConfig)
    settings: DetectorSettings | None = None

    def __post_init__(self) -> None:
        self.rows = Rows(Detector(self.settings), ignored=frozenset(self.config.ignore))
        self.incidents: dict[str, Incident] = {}
        self.learnt_until = 0.0
        self.words = Words(self.store, self.config.dashboard_url)

    @property
    def detector(self) -> Detector:
        return self.rows.detector

    def begin(self, now: float) -> None:
        """Load what is kept and learn what has happened since; without anything kept, learn from the facts."""
        kept = self.store.load_rows(self.rows)
        if kept is not None:
            self.learnt_until = kept
        else:
            first = self.store.first_answer()
            earliest = now - self.config.history_days * 24 * HOUR
            start = max(first.timestamp(), earliest) if first else now
            self.learnt_until = min(start, now - HOUR) // HOUR * HOUR
        self._learn_backlog(now)
        self._adopt()

    def tick(self, at: float) -> list[Event]:
        """Look at everything once. What changed is in the store when this returns."""
        events = self._learn(at)
        self._refresh()
        k, n = windows_of(self.store.client, self.rows, at)
        outcome = self.detector.step(at, k, n)
        events += self._spikes(outcome, k, n)
        events += self._calmed(self._keys(outcome.resolved), Kind.SPIKE, at)
        self._note_calm(at)
        events += self._silences(outcome)
        for minutes in {rule.minutes for rule in self.config.rules}:
            events += self._rules(minutes, at)
        return events + self._snoozes(at)

    # --- learning

    def _learn(self, at: float) -> list[Event]:
        """Learn the hour that ended an hour ago, if that has not been done; drifts are found then."""
        if at - self.learnt_until >= 4 * HOUR:  # it slept: go over what it missed as over any past
            self._learn_backlog(at)
            self._adopt()
        events: list[Event] = []
        while self.learnt_until + 2 * HOUR <= at:
            begin = self.learnt_until
            edges = [begin + BUCKET * place for place in range(PER_HOUR + 1)]
            k, n = count(self.store.client, self.rows, begin, begin + HOUR, edges)
            learnt = self.detector.learn(begin, k, n)
            self.learnt_until = begin + HOUR
            self.store.save_rows(self.rows, self.learnt_until, moment(at))
            self.words.reload()
            events += self._drifts(self._keys(learnt.drifting), at)
            events += self._calmed(self._keys(learnt.steady), Kind.DRIFT, at)
            events += self._calmed(self._keys(learnt.rebased), Kind.SPIKE, at)
            events += self._calmed(self._keys(learnt.rebased), Kind.DRIFT, at)
        return events

    def _learn_backlog(self, now: float) -> None:
        """Learn hours of the past in their order, looking for spikes on the way so that they are not learnt."""
        quarter = _BACKLOG_STEP // BUCKET
        lengths = [window // BUCKET for window in self.detector.settings.baseline.windows]
        behind = self.learnt_until + 2 * HOUR <= now
        while self.learnt_until + 2 * HOUR <= now:
            begin = self.learnt_until
            end = min(begin + _BACKLOG_PIECE, (now - HOUR) // HOUR * HOUR)
            edges = list(np.arange(begin, end + HOUR + 1, BUCKET))
            k, n = count(self.store.client, self.rows, begin, end + HOUR, edges)
            for hour in range(round((end - begin) / HOUR)):
                for last in range((hour + 1) * PER_HOUR + quarter, (hour + 2) * PER_HOUR + 1, quarter):
                    sums = [np.stack([a[:, last - w : last].sum(1) for w in lengths], axis=1) for a in (k, n)]
                    self.detector.step(begin + last * BUCKET, sums[0], sums[1])
                bucket = slice(hour * PER_HOUR, (hour + 1) * PER_HOUR)
                self.detector.learn(begin + hour * HOUR, k[:, bucket], n[:, bucket])
            self.learnt_until = end
        if behind:
            self.store.save_rows(self.rows, self.learnt_until, moment(now))

    def _adopt(self) -> None:
        """Take over the alerts that are open in the store, and nothing else, as what burns."""
        detector = self.detector
        detector.firing[:], detector.silent[:], detector.pending[:] = False, False, 0
        drifting, detector.drift.alarm = detector.drift.alarm, np.zeros(len(detector), dtype=bool)
        self.incidents = {}
        for alert in self.store.open():
            members = {_key(series) for series in alert.members}
            self.incidents[alert.alert_id] = Incident(alert, members)
            self.rows.ensure(members)
            places = [self.rows.number[key] for key in members]
            if alert.kind is Kind.SPIKE:
                detector.firing[places] = True
                detector.firing_since[places] = alert.fired_at.timestamp()
                detector.calm_since[places] = alert.calm_since.timestamp() if alert.calm_since else np.inf
                detector.judge[places] = detector.settings.cold_window
            elif alert.kind is Kind.SILENCE:
                detector.silent[places] = True
            elif alert.kind is Kind.DRIFT:
                detector.drift.alarm[places] = True
        # A drift that was found, and whose alert could not be written: it is found again.
        lost = np.zeros(len(detector), dtype=bool)
        lost[: len(drifting)] = drifting
        self.detector.drift.forget(lost & ~detector.drift.alarm)

    def _refresh(self) -> None:
        """See what people did to the open alerts: acknowledged or snoozed."""
        if self.incidents:
            for alert in self.store.open():
                if alert.alert_id in self.incidents:
                    self.incidents[alert.alert_id].alert = alert

    # --- what fires

    def _spikes(self, outcome: Outcome, k: Floats, n: Floats) -> list[Event]:
        events: list[Event] = []
        for tenant, fired in _by_tenant(self._keys(outcome.fired)).items():
            left = [key for key in fired if not self._joins(key, outcome.at)]
            while left:
                reading, drivers = explain(left, self.rows, outcome, k, n)
                members = [key for key in left if self._together(key, reading.key, outcome.at)] or left
                alert = of_spike(self.words, reading, drivers, outcome.at)
                events.append(self._open(alert, members))
                left = [key for key in left if key not in members]
            log.info("tenant %s: %d series out of line", tenant, len(fired))
        return events

    def _joins(self, key: Key, at: float) -> bool:
        """Whether `key` belongs to an alert that is open already; it is then a member of it."""
        for incident in self.incidents.values():
            alert = incident.alert
            if alert.kind is Kind.SPIKE and alert.series.tenant == key.tenant:
                if not self._together(key, _key(alert.series), at):
                    continue
                incident.burning.add(key)
                members = (*alert.members, _series(key))
                self._revise(incident, at, members=tuple(dict.fromkeys(members)))
                return True
        return False

    def _together(self, key: Key, head: Key, at: float) -> bool:
        if ALL in (key.dimension, head.dimension) or "language" in (key.dimension, head.dimension):
            return True
        if (key.dimension, key.value) == (head.dimension, head.value):
            return True
        longest = self.detector.settings.baseline.windows[-1]
        return max(
            overlap(self.store.client, one, other, at - longest, at) for one, other in ((key, head), (head, key))
        ) >= TOGETHER  # fmt: skip

    def _silences(self, outcome: Outcome) -> list[Event]:
        events = []
        for row in outcome.silenced:
            key = self.rows.keys[row]
            slot = int((outcome.at - 1) // HOUR + 72) % 168
            expected = float(self.detector.baseline.expected_an_hour(slot)[row])
            events.append(self._open(of_silence(self.words, key, expected, outcome.at), [key]))
        return events + self._calmed(self._keys(outcome.unsilenced), Kind.SILENCE, outcome.at)

    def _drifts(self, keys: Sequence[Key], at: float) -> list[Event]:
        """One alert a tenant: the series of all answers where it drifts, else the first."""
        events = []
        for drifting in _by_tenant(keys).values():
            head = min(drifting, key=lambda key: (key.dimension != ALL, key.measure is not Measure.NEGATIVE))
            events.append(self._open(of_drift(self.words, head, at), drifting))
        return events

    def _rules(self, minutes: int, at: float) -> list[Event]:
        rules = [rule for rule in self.config.rules if rule.minutes == minutes]
        begin = at - 60 * minutes
        k, n = count(self.store.client, self.rows, begin, at, [begin, at])
        events: list[Event] = []
        for rule in rules:
            key = Key(rule.tenant, rule.dimension, rule.value, rule.measure)
            row = self.rows.number.get(key)
            unhappy, answers = (float(k[row, 0]), float(n[row, 0])) if row is not None and row < len(k) else (0.0, 0.0)
            events += self._judge(rule, key, unhappy, answers, at)
        return events

    def _judge(self, rule: Rule, key: Key, unhappy: float, n: float, at: float) -> list[Event]:
        from pipeline.alerts.words import as_score

        value = n if rule.measure is Measure.VOLUME else as_score(rule.measure, unhappy / n if n else 0.0)
        enough = n >= rule.least_n or (rule.measure is Measure.VOLUME and rule.below is not None)
        broken = enough and rule.broken(value)
        burning = [
            one for one in self.incidents.values() if one.alert.kind is Kind.RULE and one.alert.rule == rule.name
        ]
        if broken and not burning:
            return [self._open(of_rule(self.words, rule, key, unhappy, n, at), [key])]
        for incident in burning:
            incident.calm = 0 if broken else incident.calm + 1
            if incident.calm >= _RULE_CALM:
                return [self._close(incident, at)]
        return []

    # --- the life of an alert

    def _open(self, alert: Alert, members: Sequence[Key]) -> Event:
        named = alert.model_copy(
            update={
                "alert_id": _alert_id(alert),
                "members": tuple(_series(key) for key in members),
            }
        )
        self.store.save(named)
        self.incidents[named.alert_id] = Incident(named, set(members))
        log.warning("firing: %s", named.summary)
        return Event(named, "firing")

    def _calmed(self, keys: Iterable[Key], kind: Kind, at: float) -> list[Event]:
        """Take `keys` out of what burns; an alert of which nothing burns any more is resolved."""
        gone = set(keys)
        events = []
        for incident in [one for one in self.incidents.values() if one.alert.kind is kind]:
            if incident.burning & gone:
                incident.burning -= gone
                if not incident.burning:
                    events.append(self._close(incident, at))
        return events

    def _note_calm(self, at: float) -> None:
        """Keep in the store since when an alert has been calm, so that a restart does not begin to wait anew."""
        for incident in self.incidents.values():
            if incident.alert.kind is Kind.SPIKE:
                places = [self.rows.number[key] for key in incident.burning]
                latest = float(self.detector.calm_since[places].max())
                calm = moment(latest) if np.isfinite(latest) else None
                if calm != incident.alert.calm_since:
                    self._revise(incident, at, calm_since=calm)

    def _close(self, incident: Incident, at: float) -> Event:
        alert = self._revise(incident, at, status=Status.RESOLVED, resolved_at=moment(at))
        del self.incidents[alert.alert_id]
        log.warning("resolved: %s", alert.summary)
        return Event(alert, "resolved")

    def _snoozes(self, at: float) -> list[Event]:
        """Alerts that still burn when their snooze is over speak again."""
        events = []
        for incident in self.incidents.values():
            until = incident.alert.snoozed_until
            if incident.alert.status is Status.SNOOZED and until is not None and until.timestamp() <= at:
                alert = self._revise(incident, at, status=Status.FIRING)
                events.append(Event(alert, f"firing@{until.isoformat()}"))
        return events

    def _revise(self, incident: Incident, at: float, **changes: object) -> Alert:
        alert = self.store.newest(incident.alert)  # a person may have answered it since the tick began
        incident.alert = alert.model_copy(update={"revision": alert.revision + 1, "updated_at": moment(at), **changes})
        self.store.save(incident.alert)
        return incident.alert

    def _keys(self, places: Ints) -> list[Key]:
        return [self.rows.keys[int(place)] for place in places]


def _alert_id(alert: Alert) -> str:
    """The same for the same finding, so that a sentinel that fired and died before it could say so says it once."""
    series = alert.series
    parts = (alert.kind, alert.rule, series.tenant, series.dimension, series.value, series.measure)
    text = "\x1f".join([*map(str, parts), alert.fired_at.isoformat()])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _by_tenant(keys: Iterable[Key]) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = {}
    for key in keys:
        found.setdefault(key.tenant, []).append(key)
    return found


def _series(key: Key) -> Series:
    return Series(tenant=key.tenant, dimension=key.dimension, value=key.value, measure=key.measure)


def _key(series: Series) -> Key:
    return Key(series.tenant, series.dimension, series.value, series.measure)
