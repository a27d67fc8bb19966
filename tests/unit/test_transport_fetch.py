"""Reading aiokafka's own fetch results: bounds, positions, gaps. Record batches are real; no broker is needed."""

from __future__ import annotations

from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from pipeline.transport.fetch import take

TP = TopicPartition("t", 0)


def record_batch(base_offset: int, values: list[bytes], headers: list[tuple[str, bytes]] | None = None) -> bytes:
    """One Kafka record batch (v2) at an offset."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1 << 20)
    for n, value in enumerate(values):
        builder.append(n, timestamp=1000 + n, key=None, value=value, headers=headers or [])
    raw = builder.build()
    raw[0:8] = base_offset.to_bytes(8, "big")  # not covered by the checksum: brokers set it
    return bytes(raw)


def fetched(data: bytes, position: int = 0) -> tuple[FetchResult, Assignment]:
    """What aiokafka holds after an answer with these record batches."""
    assignment = Assignment([TP])
    assignment.state_value(TP).seek(position)
    records = PartitionRecords(TP, MemoryRecords(data), [], position, None, None, True, 0)
    return FetchResult(TP, assignment=assignment, partition_records=records, backoff=0), assignment


async def test_the_bound_of_records_leaves_the_rest_for_the_next_call() -> None:
    result, assignment = fetched(record_batch(0, [b"x"] * 10))
    records, size = take(result, 4, 1000)
    assert [r.offset for r in records] == [0, 1, 2, 3]
    assert size == 4
    assert assignment.state_value(TP).position == 4
    assert [r.offset for r in take(result, 100, 1000)[0]] == [4, 5, 6, 7, 8, 9]
    assert not result.has_more()


async def test_a_batch_ends_with_the_record_that_reaches_the_bytes() -> None:
    result, _ = fetched(record_batch(0, [b"12345"] * 4, headers=[("id", b"789")]))
    records, size = take(result, 100, 15)
    assert (len(records), size) == (2, 20)
    records, size = take(result, 100, 1)
    assert (len(records), size) == (1, 10)  # never empty, or a large record would stop the partition for good


async def test_positions_pass_gaps_and_records_that_were_read() -> None:
    data = record_batch(10, [b"a", b"b", b"c"]) + record_batch(20, [b"d"])
    result, assignment = fetched(data, position=11)
    records, _ = take(result, 100, 1000)
    assert [r.offset for r in records] == [11, 12, 20]
    assert assignment.state_value(TP).position == 21


async def test_nothing_is_read_after_a_seek_or_a_rebalance() -> None:
    result, assignment = fetched(record_batch(0, [b"x"] * 3))
    assignment.state_value(TP).seek(2)
    assert take(result, 100, 1000) == ([], 0)
    result, assignment = fetched(record_batch(0, [b"x"] * 3))
    assignment._unassign()
    assert take(result, 100, 1000) == ([], 0)
