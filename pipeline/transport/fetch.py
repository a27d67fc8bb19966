"""The consumer thread: everything that touches aiokafka.

It runs aiokafka in an event loop of its own (so heartbeats and rebalances go on while an agent computes), reads
runs of records for the consumer in the worker's loop, seeks and commits for it. Built on internals of faust 0.15.3
and aiokafka 0.14.0, which is why both are pinned: `Fetcher._records` and `FetchResult` are read directly, since
aiokafka's own `fetched_records` bounds no bytes, mixes partitions in one bound, and hides positions that moved
without a record.

Sessions (see `ledger`) are mirrored here. A partition is read only for the session that was started in the
*present* assignment, and both the check and the reading happen without an await between them. So no answer is
ever read under a wrong session, and none is read and then lost while its session lives: that is what rules out holes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiokafka
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchError, FetchResult
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalStateError, KafkaError
from faust.transport.drivers.aiokafka import (
    AIOKafkaConsumerThread,
    credentials_to_aiokafka_auth,
    server_list,
)
from faust.types import TP

from pipeline.transport.batch import Record
from pipeline.transport.ledger import Due, Partition
from pipeline.transport.settings import BatchSettings


@dataclass(frozen=True, slots=True)
class Chunk:
    """What was read of one partition; `records` is empty when only markers or compacted records were passed."""

    tp: Partition
    session: int
    records: list[Record]
    next_offset: int
    size: int


def record_size(record: Record) -> int:
    """Return the bytes of key, value and headers (a missing key or value has the size -1 in aiokafka)."""
    size: int = max(record.serialized_key_size, 0) + max(record.serialized_value_size, 0)
    for name, value in record.headers:
        size += len(name) + len(value or b"")
    return size


def take(result: FetchResult, max_records: int, max_bytes: int) -> tuple[list[Record], int]:
    """Read at most `max_records` from a fetch result, ending with the record that reaches `max_bytes`.

    Does what `FetchResult.getall` does, position included, with a bound in bytes besides.
    Returns the records and their size in bytes.
    """
    records: list[Record] = []
    size = 0
    if not result.check_assignment(None) or not result.has_more():
        return records, size
    for record in result._partition_records:
        records.append(record)
        size += record_size(record)
        if len(records) >= max_records or size >= max_bytes:
            result._update_position()
            return records, size
    result._update_position()
    result._partition_records = None
    return records, size


class BatchConsumerThread(AIOKafkaConsumerThread):
    """aiokafka in its own thread, read by session."""

    _consumer: aiokafka.AIOKafkaConsumer | None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.settings: BatchSettings = getattr(self.app, "batching", None) or BatchSettings()
        #: Sessions that may be read. Emptied by every rebalance, before the new assignment exists.
        self._sessions: dict[Partition, int] = {}
        #: Partitions of this assignment that were read or sought: their position is no longer the committed one.
        self._moved: set[Partition] = set()
        self._generation: int | None = None
        self._committing: asyncio.Task[Any] | None = None
        self._wake: asyncio.Event | None = None

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        # faust's own version hard-codes a fetch wait of 1500 ms and gives no way to set the fetch bounds.
        conf = self.app.conf
        self._wake = asyncio.Event()
        self._assignor = RoundRobinPartitionAssignor
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset=conf.consumer_auto_offset_reset,
            fetch_max_wait_ms=self.settings.fetch_max_wait_ms,
            fetch_min_bytes=self.settings.fetch_min_bytes,
            max_partition_fetch_bytes=self.settings.partition_fetch_bytes,
            isolation_level=self.settings.isolation_level,
            check_crcs=conf.broker_check_crcs,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
            **credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )

    # -- rebalances (called by aiokafka, in this thread)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let the worker commit what it has, then read and commit nothing until sessions are started again."""
        try:
            await super().on_partitions_revoked(revoked)
        finally:
            self._sessions.clear()
            self._moved.clear()
            self._generation = None
            if self._committing is not None:
                # aiokafka tries a commit again under whatever generation holds by then; this one ends here.
                self._committing.cancel()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Remember the generation that commits must belong to."""
        self._generation = generation_id
        await super().on_partitions_assigned(assigned, generation_id)

    # -- reading (called through call_thread)

    def wake(self) -> None:
        """End a `read` that is waiting, from any thread: there is room for more, or a seek."""
        if self._wake is not None and not self.thread_loop.is_closed():
            self.thread_loop.call_soon_threadsafe(self._wake.set)

    async def read(self, wanted: Mapping[Partition, int], budget: int, wait_s: float) -> list[Chunk]:
        """Return at most one chunk for each wanted partition (by session), waiting up to `wait_s` for one.

        Ends with the chunk that reaches `budget` bytes. With nothing wanted it only waits, which counts as polling,
        so that a paused worker is not taken for a dead one.

        Raises:
            KafkaError: what the broker refuses for good, such as a topic that may not be read.
        """
        consumer = self._ensure_consumer()
        fetcher = consumer._fetcher
        wake = self._wake
        assert wake is not None  # made together with the consumer
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        with fetcher._subscriptions.fetch_context():
            while True:
                if consumer._closed or fetcher._closed:
                    raise ConsumerStoppedError()
                chunks = self._drain(fetcher, wanted, budget)
                left = deadline - loop.time()
                if chunks or left <= 0 or wake.is_set():
                    wake.clear()
                    return chunks
                arrived = fetcher._create_fetch_waiter()
                woken = loop.create_task(wake.wait())
                try:
                    await asyncio.wait({arrived, woken}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                    if arrived.done():
                        arrived.result()  # raises what the group coordinator refused for good
                finally:
                    arrived.cancel()
                    woken.cancel()

    def _drain(self, fetcher: Any, wanted: Mapping[Partition, int], budget: int) -> list[Chunk]:
        chunks: list[Chunk] = []
        subscription = fetcher._subscriptions.subscription
        if subscription is None or fetcher._subscriptions.reassignment_in_progress:
            return chunks
        assignment = subscription.assignment
        for tp, session in wanted.items():
            result = fetcher._records.get(tp)
            if result is None or self._sessions.get(tp) != session:
                continue
            if isinstance(result, FetchError):
                if chunks:
                    continue  # hand out what was read; the error waits for the next call
                del fetcher._records[tp]
                fetcher._notify(fetcher._wait_consume_future)
                result.check_raise()
            before = assignment.state_value(tp).position
            records, size = take(result, self.settings.max_records, self.settings.max_bytes)
            if not result.has_more():
                del fetcher._records[tp]
                fetcher._notify(fetcher._wait_consume_future)
            position = assignment.state_value(tp).position
            if records or position != before:
                self._moved.add(tp)
                chunks.append(Chunk(tp, session, records, position, size))
                budget -= size
                if budget <= 0:
                    break
        return chunks

    # -- seeking

    async def start_sessions(self, plan: Mapping[Partition, tuple[int, int | None]]) -> dict[Partition, int]:
        """Place each partition at an offset (None = the committed one, else the earliest) under a new session.

        Takes (session, offset) by partition and returns the position of each. What has not answered after the
        request timeout is left out, to be asked for again.
        """
        for tp in plan:
            self._sessions.pop(tp, None)
        positions: dict[Partition, int] = {}
        try:
            async with asyncio.timeout(self.settings.request_timeout_s):
                for tp, (session, offset) in plan.items():
                    positions[tp] = await self._place(TopicPartition(*tp), offset)
                    self._sessions[tp] = session
        except (TimeoutError, KafkaError) as exc:
            # Also when a rebalance took the partition away meanwhile; its own sessions follow.
            self.log.warning("Could not start reading %d partitions: %r", len(plan) - len(positions), exc)
        return positions

    async def _place(self, tp: TopicPartition, offset: int | None) -> int:
        consumer = self._ensure_consumer()
        if offset is None and tp in self._moved:
            # A fresh assignment stands there already; aiokafka's own seek_to_committed would leave a
            # partition without a commit wherever it is, and what was read of it since would be lost.
            offset = await consumer.committed(tp)
            if offset is None:
                await consumer.seek_to_beginning(tp)
        if offset is not None:
            consumer.seek(tp, offset)
            self._moved.add((tp.topic, tp.partition))
        return int(await consumer.position(tp))

    # -- committing

    async def commit_sessions(self, due: Mapping[Partition, Due]) -> dict[Partition, Due]:
        """Commit offsets earned in sessions that still live; return those that the broker accepted.

        Never raises for what the broker or the network does: what is not accepted stays due.
        """
        consumer = self._ensure_consumer()
        live = {tp: item for tp, item in due.items() if self._sessions.get(tp) == item.session}
        if not live or self._generation is None or consumer._coordinator.generation != self._generation:
            return {}
        offsets = {TopicPartition(*tp): item.offset for tp, item in live.items()}
        task = self._committing = asyncio.ensure_future(consumer.commit(offsets))
        await asyncio.wait({task}, timeout=self.settings.request_timeout_s)
        if not task.done():
            task.cancel()
            self.log.warning("The broker did not answer a commit in %s s", self.settings.request_timeout_s)
            return {}
        if task.cancelled():
            return {}
        error = task.exception()
        if error is None:
            return live
        if not isinstance(error, KafkaError):
            raise error
        level = self.log.info if isinstance(error, CommitFailedError | IllegalStateError) else self.log.warning
        level("Commit refused, will be tried again: %r", error)
        return {}

    # -- looking (from the worker's thread: plain reads of numbers)

    def end_offset(self, tp: Partition) -> int | None:
        """Return the end of the partition as the broker last said with a fetch; None before the first answer."""
        state = self._state(tp)
        if state is None:
            return None
        end = state.lso if self.settings.isolation_level == "read_committed" else state.highwater
        return None if end is None or end < 0 else int(end)

    def heard_at(self, tp: Partition) -> float | None:
        """Return when the broker last answered a fetch of this partition (seconds of the wall clock)."""
        state = self._state(tp)
        return None if state is None or state.timestamp is None else state.timestamp / 1000

    def has_unread(self, tp: Partition) -> bool:
        """Whether records of this partition are fetched and wait to be read."""
        return self._consumer is not None and tp in self._consumer._fetcher._records

    def _state(self, tp: Partition) -> Any:
        if self._consumer is None:
            return None
        subscription = self._consumer._subscription.subscription
        if subscription is None or subscription.assignment is None:
            return None
        return subscription.assignment.state_value(tp)
