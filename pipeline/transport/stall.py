"""Finding out that a worker no longer gets anywhere, so that it can end itself and be started again.

faust has open faults (issues 523, 532, 629) where agents or fetching stop for good after a rebalance or an outage. A
process that notices and ends is mended by any supervisor; one that does not is found by a customer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.transport.ledger import Ledger, Partition, Track


@dataclass(frozen=True, slots=True)
class Stall:
    """The longest wait for progress: how long, and for what. Zero seconds when there is nothing to wait for."""

    seconds: float
    what: str


NOTHING = Stall(0.0, "nothing to wait for")


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a partition outside the ledger; times are of the same clock as the ledger's."""

    end_offset: int | None
    heard_at: float | None
    has_unread: bool


def find_stall(ledger: Ledger, look: Callable[[Partition], Look], now: float) -> Stall:
    """Return the longest wait over all partitions.

    Four things can hang: the agent (batches out, none acknowledged in its topic), committing (acknowledged, not
    accepted by the broker), starting (assigned, no position yet), fetching (room and records to read,
    or no answer from the broker).
    """
    return max(
        (stall for track in ledger for stall in _waits(ledger, track, look(track.tp), now)),
        key=lambda stall: stall.seconds,
        default=NOTHING,
    )


def _waits(ledger: Ledger, track: Track, look: Look, now: float) -> list[Stall]:
    name = f"{track.tp[0]}[{track.tp[1]}]"
    if not track.started:
        return [Stall(now - track.opened_at, f"{name} to find its position")]
    waits = []
    if track.uncommitted_since is not None:
        waits.append(Stall(now - track.uncommitted_since, f"{name} to be committed"))
    if track.window:
        # A topic's agent takes its partitions in turn, so any acknowledgement in the topic is progress.
        since = max(ledger.acked_at.get(track.tp[0], 0.0), track.window[0].handed_at)
        waits.append(Stall(now - since, f"an agent to acknowledge {name}"))
    elif look.has_unread or (look.end_offset is not None and look.end_offset > track.position):
        waits.append(Stall(now - track.progress_at, f"{name} to be read"))
    else:
        heard = max(look.heard_at or 0.0, track.progress_at)
        waits.append(Stall(max(now - heard, 0.0), f"the broker to answer for {name}"))
    return waits
