"""The faults of a seed: what happens to which part, when, and for how long."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is done to a part."""

    KILL = "kill"  # SIGKILL, and started again after `hold`
    PAUSE = "pause"  # SIGSTOP, and SIGCONT after `hold`
    RESTART = "restart"  # SIGTERM (a rebalance, where it is a worker), and started again after `hold`


@dataclass(frozen=True)
class Fault:
    """One fault: `at` seconds after the stream began, for `hold` seconds."""

    at: float
    kind: Kind
    part: str
    hold: float

    def __str__(self) -> str:
        return f"{self.at:6.2f} s  {self.kind} {self.part} for {self.hold:.2f} s"


def plan(seed: int, count: int, seconds: float, parts: Sequence[str]) -> list[Fault]:
    """`count` faults at random instants of `seconds`, in order; the same arguments give the same faults.

    Workers and collector are hit as often as store and broker together. Pauses are long enough (up to 8 s) that some
    outlast the session of a consumer (6 s), so that a worker wakes up after its partitions were given away.
    """
    rng = random.Random(f"faults {seed}")
    workers = [part for part in parts if part not in ("broker", "store")]
    faults = []
    for _ in range(count):
        part = rng.choice(workers) if rng.random() < 0.5 else rng.choice([p for p in parts if p not in workers])
        kind = rng.choices(list(Kind), (5, 3, 2))[0]
        hold = rng.uniform(0.3, 8.0) if kind is Kind.PAUSE and part in workers else rng.uniform(0.0, 2.5)
        faults.append(Fault(rng.uniform(0.3, seconds), kind, part, hold))
    return sorted(faults, key=lambda fault: fault.at)
