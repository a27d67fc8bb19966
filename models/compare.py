"""Whether one labeler is really better than another: paired bootstrap over the same comments.

Each resample draws comments with replacement and compares both labelers on the very same ones; the share of resamples
in which B does not beat A is the one-sided p-value (Koehn 2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluate import THREE, macro_f1


@dataclass(frozen=True)
class Comparison:
    """Macro-F1 of A and of B, their difference B - A with its 95 % interval, and p (two-sided, 0..1)."""

    a: float
    b: float
    difference: float
    low: float
    high: float
    p_value: float


def _macro(confusion: NDArray[np.int64]) -> float:
    right = np.diag(confusion)
    total = confusion.sum(0) + confusion.sum(1)
    return float(np.mean(2 * right[total > 0] / total[total > 0]))


def paired_bootstrap(
    truth: Sequence[str], a: Sequence[str], b: Sequence[str], *, resamples: int = 2000, seed: int = 0
) -> Comparison:
    """Compares the answers `a` and `b` to the same `truth` (three classes each)."""
    code = {name: at for at, name in enumerate(THREE)}
    true, first, second = (np.array([code[x] for x in column]) for column in (truth, a, b))
    generator = np.random.default_rng(seed)
    differences = np.empty(resamples)
    for at in range(resamples):
        rows = generator.integers(0, len(true), len(true))
        tables = [np.bincount(true[rows] * 3 + said[rows], minlength=9).reshape(3, 3) for said in (first, second)]
        differences[at] = _macro(tables[1]) - _macro(tables[0])
    low, high = np.percentile(differences, [2.5, 97.5])
    tail = min(float((differences <= 0).mean()), float((differences >= 0).mean()))
    score_a, score_b = macro_f1(truth, a, THREE), macro_f1(truth, b, THREE)
    return Comparison(score_a, score_b, score_b - score_a, float(low), float(high), min(1.0, 2 * tail))
