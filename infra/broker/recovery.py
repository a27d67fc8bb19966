"""Before each start of Tansu: bring what it noted in advance back to what it really stored.

For a produce request Tansu writes, in this order, the producer's sequence number (`meta.json`), the partition's high
watermark (`watermark.json`) and the batch. Killed in between, it leaves notes of a batch that does not exist:

* a sequence number too high: the producer sends the batch again and is told that it is a duplicate, so an
  acknowledged batch would never be stored. It is set back to what the stored batches prove;
* a watermark too high: offsets that no record will ever have. It is set back to the end of the last batch;
* a hole between batches: nothing can come for it any more, so it is closed at once;
* a topic that is gone from `meta.json` while some of its objects are still there: they are deleted.

No request is in flight here, because Tansu is not running: all of this is exact, not a guess.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

from infra.broker.batches import topic_partition
from infra.broker.log import RecordLog

logger = logging.getLogger(__name__)

# Every idempotent producer leaves an entry in `meta.json`, which is written anew with every one of their batches.
# Apache Kafka forgets them after the same time (producer.id.expiration.ms).
_PRODUCER_SECONDS = 24 * 3600.0


def recover(log: RecordLog, cluster: str) -> None:
    """Mend the notes of `cluster` in place, in one transaction. Tansu must not be running."""
    root = f"clusters/{cluster}/"
    with log.store.transaction():
        meta_key = f"{root}meta.json"
        meta = _read(log, meta_key)
        if meta is None:  # nothing was ever written
            return
        _delete_orphans(log, root, meta)
        for partition in log.partitions():
            if closed := log.close_holes(partition):
                logger.warning("%s: closed %d holes, batches that were never acknowledged", partition, closed)
            _lower_watermark(log, partition)
        changed = _prove_sequences(log, root, meta)
        if _expire_producers(log, meta) or changed:
            _write(log, meta_key, meta)


def _delete_orphans(log: RecordLog, root: str, meta: dict[str, Any]) -> None:
    for partition in log.partitions():
        topic, _ = topic_partition(partition)
        if topic in meta.get("topics", {}):
            continue
        logger.warning("%s: deleting what is left of a deleted topic", partition)
        while entries := log.store.list(f"{partition}/").entries:
            log.delete([entry.key for entry in entries])
        log.forget(partition)


def _lower_watermark(log: RecordLog, partition: str) -> None:
    key = f"{partition}/watermark.json"
    watermark = _read(log, key)
    end = log.end_offset(partition)
    if watermark is not None and (watermark.get("high") or 0) != end:
        logger.warning("%s: watermark %s -> %d", partition, watermark.get("high"), end)
        _write(log, key, watermark | {"high": end})


def _prove_sequences(log: RecordLog, root: str, meta: dict[str, Any]) -> bool:
    """Set every sequence to what is stored; whether `meta` changed."""
    changed = False
    for producer, epoch, topic, numbers in _sequences(meta):
        for number, noted in numbers.items():
            partition = f"{root}topics/{topic}/partitions/{int(number):010d}"
            proven = log.proven_sequence(partition, producer, epoch)
            if proven != noted:
                logger.warning("%s: sequence of producer %d %s -> %d", partition, producer, noted, proven)
                numbers[number] = proven
                changed = True
    return changed


def _expire_producers(log: RecordLog, meta: dict[str, Any]) -> bool:
    """Remove producers that stopped long ago; whether `meta` changed."""
    producers = meta.get("producers", {})
    newest = max(map(int, producers), default=0)  # Tansu counts on from it: it must stay
    expired = log.expire_producers(log.store.now() - _PRODUCER_SECONDS, below=newest)
    for producer in expired:
        producers.pop(str(producer), None)
    return bool(expired)


def _sequences(meta: dict[str, Any]) -> Iterator[tuple[int, int, str, dict[str, int]]]:
    """Producer id, epoch, topic and the mutable {partition number: next sequence} of every producer."""
    for producer, detail in meta.get("producers", {}).items():
        for epoch, topics in detail.get("sequences", {}).items():
            for topic, numbers in topics.items():
                yield int(producer), int(epoch), topic, numbers


def _read(log: RecordLog, key: str) -> dict[str, Any] | None:
    found = log.store.get(key)
    return None if found is None else json.loads(found[1])


def _write(log: RecordLog, key: str, content: dict[str, Any]) -> None:
    log.store.put(key, json.dumps(content).encode(), content_type="application/json")
