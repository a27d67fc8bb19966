"""Retention: delete the oldest batches of a partition by age and by size, and give their space back.

Tansu has none of its own. Age takes every batch, also the newest: data is kept no longer than was said. Size always
leaves the newest batch.
"""

from __future__ import annotations

from infra.broker.batches import RECORDS
from infra.broker.log import RecordLog

# Batches deleted in one transaction: some milliseconds during which no request is served.
_STEP = 200


def delete_expired(log: RecordLog, *, hours: float, max_bytes: int) -> int:
    """Delete one step of expired batches and return how many; call again until it returns 0. 0 means no limit."""
    for partition in log.partitions():
        expired = _expired(log, partition, hours, max_bytes)
        if expired:
            log.drop_oldest(partition, expired)
            log.store.reclaim()
            return len(expired)
    return 0


def _expired(log: RecordLog, partition: str, hours: float, max_bytes: int) -> list[str]:
    """Keys of the oldest batches that are too old or too many, oldest first, at most a step of them."""
    # ':' is the character behind the digits: the two bounds enclose the batches and nothing else.
    bounds = (partition + RECORDS, partition + RECORDS + ":")
    db = log.store.db
    (total,) = db.execute("SELECT total(size) FROM objects WHERE key > ? AND key < ?", bounds).fetchone()
    (newest,) = db.execute("SELECT max(key) FROM objects WHERE key > ? AND key < ?", bounds).fetchone()
    oldest_allowed = log.store.now() - hours * 3600 if hours else 0.0
    expired = []
    for key, modified, size in db.execute(
        "SELECT key, modified, size FROM objects WHERE key > ? AND key < ? ORDER BY key LIMIT ?", (*bounds, _STEP)
    ):
        too_old = modified < oldest_allowed
        too_many = bool(max_bytes) and total > max_bytes and key != newest
        if not (too_old or too_many):
            break
        expired.append(key)
        total -= size
    return expired
