"""Trains the heads, and the encoder's upper layers if asked, and writes them as `models.heads` reads them.

    python -m models.training.train --data FOLDER --out models/weights/default --first-layer 6 --epochs 4

Everything that chooses is seeded. Prints the loss as it goes and writes the card with thresholds and temperatures
fitted on a part of the training data that was kept aside.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models import convert, heads, taxonomy
from models.encoder import Encoder
from models.training import data
from models.training.calibrate import fit_temperature, fit_thresholds
from models.training.network import Network, batches, lower_states

NAME = "feedback"


def targets(
    examples: Sequence[data.Example], topics: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Allowed classes (n, 6), topics present (n, T), topics told of (n, T), allowed topic levels (n, T, 5)."""
    column = {topic: at for at, topic in enumerate(topics)}
    classes = torch.zeros(len(examples), len(heads.CLASSES))
    present = torch.zeros(len(examples), len(topics))
    told = torch.zeros(len(examples), len(topics))
    levels = torch.zeros(len(examples), len(topics), len(heads.LEVELS))
    for at, example in enumerate(examples):
        classes[at, list(example.classes)] = 1
        if example.exhaustive:
            told[at] = 1
        told[at, [column[topic] for topic in example.absent if topic in column]] = 1
        for topic, allowed in example.mentions.items():
            if topic in column:
                present[at, column[topic]] = told[at, column[topic]] = 1
                levels[at, column[topic], list(allowed)] = 1
    return classes, present, told, levels


def set_loss(logits: torch.Tensor, allowed: torch.Tensor, smoothing: float = 0.05) -> torch.Tensor:
    """Minus the log of the probability given to the allowed classes; rows that allow nothing cost nothing."""
    log_p = logits.log_softmax(-1)
    inside = torch.logsumexp(log_p.masked_fill(allowed == 0, -1e4), -1)
    loss = -(1 - smoothing) * inside - smoothing * log_p.mean(-1)
    known = allowed.sum(-1) > 0
    return (loss * known).sum() / known.sum().clamp(min=1)


def train(
    encoder: Encoder, examples: list[data.Example], own: int, topics: list[str], *, first: int, epochs: int,
    rate: float, head_rate: float, budget: int, repeat: int, seed: int, minutes: float,
) -> tuple[Network, float]:  # fmt: skip
    """Trains on `examples`, the first `own` of which are our own corpus and are seen `repeat` times an epoch."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    network = Network(encoder, first, len(topics))
    started = time.monotonic()
    lower = lower_states(encoder, [example.text for example in examples], first)
    print(f"lower layers: {time.monotonic() - started:.0f} s, {len(examples)} texts", flush=True)
    classes, present, told, levels = targets(examples, topics)
    # A topic is absent thirty times for each time that it is present: the square root of that evens it out.
    positive = torch.full((len(topics),), 4.0)
    optimiser = torch.optim.AdamW(
        [{"params": network.layers.parameters(), "lr": rate}, {"params": network.heads.parameters(), "lr": head_rate}],
        weight_decay=0.01,
    )
    order = [*list(range(own)) * repeat, *range(own, len(examples))]
    steps = epochs * sum(1 for _ in batches(lower, budget, np.random.default_rng(seed), order))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / (0.06 * steps + 1), max(0.02, (steps - step) / steps))
    )
    network.train()
    step, started = 0, time.monotonic()
    for epoch in range(epochs):
        total = np.zeros(3)
        for count, rows in enumerate(batches(lower, budget, generator, order), 1):
            hidden, mask = lower.batch(rows)
            scores = network(hidden, mask)
            overall = set_loss(scores.sentiment, classes[rows])
            mentioned = torch.nn.functional.binary_cross_entropy_with_logits(
                scores.topics, present[rows], told[rows], reduction="sum", pos_weight=positive
            ) / told[rows].sum().clamp(min=1)
            feeling = set_loss(scores.topic_sentiment, levels[rows])
            loss = overall + 8.0 * mentioned * (told[rows].sum() > 0) + 0.7 * feeling
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            step += 1
            total += [overall.item(), mentioned.item(), feeling.item()]
            if step % 50 == 0:
                spent = time.monotonic() - started
                print(
                    f"epoch {epoch + 1} step {step}/{steps} {spent:.0f} s  sentiment {total[0] / count:.3f} "
                    f"topics {total[1] / count:.4f} feeling {total[2] / count:.3f}",
                    flush=True,
                )
            if time.monotonic() - started > 60 * minutes:
                raise SystemExit(f"stopped: {minutes} minutes were allowed, {step} of {steps} steps are done")
    return network.eval(), time.monotonic() - started


def predict(
    network: Network, encoder: Encoder, texts: Sequence[str], first: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sentiment logits (n, 6) and topic logits (n, T)."""
    lower = lower_states(encoder, texts, first)
    overall, topics = [], []
    with torch.inference_mode():
        for start in range(0, len(texts), 32):
            scores = network(*lower.batch(range(start, min(start + 32, len(texts)))))
            overall.append(scores.sentiment.numpy())
            topics.append(scores.topics.numpy())
    return np.concatenate(overall), np.concatenate(topics)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of the public corpora (JSON Lines)")
    parser.add_argument("--out", type=Path, default=heads.SHIPPED)
    parser.add_argument("--first-layer", type=int, default=12, help="lowest layer that learns; 12 = heads only")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rate", type=float, default=5e-5, help="learning rate of the encoder's layers")
    parser.add_argument("--head-rate", type=float, default=2e-3)
    parser.add_argument("--emotions", type=int, default=6000, help="rows of GoEmotions")
    parser.add_argument("--repeat", type=int, default=1, help="how often an epoch sees each of our own comments")
    parser.add_argument("--budget", type=int, default=1024, help="tokens of a batch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(arguments)

    encoder = Encoder.load(convert.ensure_default_model(progress=True), threads=options.threads)
    topics = taxonomy.load().ids
    corpus = data.own_corpus("train")
    shuffled = data.sample(corpus, len(corpus), options.seed)
    held, kept = shuffled[: len(corpus) // 10], shuffled[len(corpus) // 10 :]
    public = [
        *data.uci(options.data),
        *data.mams(options.data),
        *data.sample(data.goemotions(options.data), options.emotions, options.seed),
    ]
    network, seconds = train(
        encoder, [*kept, *public], len(kept), topics, first=options.first_layer, epochs=options.epochs,
        rate=options.rate, head_rate=options.head_rate, budget=options.budget, repeat=options.repeat,
        seed=options.seed, minutes=options.minutes,
    )  # fmt: skip
    overall, mentioned = predict(network, encoder, [example.text for example in held], options.first_layer)
    classes, present, _, _ = targets(held, topics)
    temperature = fit_temperature(overall, classes.numpy())
    thresholds = fit_thresholds(mentioned, present.numpy())
    card = heads.HeadsCard(
        name=NAME, encoder=convert.NAME, width=encoder.width, topics=topics, thresholds=thresholds,
        temperature=temperature,
    )  # fmt: skip
    changed = network.encoder_state() if options.first_layer < 12 else None
    heads.save(options.out, network.heads, card, changed)
    print(f"written to {options.out}: {seconds:.0f} s of training, temperature {temperature:.2f}")


if __name__ == "__main__":
    main()
