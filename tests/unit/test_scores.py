"""The formulas of scores: known values, limits, coverage by simulation, and agreement of intervals with p-values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from schemas.scores import (
    Z95,
    benjamini_hochberg,
    mean_difference,
    mean_interval,
    nps_difference,
    nps_interval,
    nps_score,
    share_difference,
    wilson_interval,
)

SIZES = (20, 30, 50, 100, 300, 1000)
DRAWS = 4000
COVERAGE = (0.93 - 0.01, 0.97 + 0.01)
"""93-97 %, and a point for the luck of 4000 draws (three standard errors at 95 % are 1.03 points)."""


def test_no_answers_have_no_score() -> None:
    assert nps_score(0, 0, 0) is None
    assert nps_interval(0, 0, 0) is None
    assert wilson_interval(0, 0) is None
    assert mean_interval(0, 0, 0, 1, 5) is None
    assert nps_difference((0, 0, 0), (1, 0, 1)) is None
    assert share_difference((1, 1), (0, 0)) is None
    assert mean_difference((0, 0, 0), (5, 25, 1), 1, 5) is None


def test_nps_by_hand() -> None:
    # 60 promoters, 15 detractors of 100: (60.75 - 15.75) / 103 and its Wald interval.
    low, high = nps_interval(60, 15, 100) or (0.0, 0.0)
    centre = 45 / 103
    error = ((76.5 / 103 - centre**2) / 103) ** 0.5
    assert nps_score(60, 15, 100) == 45
    assert low == pytest.approx(100 * (centre - Z95 * error), abs=1e-12)
    assert high == pytest.approx(100 * (centre + Z95 * error), abs=1e-12)


@given(n=st.integers(1, 10_000), data=st.data())
def test_wilson_is_scipys(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    expected = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert wilson_interval(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(promoters=st.integers(0, 500), passives=st.integers(0, 500), detractors=st.integers(0, 500))
def test_nps_is_the_mean_of_a_three_point_scale(promoters: int, passives: int, detractors: int) -> None:
    n = promoters + passives + detractors
    if n > 1:
        low, high = mean_interval(promoters - detractors, promoters + detractors, n, -1, 1) or (0.0, 0.0)
        assert nps_interval(promoters, detractors, n) == pytest.approx((100 * low, 100 * high), abs=1e-9)


def test_one_answer_gives_the_whole_scale() -> None:
    assert mean_interval(5, 25, 1, 1, 5) == (1, 5)


@pytest.mark.parametrize(
    ("promoter", "detractor"),
    [(0.5, 0.2), (0.3, 0.3), (0.6, 0.1), (0.2, 0.5), (0.4, 0.4), (0.7, 0.05), (0.9, 0.03)],
)
@pytest.mark.parametrize("n", SIZES)
def test_nps_interval_covers_the_truth(promoter: float, detractor: float, n: int) -> None:
    rng = np.random.default_rng(2016)
    draws = rng.multinomial(n, [promoter, 1 - promoter - detractor, detractor], DRAWS)
    covered = [_holds(nps_interval(a, b, n), 100 * (promoter - detractor)) for a, _, b in draws.tolist()]
    assert COVERAGE[0] <= np.mean(covered) <= COVERAGE[1]


@pytest.mark.parametrize("n", SIZES)
def test_wilson_interval_covers_the_truth_over_all_shares(n: int) -> None:
    # For one share and a small n the coverage of any interval of counts jumps with the lattice (92.2 % at 0.02 of 50,
    # 97.5 % at 0.3 of 20); over the shares it is what it says.
    rng = np.random.default_rng(1927)
    truths = rng.uniform(0.05, 0.95, DRAWS)
    covered = [
        _holds(wilson_interval(k, n), p) for k, p in zip(rng.binomial(n, truths).tolist(), truths.tolist(), strict=True)
    ]
    assert COVERAGE[0] <= np.mean(covered) <= COVERAGE[1]


@pytest.mark.parametrize(
    "shares",
    [
        (0.1, 0.1, 0.2, 0.3, 0.3),
        (0.05, 0.05, 0.1, 0.25, 0.55),
        (0.4, 0.1, 0.1, 0.1, 0.3),
        (0.02, 0.02, 0.06, 0.2, 0.7),
        (0.01, 0.01, 0.02, 0.06, 0.9),  # the t interval covers 72 % here at n = 20
        (0.7, 0.2, 0.05, 0.03, 0.02),
    ],
)
@pytest.mark.parametrize("n", SIZES)
def test_mean_interval_covers_the_truth(shares: tuple[float, ...], n: int) -> None:
    rng = np.random.default_rng(5)
    stars = np.arange(1, 6)
    draws = rng.multinomial(n, shares, DRAWS)
    sums, squares = (draws @ stars).tolist(), (draws @ stars**2).tolist()
    truth = float(stars @ np.array(shares))
    covered = [_holds(mean_interval(s, q, n, 1, 5), truth) for s, q in zip(sums, squares, strict=True)]
    assert COVERAGE[0] <= np.mean(covered) <= COVERAGE[1]


@pytest.mark.parametrize("n", [20, 100, 1000])
def test_differences_cover_the_truth_and_cry_wolf_one_time_in_twenty(n: int) -> None:
    rng = np.random.default_rng(7)
    first = rng.multinomial(n, [0.5, 0.3, 0.2], DRAWS).tolist()
    second = rng.multinomial(2 * n, [0.4, 0.3, 0.3], DRAWS).tolist()
    same = rng.multinomial(2 * n, [0.5, 0.3, 0.2], DRAWS).tolist()
    found = [nps_difference((a, c, n), (x, z, 2 * n)) for (a, _, c), (x, _, z) in zip(first, second, strict=True)]
    covered = [d is not None and d.ci_low <= -20 <= d.ci_high for d in found]
    assert COVERAGE[0] <= np.mean(covered) <= COVERAGE[1]
    alarms = [
        (nps_difference((a, c, n), (x, z, 2 * n)) or pytest.fail("no difference")).p_value < 0.05
        for (a, _, c), (x, _, z) in zip(first, same, strict=True)
    ]
    assert 0.03 <= np.mean(alarms) <= 0.07


COUNTS = st.tuples(st.integers(0, 400), st.integers(0, 400), st.integers(0, 400)).filter(lambda c: sum(c) > 0)


@given(first=COUNTS, second=COUNTS)
def test_an_interval_leaves_out_zero_exactly_when_p_is_below_five_percent(
    first: tuple[int, int, int], second: tuple[int, int, int]
) -> None:
    (a, b, c), (x, y, z) = first, second
    for found in (
        nps_difference((a, b, sum(first)), (x, y, sum(second))),
        share_difference((a, sum(first)), (x, sum(second))),
        mean_difference(
            (a + 2 * b + 3 * c, a + 4 * b + 9 * c, sum(first)),
            (x + 2 * y + 3 * z, x + 4 * y + 9 * z, sum(second)),
            1,
            3,
        ),
    ):
        assert found is not None
        assert 0 <= found.p_value <= 1
        if abs(found.p_value - 0.05) > 1e-9:
            assert (found.ci_low > 0 or found.ci_high < 0) == (found.p_value < 0.05)


@given(first=COUNTS, second=COUNTS)
def test_a_difference_turned_round_changes_its_sign(first: tuple[int, int, int], second: tuple[int, int, int]) -> None:
    one = nps_difference((first[0], first[1], sum(first)), (second[0], second[1], sum(second)))
    other = nps_difference((second[0], second[1], sum(second)), (first[0], first[1], sum(first)))
    assert one is not None
    assert other is not None
    assert one.difference == pytest.approx(-other.difference)
    assert (one.ci_low, one.ci_high) == pytest.approx((-other.ci_high, -other.ci_low))
    assert one.p_value == pytest.approx(other.p_value)


@given(st.lists(st.floats(0, 1), max_size=50))
def test_benjamini_hochberg_is_scipys(p_values: list[float]) -> None:
    expected = stats.false_discovery_control(p_values).tolist() if p_values else []
    assert benjamini_hochberg(p_values) == pytest.approx(expected, abs=1e-12)


def _holds(interval: tuple[float, float] | None, truth: float) -> bool:
    assert interval is not None
    return interval[0] <= truth <= interval[1]
