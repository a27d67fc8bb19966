"""Heads are kept and found again; what does not fit is refused with the file's name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from models import heads
from models.errors import ModelError

WIDTH = 32
TOPICS = ["a.b", "a.c", "d.e"]


def card(**changes: object) -> heads.HeadsCard:
    fields = {
        "name": "t",
        "encoder": "e",
        "width": WIDTH,
        "topics": TOPICS,
        "thresholds": [0.5] * 3,
        "temperature": 1.0,
    }
    return heads.HeadsCard.model_validate(fields | changes)


def test_shapes_and_padding_does_not_matter() -> None:
    torch.manual_seed(1)
    network = heads.Heads(WIDTH, 3).eval()
    hidden = torch.randn(2, 5, WIDTH)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    scores = network(hidden, mask)
    assert scores.sentiment.shape == (2, 6)
    assert scores.topics.shape == (2, 3)
    assert scores.topic_sentiment.shape == (2, 3, 5)
    alone = network(hidden[1:, :2], mask[1:, :2])
    assert torch.allclose(alone.sentiment[0], scores.sentiment[1], atol=1e-5)
    assert torch.allclose(alone.topics[0], scores.topics[1], atol=1e-5)


def test_saved_heads_come_back(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = heads.Heads(WIDTH, 3)
    heads.save(tmp_path, network, card())
    again, kept = heads.load(tmp_path)
    assert kept == card()
    for before, after in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.allclose(before, after, atol=2e-3)


def test_encoder_tensors_are_packed_to_eight_bits_and_put_back(tmp_path: Path) -> None:
    torch.manual_seed(1)
    trained, plain = nn.Linear(WIDTH, 8), nn.Linear(WIDTH, 8)
    heads.save(tmp_path, heads.Heads(WIDTH, 3), card(), dict(trained.state_dict()))
    heads.apply_to_encoder(tmp_path, plain)
    assert torch.allclose(plain.weight, trained.weight, atol=float(trained.weight.detach().abs().max()) / 127)
    assert (tmp_path / heads.ENCODER_WEIGHTS).stat().st_size < 8 * WIDTH * 4


def test_the_fingerprint_changes_with_the_weights(tmp_path: Path) -> None:
    heads.save(tmp_path, heads.Heads(WIDTH, 3), card())
    before = heads.fingerprint(tmp_path)
    heads.save(tmp_path, heads.Heads(WIDTH, 3), card(temperature=2.0))
    assert heads.fingerprint(tmp_path) != before


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read"):
        heads.load(tmp_path / "nothing")
    heads.save(tmp_path, heads.Heads(WIDTH, 3), card(thresholds=[0.5]))
    with pytest.raises(ModelError, match="1 thresholds for 3 topics"):
        heads.load(tmp_path)
    heads.save(tmp_path, heads.Heads(WIDTH, 3), card(width=16))
    with pytest.raises(ModelError, match="cannot be used"):
        heads.load(tmp_path)
    heads.save(tmp_path, heads.Heads(WIDTH, 3), card(), {"weight": torch.zeros(3, 3)})
    with pytest.raises(ModelError, match="does not fit"):
        heads.apply_to_encoder(tmp_path, nn.Linear(WIDTH, 8))


def test_the_shipped_heads_know_every_topic_of_the_shipped_taxonomy() -> None:
    from models import taxonomy

    assert heads.load()[1].topics == taxonomy.load().ids


def test_a_comment_of_no_known_topic_is_judged_more_modestly() -> None:
    topics = torch.tensor([[9.0, -9.0, -9.0], [-9.0, -9.0, -9.0]])
    both = heads.temperatures(topics, card(temperature=2.0, sure_temperature=1.0))
    assert both.flatten().tolist() == pytest.approx([1.0, 2.0], abs=0.01)
    assert heads.temperatures(topics, card(temperature=2.0)).flatten().tolist() == [2.0, 2.0]
    told = heads.probabilities(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), both)
    assert told[0, 0] > told[1, 0] > 0.5
