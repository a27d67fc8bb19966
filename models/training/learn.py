"""The learning itself: targets that may be sets of classes, three losses, one optimiser. See `models.training.train`.

Sentiment: minus log of the probability given to the classes that may be right. Topics: binary cross-entropy over the
topics that are told of. Sentiment of each topic: as sentiment, over the topics that are mentioned.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.encoder import Encoder
from models.heads import CLASSES, LEVELS
from models.training.data import Example
from models.training.network import Lower, Network, batches, lower_states

TOPIC_WEIGHT = 8.0  # a mean over thirty topics that are mostly absent is a small number
FEELING_WEIGHT = 1.5
PRESENT_WEIGHT = 4.0  # a topic is absent thirty times for each time it is present; the root of that evens it out
SMOOTHING = 0.05
WARM_UP = 0.06  # share of the steps in which the learning rate rises


@dataclass(frozen=True)
class Options:
    """What is chosen for a training run; all of it is written to the card."""

    first_layer: int
    epochs: int
    rate: float
    head_rate: float
    budget: int
    public_share: float
    seed: int


@dataclass(frozen=True)
class Targets:
    """Classes that may be right (n, 6), topics present (n, T), topics told of (n, T), levels that may be (n, T, 5)."""

    classes: torch.Tensor
    present: torch.Tensor
    told: torch.Tensor
    levels: torch.Tensor

    @classmethod
    def of(cls, examples: Sequence[Example], topics: Sequence[str]) -> Targets:
        """The targets of `examples`, topics in the order of `topics`."""
        column = {topic: at for at, topic in enumerate(topics)}
        classes = torch.zeros(len(examples), len(CLASSES))
        present = torch.zeros(len(examples), len(topics))
        told = torch.zeros(len(examples), len(topics))
        levels = torch.zeros(len(examples), len(topics), len(LEVELS))
        for at, example in enumerate(examples):
            classes[at, list(example.classes)] = 1
            if example.exhaustive:
                told[at] = 1
            told[at, [column[topic] for topic in example.absent if topic in column]] = 1
            for topic, allowed in example.mentions.items():
                if topic in column:
                    present[at, column[topic]] = told[at, column[topic]] = 1
                    levels[at, column[topic], list(allowed)] = 1
        return cls(classes, present, told, levels)


def set_loss(logits: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """Minus the log of the probability given to the allowed classes; rows that allow nothing cost nothing."""
    log_p = logits.log_softmax(-1)
    inside = torch.logsumexp(log_p.masked_fill(allowed == 0, -1e4), -1)
    loss = -(1 - SMOOTHING) * inside - SMOOTHING * log_p.mean(-1)
    known = allowed.sum(-1) > 0
    return (loss * known).sum() / known.sum().clamp(min=1)


def losses(network: Network, lower: Lower, targets: Targets, rows: Sequence[int]) -> torch.Tensor:
    """Sentiment, topics, sentiment of the topics: (3,), unweighted."""
    scores = network(*lower.batch(rows))
    told = targets.told[rows]
    weight = torch.full((told.shape[1],), PRESENT_WEIGHT)
    mentioned = torch.nn.functional.binary_cross_entropy_with_logits(
        scores.topics, targets.present[rows], told, reduction="sum", pos_weight=weight
    )
    return torch.stack(
        [
            set_loss(scores.sentiment, targets.classes[rows]),
            mentioned / told.sum().clamp(min=1),
            set_loss(scores.topic_sentiment, targets.levels[rows]),
        ]
    )


def learn(
    network: Network,
    encoder: Encoder,
    own: Sequence[Example],
    public: Sequence[Example],
    topics: Sequence[str],
    options: Options,
    cache: Path | None = None,
) -> float:
    """Trains `network` in place; an epoch sees all of `own` and a fresh share of `public`. Returns seconds."""
    generator = np.random.default_rng(options.seed)
    examples = [*own, *public]
    lower = lower_states(encoder, [example.text for example in examples], options.first_layer, cache)
    targets = Targets.of(examples, topics)
    drawn = int(len(public) * options.public_share)
    epochs = []
    for _ in range(options.epochs):
        others = len(own) + generator.choice(len(public), drawn, replace=False)
        epochs.append(list(batches(lower, options.budget, generator, [*range(len(own)), *others.tolist()])))
    steps = sum(map(len, epochs))
    print(f"{len(own)} own and {drawn} public comments an epoch, {steps} steps", flush=True)

    groups = [
        {"params": list(network.layers.parameters()), "lr": options.rate},
        {"params": list(network.heads.parameters()), "lr": options.head_rate},
    ]
    optimiser = torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / (WARM_UP * steps + 1), (steps - step) / steps)
    )
    weights = torch.tensor([1.0, TOPIC_WEIGHT, FEELING_WEIGHT])
    network.train()
    started = time.monotonic()
    recent = torch.zeros(3)
    for step, rows in enumerate((rows for epoch in epochs for rows in epoch), 1):
        parts = losses(network, lower, targets, rows)
        optimiser.zero_grad()
        (parts * weights).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        recent = 0.98 * recent + 0.02 * parts.detach()
        if step % 50 == 0:
            mean = (recent / (1 - 0.98**step)).tolist()
            spent = time.monotonic() - started
            print(f"step {step}/{steps} {spent:.0f} s, {spent / step * steps:.0f} s in all; sentiment {mean[0]:.3f} "
                  f"topics {mean[1]:.4f} their sentiment {mean[2]:.3f}", flush=True)  # fmt: skip
    network.eval()
    return time.monotonic() - started


def predict(
    network: Network, encoder: Encoder, texts: Sequence[str], cache: Path | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sentiment logits (n, 6) and topic logits (n, T) of `texts`."""
    lower = lower_states(encoder, texts, network.first, cache)
    overall, topics = [], []
    with torch.inference_mode():
        for start in range(0, len(texts), 32):
            scores = network(*lower.batch(range(start, min(start + 32, len(texts)))))
            overall.append(scores.sentiment.numpy())
            topics.append(scores.topics.numpy())
    return np.concatenate(overall), np.concatenate(topics)
