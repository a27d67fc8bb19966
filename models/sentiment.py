"""From class probabilities to the words of the contract: a level, a score that agrees with it, a confidence.

Pure arithmetic. The direction (negative, neutral, positive, mixed) is decided first, by its whole mass, and the
strength within it second: 0.3 very negative + 0.3 negative outweighs 0.35 neutral.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.labels import Sentiment

VALUES = (-1.0, -0.5, 0.0, 0.5, 1.0)  # of the five levels; `mixed` counts as 0
GROUPS = ((0, 1), (2,), (3, 4), (5,))

# The range of scores that agrees with each label; the expectation is clamped into it.
BANDS = {
    Sentiment.VERY_NEGATIVE: (-1.0, -0.6),
    Sentiment.NEGATIVE: (-0.6, -0.1),
    Sentiment.NEUTRAL: (-0.1, 0.1),
    Sentiment.POSITIVE: (0.1, 0.6),
    Sentiment.VERY_POSITIVE: (0.6, 1.0),
    Sentiment.MIXED: (-0.3, 0.3),
}
ORDER = (
    Sentiment.VERY_NEGATIVE, Sentiment.NEGATIVE, Sentiment.NEUTRAL,
    Sentiment.POSITIVE, Sentiment.VERY_POSITIVE, Sentiment.MIXED,
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """`confidence` is the probability of the direction: negative, neutral, positive or mixed."""

    sentiment: Sentiment
    score: float
    confidence: float


UNKNOWN = Verdict(Sentiment.UNKNOWN, 0.0, 0.0)


def decide(probabilities: Sequence[float]) -> Verdict:
    """Five probabilities (levels) or six (and `mixed`), summing to one, to a verdict."""
    groups = [group for group in GROUPS if group[-1] < len(probabilities)]
    masses = [sum(probabilities[i] for i in group) for group in groups]
    best = max(range(len(groups)), key=masses.__getitem__)
    chosen = max(groups[best], key=lambda i: probabilities[i])
    label = ORDER[chosen]
    expectation = sum(p * v for p, v in zip(probabilities, VALUES, strict=False))
    low, high = BANDS[label]
    score = round(min(max(expectation, low), high), 4)
    return Verdict(label, score, round(min(max(masses[best], 0.0), 1.0), 4))
