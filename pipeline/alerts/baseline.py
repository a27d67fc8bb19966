"""What is usual: the unhappy share of each series by hour of the week, how far it strays, and how much comes in.

Fed by `pipeline.alerts.detector` with hours that are over, twelve buckets of five minutes each, and a mask of the
buckets that were not part of an alarm. Pure: numpy in, numpy out. One row is one measure of one series.

The mean of a row in a slot (168 hours of the week) is shrunk twice. The whole row is shrunk to its parent, the series
of all answers of the tenant, as if SERIES_STRENGTH answers had been seen at the parent's share. The slot is shrunk
to the row's share times the parent's shape of the week, as if SLOT_STRENGTH answers had been seen there. So a thin
series borrows its level and its week from the tenant, and a busy one stands on its own.

How far it strays, `rho`, is estimated by moments out of the errors of one-step-ahead predictions, for each length of
window by itself: what varies from one five minutes to the next averages out in an hour, what varies by the hour
does not. sum((k - n m)^2 - n m (1 - m)) / sum(n (n - 1) m (1 - m)), shrunk to the parent's as far as it is unsure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.alerts.stats import Bools, Floats

SLOTS = 168
BUCKET = 300
"""Seconds of a bucket: twelve make the hour that is learnt at once."""
PER_HOUR = 3600 // BUCKET
HOUR = 3600
Ints = npt.NDArray[np.int64]


def slot_of(at: float) -> int:
    """Hour of the week of a time in seconds since 1970: 0 is Monday 00:00 UTC (1970-01-01 was a Thursday)."""
    return int(at // HOUR + 72) % SLOTS


@dataclass(frozen=True)
class BaselineSettings:
    """What the baseline supposes before it has seen anything, and how fast it forgets."""

    windows: tuple[int, ...] = (300, 900, 3600)  # seconds
    half_life_days: float = 28.0
    series_strength: float = 40.0  # sd of 5 points between the series of a tenant at a share of 12 %: m (1 - m) / sd^2
    slot_strength: float = 100.0
    prior_mean: float = 0.15  # the share before any answer has come; any guess will do, the cold rule decides then
    prior_rho: float = 0.01  # also how far it may be off


class Baseline:
    """The learnt state of all rows; rows are only ever added."""

    def __init__(self, settings: BaselineSettings | None = None) -> None:
        self.settings = settings or BaselineSettings()
        windows = len(self.settings.windows)
        self.parent: Ints = np.zeros(0, dtype=np.int64)
        self.of_all: Bools = np.zeros(0, dtype=bool)
        self.slot_k = np.zeros((0, SLOTS), dtype=np.float32)
        self.slot_n = np.zeros((0, SLOTS), dtype=np.float32)
        self.slot_hours = np.zeros((0, SLOTS), dtype=np.float32)
        self.stray = np.zeros((0, windows))
        self.spread = np.zeros((0, windows))
        self.seen = np.zeros((0, windows))
        self.hours = np.zeros(0)  # learnt, not forgotten: the age of the row
        self._known: tuple[Floats, Floats] | None = None
        self._slots: dict[int, tuple[Floats, Floats]] = {}
        self._rho: tuple[Floats, Floats] | None = None

    ARRAYS = ("slot_k", "slot_n", "slot_hours", "stray", "spread", "seen", "hours")

    def __len__(self) -> int:
        return len(self.parent)

    def add(self, parents: npt.ArrayLike, of_all: npt.ArrayLike) -> None:
        """Add rows. A parent is the number of a row (its own for a tenant's series of all answers).

        `of_all`: the row counts its n over all answers of the tenant (complaints of a topic), so the history of the
        parent is its history too: so many answers, and none of them complained.
        """
        parents = np.asarray(parents, dtype=np.int64)
        extra = len(parents)
        first = len(self)
        for name in self.ARRAYS:
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.zeros((extra, *old.shape[1:]), dtype=old.dtype)]))
        self.parent = np.concatenate([self.parent, parents])
        self.of_all = np.concatenate([self.of_all, np.asarray(of_all, dtype=bool)])
        inherits = np.flatnonzero(self.of_all[first:]) + first
        for name in ("slot_n", "slot_hours", "hours"):
            array = getattr(self, name)
            array[inherits] = array[self.parent[inherits]]
        self.changed()

    def overall(self) -> tuple[Floats, Floats]:
        """Share of each row over all hours, shrunk to the parent's, and the answers it is made of."""
        if self._known is None:
            s = self.settings
            k, n = self.slot_k.sum(1, dtype=np.float64), self.slot_n.sum(1, dtype=np.float64)
            alone = (k + s.series_strength * s.prior_mean) / (n + s.series_strength)
            to_parent = (k + s.series_strength * alone[self.parent]) / (n + s.series_strength)
            root = self.parent == np.arange(len(self))
            self._known = np.where(root, alone, to_parent), n
        return self._known

    def changed(self) -> None:
        """Say that the arrays were written to from outside."""
        self._known, self._rho, self._slots = None, None, {}

    def slot_mean(self, slot: int) -> tuple[Floats, Floats]:
        """Share that is usual in `slot`, and how many answers that estimate is worth."""
        if slot not in self._slots:
            self._slots[slot] = self._slot_mean(slot)
        return self._slots[slot]

    def _slot_mean(self, slot: int) -> tuple[Floats, Floats]:
        s = self.settings
        overall, total = self.overall()
        k, n = self.slot_k[:, slot].astype(np.float64), self.slot_n[:, slot].astype(np.float64)
        flat = (k + s.slot_strength * overall) / (n + s.slot_strength)
        shape = flat[self.parent] / overall[self.parent]
        root = self.parent == np.arange(len(self))
        guess = np.where(root, overall, np.clip(overall * shape, 1e-4, 0.98))
        borrowed = 1 / (1 / s.slot_strength + 1 / (total + s.series_strength))
        return (k + s.slot_strength * guess) / (n + s.slot_strength), n + borrowed

    def mean(self, at: float) -> tuple[Floats, Floats]:
        """Usual share of the windows that end at `at`, (rows, windows), and the worth of that estimate (rows).

        A window that reaches back into the hour before is expected at the mean of both hours, by its time in each.
        """
        here, worth = self.slot_mean(slot_of(at - 1))
        before, _ = self.slot_mean(slot_of(at - 1 - HOUR))
        into_hour = (at - 1) % HOUR + 1
        inside = np.array([min(1.0, into_hour / window) for window in self.settings.windows])
        return here[:, None] * inside + before[:, None] * (1 - inside), worth

    def rho(self, worth: Floats | None = None) -> Floats:
        """How far each row strays in each window, (rows, windows); at least 0.

        With `worth` the uncertainty of the mean is part of it. The errors that rho is made of hold that uncertainty
        already, so it is added only as far as rho is not the row's own yet.
        """
        if self._rho is None:
            self._rho = self._estimate_rho()
        rho, doubt = self._rho
        return rho if worth is None else rho + doubt / (worth[:, None] + 1)

    def _estimate_rho(self) -> tuple[Floats, Floats]:
        """rho, and how much of it is borrowed (0..1): by how sure a row's own is, against how far a guess may be off.

        An estimate from `seen` windows of `size` answers has a variance of about 2 / seen (rho + 1 / size)^2, so an
        hour of a busy series tells much, and any number of windows of two answers little.
        """
        s = self.settings
        share = self.overall()[0][:, None]
        seen = np.maximum(self.seen, 1e-9)
        size = np.sqrt(self.spread / (seen * share * (1 - share)))
        own = np.maximum(self.stray, 0.0) / np.maximum(self.spread, 1e-9)
        unsure = 2 / seen * (s.prior_rho + 1 / np.maximum(size, 1e-9)) ** 2
        weight = s.prior_rho**2 / (s.prior_rho**2 + unsure)
        alone = weight * own + (1 - weight) * s.prior_rho
        root = (self.parent == np.arange(len(self)))[:, None]
        shrunk: Floats = np.where(root, alone, weight * own + (1 - weight) * alone[self.parent])
        return np.minimum(shrunk, 0.5), 1 - weight

    def expected_an_hour(self, slot: int) -> Floats:
        """Answers that usually come in this hour of the week; a slot never seen is taken as the row's mean hour."""
        hours = self.slot_hours[:, slot].astype(np.float64)
        mean_hour = self.overall()[1] / np.maximum(self.slot_hours.sum(1, dtype=np.float64), 1.0)
        expected: Floats = (self.slot_n[:, slot] + 0.25 * mean_hour) / (hours + 0.25)
        return expected

    def learn(self, hour: float, k: Floats, n: Floats, clean: Bools) -> tuple[Floats, Floats, Floats, Floats]:
        """Learn the hour that began at `hour`: (rows, 12) counts and the mask of buckets that were no alarm.

        The errors are taken against what was expected *before* this hour is added. Returns, for each row and over its
        clean buckets: unhappy, answers, expected unhappy, and the variance of that at the hour's own rho.
        """
        s = self.settings
        slot = slot_of(hour)
        mean, _ = self.slot_mean(slot)
        k, n = np.where(clean, k, 0.0), np.where(clean, n, 0.0)
        decay = 0.5 ** (1 / (24 * s.half_life_days))
        # Until an hour of the week has been seen its errors say how little is known of the week, not how far it strays.
        known = self.slot_hours[:, slot, None] >= 0.5
        for place, window in enumerate(s.windows):
            size = window // BUCKET
            shape = (len(self), PER_HOUR // size, size)
            whole = clean.reshape(shape).all(2)
            k_w, n_w = k.reshape(shape).sum(2), n.reshape(shape).sum(2)
            use = whole & (n_w >= 2) & known
            m = mean[:, None]
            self.stray[:, place] *= decay
            self.spread[:, place] *= decay
            self.seen[:, place] *= decay
            self.stray[:, place] += np.where(use, (k_w - n_w * m) ** 2 - n_w * m * (1 - m), 0.0).sum(1)
            self.spread[:, place] += np.where(use, n_w * (n_w - 1) * m * (1 - m), 0.0).sum(1)
            self.seen[:, place] += use.sum(1)
        hour_k, hour_n = k.sum(1), n.sum(1)
        rho = self.rho()[:, -1]
        variance = hour_n * mean * (1 - mean) * (1 + np.maximum(hour_n - 1, 0) * rho)
        # A slot comes once a week, so forgetting a week's worth when it comes is the same as a little every hour.
        weekly = np.float32(decay**SLOTS)
        for array, added in ((self.slot_k, hour_k), (self.slot_n, hour_n), (self.slot_hours, clean.mean(1))):
            array[:, slot] = array[:, slot] * weekly + added
        self.hours += clean.mean(1)
        self.changed()
        return hour_k, hour_n, hour_n * mean, variance

    def rebase(self, rows: Ints, k: Floats, n: Floats) -> None:
        """Accept k of n as the new usual share of `rows`: their week keeps its shape and moves to that level."""
        level = self.overall()[0][rows]
        strength = self.settings.series_strength
        ratio = (k + strength * level) / (n + strength) / level
        self.slot_k[rows] = np.minimum(self.slot_k[rows] * ratio[:, None], 0.98 * self.slot_n[rows])
        self.changed()
