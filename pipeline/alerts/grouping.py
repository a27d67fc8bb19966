"""One alert for what belongs together: which series explains the others, and what drives the change. Pure.

A spike of late deliveries lifts the complaints about `delivery.delay`, and with them the tenant's negative share, its
NPS, and the share of every channel. The series that explains is the most surprising one (smallest p) among those that
hold most of the tenant's excess of unhappy answers; where none does, the series of all answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.alerts.baseline import Ints
from pipeline.alerts.detector import Outcome
from pipeline.alerts.rows import ALL, TOPIC, Key, Rows
from pipeline.alerts.stats import Floats, upper_tail
from schemas.alerts import Driver, Measure

EXPLAINS = 0.7
"""Share of the tenant's excess that a series must hold to explain it."""
PART = 0.8
"""A series of nearly all answers explains nothing, but for a topic, of which all answers are the denominator."""
_DRIVERS = 8
_LEAST_COUNT = 4
_NOT_A_CAUSE = ("language",)  # a driver worth showing, but nobody's fault


@dataclass(frozen=True)
class Reading:
    """The numbers of one row in one window."""

    key: Key
    window: int  # seconds
    unhappy: float
    n: float
    usual: float  # share
    worth: float  # answers that `usual` is worth
    p: float
    q: float


def measure_of(fired: Sequence[Key], p: Floats, rows: Rows) -> Measure:
    """The measure to tell it by: comments before scores, for they say why; among scores the most surprising."""
    measures = {key.measure for key in fired}
    if Measure.NEGATIVE in measures:
        return Measure.NEGATIVE
    return min(fired, key=lambda key: float(p[rows.number[key]])).measure


def explain(fired: Sequence[Key], rows: Rows, outcome: Outcome, k: Floats, n: Floats) -> tuple[Reading, list[Driver]]:
    """The reading of the row that explains the `fired` rows of one tenant, and the drivers of the change.

    `k`, `n` are the (rows, windows) counts that `outcome` was made of.
    """
    baseline = rows.detector.baseline
    measure = measure_of(fired, outcome.p, rows)
    same = [rows.number[key] for key in fired if key.measure is measure]
    lead = min(same, key=lambda row: float(outcome.p[row]))
    place = int(outcome.window[lead]) if outcome.p[lead] < 1 else rows.detector.settings.cold_window
    mean, worth = baseline.mean(outcome.at)
    rho = baseline.rho(worth)
    root = rows.root(rows.keys[lead])
    family = np.array(
        [r for r, key in enumerate(rows.keys) if key.measure is measure and baseline.parent[r] == root], dtype=np.int64
    )
    k_f, n_f, m_f = k[family, place], n[family, place], mean[family, place]
    excess = k_f - n_f * m_f
    p_f = upper_tail(k_f, n_f, m_f, rho[family, place])
    total = float(excess[family == root][0])
    head = _head(rows, family, excess, k_f, n_f, p_f, lead, root)
    at = int(np.flatnonzero(family == head)[0])
    reading = Reading(
        rows.keys[head],
        baseline.settings.windows[place],
        float(k_f[at]),
        float(n_f[at]),
        float(m_f[at]),
        float(worth[head]),
        float(p_f[at]),
        float(min(outcome.q[row] for row in same)),
    )
    drivers = [
        Driver(
            dimension=rows.keys[row].dimension,
            value=rows.keys[row].value,
            contribution=round(100 * float(excess[i]) / total, 1),
            unhappy=float(k_f[i]),
            n=float(n_f[i]),
            usual=round(100 * float(m_f[i]), 1),
        )
        for i, row in enumerate(family)
        if row != root and total > 0 and excess[i] > 0.1 * total and k_f[i] >= 2
    ]
    drivers.sort(key=lambda driver: -driver.contribution)
    return reading, drivers[:_DRIVERS]


def _head(rows: Rows, family: Ints, excess: Floats, k: Floats, n: Floats, p: Floats, lead: int, root: int) -> int:
    """The row that explains: see the head of this file."""
    causes = np.array([rows.keys[int(row)].dimension not in (ALL, *_NOT_A_CAUSE) for row in family])
    topics = np.array([rows.keys[int(row)].dimension == TOPIC for row in family])
    total, all_n, of_root = (float(one[family == root][0]) for one in (excess, n, p))
    able = causes & (topics | (n < PART * all_n)) & (excess >= EXPLAINS * total) & (k >= _LEAST_COUNT)
    able &= (p <= min(of_root, 0.01)) & (total > 0)
    if able.any():
        return int(family[np.where(able, p, np.inf).argmin()])
    # Nothing holds most of it: all answers, unless the excess of all is too small for the row that fired.
    lead_excess = float(excess[family == lead][0])
    return root if total > 0 and lead_excess <= total else lead
