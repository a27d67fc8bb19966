"""Probabilities become a label, a score that agrees with it, and a confidence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.sentiment import BANDS, decide
from schemas.labels import Sentiment


@pytest.mark.parametrize(
    ("probabilities", "label"),
    [
        ([0.9, 0.1, 0, 0, 0, 0], Sentiment.VERY_NEGATIVE),
        ([0.3, 0.3, 0.35, 0.05, 0, 0], Sentiment.VERY_NEGATIVE),
        ([0.2, 0.4, 0.35, 0.05, 0, 0], Sentiment.NEGATIVE),
        ([0, 0, 0.8, 0.2, 0, 0], Sentiment.NEUTRAL),
        ([0, 0, 0.2, 0.5, 0.3, 0], Sentiment.POSITIVE),
        ([0, 0, 0, 0.1, 0.9, 0], Sentiment.VERY_POSITIVE),
        ([0.2, 0.1, 0, 0.1, 0.1, 0.5], Sentiment.MIXED),
        ([0, 0, 0, 0.2, 0.8], Sentiment.VERY_POSITIVE),
    ],
)
def test_direction_first_strength_second(probabilities: list[float], label: Sentiment) -> None:
    assert decide(probabilities).sentiment is label


@given(st.lists(st.floats(0.001, 1.0), min_size=5, max_size=6))
def test_the_score_always_agrees_with_the_label(weights: list[float]) -> None:
    total = sum(weights)
    verdict = decide([weight / total for weight in weights])
    low, high = BANDS[verdict.sentiment]
    assert low <= verdict.score <= high
    assert 0.0 <= verdict.confidence <= 1.0
