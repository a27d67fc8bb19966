"""Scales and bands: every score of every metric in the band that docs/definitions.md gives it, and nothing else."""

from __future__ import annotations

import pytest

from schemas.scales import SCALES, Band, Metric, _scale, band, scale

EXPECTED: list[tuple[str, str, range, dict[Band, set[int]]]] = [
    ("nps", "0-10", range(11), {Band.DETRACTOR: set(range(7)), Band.PASSIVE: {7, 8}, Band.PROMOTER: {9, 10}}),
    ("csat", "1-5", range(1, 6), {Band.UNSATISFIED: {1, 2, 3}, Band.SATISFIED: {4, 5}}),
    ("csat", "1-3", range(1, 4), {Band.UNSATISFIED: {1, 2}, Band.SATISFIED: {3}}),
    ("csat", "0-1", range(2), {Band.UNSATISFIED: {0}, Band.SATISFIED: {1}}),
    ("ces", "1-7", range(1, 8), {Band.UNSATISFIED: {1, 2, 3, 4}, Band.SATISFIED: {5, 6, 7}}),
    ("ces", "1-5", range(1, 6), {Band.UNSATISFIED: {3, 4, 5}, Band.SATISFIED: {1, 2}}),
    ("stars", "1-5", range(1, 6), {Band.UNSATISFIED: {1, 2, 3}, Band.SATISFIED: {4, 5}}),
    ("thumbs", "0-1", range(2), {Band.UNSATISFIED: {0}, Band.SATISFIED: {1}}),
]


@pytest.mark.parametrize(("metric", "name", "scores", "bands"), EXPECTED)
def test_each_score_has_the_band_of_the_definitions(
    metric: str, name: str, scores: range, bands: dict[Band, set[int]]
) -> None:
    found = {b: {s for s in range(-2, 13) if band(metric, name, s) is b} for b in bands}
    assert found == bands
    assert [s for s in range(-2, 13) if band(metric, name, s) is not None] == list(scores)


def test_the_expected_scales_are_all_there_are() -> None:
    assert [(s.metric.value, s.name) for s in SCALES] == [(metric, name) for metric, name, _, _ in EXPECTED]


@pytest.mark.parametrize(
    ("metric", "usual"), [("nps", "0-10"), ("csat", "1-5"), ("ces", "1-7"), ("stars", "1-5"), ("thumbs", "0-1")]
)
def test_without_a_name_the_usual_scale_is_meant(metric: str, usual: str) -> None:
    found = scale(metric)
    assert found is not None
    assert found.name == usual


def test_every_metric_has_a_scale() -> None:
    assert {s.metric for s in SCALES} == set(Metric)


@pytest.mark.parametrize("score", [8.5, -1, 11, 1e300, float("nan"), float("inf")])
def test_what_is_no_whole_number_of_the_scale_has_no_band(score: float) -> None:
    assert band("nps", "", score) is None


@pytest.mark.parametrize(("metric", "name"), [("nps", "1-5"), ("happiness", ""), ("", ""), ("NPS", "")])
def test_there_is_no_such_scale(metric: str, name: str) -> None:
    assert scale(metric, name) is None
    assert band(metric, name, 1) is None


@pytest.mark.parametrize("bands", [{"satisfied": (4, 5), "unsatisfied": (1, 2)}, {"satisfied": (1, 6)}])
def test_bands_that_do_not_cover_the_scale_are_refused(bands: dict[str, tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="do not cover it exactly"):
        _scale(Metric.CSAT, 1, 5, "a slip of the pen", **bands)
