"""Topics by description alone beside topics fitted to 8, 16 and 32 examples each: macro-F1 on our own test split.

All topics of the shipped taxonomy play the part of a user's own: the encoder is as it comes from its wheel, without
what training changed (that training has seen these very topics). `python -m bench.topics`; 600 comments are judged.
"""

from __future__ import annotations

import os
import random
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from bench.report import markdown, save
from models import convert, taxonomy
from models.encoder import Encoder, embed
from models.fewshot import fit, span_vectors
from models.labelled import Labelled
from models.text import clean
from models.topics import ZeroShotTopics
from models.training.data import CORPUS, read_lines

EXAMPLES = (8, 16, 32)
JUDGED = int(os.environ.get("BENCH_COMMENTS", "600"))
SEED = 3


def main() -> None:
    """Run and save."""
    topics = taxonomy.load()
    rows = [row for path in sorted(CORPUS.glob("*.jsonl")) for row in read_lines(path)]
    random.Random(SEED).shuffle(rows)
    test = [Labelled.of(row) for row in rows if row["split"] == "test"][:JUDGED]
    train = [Labelled.of(row) for row in rows if row["split"] == "train"]
    chosen = {count: _handful(train, topics.ids, count) for count in EXAMPLES}
    needed = sorted({at for places in chosen.values() for at in places})
    encoder = Encoder.load(convert.ensure_default_model())
    seen = dict(zip(needed, span_vectors(encoder, [clean(train[at].text) for at in needed]), strict=True))
    judged = span_vectors(encoder, [clean(comment.text) for comment in test])
    truth = _present(test, topics.ids)

    described = ZeroShotTopics.build(encoder, topics.topics, topics.topics)
    found = np.array([described.confidence(described.similarity(spans[1:])).max(0) >= 0.5 for spans in judged])
    table = [("descriptions alone", 0, *_figures(truth, found))]
    phrases = [(phrase, at) for at, topic in enumerate(topics.topics) for phrase in topic.phrases()]
    vectors = embed(encoder, [phrase for phrase, _ in phrases])
    for count, places in chosen.items():
        present = _present([train[at] for at in places], topics.ids)
        fitted, _ = fit(topics.ids, [seen[at] for at in places], present, vectors, [at for _, at in phrases], "bench")
        found = np.array([fitted.confidence(spans[1:]).max(0) >= fitted.thresholds for spans in judged])
        table.append((f"{count} examples a topic or more", len(places), *_figures(truth, found)))
    columns = ["how", "labelled comments", "macro-F1, %", "micro-F1, %", "topics a comment"]
    save("topics", "Topics of a user's own: by description, and fitted to a few examples",
         f"{len(test)} comments of our test split, {len(topics.ids)} topics, {convert.NAME} as it comes. Common "
        "topics come along with rarer ones, so they have more examples. True topics a comment: "
         f"{truth.sum() / len(truth):.2f}.\n\n" + markdown(columns, table))  # fmt: skip


def _handful(train: list[Labelled], ids: list[str], count: int) -> list[int]:
    """Comments, in their order, until each topic has `count`; and four times as many without any topic."""
    have, chosen, without = dict.fromkeys(ids, 0), [], 0
    for at, comment in enumerate(train):
        mentioned = [topic for topic in comment.topics or () if topic in have]
        if not mentioned and without < 4 * count:
            without += 1
            chosen.append(at)
        elif any(have[topic] < count for topic in mentioned):
            chosen.append(at)
            for topic in mentioned:
                have[topic] += 1
    return chosen


def _present(comments: list[Labelled], ids: list[str]) -> NDArray[np.bool_]:
    return np.array([[topic in (comment.topics or ()) for topic in ids] for comment in comments])


def _figures(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> tuple[Any, ...]:
    hits, total = (truth & found).sum(0), truth.sum(0) + found.sum(0)
    there = truth.any(0)
    macro = float(np.mean(2 * hits[there] / total[there]))
    return f"{100 * macro:.1f}", f"{200 * hits.sum() / total.sum():.1f}", f"{found.sum() / len(found):.2f}"


if __name__ == "__main__":
    main()
