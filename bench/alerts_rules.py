"""The detector and the rules it is held against, each from counts to a matrix of which rows burn when.

All see the same buckets of `bench.alerts_traffic`, all wait for two ticks in a row before they fire, and all are
judged in bench/alerts.py in the same way.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bench.alerts_traffic import DAY, ROWS, START, Counts, parents
from pipeline.alerts.baseline import BUCKET
from pipeline.alerts.detector import Detector, DetectorSettings

Burning = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def rolling(counts: Counts, length: int) -> Counts:
    """Sums of the last `length` buckets, this one included."""
    total = np.cumsum(counts, axis=0, dtype=np.int32)
    total[length:] -= total[:-length].copy()
    return total


def vocstream(k: Counts, n: Counts, settings: DetectorSettings | None = None) -> tuple[Burning, Burning]:
    """Our detector: rows in a spike, and rows in a drift, after each bucket."""
    detector = Detector(settings)
    nothing, everything = np.zeros(ROWS, dtype=bool), np.ones(ROWS, dtype=bool)
    detector.add(parents(), of_all=nothing, tested=everything, watched=nothing)
    lengths = [window // BUCKET for window in detector.settings.baseline.windows]
    k_w = np.stack([rolling(k, length) for length in lengths], axis=2)
    n_w = np.stack([rolling(n, length) for length in lengths], axis=2)
    spikes, drifts = np.zeros(k.shape, dtype=bool), np.zeros(k.shape, dtype=bool)
    for bucket in range(len(k)):
        at = START + (bucket + 1) * BUCKET
        detector.step(at, k_w[bucket].astype(np.float64), n_w[bucket].astype(np.float64))
        if bucket % 12 == 11 and bucket >= 23:
            hour = slice(bucket - 23, bucket - 11)
            detector.learn(at - 7200, k[hour].T.astype(np.float64), n[hour].T.astype(np.float64))
        spikes[bucket], drifts[bucket] = detector.firing, detector.drift.alarm
    return spikes, drifts


def fixed_threshold(k: Counts, n: Counts) -> Burning:
    """More than 30 % of at least 20 in 15 minutes."""
    k15, n15 = rolling(k, 3), rolling(n, 3)
    return twice((n15 >= 20) & (k15 > 0.3 * n15))


def mean_and_three_sigma(k: Counts, n: Counts) -> Burning:
    """The share of 15 minutes (of at least 10) above mean + 3 sd of the same series' last 28 days."""
    k15, n15 = rolling(k, 3), rolling(n, 3)
    share = np.divide(k15, n15, out=np.full(k15.shape, np.nan), where=n15 >= 10)
    mean, deviation = _trailing(share)
    return twice(share > mean + 3 * deviation)


def ewma(k: Counts, n: Counts) -> Burning:
    """An EWMA chart of the share of 15 minutes, lambda 0.2, limit 3 sigma of the last 28 days (Montgomery, 9.2)."""
    k15, n15 = rolling(k, 3), rolling(n, 3)
    share = np.divide(k15, n15, out=np.full(k15.shape, np.nan), where=n15 >= 10)
    mean, deviation = _trailing(share)
    weight = 0.2
    limit = mean + 3 * deviation * np.sqrt(weight / (2 - weight))
    burning = np.zeros(k.shape, dtype=bool)
    level = np.full(k.shape[1], np.nan)
    for bucket in range(len(k)):
        x = share[bucket]
        step = np.where(np.isnan(level), x, weight * x + (1 - weight) * level)
        level = np.where(np.isnan(x), level, step)
        burning[bucket] = level > limit[bucket]
    return twice(burning)


def half_of_four(k: Counts, n: Counts) -> Burning:
    """At least half unhappy of at least four in 15 minutes."""
    k15, n15 = rolling(k, 3), rolling(n, 3)
    return twice((n15 >= 4) & (2 * k15 >= n15))


def twice(breach: Burning) -> Burning:
    """Fires at the second breach in a row; burns until two buckets in a row are in line."""
    burning = np.zeros(breach.shape, dtype=bool)
    now = np.zeros(breach.shape[1], dtype=bool)
    for bucket in range(1, len(breach)):
        two, none = breach[bucket] & breach[bucket - 1], ~breach[bucket] & ~breach[bucket - 1]
        now = (now | two) & ~none
        burning[bucket] = now
    return burning


def _trailing(share: Floats, days: int = 28) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the last `days` before each bucket, brought up to date every hour."""
    known = ~np.isnan(share)
    filled = np.where(known, share, 0.0)
    hourly = [a.reshape(-1, 12, a.shape[1]).sum(1) for a in (known.astype(float), filled, filled**2)]
    sums = []
    for one in hourly:
        total = np.cumsum(one, axis=0)
        total[days * 24 :] -= total[: -days * 24].copy()
        sums.append(np.concatenate([np.zeros((1, total.shape[1])), total[:-1]]))
    count = np.maximum(sums[0], 1)
    mean = sums[1] / count
    deviation = np.sqrt(np.maximum(sums[2] / count - mean**2, 0))
    young = sums[0] < DAY // 3
    mean[young], deviation[young] = np.nan, np.nan
    return np.repeat(mean, 12, axis=0), np.repeat(deviation, 12, axis=0)


RULES: dict[str, Callable[[Counts, Counts], Burning]] = {
    "fixed threshold": fixed_threshold,
    "mean + 3 sigma": mean_and_three_sigma,
    "EWMA": ewma,
    "half of four": half_of_four,
}
