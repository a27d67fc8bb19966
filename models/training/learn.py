"""The learning itself: targets that may be sets of classes, three losses, one optimiser. See `models.training.train`.

Sentiment: minus log of the probability given to the classes that may be right. Topics: binary cross-entropy over the
topics that are told of. Sentiment of each topic: as sentiment, over the topics that are mentioned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from models.heads import CLASSES, DIRECTIONS, LEVELS, Heads
from models.training.data import Example
from models.training.network import Lower, Network, batches
from models.training.settings import Member, TrainSettings

Tell = Callable[[str], None]
LOSS_WEIGHTS = (1.0, 8.0, 1.5)  # topics: a mean over thirty that are mostly absent is a small number
PRESENT_WEIGHT = 4.0  # a topic is absent thirty times for each time it is present; the root of that evens it out
SMOOTHING = 0.05
WARM_UP = 0.06  # share of the steps in which the learning rate rises


@dataclass(frozen=True)
class Targets:
    """Classes that may be right (n, 6) and what they weigh (n), topics present (n, T), topics told of (n, T), levels
    that may be right (n, T, 5)."""

    classes: torch.Tensor
    weight: torch.Tensor
    present: torch.Tensor
    told: torch.Tensor
    levels: torch.Tensor

    @classmethod
    def of(cls, examples: Sequence[Example], topics: Sequence[str]) -> Targets:
        """The targets of `examples`, topics in the order of `topics`."""
        column = {topic: at for at, topic in enumerate(topics)}
        classes = torch.zeros(len(examples), len(CLASSES))
        weight = torch.tensor([example.weight for example in examples])
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
        return cls(classes, weight, present, told, levels)


def set_loss(logits: torch.Tensor, allowed: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Minus the log of the probability given to the allowed classes; rows that allow nothing cost nothing.

    `weight` (rows) says what a row counts for, 1 by default.
    """
    log_p = logits.log_softmax(-1)
    inside = torch.logsumexp(log_p.masked_fill(allowed == 0, -1e4), -1)
    loss = -(1 - SMOOTHING) * inside - SMOOTHING * log_p.mean(-1)
    known = allowed.sum(-1) > 0
    loss = loss * known if weight is None else loss * known * weight
    return loss.sum() / known.sum().clamp(min=1)


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
            set_loss(scores.sentiment, targets.classes[rows], targets.weight[rows]),
            mentioned / told.sum().clamp(min=1),
            set_loss(scores.topic_sentiment, targets.levels[rows]),
        ]
    )


def descend(
    network: Network,
    lower: Lower,
    targets: Targets,
    plan: Sequence[Sequence[int]],
    groups: list[dict[str, Any]],
    weights: Sequence[float],
    tell: Tell,
) -> None:
    """Gradient descent over the batches of `plan`; `groups` are the parameters and their rates (AdamW's)."""
    optimiser = torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=0.01, fused=True)
    steps = len(plan)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / (WARM_UP * steps + 1), (steps - step) / steps)
    )
    learnt = [parameter for group in groups for parameter in group["params"]]
    recent, started = torch.zeros(3), time.monotonic()
    network.train()
    for step, rows in enumerate(plan, 1):
        parts = losses(network, lower, targets, rows)
        optimiser.zero_grad()
        (parts * torch.tensor(weights)).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        schedule.step()
        recent = 0.98 * recent + 0.02 * parts.detach()
        if step % 50 == 0 or step == steps:
            mean = (recent / (1 - 0.98**step)).tolist()
            spent = time.monotonic() - started
            left = spent / step * (steps - step)
            tell(f"step {step} of {steps}, {left:.0f} s to go; loss of sentiment {mean[0]:.3f}, "
                 f"topics {mean[1]:.4f}, their sentiment {mean[2]:.3f}")  # fmt: skip
    network.eval()


def learn(
    network: Network,
    lower: Lower,
    own: Sequence[Example],
    public: Sequence[Example],
    topics: Sequence[str],
    member: Member,
    settings: TrainSettings,
    tell: Tell,
) -> None:
    """Trains `network` in place; an epoch reads all of `own` and a fresh share of `public` (`lower` holds both)."""
    generator = np.random.default_rng(settings.seed)
    weighed = [e if e.everyday else replace(e, weight=member.trade_weight) for e in own]
    drawn = int(len(public) * member.public_share)
    plan: list[list[int]] = []
    for _ in range(member.epochs):
        others = len(own) + generator.choice(len(public), drawn, replace=False) if drawn else np.empty(0, int)
        plan += batches(lower, settings.budget, generator, [*range(len(own)), *others.tolist()])
    tell(f"{len(own)} comments of our own and {drawn} public ones an epoch, {len(plan)} steps")
    factors = [parameter for parameter in network.layers.parameters() if parameter.requires_grad]
    groups = [
        {"params": factors, "lr": member.rate},
        {"params": list(network.heads.parameters()), "lr": settings.head_rate},
    ]
    descend(network, lower, Targets.of([*weighed, *public], topics), plan, groups, LOSS_WEIGHTS, tell)


def learn_heads(
    network: Network, final: Lower, examples: Sequence[Example], topics: Sequence[str], settings: TrainSettings,
    tell: Tell,
) -> None:  # fmt: skip
    """Trains the heads alone, on final token vectors."""
    generator = np.random.default_rng(settings.seed)
    plan = [rows for _ in range(settings.head_epochs)
            for rows in batches(final, settings.budget, generator, range(len(examples)))]  # fmt: skip
    layers, network.layers = network.layers, torch.nn.ModuleList()  # the vectors are final already
    groups = [{"params": list(network.heads.parameters()), "lr": settings.head_rate}]
    descend(network, final, Targets.of(examples, topics), plan, groups, LOSS_WEIGHTS, tell)
    network.layers = layers


def fit_general(heads: Heads, final: Lower, examples: Sequence[Example]) -> None:
    """Fits the general voice (`Heads.general`) on `examples` that tell three classes, equally weighted."""
    vectors = np.zeros((len(examples), heads.presence.shape[1]), np.float32)
    with torch.inference_mode():
        for at in range(len(examples)):
            mean = heads.norm(torch.from_numpy(final.rows[at].astype(np.float32))).mean(0)
            vectors[at] = torch.nn.functional.normalize(mean, dim=-1).numpy()
    truth = [DIRECTIONS[min(example.classes)] for example in examples]
    model = LogisticRegression(C=1.0, max_iter=1000, class_weight="balanced").fit(vectors, truth)
    heads.general.weight.data = torch.from_numpy(model.coef_.astype(np.float32))
    heads.general.bias.data = torch.from_numpy(model.intercept_.astype(np.float32))


def predict(network: Network, lower: Lower) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sentiment logits (n, 6) and topic logits (n, T) of the texts in `lower`."""
    order = sorted(range(len(lower.rows)), key=lambda at: len(lower.rows[at]))
    topics = network.heads.presence.shape[0]
    overall = np.zeros((len(order), len(CLASSES)), np.float32)
    mentioned = np.zeros((len(order), topics), np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), 40):
            rows = order[start : start + 40]
            scores = network(*lower.batch(rows))
            overall[rows], mentioned[rows] = scores.sentiment.numpy(), scores.topics.numpy()
    return overall, mentioned
