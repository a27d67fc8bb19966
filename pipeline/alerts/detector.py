"""Which series are out of line now. Pure: counts in, decisions out; the clock is an argument.

Each tick brings, for every row (one measure of one series), unhappy answers `k` and answers `n` in the windows that end
now. A row is tested against its `Baseline` by one-sided beta-binomial tests, one a window; the smallest of its
p-values times the number of windows is the row's, and Benjamini-Hochberg over all rows of the tick that had enough
answers gives its q. A row that stays out of line for `pending` ticks fires; it is resolved when the window that
showed it stays in line for a while (hysteresis: it takes a far smaller p to fire than to keep burning).

Each hour, `learn` adds an hour that lies outside every window under test to the baseline, without the buckets in
which the row, or all of its tenant, was out of line.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.alerts.baseline import BUCKET, HOUR, PER_HOUR, Baseline, BaselineSettings, Ints, slot_of
from pipeline.alerts.drift import Drift
from pipeline.alerts.stats import Bools, Floats, benjamini_hochberg, silence, upper_tail

FAR = 2.5
"""Standard deviations below which no p is worked out: it is then 1, which only makes the correction stricter."""


@dataclass(frozen=True)
class DetectorSettings:
    """When to speak. The figures that these give are in docs/alerts.md; bench/alerts.py measures them."""

    baseline: BaselineSettings = field(default_factory=BaselineSettings)
    fire_q: float = 0.15
    fire_p: float = 1.5e-3  # with few series the correction for many tests corrects little: this holds at any size
    sure_p: float = 1e-5  # so far out that one tick is enough
    pending: int = 2  # ticks, and at least
    pending_seconds: float = 300.0  # however often one looks: more looks would find more that is not there
    clear_p: float = 0.05
    resolve_seconds: float = 600.0
    least_n: int = 5
    least_count: int = 4
    least_ratio: float = 1.25  # a busy series makes any difference significant; people care for this much
    cold_answers: float = 100.0  # less history of the tenant than this, or
    cold_hours: float = 24.0  # a shorter one, is no baseline: the fixed rule decides
    cold_n: int = 4
    cold_share: float = 0.5
    cold_window: int = 1  # of baseline.windows: the 15 minutes
    cold_child_p: float = 0.01
    silence_p: float = 1e-4
    silence_shape: float = 5.0  # of the negative binomial: hours vary by half (1 / sqrt 5) beyond Poisson
    relearn_seconds: float = 86_400.0  # what lasts this long is the new usual


@dataclass(frozen=True)
class Outcome:
    """What a tick found. Arrays are one value a row; `fired` and the like are row numbers."""

    at: float
    fired: Ints
    resolved: Ints
    silenced: Ints
    unsilenced: Ints
    p: Floats
    q: Floats
    window: Ints  # the window, by its place, that p is of
    mean: Floats  # usual share in that window
    worth: Floats  # answers that the estimate of `mean` is worth
    cold: Bools


@dataclass(frozen=True)
class Learnt:
    """What an hour changed: rows that began to drift, stopped, or whose alarm became the new usual."""

    drifting: Ints
    steady: Ints
    rebased: Ints


class Detector:
    """State of all rows. Rows are added as series appear and never removed."""

    STATE = (
        "pending",
        "pending_since",
        "firing",
        "judge",
        "calm_since",
        "firing_since",
        "taint_from",
        "taint_to",
        "burn_k",
        "burn_n",
    )

    def __init__(self, settings: DetectorSettings | None = None) -> None:
        self.settings = settings or DetectorSettings()
        self.baseline = Baseline(self.settings.baseline)
        self.drift = Drift()
        self.tested: Bools = np.zeros(0, dtype=bool)
        self.watched: Bools = np.zeros(0, dtype=bool)
        self.ruled: Bools = np.zeros(0, dtype=bool)
        self.silent: Bools = np.zeros(0, dtype=bool)
        self.pending: Ints = np.zeros(0, dtype=np.int64)
        self.pending_since = np.zeros(0)
        self.firing: Bools = np.zeros(0, dtype=bool)
        self.judge: Ints = np.zeros(0, dtype=np.int64)
        self.calm_since = np.zeros(0)
        self.firing_since = np.zeros(0)
        self.taint_from = np.zeros(0)
        self.taint_to = np.zeros(0)
        self.burn_k = np.zeros(0)
        self.burn_n = np.zeros(0)

    def __len__(self) -> int:
        return len(self.baseline)

    def add(
        self,
        parents: npt.ArrayLike,
        *,
        of_all: npt.ArrayLike,
        tested: npt.ArrayLike,
        watched: npt.ArrayLike,
        ruled: npt.ArrayLike | None = None,
    ) -> None:
        """Add rows: see `Baseline.add`. `tested` rows are tested for shares, `watched` rows for silence.

        While there is no history, `ruled` rows (by default the tested ones) are judged by the fixed rule, others by
        nothing.
        """
        self.baseline.add(parents, of_all)
        extra = len(np.asarray(parents))
        self.drift.add(extra)
        self.tested = np.concatenate([self.tested, np.asarray(tested, dtype=bool)])
        self.watched = np.concatenate([self.watched, np.asarray(watched, dtype=bool)])
        self.ruled = np.concatenate([self.ruled, np.asarray(tested if ruled is None else ruled, dtype=bool)])
        for name in ("silent", *self.STATE):
            old = getattr(self, name)
            fill = np.nan if name in ("taint_from", "taint_to") else 0
            setattr(self, name, np.concatenate([old, np.full(extra, fill, dtype=old.dtype)]))

    def cold(self) -> Bools:
        """Rows of tenants without a history to speak of."""
        answers = self.baseline.overall()[1][self.baseline.parent]
        hours = self.baseline.hours[self.baseline.parent]
        cold: Bools = (answers < self.settings.cold_answers) | (hours < self.settings.cold_hours)
        return cold

    def step(self, at: float, k: Floats, n: Floats) -> Outcome:
        """Judge the windows that end at `at`; `k` and `n` are (rows, windows), in the order of the settings."""
        s = self.settings
        mean, worth = self.baseline.mean(at)
        cold = self.cold()
        p, window, enough = self._test(k, n, mean, worth)
        q = np.ones(len(self))
        judged = enough & self.tested & ~cold
        if judged.any():
            q[judged] = benjamini_hochberg(p[judged])
        breach = judged & (q <= s.fire_q) & (p <= s.fire_p) | self._cold_breach(k, n, p, cold)
        self._taint(at, breach, window)
        self.pending = np.where(breach, self.pending + 1, 0)
        self.pending_since = np.where(self.pending <= 1, at, self.pending_since)
        long = (self.pending >= s.pending) & (at - self.pending_since >= s.pending_seconds)
        ripe = breach & (long | (p <= s.sure_p) | cold)
        fired = np.flatnonzero(ripe & ~self.firing)
        self.firing[fired] = True
        self.firing_since[fired] = at
        self.calm_since[fired] = np.inf
        self.burn_k[fired] = self.burn_n[fired] = 0
        self.judge[fired] = np.where(cold[fired], s.cold_window, window[fired])
        resolved = self._resolve(at, k, n, mean, worth, breach)
        silenced, unsilenced = self._listen(at, n)
        rows = np.arange(len(self))
        return Outcome(
            at, fired, resolved, silenced, unsilenced, p, q, window, mean[rows, window] if len(self) else p, worth, cold
        )

    def _test(self, k: Floats, n: Floats, mean: Floats, worth: Floats) -> tuple[Floats, Ints, Bools]:
        """p of each row (Bonferroni over its windows), the window it is of, and whether there was enough to test.

        Enough is a matter of n alone: to choose by k what is tested would spoil the correction for many tests.
        """
        s = self.settings
        windows = len(s.baseline.windows)
        enough = (n >= s.least_n) & self.tested[:, None]
        rho, usual = self.baseline.rho(worth), n * mean
        far = (k - usual) ** 2 > FAR**2 * usual * (1 - mean) * (1 + (n - 1) * rho)
        high = enough & (k >= s.least_count) & (k > s.least_ratio * usual) & far
        p = np.ones(k.shape)
        if high.any():
            p[high] = upper_tail(k[high], n[high], mean[high], rho[high])
        window: Ints = p.argmin(1) if len(self) else np.zeros(0, dtype=np.int64)
        any_enough: Bools = np.asarray(enough.any(1))
        return np.minimum(1.0, p.min(1, initial=1.0) * windows), window, any_enough

    def _cold_breach(self, k: Floats, n: Floats, p: Floats, cold: Bools) -> Bools:
        s = self.settings
        if not cold.any():
            return cold
        k_w, n_w = k[:, s.cold_window], n[:, s.cold_window]
        half = (n_w >= s.cold_n) & (k_w >= s.cold_share * n_w)
        root = self.baseline.parent == np.arange(len(self))
        breach: Bools = cold & self.ruled & ~self.baseline.of_all & half & (root | (p <= s.cold_child_p))
        return breach

    def _taint(self, at: float, breach: Bools, window: Ints) -> None:
        """Remember when each row was out of line, so that `learn` leaves that time out."""
        reach = np.array(self.settings.baseline.windows)[window]
        anew = breach & ~(at - reach <= self.taint_to)  # also where it is NaN: never yet
        earlier = np.fmin(self.taint_from, at - reach)
        self.taint_from = np.where(anew, at - reach, np.where(breach, earlier, self.taint_from))
        out = breach | self.firing
        self.taint_to = np.where(out, at, self.taint_to)

    def _resolve(self, at: float, k: Floats, n: Floats, mean: Floats, worth: Floats, breach: Bools) -> Ints:
        """Which firing rows have been in line, on the window that showed them, for long enough."""
        s = self.settings
        rows = np.flatnonzero(self.firing)
        if not len(rows):
            return rows
        judge = self.judge[rows]
        rho = self.baseline.rho(worth)[rows, judge]
        p = upper_tail(k[rows, judge], n[rows, judge], mean[rows, judge], rho)
        in_line = ~breach[rows] & ((p > s.clear_p) | (n[rows, judge] < 1))
        self.calm_since[rows] = np.where(in_line, np.minimum(self.calm_since[rows], at), np.inf)
        done = rows[at - self.calm_since[rows] >= s.resolve_seconds]
        self.firing[done] = False
        return done

    def _listen(self, at: float, n: Floats) -> tuple[Ints, Ints]:
        """Rows that fell silent where an answer was as good as certain, and rows heard again."""
        if not self.watched.any():
            none = np.zeros(0, dtype=np.int64)
            return none, none
        expected = self.baseline.expected_an_hour(slot_of(at - 1))
        before = self.baseline.expected_an_hour(slot_of(at - 1 - HOUR))
        into = ((at - 1) % HOUR + 1) / HOUR
        unlikely = (
            silence(expected * into + before * (1 - into), self.settings.silence_shape) <= self.settings.silence_p
        )
        still = self.watched & (n[:, -1] == 0)
        silenced = still & unlikely & ~self.cold() & ~self.silent
        heard = self.silent & (n[:, -1] > 0)
        self.silent = (self.silent | silenced) & ~heard
        return np.flatnonzero(silenced), np.flatnonzero(heard)

    def clean(self, hour: float) -> Bools:
        """(rows, 12): the buckets of that hour in which neither the row nor all of its tenant was out of line."""
        starts = hour + BUCKET * np.arange(PER_HOUR)
        with np.errstate(invalid="ignore"):
            dirty = (starts + BUCKET > self.taint_from[:, None]) & (starts < self.taint_to[:, None])
        return ~(dirty | dirty[self.baseline.parent] | self.silent[:, None])

    def learn(self, hour: float, k: Floats, n: Floats) -> Learnt:
        """Learn the hour that began at `hour`, (rows, 12) counts. Call it once for each hour, an hour after its end."""
        s = self.settings
        cold = self.cold()
        clean = self.clean(hour)
        hour_k, _, expected, variance = self.baseline.learn(hour, k, n, clean)
        drifted = self.drift.alarm.copy()
        self.drift.update(hour_k, expected, variance, self.tested & ~cold & ~self.firing)
        burning = self.firing & (hour >= self.firing_since)
        self.burn_k[burning] += k.sum(1)[burning]
        self.burn_n[burning] += n.sum(1)[burning]
        rebased = np.flatnonzero(self.firing & (hour + HOUR - self.firing_since >= s.relearn_seconds))
        if len(rebased):
            self.baseline.rebase(rebased, self.burn_k[rebased], self.burn_n[rebased])
            self.firing[rebased] = False
            self.pending[rebased] = 0
            mask = np.isin(np.arange(len(self)), rebased)
            self.drift.forget(mask)
        return Learnt(np.flatnonzero(self.drift.alarm & ~drifted), np.flatnonzero(drifted & ~self.drift.alarm), rebased)
