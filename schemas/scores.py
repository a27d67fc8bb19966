"""The arithmetic of scores: point estimates, 95 % intervals, differences, and the correction of many comparisons.

This is the reference in plain Python. The SQL functions of `infra/clickhouse/migrations` hold the same formulas, and
a test compares the two to 1e-9. It takes counts and sums (they add up over any grouping) and knows neither bands nor
ranges: those are in `schemas/scales.py`.

Units: NPS in -100..100; shares in 0..1 (the views show them times 100); means in the unit of their scale.
`n` counts scored answers. With n = 0 there is no score: every function then answers None, never 0.

>>> nps_score(promoters=6, detractors=2, n=10)
40.0
>>> [round(x, 2) for x in nps_interval(6, 2, 10)]
[-12.59, 74.12]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution: two-sided 95 %."""

NPS_ADDED = 3.0
NPS_ADDED_TO_EACH_END = 0.75
"""Rocks (2016), "Interval estimation for the Net Promoter Score", The American Statistician 70:4: the adjusted Wald
interval that adds 3 answers, 3/4 of one to promoters, 3/4 to detractors and the remaining 3/2 to passives."""


def nps_score(promoters: float, detractors: float, n: float) -> float | None:
    """Net Promoter Score in -100..100, or None without answers."""
    return None if n == 0 else 100 * (promoters - detractors) / n


def _nps_adjusted(promoters: float, detractors: float, n: float) -> tuple[float, float]:
    """Adjusted score as a share (-1..1) and the variance of its estimate, after Rocks."""
    total = n + NPS_ADDED
    centre = (promoters - detractors) / total
    spread = (promoters + detractors + 2 * NPS_ADDED_TO_EACH_END) / total - centre * centre
    return centre, spread / total


def nps_interval(promoters: float, detractors: float, n: float) -> tuple[float, float] | None:
    """95 % interval of an NPS (adjusted Wald, Rocks 2016), cut to -100..100."""
    if n == 0:
        return None
    centre, variance = _nps_adjusted(promoters, detractors, n)
    half = Z95 * math.sqrt(variance)
    return 100 * max(-1.0, centre - half), 100 * min(1.0, centre + half)


def wilson_interval(k: float, n: float) -> tuple[float, float] | None:
    """95 % interval of the share k / n, in 0..1 (Wilson 1927, JASA 22:158; no continuity correction)."""
    if n == 0:
        return None
    z2 = Z95 * Z95
    centre = (k + z2 / 2) / (n + z2)
    half = Z95 / (n + z2) * math.sqrt(k * (n - k) / n + z2 / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def _mean_adjusted(total: float, squares: float, n: float, lowest: float, highest: float) -> tuple[float, float]:
    """Adjusted mean and the variance of its estimate: 3/4 of an answer at each end of the scale, 3/2 in its middle."""
    ends, middle = NPS_ADDED_TO_EACH_END, (lowest + highest) / 2
    size = n + NPS_ADDED
    centre = (total + ends * (lowest + highest) + 2 * ends * middle) / size
    square = (squares + ends * (lowest * lowest + highest * highest) + 2 * ends * middle * middle) / size
    return centre, max(0.0, square - centre * centre) / size


def mean_interval(total: float, squares: float, n: float, lowest: float, highest: float) -> tuple[float, float] | None:
    """95 % interval of a mean out of the sum and the sum of squares, cut to the scale `lowest`..`highest`.

    The adjustment of Rocks carried over to any scale (on -1..1 it is the NPS interval). Stars are lopsided: with nine
    of ten at 5 and n = 20 the usual t interval covers 72 %, this one 96 % (tests/unit/test_scores.py). One answer
    says nothing of the spread: n = 1 gives the whole scale.
    """
    if n == 0:
        return None
    if n == 1:
        return lowest, highest
    centre, variance = _mean_adjusted(total, squares, n, lowest, highest)
    half = Z95 * math.sqrt(variance)
    return max(lowest, centre - half), min(highest, centre + half)


@dataclass(frozen=True, slots=True)
class Difference:
    """Second score minus first, with its 95 % interval and two-sided p-value (of: there is no difference)."""

    difference: float
    ci_low: float
    ci_high: float
    p_value: float


def _difference(raw: float, centre: float, variance: float, unit: float, limit: float) -> Difference:
    error = math.sqrt(variance)  # above 0: the answers added are not all the same
    half = Z95 * error
    p_value = math.erfc(abs(centre) / error / math.sqrt(2.0))
    return Difference(raw, max(-limit, unit * (centre - half)), min(limit, unit * (centre + half)), p_value)


def nps_difference(first: tuple[float, float, float], second: tuple[float, float, float]) -> Difference | None:
    """NPS of `second` minus NPS of `first`, each (promoters, detractors, n), with the adjustment of Rocks on both.

    `difference` is that of the plain scores; the interval and the p-value come from the adjusted ones, so that the
    interval leaves out 0 exactly when p < 0.05. In -200..200. None when a side has no answers.
    """
    before, after = nps_score(*first), nps_score(*second)
    if before is None or after is None:
        return None
    centre_1, variance_1 = _nps_adjusted(*first)
    centre_2, variance_2 = _nps_adjusted(*second)
    return _difference(after - before, centre_2 - centre_1, variance_1 + variance_2, 100.0, 200.0)


def share_difference(first: tuple[float, float], second: tuple[float, float]) -> Difference | None:
    """Share of `second` minus share of `first`, each (k, n), in -1..1.

    Agresti and Caffo (2000), The American Statistician 54:4: one success and one failure are added to each side.
    """
    (k_1, n_1), (k_2, n_2) = first, second
    if n_1 == 0 or n_2 == 0:
        return None
    p_1, p_2 = (k_1 + 1) / (n_1 + 2), (k_2 + 1) / (n_2 + 2)
    variance = p_1 * (1 - p_1) / (n_1 + 2) + p_2 * (1 - p_2) / (n_2 + 2)
    return _difference(k_2 / n_2 - k_1 / n_1, p_2 - p_1, variance, 1.0, 1.0)


def mean_difference(
    first: tuple[float, float, float], second: tuple[float, float, float], lowest: float, highest: float
) -> Difference | None:
    """Mean of `second` minus mean of `first`, each (sum, sum of squares, n), with the adjustment of `mean_interval`.

    In the unit of the scale `lowest`..`highest`. None when a side has no answers.
    """
    (sum_1, _, n_1), (sum_2, _, n_2) = first, second
    if n_1 == 0 or n_2 == 0:
        return None
    centre_1, variance_1 = _mean_adjusted(*first, lowest, highest)
    centre_2, variance_2 = _mean_adjusted(*second, lowest, highest)
    raw = sum_2 / n_2 - sum_1 / n_1
    return _difference(raw, centre_2 - centre_1, variance_1 + variance_2, 1.0, highest - lowest)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (q-values) in the order given: those at or below 0.05 keep the false discovery rate at 5 %.

    Benjamini and Hochberg (1995), JRSS B 57:1, the step-up procedure.
    """
    count = len(p_values)
    adjusted = [0.0] * count
    smallest = 1.0
    for rank, index in sorted(enumerate(sorted(range(count), key=p_values.__getitem__), 1), reverse=True):
        smallest = min(smallest, p_values[index] * count / rank)
        adjusted[index] = smallest
    return adjusted
