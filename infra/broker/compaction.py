"""Merge small neighbouring batches, so that a partition stays a short list of objects.

Every fetch of Tansu lists all batches of the partition. At 20,000 batches that takes about a second, longer than a
client lets a fetch wait; the fetch then comes back empty and its consumer stands still for good. A producer that
lingers 20 ms makes 20,000 batches in seven minutes. So batches that have settled are merged to about a mebibyte.
(This is not Kafka's log compaction: no record is dropped.)
"""

from __future__ import annotations

import asyncio
import logging

from infra.broker.batches import batch_key
from infra.broker.log import RecordLog, SmallBatch
from infra.broker.merge import merge, mergeable

logger = logging.getLogger(__name__)

# The size of a merged batch: what a consumer asks for at once (max.partition.fetch.bytes).
_TARGET_BYTES = 1024 * 1024
# Fewer than this wait for more: a record is then written again about once for each factor of 16 in size.
_LEAST = 16
_MOST = 1000
# Batches are left alone this long; consumers at the tail have read them by then, so nobody's listing is outrun.
_SETTLE_SECONDS = 5.0
# A merged batch is as old as its newest record: retention by age is late by at most this.
_SPAN_SECONDS = 3600.0


class Compactor:
    """Merges the small batches of `log`."""

    def __init__(self, log: RecordLog) -> None:
        self._log = log
        self._refused: set[tuple[str, int]] = set()

    async def run_once(self) -> int:
        """Merge every group that is ripe and return how many batches went; merging runs beside the event loop."""
        gone = 0
        for partition in self._log.partitions():
            while group := ripe(self._candidates(partition)):
                if not await self._merge(partition, group):
                    break
                gone += len(group) - 1
        return gone

    def _candidates(self, partition: str) -> list[SmallBatch]:
        settled = self._log.small_batches(partition, self._log.store.now() - _SETTLE_SECONDS)
        return [batch for batch in settled if (partition, batch.base) not in self._refused]

    async def _merge(self, partition: str, group: list[SmallBatch]) -> bool:
        stored = [self._log.store.get(batch_key(partition, batch.base)) for batch in group]
        found = [(batch.base, *pair) for batch, pair in zip(group, stored, strict=True) if pair]
        try:
            body = await asyncio.to_thread(merge, [(base, body) for base, _, body in found])
        except Exception:  # whatever is wrong with these bytes, they are served as they are
            logger.exception("%s: offsets %d to %d are not merged", partition, group[0].base, group[-1].next - 1)
            self._refused.update((partition, batch.base) for batch in group)
            return False
        return self._log.replace(partition, group, [entry.etag for _, entry, _ in found], body)


def ripe(batches: list[SmallBatch]) -> list[SmallBatch]:
    """The first group of neighbours worth merging, or an empty list."""
    group: list[SmallBatch] = []
    size = 0
    for batch in batches:
        full = size + batch.size > _TARGET_BYTES or len(group) == _MOST
        if group and (full or not _belongs(group, batch)):
            if len(group) >= (2 if full else _LEAST):
                return group
            group, size = [], 0
        if mergeable(batch.attributes):
            group.append(batch)
            size += batch.size
    return group if len(group) >= _LEAST else []


def _belongs(group: list[SmallBatch], batch: SmallBatch) -> bool:
    return (
        batch.base == group[-1].next
        and batch.attributes == group[0].attributes
        and batch.newest - group[0].oldest <= _SPAN_SECONDS
    )
