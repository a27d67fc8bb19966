"""The consumer of the batch transport: reads runs of records, hands them to agents, commits what is acknowledged.

Reads from Kafka through `fetch.BatchConsumerThread`, hands each run to faust's conductor as one message whose value
is a `Batch`, and keeps account in a `ledger.Ledger`. It replaces faust's reading loop and its acknowledgement of single
offsets, and leaves to faust what it does well: starting, stopping, subscribing, the order of a rebalance.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from aiokafka.errors import ConsumerStoppedError
from faust.exceptions import ImproperlyConfigured
from faust.transport.drivers import aiokafka as base
from faust.types import TP, ConsumerMessage
from mode.utils.futures import notify

from pipeline.transport.batch import Batch
from pipeline.transport.fetch import BatchConsumerThread, Chunk
from pipeline.transport.ledger import Due, Ledger, Partition, Ticket
from pipeline.transport.settings import BatchSettings
from pipeline.transport.stall import Look, Stall, find_stall

#: How long one read may wait for records, in s. Room and seeks end it early; this only bounds the rest.
_READ_TIMEOUT = 1.0
#: Pause after a failed start of sessions, in s.
_RETRY_PAUSE = 0.5


class BatchMessage(ConsumerMessage):
    """A message that knows its place in the ledger."""

    ticket: Ticket


class _NoAutoAck(dict[Any, Any]):
    """Stands where faust keeps single acknowledged offsets, and refuses them.

    The compiled stream loop of faust does not call `Consumer.ack` for a stream that acknowledges by itself; it writes
    here. Accepting that would acknowledge a batch when the loop body *ends*, also by an error or a stop.
    """

    def __missing__(self, tp: Any) -> NoReturn:
        raise ImproperlyConfigured(
            f"An agent of {tp[0]} iterates over its stream directly. The batch transport needs "
            "`async for event in stream.noack().events(): ...; await stream.ack(event)`."
        )


class BatchConsumer(base.Consumer):
    """Delivers batches; see the package's docstring for how an agent uses it."""

    _thread: BatchConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        app = args[0].app
        self.settings: BatchSettings = getattr(app, "batching", None) or BatchSettings()
        self.ledger = Ledger(max_batches=self.settings.max_inflight_batches, max_bytes=self.settings.max_inflight_bytes)
        self._rebalancing_since: float | None = None
        super().__init__(*args, **kwargs)
        self._acked = _NoAutoAck()
        if self.in_transaction:
            raise ImproperlyConfigured("The batch transport does not do processing_guarantee='exactly_once'")
        if self.app.conf.consumer_auto_offset_reset != "earliest":
            raise ImproperlyConfigured(
                "The batch transport needs consumer_auto_offset_reset='earliest': a group that has committed nothing "
                "would otherwise pass over what was out and unacknowledged when it restarts"
            )

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # -- what the worker and its metrics ask

    def lag(self) -> dict[Partition, int]:
        """Return records between the acknowledged prefix and the end, by assigned partition.

        The end is the high watermark of the last fetch, so a partition that waits for acknowledgements may show less
        than there is. Offsets are counted: markers and compacted records count as records. Partitions
        whose position or end is not known yet are left out.
        """
        lags = {}
        for track in self.ledger:
            end, done = self._thread.end_offset(track.tp), self.ledger.done_to(track.tp)
            if end is not None and done is not None:
                lags[track.tp] = max(end - done, 0)
        return lags

    def stall(self, now: float | None = None) -> Stall:
        """Return the longest wait for progress and what it waits for; `now` of `time.monotonic()`."""
        now = time.monotonic() if now is None else now
        stall = find_stall(self.ledger, self._look, now)
        if self._rebalancing_since is not None and now - self._rebalancing_since > stall.seconds:
            stall = Stall(now - self._rebalancing_since, "a rebalance to end")
        return stall

    def stalled_for(self, now: float | None = None) -> float:
        """Return for how many seconds something in flight, uncommitted or unread has not moved.

        A worker should end itself when this passes its limit, which must be longer than the slowest agent body takes.
        """
        return self.stall(now).seconds

    def _look(self, tp: Partition) -> Look:
        heard = self._thread.heard_at(tp)
        if heard is not None:
            heard += time.monotonic() - time.time()  # aiokafka notes the wall clock
        return Look(self._thread.end_offset(tp), heard, self._thread.has_unread(tp))

    # -- reading and handing out

    async def _drain_messages(self, fetcher: Any) -> None:
        if self.app.client_only:
            await super()._drain_messages(fetcher)
            return
        # A reader before this one may have been stopped between reading a run and handing it out.
        await self.perform_seek()
        try:
            while not (self.should_stop or fetcher.should_stop):
                if not self.flow_active:
                    await self.wait(self.can_resume_flow.wait())
                elif self.ledger.unstarted():
                    await self._start_sessions()
                else:
                    for chunk in await self._read():
                        await self._hand_out(chunk)
        except ConsumerStoppedError:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise

    async def _read(self) -> list[Chunk]:
        active = self._get_active_partitions()
        wanted = {track.tp: track.session for track in self.ledger.wanted() if track.tp in active}
        chunks: list[Chunk] = await self._thread.call_thread(
            self._thread.read, wanted, self.ledger.budget(), _READ_TIMEOUT
        )
        return chunks

    async def _start_sessions(self) -> None:
        self._check_topics()
        plan = {track.tp: (track.session, track.begin_at) for track in self.ledger.unstarted()}
        positions = await self._thread.call_thread(self._thread.start_sessions, plan)
        for tp, position in positions.items():
            self.ledger.started(tp, plan[tp][0], position, time.monotonic())
            self._read_offset[TP(*tp)] = position
        if len(positions) < len(plan):
            await self.sleep(_RETRY_PAUSE)

    async def _hand_out(self, chunk: Chunk) -> None:
        now = time.monotonic()
        if not chunk.records:
            self.ledger.skip(chunk.tp, chunk.session, chunk.next_offset, now)
            return
        first, last = chunk.records[0], chunk.records[-1]
        ticket = self.ledger.add(chunk.tp, chunk.session, first.offset, chunk.next_offset, chunk.size, now)
        if ticket is None:
            return
        tp = TP(*chunk.tp)
        batch = Batch(tp.topic, tp.partition, first.offset, chunk.next_offset, chunk.records, chunk.size)
        message = BatchMessage(
            tp.topic,
            tp.partition,
            last.offset,
            (last.timestamp or 0) / 1000,
            last.timestamp_type,
            None,  # headers and keys belong to the records
            None,
            batch,  # type: ignore[arg-type]  # the point of this transport
            None,
            0,
            chunk.size,
            tp,
            generation_id=self.app.consumer_generation_id,
        )
        message.ticket = ticket
        self.app.monitor.track_tp_end_offset(tp, self._thread.end_offset(tp) or chunk.next_offset)
        await self._deliver(message)
        self._read_offset[tp] = chunk.next_offset

    async def _deliver(self, message: BatchMessage) -> None:
        """Put a message into the buffers of its agents, or give up when the flow is stopped (see `resume_flow`)."""
        if not self.flow_active:
            return
        delivery = asyncio.ensure_future(self.callback(message))
        suspended = asyncio.ensure_future(self.suspend_flow.wait())
        try:
            while not delivery.done() and not suspended.done():
                # Buffers may be full for as long as an agent likes; go on polling, or the group drops us.
                await asyncio.wait({delivery, suspended}, timeout=_READ_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
                if not delivery.done() and not suspended.done():
                    await self._thread.call_thread(self._thread.read, {}, 0, 0.0)
            if not delivery.done():
                return
            delivery.result()
        finally:
            delivery.cancel()
            suspended.cancel()
        if not message.refcount and not message.acked:
            self.log.warning("No agent takes %r: it stays uncommitted", message.value)

    def _check_topics(self) -> None:
        # A codec or model on the topic would fail to decode a Batch, which faust answers by *acknowledging* it.
        for topic in self.app.topics:
            serializer = getattr(topic, "value_serializer", None) or self.app.conf.value_serializer
            if topic.value_type is not None or serializer != "raw":
                raise ImproperlyConfigured(
                    f"Topic {topic.get_topic_name()!r} must be declared without value_type and with "
                    "value_serializer='raw': the batch transport delivers Batch objects (use batch_topic())"
                )
        if self.app.tables.changelog_topics:
            raise ImproperlyConfigured("The batch transport has no tables: their changelogs are not batches")

    # -- acknowledging and committing

    def ack(self, message: Any) -> bool:
        """Mark a batch as done by all its agents; called by faust when the last of them acknowledged it.

        Call from the worker's event loop. Returns False for what was acknowledged before or no longer counts.
        """
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        ticket: Ticket | None = getattr(message, "ticket", None)
        track = self.ledger.get(message.tp)
        counted = ticket is not None and track is ticket.track
        if ticket is not None and self.ledger.ack(ticket, time.monotonic()):
            self._thread.wake()
        notify(self._waiting_for_ack)
        return counted

    async def force_commit(self, topics: Collection[Any] | None = None, start_new_transaction: bool = True) -> bool:
        """Commit the acknowledged prefixes of all topics or of some; True when the broker accepted one."""
        names = None if topics is None else {t if isinstance(t, str) else t[0] for t in topics}
        acking = {topic for topic in self.app.topics.acking_topics if names is None or topic in names}
        state = self.app.sensors.on_commit_initiated(self)
        accepted = await self._commit_due(self.ledger.committable(acking))
        self.app.sensors.on_commit_completed(self, state)
        return bool(accepted)

    async def _commit_due(self, due: Mapping[Partition, Due]) -> Mapping[Partition, Due]:
        if not due:
            return {}
        try:
            async with asyncio.timeout(2 * self.settings.request_timeout_s):
                offsets = {TP(*tp): item.offset for tp, item in due.items()}
                await self._handle_attached(offsets)
                await self.app.producer.flush()  # what agents sent belongs to what they acknowledged
                accepted: dict[Partition, Due] = await self._thread.call_thread(self._thread.commit_sessions, due)
        except TimeoutError:
            self.log.warning("Sending what agents produced, or committing, took too long; will be tried again")
            return {}
        self.ledger.committed(accepted, time.monotonic())
        offsets = {TP(*tp): item.offset for tp, item in accepted.items()}
        self._committed_offset.update(offsets)
        self.app.monitor.on_tp_commit(offsets)
        return accepted

    # -- rebalances and seeks

    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        """Commit what is acknowledged while the group still allows it, then forget all sessions."""
        self._rebalancing_since = time.monotonic()
        try:
            await self.force_commit()
        except Exception as exc:
            self.log.warning("Committing before a rebalance failed; it will be delivered again: %r", exc)
        self.ledger.close_all()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[Any], generation_id: int = 0) -> None:
        """Begin a session for each partition; the reading loop places them once faust lets it run."""
        self._open(assigned)
        self._rebalancing_since = None
        await super().on_partitions_assigned(assigned, generation_id)

    def resume_flow(self) -> None:
        """Let reading go on after a stop, from the committed offsets: what was on its way or buffered is gone."""
        if not self.flow_active:
            self._open(track.tp for track in list(self.ledger))
        super().resume_flow()

    async def perform_seek(self) -> None:
        """Read all partitions from their committed offsets again."""
        self._open(track.tp for track in list(self.ledger))

    async def seek(self, partition: Any, offset: int) -> None:
        """Read a partition from `offset`; batches of it that are out no longer count.

        Raises:
            KeyError: the partition is not assigned to this worker.
        """
        if self.ledger.get(partition) is None:
            raise KeyError(f"{partition} is not assigned to this worker: nothing to seek")
        self.ledger.open(TP(*partition), time.monotonic(), begin_at=offset)
        self._thread.wake()

    def _open(self, tps: Any) -> None:
        for tp in tps:
            self.ledger.open(TP(*tp), time.monotonic())

    def verify_event_path(self, now: float, tp: Any) -> None:
        """Do nothing: `stall` sees more, and faust's check compares two different clocks."""
