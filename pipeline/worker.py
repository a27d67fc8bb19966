"""One worker of one lane: a faust app whose agents take batches, and all that they need, put together.

Reads `feedback.responses` and `feedback.interactions` (lane `scores`) or `feedback.comments` (lane `labels`); writes
ClickHouse and the topics further on. A fault that nothing here can mend ends the process with exit code 1: whoever
started it starts it again, and what was not acknowledged comes again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast

import uvloop

from infra.clickhouse.client import connect
from infra.clickhouse.settings import ClickHouseSettings
from pipeline import lanes
from pipeline.decoding import Record
from pipeline.flush import Flusher, Work
from pipeline.health import serve_health
from pipeline.producer import Producer
from pipeline.settings import StreamSettings, consumer_group
from pipeline.transport import BatchApp, BatchSettings, batch_topic, make_app
from pipeline.transport.consumer import BatchConsumer
from pipeline.writer import Writer
from schemas import topics
from schemas.dead_letter import DeadLetter
from schemas.labels import Labels
from schemas.rows import DeadLetterRow, InteractionRow, ResponseRow

log = logging.getLogger(__name__)

DATABASE = "feedback"
_STOP_SECONDS = 2.0

Handle = Callable[[Sequence[Record], Work], Awaitable[None]]


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def run_worker(lane: str, data: Path, stream: StreamSettings, clickhouse: ClickHouseSettings) -> None:
    """Run a worker of `lane` until SIGTERM or SIGINT; faust keeps its files below `data`."""
    uvloop.install()
    asyncio.run(_to_the_end(Worker(lane, data, stream, clickhouse)))


async def _to_the_end(worker: Worker) -> NoReturn:
    """Run the worker, then leave at once.

    Nothing is left to save, while ending torch and joining threads that wait for a broker takes seconds, and whoever
    stops us waits but a few before kill -9.
    """
    code = 0
    try:
        await worker.run()
    except SystemExit as fault:
        print(fault, file=sys.stderr)
        code = 1
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)


class Worker:
    """The parts of a worker and their lives."""

    def __init__(self, lane: str, data: Path, stream: StreamSettings, clickhouse: ClickHouseSettings) -> None:
        self._lane = lane
        self._settings = stream
        self._group = consumer_group(stream, lane)
        self._producer = Producer(stream.kafka_brokers)
        self._connect = partial(connect, clickhouse)
        self._app = self._make_app(data)
        self._letters = self._writer("dead_letters", DeadLetterRow._fields)
        self._writers: list[Writer] = [self._letters]
        self._flushers: list[Flusher] = []
        self._threads: list[ThreadPoolExecutor] = []
        self._stopped = asyncio.Event()
        self._fault: BaseException | None = None

    async def run(self) -> None:
        """Start, work until told to stop or until a fault, stop."""
        if self._lane == "scores":
            self._agent(topics.RESPONSES, self._synchronous(lanes.score_responses), "responses", ResponseRow._fields)
            self._agent(
                topics.INTERACTIONS, self._synchronous(lanes.store_interactions), "interactions", InteractionRow._fields
            )
        else:
            label = await self._load_labeler()
            self._agent(
                topics.COMMENTS,
                lambda records, work: lanes.label_comments(records, work, label, now_ms),
                "responses",
                ResponseRow._fields,
            )
        for number in (signal.SIGINT, signal.SIGTERM):  # until here a signal ends us at once: nothing is under way
            asyncio.get_running_loop().add_signal_handler(number, self._stopped.set)
        jobs = [self._watched(flusher.run()) for flusher in self._flushers] + [self._watched(self._watch_for_stalls())]
        try:
            await self._app.start()
            async with serve_health(self._settings.health_port, self._report):
                log.info("lane %s works as %s", self._lane, self._group)
                await self._stopped.wait()
        finally:
            await self._stop(jobs)
        if self._fault is not None:
            raise SystemExit(f"the worker ends, to be started again: {self._fault!r}")

    def _make_app(self, data: Path) -> BatchApp:
        records = self._settings.batch_records if self._lane == "scores" else self._settings.label_batch_records
        return make_app(
            self._group,
            self._settings.kafka_brokers,
            datadir=data / f"{self._lane}-{os.getpid()}",
            batching=BatchSettings(max_records=records, max_inflight_batches=16 if self._lane == "scores" else 2),
        )

    def _agent(self, topic: str, handle: Handle, table: str, columns: Sequence[str]) -> None:
        """An agent on `topic` whose rows go to `table`; the loop that pipeline.transport recommends."""
        writer = self._writer(table, columns)
        self._writers.append(writer)
        flusher = Flusher(
            writer,
            self._producer.publish,
            self._bury,
            now_ms,
            max_rows=self._settings.flush_rows,
            max_age=self._settings.flush_seconds,
        )
        self._flushers.append(flusher)

        async def work_through(stream: Any) -> None:
            async for event in stream.noack().events():
                work = Work(acknowledge=partial(stream.ack, event))
                try:
                    await handle(event.value.records, work)
                    await flusher.add(work)
                except Exception as fault:  # ours: nothing may escape the body, so the process ends with it
                    self._fail(fault)
                    return

        self._app.agent(batch_topic(self._app, topic), name=f"{self._lane}-{topic}", concurrency=1)(work_through)

    def _synchronous(self, decode: Callable[[Sequence[Record], Work, int], None]) -> Handle:
        async def handle(records: Sequence[Record], work: Work) -> None:
            decode(records, work, now_ms())

        return handle

    @property
    def _consumer(self) -> BatchConsumer:
        return cast(BatchConsumer, self._app.consumer)

    def _writer(self, table: str, columns: Sequence[str]) -> Writer:
        return Writer(f"{DATABASE}.{table}", columns, self._connect)

    async def _bury(self, letters: Sequence[DeadLetter]) -> None:
        """Dead letters into their table and onto their topic."""
        refused = await self._letters.write([DeadLetterRow.of(letter) for letter in letters])
        for refusal in refused:  # nothing is lost even then: the topic has it
            log.error("ClickHouse refused a dead letter: %s", refusal.error)
        await self._producer.publish(
            [
                lanes.event(
                    topics.DEAD_LETTERS,
                    f"{letter.topic}/{letter.partition}/{letter.offset}",
                    letter.key,
                    letter,
                    now_ms(),
                )
                for letter in letters
            ]
        )

    async def _load_labeler(self) -> lanes.LabelAll:
        """The model, loaded and called in a thread of its own, so that heartbeats never wait for it."""
        from models.labeler import Labeler
        from models.settings import ModelSettings

        thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._threads.append(thread)
        loop = asyncio.get_running_loop()
        labeler = await loop.run_in_executor(thread, Labeler.load, ModelSettings())

        async def label(texts: Sequence[str]) -> list[Labels]:
            return await loop.run_in_executor(thread, labeler.label, texts)

        return label

    async def _watch_for_stalls(self) -> None:
        """End the worker when faust has crashed, or commits nothing although there is work and ClickHouse is there."""
        while True:
            await asyncio.sleep(1)
            if self._app.crashed:
                raise RuntimeError(f"faust crashed: {self._app.crash_reason!r}")
            if any(writer.waiting for writer in self._writers):
                continue
            stall = self._consumer.stall()
            if stall.seconds > self._settings.stall_seconds:
                raise RuntimeError(f"no progress for {stall.seconds:.0f} s, waiting for {stall.what}")

    def _watched(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(job)
        task.add_done_callback(lambda t: None if t.cancelled() else self._fail(t.exception()))
        return task

    def _fail(self, fault: BaseException | None) -> None:
        log.error("a fault that only a new start mends", exc_info=fault)
        self._fault = self._fault or fault or RuntimeError("a job ended that should not")
        self._stopped.set()

    def _report(self) -> dict[str, Any]:
        """What /healthz says."""
        stall = self._consumer.stall()
        return {
            "lane": self._lane,
            "group": self._group,
            "rows": sum(flusher.flushed_rows for flusher in self._flushers),
            "lag": {f"{topic}/{partition}": n for (topic, partition), n in self._consumer.lag().items()},
            "waiting_for_clickhouse": any(writer.waiting for writer in self._writers),
            "stalled_for": round(stall.seconds, 1),
        }

    async def _stop(self, jobs: list[asyncio.Task[None]]) -> None:
        """What is under way is finished if it is quick; the rest comes again to the next worker."""
        for job in jobs:
            job.cancel()
        self._producer.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._app.stop(), _STOP_SECONDS)
        for closing in self._writers:
            await asyncio.to_thread(closing.close)
        for thread in self._threads:
            thread.shutdown(wait=False, cancel_futures=True)
