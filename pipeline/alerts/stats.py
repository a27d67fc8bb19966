"""Tail probabilities of overdispersed counts, for thousands of series at once.

Takes numpy arrays from `pipeline.alerts.detector`; pure functions. `rho` is the intraclass correlation of the
beta-binomial: Var(K) = n m (1 - m) (1 + (n - 1) rho); 0 is the binomial (Johnson, Kemp, Kotz: Univariate Discrete
Distributions, 6.2.2, with a = m (1 - rho) / rho and b = (1 - m) (1 - rho) / rho).

>>> float(upper_tail([4.0], [4.0], [0.5], [0.0])[0])  # four of four, a fair coin
0.0625
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import betaincc, betaln, gammaln

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

EXACT_UP_TO = 200
"""Above so many answers the moment-matched beta is used. It is within a factor of 2.5 of p there (tests/unit)."""
EXACT_FROM = 2.0
"""And below so many standard deviations: what is near the usual needs no exact p."""
_LEAST_RHO = 1e-6  # below it the beta-binomial is a binomial to 1e-3 of p, and its parameters stay finite
_LEAST_MEAN = 1e-4


def upper_tail(k: npt.ArrayLike, n: npt.ArrayLike, mean: npt.ArrayLike, rho: npt.ArrayLike) -> Floats:
    """P(K >= k) of beta-binomials of `n` answers with mean share `mean` and correlation `rho`.

    All four are arrays of one shape. `k` may hold halves (a passive is half unhappy): such rows, and rows of more than
    EXACT_UP_TO answers, are answered by a beta distribution of the same mean and variance with half a step of
    continuity. Where k is not above what is expected the answer is 1: nobody asks how usual the usual is.
    """
    k, n, mean, rho = (np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in (k, n, mean, rho))
    mean = np.clip(mean, _LEAST_MEAN, 1 - _LEAST_MEAN)
    rho = np.clip(rho, _LEAST_RHO, 0.9)
    p = np.ones(k.shape)
    n = np.maximum(n, 0.0)
    above = (n > 0) & (k > n * mean)
    whole = k == np.floor(k)
    far = k - n * mean > EXACT_FROM * np.sqrt(n * mean * (1 - mean) * (1 + (n - 1) * rho))
    exact = above & whole & far & (n <= EXACT_UP_TO)
    if exact.any():
        p[exact] = _exact(k[exact], n[exact], mean[exact], rho[exact])
    rest = above & ~exact
    if rest.any():
        p[rest] = _matched_beta(k[rest], n[rest], mean[rest], rho[rest], np.where(whole[rest], 0.5, 0.25))
    return p


def _exact(k: Floats, n: Floats, mean: Floats, rho: Floats) -> Floats:
    """The sum of the tail's terms, each from the one before; the first through logarithms."""
    size = (1 - rho) / rho
    a, b = mean * size, (1 - mean) * size
    log_first = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + betaln(k + a, n - k + b) - betaln(a, b)
    term = np.ones(k.shape)
    total = np.ones(k.shape)
    j = k.copy()
    for step in range(EXACT_UP_TO):
        left = n - j  # the term after j = n is 0
        term = term * (left * (j + a) / ((j + 1) * (np.maximum(left - 1, 0) + b)))
        if step % 8 == 7 and not (term > 1e-6 * total).any():
            break
        total += term
        j += 1
    p: Floats = np.minimum(1.0, np.exp(log_first + np.log(total)))
    return p


def _matched_beta(k: Floats, n: Floats, mean: Floats, rho: Floats, half_step: Floats) -> Floats:
    size = np.maximum(n / (1 + (n - 1) * rho) - 1, 1e-3)  # a + b + 1 = m (1 - m) / Var(K / n)
    tail: Floats = np.asarray(
        betaincc(mean * size, (1 - mean) * size, np.clip((k - half_step) / n, 0.0, 1.0)), dtype=np.float64
    )
    return tail


def benjamini_hochberg(p: Floats) -> Floats:
    """Adjusted p-values (Benjamini and Hochberg 1995) of an array, in its order. As `schemas.scores`, vectorised."""
    count = len(p)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * count / np.arange(1, count + 1)
    adjusted = np.empty(count)
    adjusted[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return np.minimum(adjusted, 1.0)


def silence(expected: Floats, shape: float) -> Floats:
    """P(no answer at all) where `expected` are, if counts are negative binomial of that shape (gamma-Poisson)."""
    result: Floats = (1 + np.maximum(expected, 0.0) / shape) ** -shape
    return result
