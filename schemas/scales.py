"""Scales: which scores a metric allows and which band each score falls in.

The only place in the project that holds a band or a range. The pipeline asks here once, when a response is
decoded, and stores the band beside the score: SQL, dashboards and alerts count bands and never compare scores
with a threshold. Sources: docs/definitions.md.

>>> band("nps", "0-10", 9)
<Band.PROMOTER: 'promoter'>
>>> band("ces", "1-5", 1)  # CES 1.0: low is easy
<Band.SATISFIED: 'satisfied'>
>>> band("csat", "", 6) is None  # outside 1-5
True
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Metric(StrEnum):
    """The question a score answers. Declared by the sender, never guessed from the score's range."""

    NPS = "nps"
    CSAT = "csat"
    CES = "ces"
    STARS = "stars"
    THUMBS = "thumbs"


class Band(StrEnum):
    """Where a score lies on its scale; what the reported scores count."""

    PROMOTER = "promoter"
    PASSIVE = "passive"
    DETRACTOR = "detractor"
    SATISFIED = "satisfied"
    UNSATISFIED = "unsatisfied"


@dataclass(frozen=True)
class Scale:
    """A metric's scale.

    `name` is its range as senders write it (`"1-5"`); `bands` maps every allowed score to its band.
    """

    metric: Metric
    name: str
    low: int
    high: int
    bands: Mapping[float, Band]
    source: str


def _scale(metric: Metric, low: int, high: int, source: str, **bands: tuple[int, int]) -> Scale:
    """A scale from inclusive ranges of scores, one a band; every score must be in exactly one of them."""
    by_score: dict[float, Band] = {}
    for name, (first, last) in bands.items():
        by_score |= {score: Band(name) for score in range(first, last + 1)}
    if sorted(by_score) != list(range(low, high + 1)):
        raise ValueError(f"the bands of {metric} {low}-{high} do not cover it exactly")
    return Scale(metric, f"{low}-{high}", low, high, MappingProxyType(by_score), source)


# The first scale of a metric is the one meant when a response declares none.
SCALES: tuple[Scale, ...] = (
    _scale(Metric.NPS, 0, 10, "Bain / Reichheld", promoter=(9, 10), passive=(7, 8), detractor=(0, 6)),
    _scale(Metric.CSAT, 1, 5, "Delighted help article 533: top two boxes", satisfied=(4, 5), unsatisfied=(1, 3)),
    _scale(Metric.CSAT, 1, 3, "three faces: the happy one", satisfied=(3, 3), unsatisfied=(1, 2)),
    _scale(Metric.CSAT, 0, 1, "good or bad", satisfied=(1, 1), unsatisfied=(0, 0)),
    _scale(Metric.CES, 1, 7, "CES 2.0, Gartner/CEB: high is easy", satisfied=(5, 7), unsatisfied=(1, 4)),
    _scale(Metric.CES, 1, 5, "CES 1.0, CEB 2010: low is easy", satisfied=(1, 2), unsatisfied=(3, 5)),
    _scale(Metric.STARS, 1, 5, "share of 4-5 beside the mean", satisfied=(4, 5), unsatisfied=(1, 3)),
    _scale(Metric.THUMBS, 0, 1, "up or down", satisfied=(1, 1), unsatisfied=(0, 0)),
)

_BY_NAME: dict[tuple[str, str], Scale] = {(s.metric.value, s.name): s for s in SCALES}
_BY_NAME |= {(s.metric.value, ""): s for s in reversed(SCALES)}


def scale(metric: str, name: str = "") -> Scale | None:
    """The scale called `name` of `metric` (its default scale where `name` is empty); None if there is none."""
    return _BY_NAME.get((metric, name))


def band(metric: str, name: str, score: float) -> Band | None:
    """The band of `score`; None where the score or the scale is not one of ours (8.5 is not an NPS answer)."""
    found = scale(metric, name)
    return found.bands.get(score) if found else None
