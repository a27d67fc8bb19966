"""Fits what turns logits into trustworthy numbers: one temperature, and a threshold a topic. Pure numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logsumexp

Floats = NDArray[Any]
FEWEST = 6  # mentions that a threshold of its own needs; rarer topics lean on the common one


def fit_temperature(logits: Floats, allowed: Floats) -> float:
    """The temperature that makes the allowed classes (0/1, same shape) likeliest (Guo et al. 2017)."""
    known = allowed.sum(1) > 0
    logits, allowed = logits[known], allowed[known]

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        log_p = scaled - logsumexp(scaled, axis=1, keepdims=True)
        return float(-np.mean(logsumexp(np.where(allowed > 0, log_p, -1e4), axis=1)))

    return float(np.exp(minimize_scalar(loss, bounds=(-1.5, 1.5), method="bounded").x))


def fit_thresholds(logits: Floats, present: Floats) -> list[float]:
    """A probability a topic (column) from which it counts as mentioned: best F1, drawn towards the common best."""
    probabilities = expit(logits)
    grid = np.linspace(0.1, 0.95, 35)

    def f1(column_p: Floats, column_y: Floats, threshold: float) -> float:
        chosen = column_p >= threshold
        right = float((chosen & (column_y > 0)).sum())
        return 2 * right / max(float(chosen.sum() + column_y.sum()), 1.0)

    common = float(max(grid, key=lambda t: f1(probabilities.ravel(), present.ravel(), float(t))))
    thresholds = []
    for at in range(present.shape[1]):
        best = max(grid, key=lambda t: (f1(probabilities[:, at], present[:, at], float(t)), -abs(t - common)))
        count = float(present[:, at].sum())
        share = count / (count + 2 * FEWEST)
        thresholds.append(round(share * float(best) + (1 - share) * common, 3))
    return thresholds
