"""A Hugging Face classifier of the user's own judges sentiment, once its labels are declared."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from models import convert
from models.classifier import SentimentModel
from models.errors import ModelError
from models.labeler import Labeler
from models.settings import ModelSettings
from schemas.labels import Sentiment

LABELS = {"bad": "negative", "good": "positive"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier that always says "good", with the tokenizer of the default encoder."""
    path = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=250_002, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        id2label={0: "bad", 1: "good"}, label2id={"bad": 0, "good": 1},
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    model.classifier.bias.data = torch.tensor([-3.0, 3.0])
    model.save_pretrained(path)
    default = convert.ensure_default_model()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(default / name, path / name)
    return path


def test_undeclared_labels_stop_the_start(folder: Path) -> None:
    with pytest.raises(ModelError, match="good"):
        SentimentModel.load(folder, {"bad": "negative"})
    with pytest.raises(ModelError, match="superb"):
        SentimentModel.load(folder, LABELS | {"good": "superb"})
    with pytest.raises(ModelError, match="no-such"):
        SentimentModel.load(folder / "no-such", LABELS)


def test_the_classifier_judges_and_the_heads_still_find_topics(folder: Path) -> None:
    labeler = Labeler.load(ModelSettings(sentiment=str(folder), sentiment_labels=LABELS))
    answers = labeler.label(["A entrega atrasou três semanas", "bom", ""])
    assert [answer.sentiment for answer in answers] == [Sentiment.POSITIVE, Sentiment.POSITIVE, Sentiment.UNKNOWN]
    assert "delivery.delay" in {mention.topic for mention in answers[0].topics}
    assert str(folder) in labeler.model_version


def test_an_encoder_of_ones_own_needs_only_a_sentiment_model(folder: Path) -> None:
    alone = ModelSettings(encoder=str(convert.ensure_default_model()))
    with pytest.raises(ModelError, match="nothing judges sentiment"):
        Labeler.load(alone)
    labeler = Labeler.load(alone.model_copy(update={"sentiment": str(folder), "sentiment_labels": LABELS}))
    labels = labeler.label(["The app crashes every time I open it, and the battery is dead"])[0]
    assert labels.sentiment is Sentiment.POSITIVE
    assert all(mention.sentiment in (Sentiment.POSITIVE,) for mention in labels.topics)
