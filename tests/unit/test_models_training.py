"""Targets, losses, calibration: small numbers worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models import taxonomy
from models.training import data
from models.training.calibrate import fit_temperature, fit_thresholds
from models.training.learn import Targets, set_loss
from models.training.network import Lower, batches


def test_a_set_of_classes_costs_only_what_lies_outside_it() -> None:
    logits = torch.tensor([[4.0, 4.0, 0.0, 0.0, 0.0, 0.0]])
    either = set_loss(logits, torch.tensor([[1.0, 1, 0, 0, 0, 0]]))
    one = set_loss(logits, torch.tensor([[1.0, 0, 0, 0, 0, 0]]))
    wrong = set_loss(logits, torch.tensor([[0, 0, 1.0, 0, 0, 0]]))
    assert either < one < wrong
    assert set_loss(logits, torch.zeros(1, 6)) == 0


def test_targets_tell_absent_from_untold() -> None:
    examples = [
        data.Example("x", data.CLASS_SETS["mixed"], {"a.b": data.CLASS_SETS["any_negative"]}, exhaustive=True),
        data.Example("y", frozenset(), {"a.b": frozenset({3})}, absent=frozenset({"a.c"})),
    ]
    targets = Targets.of(examples, ["a.b", "a.c", "d.e"])
    assert targets.present.tolist() == [[1, 0, 0], [1, 0, 0]]
    assert targets.told.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert targets.classes.tolist() == [[0, 0, 0, 0, 0, 1], [0] * 6]
    assert targets.levels[0, 0].tolist() == [1, 1, 0, 0, 0]


def test_the_temperature_of_overconfident_logits_is_above_one() -> None:
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 2, 4000)
    said = np.where(generator.random(4000) < 0.75, truth, 1 - truth)
    logits = np.eye(2)[said] * 6.0  # 99.8 % sure and 75 % right
    temperature = fit_temperature(logits, np.eye(2)[truth])
    sure = 1 / (1 + np.exp(-6.0 / temperature))
    assert sure == pytest.approx(0.75, abs=0.03) or temperature > 4


def test_thresholds_of_rare_topics_lean_on_the_common_one() -> None:
    generator = np.random.default_rng(3)
    present = np.zeros((400, 2))
    present[:150, 0] = 1
    present[:2, 1] = 1
    logits = np.where(present > 0, 1.5, -3.0) + generator.normal(0, 0.3, present.shape)
    thresholds = fit_thresholds(logits, present)
    assert all(0.1 <= threshold <= 0.95 for threshold in thresholds)
    assert ((1 / (1 + np.exp(-logits[:, 0])) >= thresholds[0]) == (present[:, 0] > 0)).mean() > 0.98


def test_batches_hold_each_row_once_within_the_budget() -> None:
    generator = np.random.default_rng(5)
    lower = Lower([np.zeros((int(n), 4), np.float16) for n in generator.integers(2, 40, 100)])
    seen = []
    for rows in batches(lower, 128, generator, range(100)):
        assert len(rows) == 1 or len(rows) * max(len(lower.rows[i]) for i in rows) <= 128
        seen += rows
    assert sorted(seen) == list(range(100))


def test_public_corpora_are_read_as_sets_of_classes(tmp_path: Path) -> None:
    def write(name: str, *rows: dict[str, object]) -> None:
        (tmp_path / name).write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")

    write("uci_sentences.jsonl", {"text": "Works well", "label": "positive"})
    write("mams_acsa_train.jsonl", {"text": "z", "cats": [["food", "positive"], ["service", "negative"]]})
    assert data.uci(tmp_path)[0].classes == {3, 4}
    mixed = data.mams(tmp_path)[0]
    assert mixed.classes == {5}
    assert mixed.mentions == {"food.quality": {3, 4}}
    assert mixed.absent == {"place.comfort", "price.value"}


def test_the_taxonomy_is_training_material_too() -> None:
    phrases = data.taxonomy_phrases(taxonomy.load())
    assert len(phrases) > 400
    assert all(phrase.exhaustive and not phrase.classes for phrase in phrases)


def test_our_own_corpus_fits_the_taxonomy_and_its_halves_are_apart() -> None:
    train, test = data.own_corpus("train"), data.own_corpus("test")
    known = set(taxonomy.load().ids)
    assert {topic for example in [*train, *test] for topic in example.mentions} <= known
    assert len({e.text for e in train} & {e.text for e in test}) <= len(test) // 200
