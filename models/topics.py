"""Topics that no trained head knows: a comment's clauses compared with what the taxonomy says of each topic.

A topic added to the YAML file works at once, from its name, description and example phrases: a clause mentions it
when it lies much nearer to one of the topic's phrases than comments lie to phrases in general. Better with training
(`models.heads`), which takes over for the topics it was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.encoder import Encoder, embed
from models.taxonomy import Topic

Floats = NDArray[np.float32]

# Cosine, after the phrases' common mean is taken out, above which a clause speaks of a topic, and the slope that turns
# the distance from it into a confidence. Set by hand, not fitted to any corpus: a topic of one's own has no comments to
# fit them to, and the topics that the shipped heads know have thresholds of their own, which are fitted.
THRESHOLD = 0.45
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


def _unit(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-9), np.float32)
