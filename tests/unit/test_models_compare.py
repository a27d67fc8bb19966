"""Two labelers on the same comments: the same is no difference, a clear one is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.compare import compare, paired_bootstrap, settings_of
from models.errors import ModelError
from models.labelled import THREE, Labelled
from schemas.labels import Labels, Sentiment, TopicMention


def test_the_same_answers_differ_by_nothing() -> None:
    truth = list(THREE) * 40
    result = paired_bootstrap(truth, truth, truth, resamples=200)
    assert result.difference == result.low == result.high == 0
    assert result.p_value == 1.0


def test_a_clear_difference_is_significant_and_a_small_one_is_not() -> None:
    generator = np.random.default_rng(1)
    truth = list(generator.choice(THREE, 600))

    def wrong(share: float) -> list[str]:
        return [str(generator.choice(THREE)) if generator.random() < share else t for t in truth]

    bad, good, good_too = wrong(0.5), wrong(0.1), wrong(0.1)
    clear = paired_bootstrap(truth, bad, good, resamples=400)
    assert clear.p_value < 0.01
    assert clear.low > 0.1
    assert clear.difference == pytest.approx(clear.b - clear.a)
    assert paired_bootstrap(truth, good, good_too, resamples=400).p_value > 0.05
    assert "No difference" in paired_bootstrap(truth, good, good_too, resamples=400).conclusion()
    assert clear.conclusion("old", "new").startswith("new is better than old")
    assert clear.agreement == pytest.approx(np.mean([a == b for a, b in zip(bad, good, strict=True)]))


def labels(*topics: str) -> Labels:
    mentions = tuple(
        TopicMention(topic=topic, sentiment=Sentiment.NEUTRAL, sentiment_score=0, confidence=1) for topic in topics
    )
    return Labels(language="en", sentiment=Sentiment.NEUTRAL, sentiment_score=0, confidence=1, topics=mentions,
                  model_version="t")  # fmt: skip


def test_topics_are_compared_where_they_are_told() -> None:
    comments = [Labelled.of({"text": "x", "topics": "a.b" if at % 2 else ""}) for at in range(60)]
    found = compare(comments, [labels("other")] * 60, [labels("a.b")] * 60)
    assert [one.measure for one in found] == ["topics macro-F1"]
    assert found[0].a == 0.0
    assert found[0].b == pytest.approx(2 * 30 / 90)
    assert found[0].p_value < 0.01
    assert found[0].agreement == 0.0
    with pytest.raises(ModelError, match="nothing to compare"):
        compare([Labelled.of({"text": "x", "label": "mixed"})], [labels()], [labels()])


def test_a_word_of_the_command_line_says_which_model(tmp_path: Path) -> None:
    (tmp_path / "heads.json").touch()
    assert settings_of("default").heads is None
    assert settings_of("default:fp32").precision == "fp32"
    assert settings_of(f"{tmp_path}:int8").heads == tmp_path
    assert settings_of("owner/model").sentiment == "owner/model"
    named = settings_of("precision=fp32,taxonomy=my.yaml")
    assert (named.precision, str(named.taxonomy)) == ("fp32", "my.yaml")
    with pytest.raises(ModelError, match="no setting precison"):
        settings_of("precison=fp32")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="neither heads"):
        settings_of(str(tmp_path / "empty"))
