"""Tail probabilities against scipy's own, which is exact and far too slow for a tick."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import betabinom, binom

from pipeline.alerts.stats import benjamini_hochberg, silence, upper_tail
from schemas.scores import benjamini_hochberg as reference


@pytest.mark.parametrize(("mean", "rho"), [(0.05, 0.01), (0.15, 0.03), (0.3, 0.1), (0.15, 0.002)])
def test_small_counts_are_exact(mean: float, rho: float) -> None:
    size = (1 - rho) / rho
    n = np.array([4, 7, 20, 60, 200])
    k = np.ceil(n * mean + 3 * np.sqrt(n * mean * (1 - mean) * (1 + (n - 1) * rho))).clip(max=n)
    expected = betabinom.sf(k - 1, n, mean * size, (1 - mean) * size)
    assert upper_tail(k, n, np.full(5, mean), np.full(5, rho)) == pytest.approx(expected, rel=1e-5)


def test_without_correlation_it_is_the_binomial() -> None:
    k, n = np.array([9.0, 30.0]), np.array([20.0, 100.0])
    assert upper_tail(k, n, np.full(2, 0.15), np.zeros(2)) == pytest.approx(binom.sf(k - 1, n, 0.15), rel=2e-3)


@pytest.mark.parametrize("n", [250, 1000, 20_000])
def test_large_counts_are_within_a_small_factor(n: int) -> None:
    mean, rho = 0.12, 0.004
    size = (1 - rho) / rho
    for deviations in (2, 4, 5):
        k = round(n * mean + deviations * (n * mean * (1 - mean) * (1 + (n - 1) * rho)) ** 0.5)
        found = upper_tail([k], [n], [mean], [rho])[0]
        assert 0.4 < found / betabinom.sf(k - 1, n, mean * size, (1 - mean) * size) < 2.5


def test_halves_lie_between_their_neighbours() -> None:
    n, mean, rho = np.full(3, 40.0), np.full(3, 0.2), np.full(3, 0.02)
    below, half, above = upper_tail([17.0, 17.5, 18.0], n, mean, rho)
    assert above < half < below


def test_nobody_asks_how_usual_the_usual_is() -> None:
    assert upper_tail([0, 2, 0], [0, 40, 10], [0.1, 0.1, 0.1], [0.01] * 3).tolist() == [1, 1, 1]


def test_corrections_agree_with_the_reference() -> None:
    p = np.random.default_rng(5).random(200) ** 3
    assert benjamini_hochberg(p) == pytest.approx(reference(p.tolist()))


def test_silence_is_likely_where_little_is_expected() -> None:
    found = silence(np.array([0.0, 1.0, 50.0]), 5.0)
    assert found[0] == 1
    assert found[1] > 0.3
    assert found[2] < 1e-4
