"""The measures themselves, on numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluate import calibration_error, macro_f1, measure, three_classes
from models.labelled import LabelError, Labelled
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
    comments = [Labelled.of(row) for row in rows]
    report = measure("f", comments, [said(Sentiment.VERY_NEGATIVE, -0.8, bad), said(Sentiment.NEUTRAL, 0.0, bad)])
    assert report.six_accuracy == 0.5
    assert report.within_one_level == 1.0
    assert report.topics_macro_f1 == pytest.approx(2 / 3)
    assert report.topic_sentiment_accuracy == 1.0
    assert report.macro_f1 == 1.0
    assert report.six_confusion["negative"]["very_negative"] == 1
    topic = report.topics[0]
    assert (topic.topic, topic.mentions, topic.precision, topic.recall) == ("delivery.delay", 1, 0.5, 1.0)


def test_mixed_is_in_no_figure_of_three_classes_and_is_calibrated() -> None:
    comment = Labelled.of({"text": "x", "sentiment": "mixed"})
    report = measure("f", [comment], [said(Sentiment.NEGATIVE, -0.5, confidence=0.8)])
    assert report.macro_f1 is None
    assert report.calibration_error == pytest.approx(0.8)
    assert report.mistakes == [{"text": "x", "label": "mixed", "said": "negative", "confidence": 0.8}]


@pytest.mark.parametrize(("row", "topics"), [
    ({"topics": []}, {}),
    ({"topics": ""}, {}),
    ({"topics": ["a.b", "other"], "topic_sentiments": {"a.b": "mixed"}}, {"a.b": Sentiment.MIXED}),
    ({"topics": "a.b:negative; c.d"}, {"a.b": Sentiment.NEGATIVE, "c.d": None}),
    ({"topics": '[{"topic": "a.b", "sentiment": "positive"}]'}, {"a.b": Sentiment.POSITIVE}),
])  # fmt: skip
def test_topics_are_read_in_each_form(row: dict[str, object], topics: dict[str, Sentiment | None]) -> None:
    assert Labelled.of({"comment": "x", **row}).topics == topics


@pytest.mark.parametrize(("row", "reason"), [
    ({"label": "positive"}, "no `text`"), ({"text": "x"}, "no label"), ({"text": "x", "label": "good"}, "'good'"),
    ({"text": "x", "sentiment": "angry"}, "five|one of"), ({"text": "x", "topics": 3}, "neither a list"),
    ({"text": "x", "topics": [{"name": "a"}]}, "a topic is"), ({"text": "x", "topics": "[1"}, "not valid JSON"),
])  # fmt: skip
def test_a_row_that_is_no_labelled_comment_is_refused_with_the_reason(row: dict[str, object], reason: str) -> None:
    with pytest.raises(LabelError, match=reason):
        Labelled.of(row)


def test_the_report_is_one_page_that_escapes_what_people_wrote() -> None:
    rows = [{"text": "<script>alert(1)</script>", "label": "positive", "lang": "en"}]
    page = render([measure("f", [Labelled.of(row) for row in rows], [said(Sentiment.NEGATIVE, -0.5)])], "model <1>")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert page.count("<svg") == 2
    assert "http" not in page
