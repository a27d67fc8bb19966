"""The log of a partition: holes hidden, closed and refused; retention; recovery of what a kill leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.broker.batches import BatchKey, parse_header, parse_key, topic_partition
from infra.broker.log import RecordLog
from infra.broker.objects import ObjectStore, PreconditionFailed
from infra.broker.recovery import recover
from infra.broker.retention import delete_expired
from tests.unit.broker_batches import PARTITION, batch, key

META = "clusters/vocstream/meta.json"
WATERMARK = f"{PARTITION}/watermark.json"


@dataclass
class Clock:
    seconds: float = 1_000_000.0

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


def visible(log: RecordLog, limit: int = 1000) -> list[int]:
    """Offsets that a reader who follows the pages sees."""
    found: list[int] = []
    after: str | None = ""
    while after is not None:
        page = log.store.list(f"{PARTITION}/records/", after=after, limit=limit)
        run = log.visible(PARTITION, page.entries)
        found += [place.base for entry in run if (place := parse_key(entry.key))]
        after = page.token if len(run) == len(page.entries) else None
    return found


def read(log: RecordLog, name: str) -> dict[str, Any]:
    found = log.store.get(name)
    assert found is not None
    content: dict[str, Any] = json.loads(found[1])
    return content


def meta(*, sequences: dict[str, int] | None = None, topics: tuple[str, ...] = ("t",)) -> bytes:
    producers = {p: {"sequences": {"0": {"t": {"0": n}}}} for p, n in (sequences or {}).items()}
    return json.dumps({"producers": producers, "topics": {t: {} for t in topics}}).encode()


def test_keys_and_headers_are_read() -> None:
    assert parse_key(key(42)) == BatchKey(PARTITION, 42)
    assert parse_key(WATERMARK) is None
    assert topic_partition(PARTITION) == ("t", 0)
    header = parse_header(batch(3, producer=7, epoch=1, sequence=10))
    assert (header.offsets, header.producer_id, header.producer_epoch, header.next_sequence) == (3, 7, 1, 13)
    assert parse_header(batch(2, producer=7, epoch=1, sequence=2**31 - 1)).next_sequence == 1
    with pytest.raises(ValueError, match="not a record batch"):
        parse_header(b"short")
    with pytest.raises(ValueError, match="prefix of a partition"):
        topic_partition("elsewhere")


def test_contiguous_batches_are_all_visible(log: RecordLog) -> None:
    for base in (0, 3, 6):
        log.put(key(base), batch(3), if_absent=True)
    assert visible(log) == [0, 3, 6]


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_nothing_behind_a_hole_until_it_fills(log: RecordLog, limit: int) -> None:
    log.put(key(0), batch(2))
    log.put(key(5), batch(1))
    log.put(key(6), batch(1))
    assert visible(log, limit) == [0]
    log.put(key(2), batch(3))
    assert visible(log, limit) == [0, 2, 5, 6]


def test_a_hole_at_the_beginning_hides_all(log: RecordLog) -> None:
    log.put(key(2), batch(1))
    assert visible(log) == []
    log.put(key(0), batch(2))
    assert visible(log) == [0, 2]


@pytest.mark.parametrize("first", [0, 7])
def test_an_old_hole_is_closed_and_what_comes_late_is_refused(log: RecordLog, clock: Clock, first: int) -> None:
    if first:
        log.put(key(0), batch(first))
    log.put(key(first + 2), batch(1))
    shown = [0] if first else []
    assert visible(log) == shown
    clock.seconds += 4.9
    assert visible(log) == shown
    clock.seconds += 0.2
    assert visible(log) == [*shown, first + 2]
    with pytest.raises(PreconditionFailed, match="have passed"):
        log.put(key(first), batch(2), if_absent=True)
    assert visible(log) == [*shown, first + 2]


def test_every_hole_is_held_for_its_own_time(log: RecordLog, clock: Clock) -> None:
    log.put(key(1), batch(1))
    log.put(key(3), batch(1))
    assert visible(log) == []
    clock.seconds += 6
    assert visible(log) == [1]  # the second hole has only just been met
    clock.seconds += 6
    assert visible(log) == [1, 3]


def test_a_hole_that_shrinks_is_held_anew(log: RecordLog, clock: Clock) -> None:
    log.put(key(5), batch(1))
    assert visible(log) == []
    clock.seconds += 4
    log.put(key(0), batch(3))
    assert visible(log) == [0]
    clock.seconds += 4
    assert visible(log) == [0]


def test_conditions_hold_for_batches_too(log: RecordLog) -> None:
    log.put(key(0), batch(2), if_absent=True)
    with pytest.raises(PreconditionFailed):
        log.put(key(0), batch(9), if_absent=True)
    assert log.end_offset(PARTITION) == 2


def test_retention_by_age_leaves_no_hole(log: RecordLog, clock: Clock) -> None:
    for base in range(4):
        log.put(key(base), batch(1))
        clock.seconds += 1800
    assert delete_expired(log, hours=1.2, max_bytes=0) == 2
    assert delete_expired(log, hours=1.2, max_bytes=0) == 0
    assert visible(log) == [2, 3]
    assert log.first_offset(PARTITION) == 2


def test_retention_by_age_may_take_all_and_offsets_go_on(log: RecordLog, clock: Clock) -> None:
    log.put(key(0), batch(4))
    clock.seconds += 7200
    assert delete_expired(log, hours=1, max_bytes=0) == 1
    assert (log.first_offset(PARTITION), log.end_offset(PARTITION)) == (4, 4)
    log.put(key(4), batch(1))
    assert visible(log) == [4]


def test_retention_by_size_keeps_the_newest(log: RecordLog) -> None:
    for base in range(5):
        log.put(key(base), batch(1, size=100))
    assert delete_expired(log, hours=0, max_bytes=250) == 3
    assert visible(log) == [3, 4]
    assert delete_expired(log, hours=0, max_bytes=10) == 1
    assert delete_expired(log, hours=0, max_bytes=10) == 0
    assert visible(log) == [4]


def test_retention_up_to_a_hole_still_holds_what_is_behind_it(log: RecordLog, clock: Clock) -> None:
    log.put(key(0), batch(1))
    clock.seconds += 7200
    log.put(key(2), batch(1))
    delete_expired(log, hours=1, max_bytes=0)
    assert visible(log) == []
    log.put(key(1), batch(1))
    assert visible(log) == [1, 2]


def test_no_limit_deletes_nothing(log: RecordLog, clock: Clock) -> None:
    log.put(key(0), batch(1))
    clock.seconds += 1e9
    assert delete_expired(log, hours=0, max_bytes=0) == 0


def test_a_new_topic_of_an_old_name_begins_empty(log: RecordLog) -> None:
    log.put(WATERMARK, b'{"high": null}', if_absent=True)
    log.put(key(0), batch(5))
    log.delete([WATERMARK])
    log.put(key(5), batch(5))  # a request that was in flight
    log.put(WATERMARK, b'{"high": null}', if_absent=True)
    assert visible(log) == []
    log.put(key(0), batch(1), if_absent=True)
    assert visible(log) == [0]


def test_recovery_lowers_the_watermark_to_what_is_stored(log: RecordLog) -> None:
    log.put(META, meta())
    log.put(WATERMARK, b'{"low":null,"high":9,"timestamps":null}')
    log.put(key(0), batch(4))
    recover(log, "vocstream")
    assert read(log, WATERMARK) == {"low": None, "high": 4, "timestamps": None}


def test_recovery_after_retention_took_all_keeps_the_watermark(log: RecordLog, clock: Clock) -> None:
    log.put(META, meta())
    log.put(WATERMARK, b'{"low":null,"high":4,"timestamps":null}')
    log.put(key(0), batch(4))
    clock.seconds += 7200
    delete_expired(log, hours=1, max_bytes=0)
    recover(log, "vocstream")
    assert read(log, WATERMARK)["high"] == 4


def test_recovery_closes_holes_at_once(log: RecordLog) -> None:
    log.put(META, meta())
    log.put(key(3), batch(2))
    log.put(key(7), batch(1))
    log.put(key(8), batch(1))
    assert visible(log) == []
    recover(log, "vocstream")
    assert visible(log) == [3, 7, 8]


def test_recovery_sets_sequences_to_what_is_stored(log: RecordLog) -> None:
    log.put(META, meta(sequences={"1": 9, "2": 3, "3": 4}))
    log.put(key(0), batch(6, producer=1, epoch=0, sequence=0))
    log.put(key(6), batch(4, producer=3, epoch=0, sequence=0))
    recover(log, "vocstream")
    producers = read(log, META)["producers"]
    assert {p: d["sequences"]["0"]["t"]["0"] for p, d in producers.items()} == {"1": 6, "2": 0, "3": 4}


def test_recovery_knows_sequences_that_retention_has_deleted(log: RecordLog, clock: Clock) -> None:
    log.put(META, meta(sequences={"1": 6}))
    log.put(key(0), batch(6, producer=1, epoch=0, sequence=0))
    clock.seconds += 7200
    delete_expired(log, hours=1, max_bytes=0)
    recover(log, "vocstream")
    assert read(log, META)["producers"]["1"]["sequences"]["0"]["t"]["0"] == 6


def test_recovery_forgets_producers_after_a_day_but_not_the_last_id(log: RecordLog, clock: Clock) -> None:
    log.put(META, meta(sequences={"1": 1, "2": 1}))
    log.put(key(0), batch(1, producer=1, epoch=0, sequence=0))
    log.put(key(1), batch(1, producer=2, epoch=0, sequence=0))
    clock.seconds += 25 * 3600
    for _ in range(2):
        recover(log, "vocstream")
        assert read(log, META)["producers"] == {"2": {"sequences": {"0": {"t": {"0": 1}}}}}


def test_recovery_deletes_the_rest_of_a_deleted_topic(log: RecordLog) -> None:
    log.put(META, meta(topics=("other",)))
    log.put(WATERMARK, b'{"high": 1}')
    log.put(key(0), batch(1))
    recover(log, "vocstream")
    assert [entry.key for entry in log.store.list().entries] == [META]
    assert log.partitions() == []


def test_recovery_of_nothing_and_of_the_right_changes_nothing(log: RecordLog) -> None:
    recover(log, "vocstream")
    assert log.store.list().entries == ()
    log.put(META, meta(sequences={"1": 2}))
    log.put(WATERMARK, b'{"low":null,"high":2,"timestamps":null}')
    log.put(key(0), batch(2, producer=1, epoch=0, sequence=0))
    before = log.store.list().entries
    recover(log, "vocstream")
    assert log.store.list().entries == before
