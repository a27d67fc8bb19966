"""Which batches are out, which are acknowledged, and how far each partition may be committed.

Pure bookkeeping: no Kafka, no clock of its own, no tasks. The consumer tells it what was fetched, handed out and
acknowledged; it answers what to fetch next and what to commit. All calls come from one thread.

A *session* is one unbroken run of reading a partition: it begins with an assignment or a seek and ends with
a revocation or the next seek. Numbers of sessions are never used twice, so whatever belongs to an ended one
(a late answer of the broker, a late acknowledgement) is recognised and ignored. Within a session batches are
recorded in the order they were read, and the committable offset is the end of the *acknowledged prefix*.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

#: Topic and partition number. faust's TP and aiokafka's TopicPartition are such tuples, and equal each other.
Partition = tuple[str, int]


@dataclass(slots=True, eq=False)
class Ticket:
    """One batch that was handed out. `eq=False`: two batches are never the same one."""

    track: Track
    next_offset: int
    size: int
    handed_at: float
    acked: bool = False


@dataclass(slots=True, eq=False)
class Track:
    """One session of one partition."""

    tp: Partition
    session: int
    opened_at: float
    #: Where a seek asked to begin; None = at the committed offset.
    begin_at: int | None = None
    #: True once the fetcher stands at the place where the session begins.
    started: bool = False
    #: Where it began.
    began_at: int = 0
    #: Offset after the last record read.
    position: int = 0
    #: Offset after the acknowledged prefix: what may be committed.
    acked_to: int | None = None
    #: What the broker last accepted.
    committed: int | None = None
    #: When `acked_to` ran ahead of `committed`.
    uncommitted_since: float | None = None
    #: When something last happened here: started, handed out, acknowledged.
    progress_at: float = 0.0
    #: Batches from the first unacknowledged one on, in the order they were read.
    window: deque[Ticket] = field(default_factory=deque)

    @property
    def unacked_bytes(self) -> int:
        """Bytes of the batches that agents still hold."""
        return sum(ticket.size for ticket in self.window if not ticket.acked)


@dataclass(frozen=True, slots=True)
class Due:
    """An offset to commit, and the session it was earned in."""

    session: int
    offset: int


class Ledger:
    """The sessions of all partitions that this worker reads now."""

    def __init__(self, *, max_batches: int, max_bytes: int) -> None:
        self._max_batches = max_batches
        self._max_bytes = max_bytes
        self._tracks: dict[Partition, Track] = {}
        self._last_session = 0
        self._bytes = 0
        #: When a batch of a topic was last acknowledged, by topic: agents are slow or stuck by topic.
        self.acked_at: dict[str, float] = {}

    def __iter__(self) -> Iterator[Track]:
        return iter(self._tracks.values())

    def get(self, tp: Partition) -> Track | None:
        """Return the present session of a partition, or None where it is not ours."""
        return self._tracks.get(tp)

    # -- sessions

    def open(self, tp: Partition, now: float, begin_at: int | None = None) -> Track:
        """Begin a new session, ending the one before; `begin_at` None means at the committed offset."""
        self.close((tp,))
        self._last_session += 1
        track = Track(tp, self._last_session, opened_at=now, begin_at=begin_at, progress_at=now)
        self._tracks[tp] = track
        return track

    def close(self, tps: Iterable[Partition]) -> None:
        """End the sessions of these partitions: nothing of them is committed or acknowledged any more."""
        for tp in tps:
            track = self._tracks.pop(tp, None)
            if track is not None:
                self._bytes -= track.unacked_bytes

    def close_all(self) -> None:
        """End every session."""
        self.close(list(self._tracks))

    def unstarted(self) -> list[Track]:
        """Return sessions whose place to begin has yet to be sought."""
        return [track for track in self if not track.started]

    def started(self, tp: Partition, session: int, position: int, now: float) -> None:
        """Note that the fetcher stands at `position`; ignored for an ended session."""
        track = self._current(tp, session)
        if track is not None:
            track.started = True
            track.began_at = track.position = position
            track.progress_at = now

    # -- handing out

    def wanted(self) -> list[Track]:
        """Return sessions that may be handed another batch, those with fewest out first."""
        if self.budget() <= 0:
            return []
        free = [t for t in self if t.started and len(t.window) < self._max_batches]
        free.sort(key=lambda track: len(track.window))
        return free

    def budget(self) -> int:
        """Return how many more bytes may be handed out, over all partitions."""
        return self._max_bytes - self._bytes

    def add(
        self, tp: Partition, session: int, first_offset: int, next_offset: int, size: int, now: float
    ) -> Ticket | None:
        """Record a batch about to be handed out; None (and hand nothing out) when its session has ended.

        When the batch lies before what was read already, the log itself has been cut and the broker's reset took
        us back: all that was out refers to records that are gone, so the session begins anew.
        """
        track = self._current(tp, session)
        if track is None:
            return None
        if first_offset < track.position:
            self.close((tp,))
            track = Track(tp, session, opened_at=now, started=True, began_at=first_offset)
            self._tracks[tp] = track
        ticket = Ticket(track, next_offset, size, handed_at=now)
        track.window.append(ticket)
        track.position = next_offset
        track.progress_at = now
        self._bytes += size
        return ticket

    def skip(self, tp: Partition, session: int, next_offset: int, now: float) -> None:
        """Note that reading went on to `next_offset` without a record (control batches, compacted ones).

        What was skipped becomes committable with the batch before it, at once when nothing is out.
        """
        track = self._current(tp, session)
        if track is None:
            return
        track.position = next_offset
        track.progress_at = now
        if track.window:
            track.window[-1].next_offset = next_offset
        else:
            self._advance(track, next_offset, now)

    # -- acknowledging and committing

    def ack(self, ticket: Ticket, now: float) -> bool:
        """Mark a batch done. Return True when its partition moved and may be handed more.

        A batch of an ended session is ignored: it will be, or was, delivered again.
        """
        track = ticket.track
        if ticket.acked or self._tracks.get(track.tp) is not track:
            return False
        ticket.acked = True
        self._bytes -= ticket.size
        self.acked_at[track.tp[0]] = track.progress_at = now
        moved = False
        while track.window and track.window[0].acked:
            self._advance(track, track.window.popleft().next_offset, now)
            moved = True
        return moved

    def committable(self, topics: Collection[str] | None = None) -> dict[Partition, Due]:
        """Return the ends of the acknowledged prefixes that the broker does not have yet."""
        return {
            track.tp: Due(track.session, track.acked_to)
            for track in self
            if track.acked_to is not None
            and track.acked_to != track.committed
            and (topics is None or track.tp[0] in topics)
        }

    def committed(self, accepted: Mapping[Partition, Due], now: float) -> None:
        """Note what the broker accepted; what it refused stays committable."""
        for tp, due in accepted.items():
            track = self._current(tp, due.session)
            if track is not None:
                track.committed = due.offset
                track.uncommitted_since = None if track.acked_to == due.offset else now

    # -- looking

    @property
    def inflight_batches(self) -> int:
        """Batches handed out and not acknowledged, over all partitions."""
        return sum(not ticket.acked for track in self for ticket in track.window)

    @property
    def inflight_bytes(self) -> int:
        """Bytes of those batches."""
        return self._bytes

    def done_to(self, tp: Partition) -> int | None:
        """Return the offset after the acknowledged prefix, or where the session began; None before it has."""
        track = self._tracks.get(tp)
        if track is None or not track.started:
            return None
        return track.began_at if track.acked_to is None else track.acked_to

    def _current(self, tp: Partition, session: int) -> Track | None:
        track = self._tracks.get(tp)
        return track if track is not None and track.session == session else None

    def _advance(self, track: Track, offset: int, now: float) -> None:
        track.acked_to = offset
        if offset != track.committed and track.uncommitted_since is None:
            track.uncommitted_since = now
