"""Retention: delete the oldest batches of a partition by age and by size, and give their space back.

Tansu has none of its own. The newest batch of a partition always stays: Tansu answers "latest" from it.
"""

from __future__ import annotations

import logging

from infra.broker.batches import RECORDS
from infra.broker.log import RecordLog

logger = logging.getLogger(__name__)

# Batches deleted in one transaction: some milliseconds during which no request is served.
_STEP = 200


def delete_expired(log: RecordLog, *, hours: float, max_bytes: int) -> int:
    """Delete one step of expired batches and return how many; call again until it returns 0. 0 means no limit."""
    for partition in log.partitions():
        expired = _expired(log, partition, hours, max_bytes)
        if expired:
            log.drop_oldest(partition, expired[:_STEP])
            log.store.reclaim()
            return len(expired[:_STEP])
    return 0


def _expired(log: RecordLog, partition: str, hours: float, max_bytes: int) -> list[str]:
    rows = log.store.db.execute(
        "SELECT key, modified, size FROM objects WHERE key > ? AND key < ? ORDER BY key DESC",
        (partition + RECORDS, partition + RECORDS + ":"),
    ).fetchall()
    oldest = log.store.now() - hours * 3600
    total, expired = 0, []
    for index, (_, modified, size) in enumerate(rows):
        total += size
        if index and ((hours and modified < oldest) or (max_bytes and total > max_bytes)):
            expired = [row[0] for row in rows[index:]]
            break
    return expired[::-1]
