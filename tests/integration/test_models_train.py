"""A quick training run on our own corpus alone: weights that the labeler loads, and a card with figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models import heads
from models.errors import ModelError
from models.labeler import Labeler
from models.settings import ModelSettings
from models.training.network import HEADS
from models.training.settings import TrainSettings
from models.training.train import train, with_former
from schemas.labels import Sentiment


@pytest.mark.slow
def test_quick_training_writes_weights_that_label_and_a_card_that_measures(tmp_path: Path) -> None:
    told: list[str] = []
    train(None, tmp_path / "w", quick=True, tell=told.append)
    assert any(line.startswith("step ") and "to go" in line for line in told)
    labels = Labeler.load(ModelSettings(heads=tmp_path / "w")).label(["Terrible, awful, never again!"])[0]
    assert labels.sentiment in {Sentiment.NEGATIVE, Sentiment.VERY_NEGATIVE}
    card = (tmp_path / "w" / "card.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:en|es|pt), customers \| 20 \| ([\d.]+) \|", card, re.MULTILINE)
    assert len(rows) == 3
    assert sum(map(float, rows)) / 3 > 25  # six classes; a run of a few seconds already beats a guess
    assert heads.load(tmp_path / "w")[1].training["seed"] == 7


def test_earlier_weights_are_averaged_in_by_their_share(tmp_path: Path) -> None:
    learnt = {"0.a.down": torch.ones(1, 2), "0.a.up": torch.full((3, 1), 4.0), HEADS + "x": torch.zeros(1)}
    former = {"encoder.layer.4.a.down": torch.ones(1, 2), "encoder.layer.4.a.up": torch.full((3, 1), 8.0)}
    save_file(former, tmp_path / heads.ENCODER_WEIGHTS)
    found = with_former(learnt, TrainSettings(former=tmp_path, former_share=0.25))
    assert torch.equal(found["0.a.up"] @ found["0.a.down"], torch.full((3, 2), 0.25 * 8 + 0.75 * 4))
    assert HEADS + "x" in found
    assert with_former(learnt, TrainSettings()) == learnt
    with pytest.raises(ModelError, match="not trained here"):
        with_former(learnt, TrainSettings(former=tmp_path, first_layer=5))
    with pytest.raises(ModelError, match="earlier weights"):
        with_former(learnt, TrainSettings(former=tmp_path / "nowhere"))


def test_a_folder_without_the_public_corpora_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"uci_sentences\.jsonl"):
        train(tmp_path, tmp_path / "w", quick=True)
