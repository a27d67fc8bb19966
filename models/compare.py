"""Whether one labeler is really better than another: paired bootstrap over the same comments.

Each resample draws comments with replacement and compares both labelers on the very same ones; the share of resamples
in which B does not beat A is the one-sided p-value (Koehn 2004). A figure that adds up over comments before it is
divided (a confusion table, counts a topic) needs only how often each comment was drawn, which is one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.evaluate import macro_f1, three_classes
from models.heads import CARD
from models.labelled import THREE, Labelled
from models.settings import ModelSettings
from schemas.labels import Labels

SEED = 0
RESAMPLES = 2000
SIGNIFICANT = 0.05
_AT_ONCE = 50  # resamples of one matrix product

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """One figure (0..1) of A and of B, the difference B - A with its 95 % interval, and p (two-sided, 0..1).

    `agreement`: share of the comments to which both gave the same answer, right or wrong.
    """

    measure: str
    comments: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    p_value: float
    agreement: float

    def conclusion(self, a: str = "A", b: str = "B") -> str:
        """One plain sentence; `a` and `b` are what the labelers are called."""
        points = f"95 % interval {100 * self.low:+.1f} to {100 * self.high:+.1f} points, p = {self.p_value:.3f}"
        shown = f"{self.measure} {100 * self.b:.1f} against {100 * self.a:.1f}"
        figures = f"{shown} on {self.comments:,} comments ({points})"
        if self.p_value >= SIGNIFICANT:
            return f"No difference between {a} and {b} can be told: {figures}."
        better, worse = (b, a) if self.difference > 0 else (a, b)
        return f"{better} is better than {worse}; {b} has {figures}."


def paired_bootstrap(
    truth: Sequence[str], a: Sequence[str], b: Sequence[str], *, resamples: int = RESAMPLES, seed: int = SEED
) -> Comparison:
    """Macro-F1 over three classes of the answers `a` and `b` to the same `truth`."""
    code = {name: at for at, name in enumerate(THREE)}
    true, first, second = (np.array([code[x] for x in column]) for column in (truth, a, b))
    cells = [np.eye(9)[true * 3 + said] for said in (first, second)]
    agreement = float((first == second).mean())
    found = _bootstrap("macro-F1", cells[0], cells[1], _macro, agreement, resamples, seed)
    assert abs(found.a - macro_f1(truth, a, THREE)) < 1e-9
    return found


def compare(comments: Sequence[Labelled], a: Sequence[Labels], b: Sequence[Labels]) -> list[Comparison]:
    """Sentiment and topics, as far as the comments tell them. Raises ModelError when they tell neither."""
    found = []
    told = [at for at, comment in enumerate(comments) if comment.direction in THREE]
    if told:
        truth = [str(comments[at].direction) for at in told]
        found.append(paired_bootstrap(truth, *([three_classes(answers[at]) for at in told] for answers in (a, b))))
    told = [at for at, comment in enumerate(comments) if comment.topics is not None]
    names = sorted({name for at in told for name in comments[at].topics or ()})
    if names:
        counts = [_topic_counts([comments[at] for at in told], [answers[at] for at in told], names)
                  for answers in (a, b)]  # fmt: skip
        agreement = float(np.mean([_topics_of(a[at]) == _topics_of(b[at]) for at in told]))
        found.append(_bootstrap("topics macro-F1", counts[0], counts[1], _topics_macro, agreement, RESAMPLES, SEED))
    if not found:
        raise ModelError("the comments tell neither negative, neutral or positive, nor a topic: nothing to compare on")
    return found


def settings_of(spec: str) -> ModelSettings:
    """Which labeler a word of the command line means; the rest is as in the environment.

    `default`, a folder of heads, or a Hugging Face sentiment classifier (folder or name, its labels declared in
    VOC_MODEL_SENTIMENT_LABELS); each with `:fp32`, `:int8` or `:bf16` behind it if wanted; or settings by name, as
    `heads=FOLDER,precision=int8,taxonomy=FILE`. Raises ModelError.
    """
    values: dict[str, Any] = {}
    name, _, precision = spec.rpartition(":")
    if name and precision in ("fp32", "int8", "bf16"):
        values["precision"] = precision
    else:
        name = spec
    if "=" in name:
        pairs = [part.partition("=") for part in name.split(",")]
        unknown = [key for key, _, _ in pairs if key not in ModelSettings.model_fields]
        if unknown:
            raise ModelError(f"{spec}: no setting {unknown[0]}; there are {', '.join(ModelSettings.model_fields)}")
        values |= {key: value for key, _, value in pairs}
    elif (Path(name) / CARD).is_file():
        values["heads"] = name
    elif Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        raise ModelError(f"{name} holds neither heads ({CARD}) nor a model (config.json)")
    elif name != "default":
        values["sentiment"] = name
    return ModelSettings(**values)


def _bootstrap(
    measure: str, a: Floats, b: Floats, score: Callable[[Floats], Floats], agreement: float, resamples: int, seed: int
) -> Comparison:
    """`a` and `b` are (comments, parts), what each comment adds to the parts that `score` makes a figure of."""
    generator = np.random.default_rng(seed)
    count = len(a)
    differences = np.empty(resamples)
    for start in range(0, resamples, _AT_ONCE):
        size = min(_AT_ONCE, resamples - start)
        drawn = generator.multinomial(count, np.full(count, 1 / count), size).astype(float)
        differences[start : start + size] = score(drawn @ b) - score(drawn @ a)
    low, high = np.percentile(differences, [2.5, 97.5])
    tail = min(float((differences <= 0).mean()), float((differences >= 0).mean()))
    own = [float(score(parts.sum(0, keepdims=True))[0]) for parts in (a, b)]
    return Comparison(
        measure, count, own[0], own[1], own[1] - own[0], float(low), float(high), min(1.0, 2 * tail), agreement
    )


def _macro(cells: Floats) -> Floats:
    """(draws, 9) confusion cells to (draws,) macro-F1; a class that is neither there nor said is left out."""
    tables = cells.reshape(-1, 3, 3)
    right = np.diagonal(tables, axis1=1, axis2=2)
    return _mean_f1(right, tables.sum(1) + tables.sum(2))


def _topics_macro(counts: Floats) -> Floats:
    """(draws, 2 T): hits of each topic, then mentions told plus mentions found."""
    hits, total = np.split(counts, 2, axis=1)
    return _mean_f1(hits, total)


def _mean_f1(hits: Floats, total: Floats) -> Floats:
    there = total > 0
    scores = np.where(there, 2 * hits / np.where(there, total, 1), 0.0)
    mean: Floats = scores.sum(1) / np.maximum(there.sum(1), 1)
    return mean


def _topic_counts(comments: Sequence[Labelled], answers: Sequence[Labels], names: Sequence[str]) -> Floats:
    true = np.array([[name in (comment.topics or ()) for name in names] for comment in comments])
    said = np.array([[name in _topics_of(answer) for name in names] for answer in answers])
    return np.concatenate([true & said, true.astype(float) + said], axis=1).astype(float)


def _topics_of(answer: Labels) -> frozenset[str]:
    return frozenset(mention.topic for mention in answer.topics)
