"""What the taxonomy misses: clusters of comments that fit no topic, each named by its telling terms.

Comments labelled `other` come in (from a table or a file); proposals go out, each with its volume, net sentiment and
sample comments. An analyst who likes one accepts it: it is appended to the taxonomy YAML and works at once by
similarity (`models.topics`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from sklearn.cluster import HDBSCAN
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import CountVectorizer

from models import taxonomy
from models.encoder import Encoder, embed
from models.errors import ModelError
from models.text import clean, has_words
from schemas.labels import Sentiment

TERMS = 5
SAMPLES = 5
DIMENSIONS = 24  # density means little among hundreds of dimensions
POSITIVE = {Sentiment.POSITIVE, Sentiment.VERY_POSITIVE}
NEGATIVE = {Sentiment.NEGATIVE, Sentiment.VERY_NEGATIVE}


@dataclass(frozen=True)
class Proposal:
    """A topic that might be missing. `net_sentiment`: % positive - % negative of its comments, -100..100."""

    terms: list[str]
    comments: int
    share: float
    net_sentiment: float
    samples: list[str]


def discover(
    encoder: Encoder, texts: Sequence[str], sentiments: Sequence[Sentiment], *, smallest: int = 8
) -> list[Proposal]:
    """Clusters of at least `smallest` of `texts` (of which `sentiments` are known), the largest first."""
    pairs = {clean(text): feeling for text, feeling in zip(texts, sentiments, strict=True)}
    pairs = {text: feeling for text, feeling in pairs.items() if has_words(text)}
    if len(pairs) < 2 * smallest:
        return []
    comments = list(pairs)
    vectors = embed(encoder, comments)
    members = _clusters(vectors, smallest)
    terms = _terms(comments, members)
    proposals = []
    for group, words in zip(members, terms, strict=True):
        feelings = [pairs[comments[at]] for at in group]
        net = 100.0 * (sum(f in POSITIVE for f in feelings) - sum(f in NEGATIVE for f in feelings)) / len(group)
        samples = [comments[at] for at in _central(vectors, group)[:SAMPLES]]
        proposals.append(Proposal(words, len(group), len(group) / len(comments), round(net, 1), samples))
    return sorted(proposals, key=lambda proposal: -proposal.comments)


def _clusters(vectors: NDArray[np.float32], smallest: int) -> list[list[int]]:
    centred = vectors - vectors.mean(0)
    reduced = PCA(min(DIMENSIONS, *vectors.shape), random_state=0).fit_transform(centred)
    norms = np.maximum(np.linalg.norm(reduced, axis=1, keepdims=True), 1e-9)
    labels = HDBSCAN(min_cluster_size=smallest, min_samples=3, cluster_selection_method="leaf", copy=True).fit_predict(
        reduced / norms
    )
    return [np.flatnonzero(labels == label).tolist() for label in sorted(set(labels.tolist()) - {-1})]


def _terms(comments: Sequence[str], members: Sequence[Sequence[int]]) -> list[list[str]]:
    """Words and pairs frequent in a cluster and rare elsewhere (class-based tf-idf, Grootendorst 2022)."""
    if not members:
        return []
    counter = CountVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b[^\W\d_]{3,}\b", min_df=2)
    try:
        counts = counter.fit_transform(comments)
    except ValueError:  # no term is there twice
        return [[] for _ in members]
    names = counter.get_feature_names_out()
    everywhere = np.asarray(counts.sum(0)).ravel()
    documents = np.asarray((counts > 0).mean(0)).ravel()
    result = []
    for group in members:
        inside = np.asarray(counts[list(group)].sum(0)).ravel()
        # A word that half of all comments have ("the", "não") tells nothing, whatever its weight.
        weight = inside * np.log1p(everywhere.sum() / len(names) / everywhere) * (1 - documents) ** 8
        weight *= (inside / everywhere) > 1.5 * len(group) / len(comments)
        result.append([str(names[at]) for at in np.argsort(-weight)[:TERMS] if weight[at] > 0])
    return result


def _central(vectors: NDArray[np.float32], group: Sequence[int]) -> list[int]:
    centre = vectors[list(group)].mean(0)
    return sorted(group, key=lambda at: -float(vectors[at] @ centre))


def proposed_id(proposal: Proposal) -> str:
    """An id made of the telling terms, for those who do not choose one: `found.electric_charger`."""
    words = " ".join(proposal.terms[:1]) or "topic"
    plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode().lower()
    return "found." + (re.sub(r"[^a-z0-9]+", "_", plain).strip("_") or "topic")


def accept(proposal: Proposal, topic: str, names: dict[str, str], path: Path) -> None:
    """Adds the proposal to the taxonomy file `path` as `topic` (`parent.leaf`), with its samples as examples.

    Raises ModelError when the id is taken or the result would not be a valid taxonomy; the file is then unchanged.
    """
    existing = taxonomy.load(path)
    if topic in existing.ids:
        raise ModelError(f"the topic {topic} is already in {path}")
    parent, language = topic.rpartition(".")[0], next(iter(names))
    before = path.read_text(encoding="utf-8")
    entry = {
        "id": topic,
        "name": names,
        "description": {language: ", ".join(proposal.terms) or names[language]},
        "examples": {language: proposal.samples[:3]},
    }
    addition = yaml.safe_dump([entry], allow_unicode=True, sort_keys=False, width=10_000)
    after = before.rstrip("\n") + "\n" + addition
    if parent and parent not in existing.parents:
        line = yaml.safe_dump({parent: {language: parent.capitalize()}}, allow_unicode=True).strip()
        after = after.replace("\nparents:\n", "\nparents:\n  " + line.replace("\n", "\n  ") + "\n", 1)
    trial = path.with_suffix(".new")
    trial.write_text(after, encoding="utf-8")
    try:
        taxonomy.load(trial)
    except ModelError as error:
        trial.unlink()
        raise ModelError(f"{topic} cannot be added to {path}: {error}") from error
    trial.replace(path)
