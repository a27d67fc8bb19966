"""(c) Comments a second of the label lane's model, beside `transformers.pipeline` one by one on the same encoder.

In turn in one process, one torch thread, the same comments (our corpus, real lengths; all different, so that no cache
helps). The pipeline gives the encoder's features only: the heads, topics and language come on top in ours.
"""

from __future__ import annotations

import os
import random
import time
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from transformers import pipeline

from bench.report import markdown, save, spread
from models.convert import ensure_default_model
from models.labeler import Labeler
from models.settings import ModelSettings
from pipeline.generator import corpus

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
COUNT = int(os.environ.get("BENCH_COMMENTS", "384"))  # three batches of the label lane


def main() -> None:
    """Run and save."""
    torch.set_num_threads(1)
    texts = [comment["text"] for comment in corpus()]
    random.Random(5).shuffle(texts)
    settings = ModelSettings(threads=1, cache_size=0)
    labeler = Labeler.load(settings)
    naive = pipeline("feature-extraction", model=str(ensure_default_model(settings.dir)), device="cpu")
    rates: dict[str, list[float]] = {"label lane (ours)": [], "pipeline() one by one": []}
    for round_ in range(ROUNDS):
        chosen = texts[round_ * COUNT : (round_ + 1) * COUNT]
        began = time.perf_counter()
        for start in range(0, COUNT, 128):
            labeler.label(chosen[start : start + 128])
        rates["label lane (ours)"].append(COUNT / (time.perf_counter() - began))
        few = chosen[:96]
        began = time.perf_counter()
        for text in few:
            naive(text)
        rates["pipeline() one by one"].append(len(few) / (time.perf_counter() - began))
    ratios = [ours / theirs for ours, theirs in zip(*rates.values(), strict=True)]
    rows = [(name, spread(found)) for name, found in rates.items()]
    save(
        "labels",
        "Comments a second, one torch thread",
        f"{ROUNDS} rounds in turn of {COUNT} comments in batches of 128 (ours) and 96 (pipeline); "
        f"Model: {labeler.model_version}.\n\n"
        + markdown(["how", "comments/s"], rows)
        + f"\n\nOurs is {median(ratios):.1f} times the naive pipeline (median of the rounds' ratios).",
    )


if __name__ == "__main__":
    main()
