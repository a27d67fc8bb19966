"""The flusher: what is acknowledged, when and in which order; a real event loop and a table in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pipeline.flush import Flusher, Work
from pipeline.producer import Message
from pipeline.writer import Refused
from schemas.dead_letter import DeadLetter, Reason, Stage
from tests.unit.records import NOW_MS, FakeRecord, until

Row = tuple[int]


class Table:
    """Rows in a list; refuses those below zero; holds every write back while `open` is not set."""

    def __init__(self, log: list[str]) -> None:
        self.rows: list[Row] = []
        self.writes: list[int] = []
        self.open = asyncio.Event()
        self.open.set()
        self.fault: Exception | None = None
        self._log = log

    async def write(self, rows: Sequence[tuple[Any, ...]]) -> list[Refused]:
        self.writes.append(len(rows))
        await self.open.wait()
        if self.fault is not None:
            raise self.fault
        self.rows += [row for row in rows if row[0] >= 0]
        self._log.append("written")
        return [Refused(i, "below zero") for i, row in enumerate(rows) if row[0] < 0]


class Lane:
    """A flusher with its table, its topic and what was acknowledged."""

    def __init__(self, **bounds: Any) -> None:
        self.log: list[str] = []
        self.table = Table(self.log)
        self.buried: list[DeadLetter] = []
        self.published: list[Message] = []
        self.publish_fault: Exception | None = None
        limits = {"max_rows": 1000, "max_age": 0.01} | bounds
        self.flusher = Flusher(self.table, self._publish, self._bury, lambda: NOW_MS, **limits)

    async def _publish(self, messages: Sequence[Message]) -> None:
        if self.publish_fault is not None:
            raise self.publish_fault
        self.published += messages
        self.log.append("published")

    async def _bury(self, letters: Sequence[DeadLetter]) -> None:
        self.buried += letters
        self.log.append("buried")

    def work(self, name: str, *values: int) -> Work:
        async def acknowledge() -> None:
            self.log.append(name)

        origins = [FakeRecord(b"%d" % v, offset=1000 + v) for v in values]
        return Work(acknowledge, rows=[(v,) for v in values], origins=origins)

    async def acknowledged(self, name: str) -> None:
        await until(lambda: name in self.log)

    async def flushing(self) -> None:
        await until(lambda: bool(self.table.writes))


@asynccontextmanager
async def running(job: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(job())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_works_are_acknowledged_in_the_order_they_came_after_all_is_durable() -> None:
    lane = Lane()
    async with running(lane.flusher.run):
        first = lane.work("first", 1, 2)
        first.messages.append(Message("feedback.comments", b"k", b"v"))
        await lane.flusher.add(first)
        await lane.flusher.add(lane.work("second", 3))
        await lane.acknowledged("second")
    assert lane.log == ["written", "published", "first", "second"]
    assert lane.table.rows == [(1,), (2,), (3,)]
    assert lane.table.writes == [3]  # one insert for both
    assert lane.published == first.messages
    assert lane.flusher.flushed_rows == 3


async def test_nothing_is_acknowledged_while_the_insert_is_under_way() -> None:
    lane = Lane()
    lane.table.open.clear()
    async with running(lane.flusher.run):
        await lane.flusher.add(lane.work("a", 1))
        await asyncio.sleep(0.05)
        assert lane.log == []
        lane.table.open.set()
        await lane.acknowledged("a")
    assert lane.log == ["written", "published", "a"]


@pytest.mark.parametrize("where", ["table", "topic"])
async def test_nothing_is_acknowledged_when_a_step_fails_and_the_fault_comes_out(where: str) -> None:
    lane = Lane()
    if where == "table":
        lane.table.fault = RuntimeError("a fault of ours")
    else:
        lane.publish_fault = RuntimeError("a fault of ours")
    await lane.flusher.add(lane.work("a", 1))
    with pytest.raises(RuntimeError, match="a fault of ours"):
        await lane.flusher.run()
    assert "a" not in lane.log


async def test_a_cancelled_flush_acknowledges_nothing() -> None:
    lane = Lane()
    lane.table.open.clear()
    async with running(lane.flusher.run) as task:
        await lane.flusher.add(lane.work("a", 1))
        await lane.flushing()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    lane.table.open.set()
    await asyncio.sleep(0.02)
    assert lane.log == []


async def test_a_row_that_is_refused_becomes_the_dead_letter_of_its_record() -> None:
    lane = Lane()
    async with running(lane.flusher.run):
        await lane.flusher.add(lane.work("first", 1, -2))
        await lane.flusher.add(lane.work("second", 3, 4, -5))
        await lane.acknowledged("second")
    assert lane.table.rows == [(1,), (3,), (4,)]
    assert [(letter.reason, letter.stage, letter.error) for letter in lane.buried] == [
        (Reason.STORE_REFUSED, Stage.WRITE, "below zero")
    ] * 2
    assert [(letter.offset, letter.payload) for letter in lane.buried] == [(998, "-2"), (995, "-5")]
    assert lane.log == ["written", "buried", "published", "first", "second"]


async def test_dead_letters_of_the_lane_are_buried_before_the_acknowledgement() -> None:
    lane = Lane()
    work = lane.work("a")
    work.letters += [_letter(7)]
    async with running(lane.flusher.run):
        await lane.flusher.add(work)
        await lane.acknowledged("a")
    assert [letter.offset for letter in lane.buried] == [7]
    assert lane.log.index("buried") < lane.log.index("a")


async def test_work_without_rows_is_acknowledged_too() -> None:
    lane = Lane()
    async with running(lane.flusher.run):
        await lane.flusher.add(lane.work("nothing"))
        await lane.acknowledged("nothing")


async def test_while_a_flush_is_under_way_the_next_one_fills_and_then_adding_waits() -> None:
    lane = Lane(max_rows=4)
    lane.table.open.clear()
    async with running(lane.flusher.run):
        await lane.flusher.add(lane.work("under way", 1, 2, 3, 4))
        await lane.flushing()
        await lane.flusher.add(lane.work("next", 5, 6))
        await lane.flusher.add(lane.work("next, full", 7, 8))
        waiting = asyncio.create_task(lane.flusher.add(lane.work("waits", 9)))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        lane.table.open.set()
        await waiting
        await lane.acknowledged("waits")
    assert [entry for entry in lane.log if entry not in ("written", "published")] == [
        "under way",
        "next",
        "next, full",
        "waits",
    ]
    assert lane.table.writes == [4, 4, 1]


async def test_junk_alone_makes_adding_wait_too() -> None:
    lane = Lane(max_rows=3)
    lane.table.open.clear()
    async with running(lane.flusher.run):
        await lane.flusher.add(lane.work("under way", 1, 2, 3))
        await lane.flushing()
        junk = lane.work("junk")
        junk.letters += [_letter(offset) for offset in range(3)]
        await lane.flusher.add(junk)
        waiting = asyncio.create_task(lane.flusher.add(lane.work("waits", 9)))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        lane.table.open.set()
        await waiting


async def test_a_full_flush_does_not_wait_for_its_age() -> None:
    lane = Lane(max_rows=2, max_age=3600.0)
    async with running(lane.flusher.run):
        await lane.flusher.add(lane.work("a", 1, 2))
        await asyncio.wait_for(lane.acknowledged("a"), 5)


def _letter(offset: int) -> DeadLetter:
    return DeadLetter.model_validate(
        {
            "reason": Reason.NOT_JSON,
            "stage": Stage.DECODE,
            "error": "",
            "topic": "feedback.responses",
            "partition": 0,
            "offset": offset,
            "occurred_at": "2026-03-02T14:07:00Z",
            "failed_at": "2026-03-02T14:07:00Z",
        }
    )


async def test_a_store_that_refuses_every_row_ends_the_flusher_and_buries_nothing() -> None:
    lane = Lane()
    async with running(lane.flusher.run) as task:
        await lane.flusher.add(lane.work("all", *range(-50, -1)))
        with pytest.raises(RuntimeError, match="the fault is ours"):
            await asyncio.wait_for(asyncio.shield(task), 5)
    assert lane.buried == []
    assert "all" not in lane.log
