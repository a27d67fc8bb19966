"""The measures themselves, on numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluate import calibration_error, macro_f1, measure, three_classes
from models.report import render
from schemas.labels import Labels, Sentiment, TopicMention


def said(sentiment: Sentiment, score: float, *topics: TopicMention, confidence: float = 0.9) -> Labels:
    return Labels(
        language="en",
        sentiment=sentiment,
        sentiment_score=score,
        confidence=confidence,
        topics=topics,
        model_version="t",
    )


def test_macro_f1_is_the_mean_over_classes() -> None:
    assert macro_f1(["a", "a", "b"], ["a", "b", "b"], ("a", "b", "c")) == pytest.approx(2 / 3)


def test_calibration_error() -> None:
    assert calibration_error(np.array([0.75] * 4), np.array([1, 1, 1, 0])) == pytest.approx(0.0)
    assert calibration_error(np.array([0.95] * 4), np.array([0, 0, 1, 1])) == pytest.approx(0.45)


@pytest.mark.parametrize(("sentiment", "score", "expected"), [
    (Sentiment.VERY_NEGATIVE, -0.9, "negative"), (Sentiment.MIXED, 0.0, "neutral"), (Sentiment.MIXED, -0.2, "negative"),
    (Sentiment.MIXED, 0.25, "positive"), (Sentiment.UNKNOWN, 0.0, "neutral"),
])  # fmt: skip
def test_six_classes_as_three(sentiment: Sentiment, score: float, expected: str) -> None:
    assert three_classes(said(sentiment, score)) == expected


def test_a_report_of_our_own_corpus() -> None:
    bad = TopicMention(topic="delivery.delay", sentiment=Sentiment.NEGATIVE, sentiment_score=-0.5, confidence=0.8)
    rows = [
        {"text": "x", "sentiment": "negative", "topics": [{"topic": "delivery.delay", "sentiment": "very_negative"}]},
        {"text": "y", "sentiment": "neutral", "topics": []},
    ]
    report = measure("f", rows, [said(Sentiment.VERY_NEGATIVE, -0.8, bad), said(Sentiment.NEUTRAL, 0.0, bad)])
    assert report.six_accuracy == 0.5
    assert report.within_one_level == 1.0
    assert report.topics_macro_f1 == pytest.approx(2 / 3)
    assert report.topic_sentiment_accuracy == 1.0
    assert report.macro_f1 is None


def test_the_report_is_one_page_that_escapes_what_people_wrote() -> None:
    rows = [{"text": "<script>alert(1)</script>", "label": "positive", "lang": "en"}]
    page = render([measure("f", rows, [said(Sentiment.NEGATIVE, -0.5)])], "model <1>")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert page.count("<svg") == 2
    assert "http" not in page
