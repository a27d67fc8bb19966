"""The committed offset never passes what is durable: ledger, lane, flusher and writer together, under hypothesis.

Real: `pipeline.transport.ledger`, `pipeline.lanes`, `pipeline.flush`, `pipeline.writer`. Recording: the broker is a log
and a number, and the table a list, since only they can be made to answer "taken, and the answer is lost" at an instant
that hypothesis chooses. A real broker and store under the same faults are in tests/chaos.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import pytest
from clickhouse_connect.driver.exceptions import DataError, OperationalError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline import writer as writing
from pipeline.decoding import decode_response
from pipeline.flush import Flusher, Work
from pipeline.lanes import score_responses
from pipeline.producer import Message
from pipeline.transport.ledger import Ledger, Partition, Ticket
from schemas.dead_letter import DeadLetter, Stage
from schemas.rows import ResponseRow
from tests.unit.records import NOW_MS, FakeRecord, envelope

PARTITIONS: list[Partition] = [("feedback.responses", number) for number in range(2)]
ASSIGNMENTS = [PARTITIONS, PARTITIONS[:1], PARTITIONS[1:], []]
LENGTH = 24  # records of a partition
Place = tuple[int, int]  # partition, offset


def log(partition: int) -> list[FakeRecord]:
    """Records of a partition: edits of few responses, some with a comment, some junk, some that the store refuses."""

    def value(offset: int) -> bytes:
        if offset % 7 == 3:
            return b"{not json"
        data = {
            "response_id": f"r{offset % 5}",
            "metric": "nps",
            "score": offset % 11,
            "survey": f"{partition}-{offset}",
        }
        if offset % 3 == 0:
            data["comment"] = "ok"
        if offset % 11 == 5:
            data["channel"] = "refused"
        data["updated_at"] = f"2026-03-02T14:00:{(offset * 7) % 60:02}Z"
        return envelope(data, id=f"{partition}-{offset}")

    return [FakeRecord(value(offset), partition=partition, offset=offset) for offset in range(LENGTH)]


class Insert(NamedTuple):
    """An insert that waits for what the test lets the store say."""

    rows: list[ResponseRow]
    answered: threading.Event
    answer: list[str]


class Table:
    """Rows in a list. Every insert waits for `answer`, unless `willing`; a row of the channel `refused` is refused."""

    def __init__(self, rows: list[ResponseRow]) -> None:
        self.rows = rows
        self.pending: Insert | None = None
        self.willing = False

    def connect(self) -> Any:
        return self

    def close(self) -> None:
        pass

    def create_insert_context(self, table: str, columns: Sequence[str], *, column_oriented: bool) -> Any:
        return SimpleNamespace(data=None)

    def insert(self, *, context: Any) -> None:
        rows = [ResponseRow(*row) for row in zip(*context.data, strict=True)]
        said = "taken"
        if not self.willing:
            waiting = Insert(rows, threading.Event(), [])
            self.pending = waiting
            waiting.answered.wait()
            [said] = waiting.answer
        if said != "away" and any(row.channel == "refused" for row in rows):
            raise DataError("refused")
        if said != "away":
            self.rows += rows
        if said != "taken":
            raise OperationalError(said)

    def answer(self, said: str) -> None:
        assert self.pending is not None
        pending, self.pending = self.pending, None
        pending.answer.append(said)
        pending.answered.set()


class Lane:
    """An agent with its flusher and writer, as `pipeline.worker` puts them together."""

    def __init__(self, ledger: Ledger, table: Table, letters: list[DeadLetter]) -> None:
        self.table = table
        self.unfinished = 0
        self.producer_broken = False
        self.writer = writing.Writer("feedback.responses", ResponseRow._fields, table.connect)
        self._ledger, self._letters = ledger, letters
        self._queue: asyncio.Queue[tuple[list[FakeRecord], Ticket]] = asyncio.Queue()
        self._flusher = Flusher(self.writer, self._publish, self._bury, lambda: NOW_MS, max_rows=8, max_age=0.0)
        self.jobs = [asyncio.ensure_future(self._flusher.run()), asyncio.ensure_future(self._work())]

    @property
    def quiet(self) -> bool:
        return self.table.pending is not None or not self.unfinished or self.dead

    @property
    def dead(self) -> bool:
        return any(job.done() for job in self.jobs)

    def take(self, records: list[FakeRecord], ticket: Ticket) -> None:
        self.unfinished += 1
        self._queue.put_nowait((records, ticket))

    async def _work(self) -> None:
        while True:
            records, ticket = await self._queue.get()

            async def acknowledge(ticket: Ticket = ticket) -> None:
                self._ledger.ack(ticket, now=0.0)
                self.unfinished -= 1

            work = Work(acknowledge)
            score_responses(records, work, NOW_MS)
            await self._flusher.add(work)

    async def _publish(self, messages: Sequence[Message]) -> None:
        if self.producer_broken:
            raise OSError("no broker")

    async def _bury(self, letters: Sequence[DeadLetter]) -> None:
        await self._publish([])
        self._letters += letters

    async def end(self) -> None:
        """What is left of it after kill -9: nothing."""
        for job in self.jobs:
            job.cancel()
        await asyncio.wait(self.jobs)
        self.table.willing = True
        if self.table.pending is not None:
            self.table.answer("away")
        self.writer.close()


class Watermark(RuleBasedStateMachine):
    """A worker with two lanes that share the partitions, so that acknowledgements come in any order."""

    @initialize()
    def begin(self) -> None:
        self.pauses = [mock.patch.object(writing, name, 0.0) for name in ("_FIRST_PAUSE", "_LONGEST_PAUSE")]
        for pause in self.pauses:
            pause.start()
        self.loop = asyncio.new_event_loop()
        self.logs = [log(number) for _, number in PARTITIONS]
        self.kept = [0 for _ in PARTITIONS]  # what the broker has
        self.rows: list[ResponseRow] = []
        self.letters: list[DeadLetter] = []
        self.lanes: list[Lane] = []
        self.start()

    def start(self) -> None:
        self.ledger = Ledger(max_batches=4, max_bytes=10**6)

        async def make() -> list[Lane]:
            return [Lane(self.ledger, Table(self.rows), self.letters) for _ in range(2)]

        self.lanes = self.loop.run_until_complete(make())
        self.assign(PARTITIONS)

    def assign(self, mine: Sequence[Partition]) -> None:
        self.ledger.close_all()
        for tp in mine:
            session = self.ledger.open(tp, now=0.0).session
            self.ledger.started(tp, session, self.kept[tp[1]], now=0.0)

    def settle(self) -> None:
        """Let all run until it waits for the store or has nothing to do; a worker that ends is started again."""

        async def wait() -> None:
            async with asyncio.timeout(20):
                while not all(lane.quiet for lane in self.lanes):  # noqa: ASYNC110 - what is watched has no event
                    await asyncio.sleep(0)

        self.loop.run_until_complete(wait())
        if any(lane.dead for lane in self.lanes):
            self.kill()

    def end(self) -> None:
        for lane in self.lanes:
            self.loop.run_until_complete(lane.end())

    @rule(batches=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=5))
    def hand_out(self, batches: list[tuple[int, int, int]]) -> None:
        for batch in batches:
            self.hand_out_one(*batch)

    def hand_out_one(self, count: int, lane: int, which: int) -> None:
        """`count` records of one of the partitions that are wanted, to one of the lanes."""
        wanted = [track for track in self.ledger.wanted() if track.position < LENGTH]
        if not wanted:
            return
        track = wanted[which % len(wanted)]
        records = self.logs[track.tp[1]][track.position : track.position + count]
        ticket = self.ledger.add(track.tp, track.session, records[0].offset, records[-1].offset + 1, 1, now=0.0)
        assert ticket is not None
        self.lanes[lane].take(records, ticket)
        self.settle()

    @precondition(lambda self: any(lane.table.pending for lane in self.lanes))
    @rule(
        said=st.sampled_from(["taken", "taken", "taken", "away", "taken, and the answer lost"]), which=st.integers(0, 1)
    )
    def answer(self, said: str, which: int) -> None:
        waiting = [lane for lane in self.lanes if lane.table.pending is not None]
        waiting[which % len(waiting)].table.answer(said)
        self.settle()

    @rule(outcome=st.sampled_from(["accepted", "refused", "accepted, and the answer lost"]))
    def commit(self, outcome: str) -> None:
        due = self.ledger.committable()
        if outcome != "refused":
            for tp, item in due.items():
                self.kept[tp[1]] = item.offset
        if outcome == "accepted":
            self.ledger.committed(due, now=0.0)

    @rule(fault=st.sampled_from([*ASSIGNMENTS, "kill", "broker 0", "broker 1"]))
    def suffer(self, fault: Sequence[Partition] | str) -> None:
        """A rebalance, a kill, or a broker that a lane's producer gives up on."""
        if fault == "kill":
            self.kill()
        elif isinstance(fault, str):
            self.lanes[int(fault[-1])].producer_broken = True
        else:
            self.assign(fault)  # what the lanes hold goes on, and is acknowledged too late

    def kill(self) -> None:
        self.end()
        self.start()

    def durable(self) -> set[Place]:
        return {place(row) for row in self.rows} | {(letter.partition, letter.offset) for letter in self.letters}

    @invariant()
    def nothing_committed_or_about_to_be_is_not_durable(self) -> None:
        if not self.lanes:
            return
        durable = self.durable()
        due = {tp[1]: item.offset for tp, item in self.ledger.committable().items()}
        for partition, kept in enumerate(self.kept):
            for offset in range(max(kept, due.get(partition, 0))):
                assert (partition, offset) in durable

    def teardown(self) -> None:
        if not self.lanes:
            return
        try:
            self.kill()
            for lane in self.lanes:
                lane.table.willing = True
            for _ in range(2 * LENGTH):  # more than there are batches
                self.hand_out_one(3, 0, 0)
                self.commit("accepted")
            self.assert_each_once()
        finally:
            self.end()
            self.loop.close()
            for pause in self.pauses:
                pause.stop()

    def assert_each_once(self) -> None:
        """A quiet worker finishes it: all is committed, nothing lost, and the newest versions are those of the log."""
        assert self.kept == [LENGTH] * len(PARTITIONS)
        places = {(partition, offset) for partition in range(len(PARTITIONS)) for offset in range(LENGTH)}
        assert self.durable() == places
        wanted = [decode_response(record, NOW_MS) for records in self.logs for record in records]
        rows = [row for row in wanted if isinstance(row, ResponseRow)]
        assert newest(self.rows) == newest([row for row in rows if row.channel != "refused"])
        refused = {(letter.partition, letter.offset) for letter in self.letters if letter.stage is Stage.WRITE}
        assert refused == {place(row) for row in rows if row.channel == "refused"} != set()


def place(row: ResponseRow) -> Place:
    """The record that a row was made of."""
    partition, offset = row.survey.split("-")
    return int(partition), int(offset)


def newest(rows: Sequence[ResponseRow]) -> dict[str, ResponseRow]:
    """The version that counts, by identity."""
    found: dict[str, ResponseRow] = {}
    for row in rows:
        known = found.get(row.response_id, row)
        found[row.response_id] = max(known, row, key=lambda r: (r.updated_at, r.digest, -r.received_at))
    return found


TestWatermark = pytest.mark.timeout(120)(Watermark.TestCase)
TestWatermark.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
