"""Comments that fit no topic are gathered, named and accepted into the taxonomy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models import convert, taxonomy
from models.discover import Proposal, accept, discover
from models.encoder import Encoder
from models.errors import ModelError
from schemas.labels import Sentiment

DOGS = [
    "My dog was not allowed in the lobby", "They welcomed our dog with a bowl of water", "No dogs in the garden, sadly",
    "The dog bed in the room was a nice touch", "Our dog loved the hotel", "A dog barked and nobody cared",
    "They charge extra for a dog", "Dogs are welcome on the terrace", "The dog menu made us laugh",
    "We came with a dog",
]  # fmt: skip
PLUGS = [
    "No charger for electric cars", "The electric car charger was broken", "Only one electric charger for all cars",
    "Charging the electric car took all night", "Electric chargers are free, great", "The car charger needs an app",
    "I could not charge my electric car", "Plenty of electric chargers", "The charger for cars was occupied all day",
    "Slow electric car charger",
]  # fmt: skip


def test_two_subjects_become_two_proposals() -> None:
    encoder = Encoder.load(convert.ensure_default_model())
    texts = DOGS + PLUGS
    proposals = discover(encoder, texts, [Sentiment.POSITIVE] * 10 + [Sentiment.NEGATIVE] * 10, smallest=5)
    assert len(proposals) >= 2
    telling = [" ".join(proposal.terms) for proposal in proposals]
    assert any("dog" in words for words in telling)
    assert any("charger" in words or "electric" in words for words in telling)
    assert all(-100 <= proposal.net_sentiment <= 100 for proposal in proposals)
    assert discover(encoder, ["", "..."], [Sentiment.UNKNOWN] * 2) == []


def test_a_proposal_is_accepted_into_the_file(tmp_path: Path) -> None:
    path = tmp_path / "topics.yaml"
    shutil.copy(taxonomy.SHIPPED, path)
    proposal = Proposal(["dog", "dogs welcome"], 10, 0.5, 40.0, DOGS[:5])
    accept(proposal, "pets.welcome", {"en": "Pets: welcome"}, path)
    loaded = taxonomy.load(path)
    assert loaded.ids == [*taxonomy.load().ids, "pets.welcome"]
    assert loaded.name("pets.welcome") == "Pets: welcome"
    assert path.read_text(encoding="utf-8").startswith("# What comments speak of")
    before = path.read_bytes()
    with pytest.raises(ModelError, match="already"):
        accept(proposal, "pets.welcome", {"en": "Pets"}, path)
    with pytest.raises(ModelError, match="cannot be added"):
        accept(proposal, "Bad Id", {"en": "Pets"}, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["topics.yaml"]
