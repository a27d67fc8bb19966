"""Topics that no trained head knows: learnt from examples (`models.fewshot`), else compared with their descriptions.

A topic added to the YAML file works at once, from its name, description and example phrases: a clause mentions it
when it lies much nearer to one of the topic's phrases than comments lie to phrases in general. It works better once it
is fitted to labelled comments (`vocstream topics fit`), and best with training (`models.heads`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.encoder import Encoder, embed
from models.taxonomy import Topic

Floats = NDArray[np.float32]

# Cosine, after the phrases' common mean is taken out, above which a clause speaks of a topic, and the slope that turns
# the distance from it into a confidence. On our training comments, with the encoder as it comes, macro-F1 was flat and
# best between 0.30 and 0.36 (0.25: 24, 0.30: 31, 0.33: 32, 0.36: 30, 0.40: 24): the upper end names fewer wrong topics.
THRESHOLD = 0.36
SLOPE = 12.0


class ZeroShotTopics:
    """Phrase vectors of some topics."""

    def __init__(self, topics: Sequence[Topic], vectors: Floats, owners: Sequence[int], mean: Floats) -> None:
        self.ids = [topic.id for topic in topics]
        self._vectors = _unit(vectors - mean)
        self._owners = np.asarray(owners)
        self._mean = mean

    @classmethod
    def build(cls, encoder: Encoder, topics: Sequence[Topic], everything: Sequence[Topic]) -> ZeroShotTopics:
        """`topics` are the ones to find; the mean is taken over `everything`, so that it does not depend on them."""
        pairs = [(phrase, topic.id) for topic in everything for phrase in topic.phrases()]
        vectors = embed(encoder, [phrase for phrase, _ in pairs])
        columns = {topic.id: at for at, topic in enumerate(topics)}
        kept = [at for at, (_, topic) in enumerate(pairs) if topic in columns]
        owners = [columns[pairs[at][1]] for at in kept]
        return cls(topics, vectors[kept], owners, vectors.mean(0))

    def similarity(self, clauses: Floats) -> Floats:
        """(clauses, width) vectors to (clauses, topics): the cosine to each topic's nearest phrase."""
        cosines = _unit(clauses - self._mean) @ self._vectors.T
        best = np.full((len(clauses), len(self.ids)), -1.0, np.float32)
        np.maximum.at(best.T, self._owners, cosines.T)
        return best

    def confidence(self, similarity: Floats) -> Floats:
        """Similarity to 0..1; one half at the threshold."""
        result: Floats = np.asarray(1.0 / (1.0 + np.exp(-SLOPE * (similarity - THRESHOLD))), np.float32)
        return result


class Fitted(Protocol):
    """Topics learnt from examples (`models.fewshot.FewShotTopics`)."""

    @property
    def ids(self) -> list[str]: ...
    @property
    def thresholds(self) -> Floats: ...
    def confidence(self, vectors: Floats) -> Floats: ...


class OpenTopics:
    """Topics without a trained head: those that were fitted, then those that only have a description."""

    def __init__(self, fitted: Fitted | None, wanted: set[str], described: ZeroShotTopics | None) -> None:
        self._fitted, self._described = fitted, described
        self._columns = [at for at, topic in enumerate(fitted.ids) if topic in wanted] if fitted else []
        self.ids = [fitted.ids[at] for at in self._columns] if fitted else []
        self.ids += described.ids if described else []
        # A topic is mentioned when its confidence reaches its threshold.
        self.thresholds = np.full(len(self.ids), 0.5, np.float32)
        if fitted:
            self.thresholds[: len(self._columns)] = np.asarray(fitted.thresholds)[self._columns]

    @classmethod
    def build(
        cls, encoder: Encoder, topics: Sequence[Topic], everything: Sequence[Topic], fitted: Fitted | None
    ) -> OpenTopics:
        """`topics` are the ones to find, `everything` is the whole taxonomy."""
        rest = [topic for topic in topics if fitted is None or topic.id not in fitted.ids]
        described = ZeroShotTopics.build(encoder, rest, everything) if rest else None
        return cls(fitted, {topic.id for topic in topics}, described)

    def confidence(self, clauses: Floats) -> Floats:
        """(clauses, width) vectors to (clauses, topics) confidences 0..1, in the order of `ids`."""
        parts = []
        if self._fitted is not None:
            parts.append(self._fitted.confidence(clauses)[:, self._columns])
        if self._described is not None:
            parts.append(self._described.confidence(self._described.similarity(clauses)))
        return np.concatenate(parts, axis=1)


def _unit(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-9), np.float32)
