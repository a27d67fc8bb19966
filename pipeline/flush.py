"""Many batches, one insert, then the acknowledgement: the last step of a lane.

Lanes hand over `Work` (what one batch of records became); the flusher gathers it until it is big or old enough,
inserts its rows, publishes its messages, and only then acknowledges its batches, in the order they came. While one
flush is on its way the next one fills; when that is full, `add` waits: back-pressure is this wait, and the
transport stops fetching for it. Nothing is acknowledged that is not durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline.decoding import Record, dead_letter
from pipeline.producer import Message
from pipeline.writer import Refused
from schemas.dead_letter import DeadLetter, Reason, Stage

# So many rows refused without one taken are no sender's fault: a worker whose columns are not the table's must not
# drain its topic into the dead letters. It ends, and the rows come again to one that is mended.
MANY = 20


@dataclass
class Work:
    """What one batch of records became.

    `origins[i]` is the record that `rows[i]` was made of, so that a row refused by the store becomes its dead letter.
    """

    acknowledge: Callable[[], Awaitable[None]]
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    origins: list[Record] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)


class RowWriter(Protocol):
    """Makes rows durable; hands back those that cannot be. `pipeline.writer.Writer` is one."""

    async def write(self, rows: Sequence[tuple[Any, ...]]) -> list[Refused]: ...


class Flusher:
    """Gathers the work of one lane and flushes it, one flush at a time.

    `bury` makes dead letters durable; `publish` sends messages; both return when that is done.
    `max_rows` (dead letters count too) and `max_age` (seconds) bound a flush; `clock` gives milliseconds since 1970.
    """

    def __init__(
        self,
        writer: RowWriter,
        publish: Callable[[Sequence[Message]], Awaitable[None]],
        bury: Callable[[Sequence[DeadLetter]], Awaitable[None]],
        clock: Callable[[], int],
        *,
        max_rows: int,
        max_age: float,
    ) -> None:
        self._writer = writer
        self._publish = publish
        self._bury = bury
        self._clock = clock
        self._max_rows = max_rows
        self._max_age = max_age
        self._gathered: list[Work] = []
        self._rows = 0
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.flushed_rows = 0

    async def add(self, work: Work) -> None:
        """Hand over work; waits while the next flush is already full."""
        await self._room.wait()
        self._gathered.append(work)
        self._rows += len(work.rows) + len(work.letters)  # junk takes memory too
        self._arrived.set()
        if self._rows >= self._max_rows:
            self._full.set()
            self._room.clear()

    async def run(self) -> None:
        """Flush until cancelled. Whatever escapes is a fault of ours, and the worker must end with it."""
        while True:
            await self._arrived.wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), self._max_age)
            await self._flush(self._take())

    def _take(self) -> list[Work]:
        taken, self._gathered, self._rows = self._gathered, [], 0
        self._arrived.clear()
        self._full.clear()
        self._room.set()
        return taken

    async def _flush(self, works: list[Work]) -> None:
        rows = [row for work in works for row in work.rows]
        refused = await self._writer.write(rows)
        letters = [letter for work in works for letter in work.letters]
        if len(refused) == len(rows) >= MANY:
            raise RuntimeError(f"the store refused all of {len(rows)} rows, so the fault is ours: {refused[0].error}")
        if refused:
            origins = [origin for work in works for origin in work.origins]
            letters += [self._refusal(origins[r.row], r.error) for r in refused]
        if letters:
            await self._bury(letters)
        await self._publish([message for work in works for message in work.messages])
        for work in works:
            await work.acknowledge()
        self.flushed_rows += len(rows)

    def _refusal(self, record: Record, error: str) -> DeadLetter:
        return dead_letter(record, self._clock(), Reason.STORE_REFUSED, Stage.WRITE, error)
