"""Topics of a user's own, learnt from a handful of labelled comments: `vocstream topics fit` makes them.

One logistic regression a topic on the encoder's vectors of whole comments. What the taxonomy says of a topic counts as
examples too, and the comments of other topics as counter-examples. A comment mentions a topic as much as that of its
clauses which mentions it most. A common scale, and a threshold a topic, are fitted on answers out of fold.
bench/results/topics.md has it beside descriptions alone.

Kept as one safetensors file; `models.labeler` loads it by the setting `fitted_topics`. It fits the encoder that it was
made with and no other, and says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from models.clauses import split
from models.encoder import Encoder, embed, pool_spans
from models.errors import ModelError
from models.labelled import Labelled
from models.taxonomy import Topic
from models.text import clean
from models.topics import ZeroShotTopics

FEWEST = 4  # labelled comments that a topic needs
FOLDS = 5
STRENGTH = 3.0  # C of the regressions: vectors have length 1
SEED = 7
LEAN = 12  # examples at which a topic's own threshold counts as much as the common one
_AT_ONCE = 128  # comments between two steps of a progress bar

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FewShotTopics:
    """`weights` (T, width) and `bias` (T,) give logits of a vector of length 1 after `mean` (width,) is taken out."""

    ids: list[str]
    thresholds: Floats
    weights: Floats
    bias: Floats
    mean: Floats
    encoder: str

    def confidence(self, vectors: Floats) -> Floats:
        """(spans, width) to (spans, topics): the probability that a span mentions a topic."""
        return _sigmoid(_centred(vectors, self.mean) @ self.weights.T + self.bias)

    def save(self, path: Path) -> None:
        """Writes the file."""
        told = {"topics": json.dumps(self.ids), "encoder": self.encoder}
        arrays = {"thresholds": self.thresholds, "weights": self.weights, "bias": self.bias, "mean": self.mean}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path, metadata=told)


@dataclass(frozen=True)
class TopicFit:
    """F1 (0..1) of a topic on the labelled comments: by its description alone, and fitted, out of fold."""

    topic: str
    examples: int
    described: float
    fitted: float


def load(path: Path, encoder: str) -> FewShotTopics:
    """What `save` wrote. Raises ModelError when it cannot be read or was fitted on another encoder than `encoder`."""
    try:
        with safe_open(path, "np") as file:
            told = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        found = FewShotTopics(json.loads(told["topics"]), encoder=told["encoder"], **arrays)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"cannot read the fitted topics {path}: {error}; vocstream topics fit makes it") from error
    if found.encoder != encoder:
        raise ModelError(
            f"the topics in {path} were fitted on {found.encoder}, this is {encoder}: run vocstream topics fit again"
        )
    return found


def topics_of(path: Path) -> list[str]:
    """Ids of the topics in the file, whatever encoder it is for. Raises ModelError."""
    try:
        with safe_open(path, "np") as file:
            ids: list[str] = json.loads((file.metadata() or {})["topics"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"cannot read the fitted topics {path}: {error}; vocstream topics fit makes it") from error
    return ids


def fingerprint(path: Path) -> str:
    """Eight hexadecimal digits that change with the file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def span_vectors(encoder: Encoder, texts: Sequence[str]) -> list[Floats]:
    """Of each text: the vector of the whole, then those of its clauses: (1 + clauses, width)."""
    found: list[Floats] = [np.zeros((0, encoder.width), np.float32)] * len(texts)
    for batch in encoder.forward(texts):
        for at, row in enumerate(batch.rows):
            text = texts[row]
            found[row] = pool_spans(batch, at, [(0, len(text)), *split(text)])
    return found


def fit_topics(
    encoder: Encoder,
    comments: Sequence[Labelled],
    wanted: Sequence[Topic],
    everything: Sequence[Topic],
    encoder_version: str,
    advance: Callable[[int], object] = lambda count: None,
) -> tuple[FewShotTopics | None, list[TopicFit]]:
    """Those of the `wanted` topics with FEWEST comments or more, and how each does; None where there is no such topic.

    `comments` tell their topics; `everything` is the whole taxonomy, which the described topics compare with.
    """
    told = [comment.topics or {} for comment in comments]
    topics = [topic for topic in wanted if sum(topic.id in mentions for mentions in told) >= FEWEST]
    if not topics:
        return None, []
    vectors: list[Floats] = []
    for start in range(0, len(comments), _AT_ONCE):
        chunk = comments[start : start + _AT_ONCE]
        vectors += span_vectors(encoder, [clean(comment.text) for comment in chunk])
        advance(len(chunk))
    present = np.array([[topic.id in mentions for topic in topics] for mentions in told])
    described = ZeroShotTopics.build(encoder, topics, everything)
    phrases = [(phrase, at) for at, topic in enumerate(topics) for phrase in topic.phrases()]
    ids = [topic.id for topic in topics]
    fitted, seen = fit(ids, vectors, present, embed(encoder, [p for p, _ in phrases]), [at for _, at in phrases],
                       encoder_version)  # fmt: skip
    guessed = np.array([described.confidence(described.similarity(spans[1:])).max(0) for spans in vectors])
    figures = [
        TopicFit(topic, int(present[:, at].sum()), _f1(present[:, at], guessed[:, at] >= 0.5),
                 _f1(present[:, at], seen[:, at] >= fitted.thresholds[at]))
        for at, topic in enumerate(ids)
    ]  # fmt: skip
    return fitted, figures


def fit(
    ids: list[str], vectors: Sequence[Floats], present: NDArray[np.bool_], phrases: Floats, owners: Sequence[int],
    encoder_version: str,
) -> tuple[FewShotTopics, Floats]:  # fmt: skip
    """`vectors` a comment as `span_vectors` gives, `present` (comments, T), phrases with the topic that each describes.

    Also returns the probabilities (comments, T) that were given out of fold, on which the thresholds stand.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold

    wholes = np.stack([spans[0] for spans in vectors])
    mean = np.concatenate([wholes, phrases]).mean(0)
    described = np.eye(len(ids), dtype=bool)[list(owners)]

    def learnt(rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        features = _centred(np.concatenate([wholes[rows], phrases]), mean)
        weights, bias = np.zeros((len(ids), features.shape[1]), np.float32), np.zeros(len(ids), np.float32)
        for at, truth in enumerate(np.concatenate([present[rows], described]).T):
            model = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=500).fit(features, truth)
            weights[at], bias[at] = model.coef_[0], model.intercept_[0]
        return weights, bias

    logits = np.zeros(present.shape, np.float32)
    for rows, aside in KFold(FOLDS, shuffle=True, random_state=SEED).split(wholes):
        weights, bias = learnt(rows)
        for at in aside:
            logits[at] = (_centred(vectors[at][1:], mean) @ weights.T + bias).max(0)
    scale = LogisticRegression(C=1e4).fit(logits.reshape(-1, 1), present.ravel())  # Platt 1999, one for all topics
    slope, shift = float(scale.coef_[0, 0]), float(scale.intercept_[0])
    seen = slope * logits + shift
    thresholds = _thresholds(_sigmoid(seen), present)
    weights, bias = learnt(np.arange(len(wholes)))
    fitted = FewShotTopics(ids, thresholds, slope * weights, slope * bias + shift, mean, encoder_version)
    return fitted, _sigmoid(seen)


def _thresholds(sure: Floats, present: NDArray[np.bool_]) -> Floats:
    """Of each topic (column) the probability of best F1, drawn towards the common best the rarer the topic is.

    Where a few examples are told apart perfectly, many are best: then the one nearest to one half.
    """
    grid = np.linspace(0.1, 0.95, 35)

    def best(column: Floats, truth: NDArray[np.bool_], near: float) -> float:
        return float(max(grid, key=lambda at: (round(_f1(truth, column >= at), 6), -abs(at - near))))

    common = best(sure.ravel(), present.ravel(), 0.5)
    counts = present.sum(0)
    own = np.array([best(sure[:, at], present[:, at], common) for at in range(sure.shape[1])])
    share = counts / (counts + LEAN)
    drawn: Floats = (share * own + (1 - share) * common).astype(np.float32)
    return drawn


def _f1(truth: NDArray[np.bool_], said: NDArray[np.bool_]) -> float:
    return 2 * float((truth & said).sum()) / max(float(truth.sum() + said.sum()), 1.0)


def _sigmoid(logits: Floats) -> Floats:
    probabilities: Floats = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return probabilities


def _centred(vectors: Floats, mean: Floats) -> Floats:
    moved = vectors - mean
    unit: Floats = (moved / np.maximum(np.linalg.norm(moved, axis=-1, keepdims=True), 1e-9)).astype(np.float32)
    return unit
