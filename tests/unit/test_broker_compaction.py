"""Merging batches: the records stay the same, the groups are right, nothing is merged over a change or a hole."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import crc32c
import pytest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from infra.broker.batches import HEADER_SIZE, parse_header, parse_key
from infra.broker.compaction import Compactor, ripe
from infra.broker.log import RecordLog, SmallBatch
from infra.broker.merge import merge, mergeable
from infra.broker.objects import ObjectStore
from tests.unit.broker_batches import PARTITION, key

Row = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]  # timestamp, key, value, headers


def build(rows: list[Row], *, codec: int = 0, producer: int = -1) -> bytes:
    """A batch as a client library writes it."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=producer,
        producer_epoch=0 if producer >= 0 else -1,
        base_sequence=0 if producer >= 0 else -1,
        batch_size=2**30,
    )
    for offset, (timestamp, name, value, headers) in enumerate(rows):
        builder.append(offset, timestamp, name, value, headers)
    return bytes(builder.build())


def records(base: int, body: bytes) -> list[tuple[Any, ...]]:
    """Offset and content of the records, read by a client library."""
    served = struct.pack(">q", base) + body[8:]  # Tansu fills the base in
    batch = DefaultRecordBatch(bytearray(served))
    assert batch.validate_crc()
    return [(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in batch]


texts = st.one_of(st.none(), st.binary(max_size=200))
rows = st.tuples(
    st.integers(1_600_000_000_000, 1_900_000_000_000),
    texts,
    texts,
    st.lists(st.tuples(st.text(max_size=5), texts), max_size=2),
)


@given(st.lists(st.lists(rows, min_size=1, max_size=5), min_size=1, max_size=6), st.integers(0, 3))
def test_the_records_stay_the_same(contents: list[list[Row]], gap: int) -> None:
    batches, expected, base = [], [], 1000
    for content in contents:
        body = build(content, producer=len(expected))
        batches.append((base, body))
        expected += records(base, body)
        base += len(content) + gap  # a closed hole
    merged = merge(batches)
    assert records(1000, merged) == expected
    header = parse_header(merged)
    assert header.producer_id == -1
    assert header.offsets == expected[-1][0] - 1000 + 1
    assert struct.unpack_from(">I", merged, 17)[0] == crc32c.crc32c(merged[21:])
    assert struct.unpack_from(">i", merged, 8)[0] == len(merged) - 12


@pytest.mark.parametrize("codec", [0, 1])
def test_compressed_batches_stay_compressed(codec: int) -> None:
    row: Row = (1_700_000_000_000, b"k", b"v" * 1000, [])
    merged = merge([(n, build([row], codec=codec)) for n in range(20)])
    assert parse_header(merged).attributes == codec
    assert len(records(0, merged)) == 20
    assert (len(merged) < 2000) == bool(codec)


def test_what_does_not_fit_together_is_refused() -> None:
    row: Row = (1_700_000_000_000, None, b"v", [])
    with pytest.raises(ValueError, match="do not go into one batch"):
        merge([(0, build([row])), (1, build([row], codec=1))])
    with pytest.raises(ValueError, match="message format 1"):
        merge([(0, build([row])[:16] + b"\1" + build([row])[17:])])
    assert mergeable(0)
    assert not mergeable(0b10000)  # transactional
    assert not mergeable(0b100000)  # control
    assert not mergeable(2)  # snappy


def small(base: int, **changes: Any) -> SmallBatch:
    values: dict[str, Any] = {"base": base, "next": base + 1, "attributes": 0, "size": 100, "oldest": 0, "newest": 0}
    return SmallBatch(**(values | changes))


def test_groups_are_neighbours_of_one_kind() -> None:
    assert ripe([]) == []
    assert ripe([small(n) for n in range(15)]) == []
    assert len(ripe([small(n) for n in range(16)])) == 16
    # A batch that is not there (a big one, say), another codec, a long time: each begins a new group.
    for odd in (small(16), small(15, attributes=1), small(15, newest=4000)):
        assert ripe([*(small(n) for n in range(15)), odd]) == []
    with_odd = [*(small(n) for n in range(16)), small(16, attributes=1), small(17)]
    assert [batch.base for batch in ripe(with_odd)] == list(range(16))
    assert ripe([small(n, attributes=0b10000) for n in range(50)]) == []


def test_a_full_group_does_not_wait_for_more() -> None:
    group = ripe([small(n, size=300_000) for n in range(5)])
    assert [batch.base for batch in group] == [0, 1, 2]


class Clock:
    seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> Iterator[RecordLog]:
    store = ObjectStore(tmp_path / "o.sqlite", clock=clock)
    yield RecordLog(store, hold_seconds=5.0, monotonic=clock)
    store.close()


def fill(log: RecordLog, start: int, end: int) -> None:
    for base in range(start, end):
        log.put(key(base), build([(1_700_000_000_000, None, b"%d" % base, [])]), if_absent=True)


def shown(log: RecordLog) -> list[int]:
    entries = log.store.list(f"{PARTITION}/records/").entries
    return [place.base for entry in log.visible(PARTITION, entries) if (place := parse_key(entry.key))]


async def test_settled_batches_become_one_and_the_log_goes_on(log: RecordLog, clock: Clock) -> None:
    fill(log, 0, 40)
    clock.seconds += 3
    fill(log, 40, 42)
    assert await Compactor(log).run_once() == 0  # not settled
    clock.seconds += 3
    assert await Compactor(log).run_once() == 39
    assert shown(log) == [0, 40, 41]
    found = log.store.get(key(0))
    assert found is not None
    assert [record[0] for record in records(0, found[1])] == list(range(40))
    assert found[0].modified == clock.seconds - 6  # as old as its newest record, for the retention
    assert log.end_offset(PARTITION) == 42


async def test_the_last_batch_stays(log: RecordLog, clock: Clock) -> None:
    fill(log, 0, 40)
    clock.seconds += 10
    await Compactor(log).run_once()
    assert shown(log) == [0, 39]


async def test_nothing_is_merged_over_an_open_hole(log: RecordLog, clock: Clock) -> None:
    fill(log, 0, 20)
    fill(log, 25, 50)
    clock.seconds += 10
    await Compactor(log).run_once()
    assert shown(log) == [0]
    fill(log, 20, 25)
    assert shown(log) == [0, 20, 21, 22, 23, 24, 25, 49]


async def test_a_group_that_changed_meanwhile_is_left_alone(log: RecordLog) -> None:
    fill(log, 0, 20)
    group = [small(n) for n in range(20)]
    etags = [entry.etag for entry in log.store.list(f"{PARTITION}/records/").entries]
    log.drop_oldest(PARTITION, [key(0)])
    assert not log.replace(PARTITION, group, etags, b"x" * HEADER_SIZE)
    assert shown(log) == list(range(1, 20))


async def test_bytes_that_are_no_records_are_served_as_they_are(
    log: RecordLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for base in range(20):
        log.put(key(base), b"\0" * 23 + struct.pack(">i", 0) + b"\0" * 40)
    clock.seconds += 10
    compactor = Compactor(log)
    assert await compactor.run_once() == 0
    assert await compactor.run_once() == 0
    assert shown(log) == list(range(20))
    assert caplog.text.count("are not merged") == 1
