"""The shipped taxonomy is complete, and a wrong one is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import taxonomy
from models.errors import ModelError


def test_every_topic_speaks_three_languages() -> None:
    loaded = taxonomy.load()
    assert len(loaded.ids) >= 30
    for topic in loaded.topics:
        for texts in (topic.name, topic.description, topic.examples):
            assert set(texts) == {"en", "pt", "es"}, topic.id
        assert all(len(phrases) >= 3 for phrases in topic.examples.values()), topic.id
        assert topic.parent in loaded.parents


def test_names() -> None:
    loaded = taxonomy.load()
    assert loaded.name("delivery.delay", "pt") == "Entrega atrasada"
    assert loaded.name("delivery", "es") == "Entrega"
    assert loaded.name("other", "pt") == "Outros"
    assert loaded.name("no.such") == "no.such"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("version: 1\ntopics: [", "not valid YAML"),
        ("version: 1\ntopics: []\n", "topics"),
        ("version: 1\nparents: {a: {en: A}}\ntopics:\n- {id: a.b, name: {en: B}, descripton: {en: x}}\n", "topics.0"),
        ("version: 1\ntopics:\n- {id: a.b, name: {en: B}, description: {en: x}}\n", "parent of a.b"),
        (
            "version: 1\nparents: {a: {en: A}}\ntopics:\n" + "- {id: a.b, name: {en: B}, description: {en: x}}\n" * 2,
            "listed twice",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "topics.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=reason) as caught:
        taxonomy.load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no-such\.yaml"):
        taxonomy.load(tmp_path / "no-such.yaml")
