"""Before each start of Tansu: bring what it noted in advance back to what it really stored.

For a produce request Tansu writes, in this order, the producer's sequence number (`meta.json`), the partition's high
watermark (`watermark.json`) and the batch. Killed in between, it leaves notes of a batch that does not exist:

* a sequence number too high: the producer sends the batch again and is told that it is a duplicate, so an
  acknowledged batch would never be stored. It is set back to what the stored batches prove;
* a watermark too high: offsets that no record will ever have. It is set back to the end of the last batch;
* a hole between batches: nothing can come for it any more, so it is closed at once.

No request is in flight here, because Tansu is not running: all of this is exact, not a guess.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

from infra.broker.log import RecordLog

logger = logging.getLogger(__name__)


def recover(log: RecordLog, cluster: str) -> None:
    """Mend the notes of `cluster` in place, in one transaction. Tansu must not be running."""
    root = f"clusters/{cluster}/"
    with log.store.transaction():
        for partition in log.partitions():
            if closed := log.close_holes(partition):
                logger.warning("closed %d holes in %s: batches that were never acknowledged", closed, partition)
            _lower_watermark(log, partition)
        _prove_sequences(log, root)


def _lower_watermark(log: RecordLog, partition: str) -> None:
    key = f"{partition}/watermark.json"
    found = log.store.get(key)
    if found is None:
        return
    entry, body = found
    watermark = json.loads(body)
    end = log.end_offset(partition)
    if (watermark.get("high") or 0) != end:
        logger.warning("watermark of %s: %s -> %d", partition, watermark.get("high"), end)
        watermark["high"] = end
        log.store.put(key, json.dumps(watermark).encode(), content_type=entry.content_type)


def _prove_sequences(log: RecordLog, root: str) -> None:
    key = f"{root}meta.json"
    found = log.store.get(key)
    if found is None:
        return
    entry, body = found
    meta = json.loads(body)
    changed = False
    for producer, epoch, topic, numbers in _sequences(meta):
        for number, noted in list(numbers.items()):
            partition = f"{root}topics/{topic}/partitions/{int(number):010d}"
            proven = log.proven_sequence(partition, producer, epoch)
            if proven != noted:
                logger.warning("sequence of producer %d in %s: %s -> %d", producer, partition, noted, proven)
                numbers[number] = proven
                changed = True
    if changed:
        log.store.put(key, json.dumps(meta).encode(), content_type=entry.content_type)


def _sequences(meta: dict[str, Any]) -> Iterator[tuple[int, int, str, dict[str, int]]]:
    """Producer id, epoch, topic and the mutable {partition number: next sequence} of every producer."""
    for producer, detail in meta.get("producers", {}).items():
        for epoch, topics in detail.get("sequences", {}).items():
            for topic, numbers in topics.items():
                yield int(producer), int(epoch), topic, numbers
