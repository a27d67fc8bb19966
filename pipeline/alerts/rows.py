"""Which row of the detector is which measure of which series. Pure: no Kafka, no ClickHouse, no torch.

Filled by `pipeline.alerts.series` as series appear; read by everything that turns row numbers back into names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.alerts.detector import Detector
from schemas.alerts import Measure

ALL, TOPIC = "all", "topic"


@dataclass(frozen=True, slots=True)
class Key:
    """Names one row: a measure of a series."""

    tenant: str
    dimension: str
    value: str
    measure: Measure


@dataclass
class Rows:
    """Which row of the detector is which key; grows as series appear."""

    detector: Detector
    keys: list[Key] = field(default_factory=list)
    number: dict[Key, int] = field(default_factory=dict)
    place: dict[tuple[tuple[str, str, str], Measure], int] = field(default_factory=dict)  # the same, cheap to look up
    ignored: frozenset[str] = frozenset()  # `dimension` or `dimension:value`: never watched

    def ignores(self, dimension: str, value: str) -> bool:
        """Whether the configuration wants this series left alone."""
        return bool(self.ignored) and (dimension in self.ignored or f"{dimension}:{value}" in self.ignored)

    def add(self, wanted: Iterable[tuple[tuple[str, str, str], Measure]]) -> None:
        """Add the measures of series (tenant, dimension, value) that are new."""
        new = [one for one in wanted if one not in self.place]
        self.ensure(Key(*series, measure) for series, measure in new)
        self.place.update({(series, measure): self.number[Key(*series, measure)] for series, measure in new})

    def root(self, key: Key) -> int:
        """The row of the same measure over all answers of the tenant."""
        return self.number[Key(key.tenant, ALL, "", key.measure)]

    def ensure(self, wanted: Iterable[Key]) -> None:
        """Add the keys that are new, each after the series of all answers that it belongs to."""
        new: dict[Key, None] = {}
        for key in wanted:
            if key in self.number:
                continue
            root = Key(key.tenant, ALL, "", key.measure)
            if root not in self.number:
                new[root] = None
            new[key] = None
        if not new:
            return
        ordered = sorted(new, key=lambda key: key.dimension != ALL)
        for key in ordered:
            self.number[key] = len(self.keys)
            self.keys.append(key)
        # Parents first: an inheriting row copies what its parent knows.
        for group in ([k for k in ordered if k.dimension == ALL], [k for k in ordered if k.dimension != ALL]):
            if group:
                self.detector.add(
                    [self.root(key) for key in group],
                    of_all=[key.dimension == TOPIC for key in group],
                    tested=[key.measure is not Measure.VOLUME for key in group],
                    watched=[key.measure is Measure.VOLUME for key in group],
                    # Half unhappy of four means comments: of scores it would be a common day for many a tenant.
                    ruled=[key.measure is Measure.NEGATIVE for key in group],
                )
