"""The log of each partition as readers may see it: contiguous, never with a batch ahead of one that is still missing.

Tansu raises the high watermark of a partition *before* it stores the batch. With several producers batch N+1 can be
stored before batch N; a consumer that fetches in between would read N+1, move on, and never see N. So a listing of a
partition's batches ends in front of a hole. A hole that stays for `hold_seconds` (its producer's request died) is
*closed*: durably skipped, and a batch that comes for it later is refused, so that its producer gets an error and
sends again instead of having its records skipped silently. The hold is measured on a monotonic clock, which
stands still while a laptop sleeps, as do the requests in flight.

Kept in tables beside the objects, written in the same transaction as the batch itself:

* `batches`: per batch its first offset, the offset where the next visible batch begins, its attributes (codec and
  kind), and the age of its oldest and newest record, for `compaction.py`,
* `partitions`: the first offset that retention has left,
* `producers`: the next sequence number that each idempotent producer's stored batches prove (see `recovery.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.broker.batches import batch_key, parse_header, parse_key, partition_of_watermark
from infra.broker.objects import Entry, ObjectStore, PreconditionFailed

logger = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (
    partition TEXT NOT NULL, base INTEGER NOT NULL, next INTEGER NOT NULL, attributes INTEGER NOT NULL,
    size INTEGER NOT NULL, oldest REAL NOT NULL, newest REAL NOT NULL, PRIMARY KEY (partition, base)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS small_batches ON batches (partition, base) WHERE size < 524288;
CREATE TABLE IF NOT EXISTS partitions (partition TEXT PRIMARY KEY, first INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS producers (
    partition TEXT NOT NULL, id INTEGER NOT NULL, epoch INTEGER NOT NULL, next INTEGER NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (partition, id, epoch)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class SmallBatch:
    """A stored batch that may be merged with its neighbours. Ages in seconds since 1970."""

    base: int
    next: int
    attributes: int
    size: int
    oldest: float
    newest: float


class RecordLog:
    """The partitions' logs in `store`. `monotonic` gives seconds that never jump."""

    def __init__(self, store: ObjectStore, *, hold_seconds: float, monotonic: Callable[[], float]) -> None:
        self.store = store
        self._db = store.db
        self._hold = hold_seconds
        self._monotonic = monotonic
        self._holes_since: dict[tuple[str, int], float] = {}
        self._db.executescript(_SCHEMA)

    def put(
        self,
        key: str,
        body: bytes,
        *,
        content_type: str = "",
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> str:
        """Store an object as `ObjectStore.put` does; a record batch also joins the log of its partition.

        `PreconditionFailed` also when a batch comes for offsets that were already passed over.
        """
        place = parse_key(key)
        with self.store.transaction():
            if place is not None:
                header = parse_header(body)
                self._refuse_passed(place.partition, place.base)
                now = self.store.now()
                end = place.base + header.offsets
                self._db.execute(
                    "INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (place.partition, place.base, end, header.attributes, len(body), now, now),
                )
                if header.producer_id >= 0:
                    self._db.execute(
                        "INSERT OR REPLACE INTO producers VALUES (?, ?, ?, ?, ?)",
                        (
                            place.partition,
                            header.producer_id,
                            header.producer_epoch,
                            header.next_sequence,
                            now,
                        ),
                    )
            elif if_absent and (partition := partition_of_watermark(key)) and self.store.head(key) is None:
                self._begin(partition)
            etag = self.store.put(key, body, content_type=content_type, if_match=if_match, if_absent=if_absent)
        if place is not None:
            self._holes_since.pop((place.partition, place.base), None)
        return etag

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects. Batches leave their log, and a partition whose watermark goes is forgotten."""
        with self.store.transaction():
            self.store.delete(keys)
            for key in keys:
                if place := parse_key(key):
                    self._db.execute(
                        "DELETE FROM batches WHERE partition = ? AND base = ?", (place.partition, place.base)
                    )
                elif partition := partition_of_watermark(key):
                    self.forget(partition)

    def visible(self, partition: str, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        """The leading run of `entries` (one page of the partition's batches) that has no open hole in front of it."""
        first = parse_key(entries[0].key) if entries else None
        if first is None:
            return ()
        position = self._expected(partition, first.base)
        run: list[Entry] = []
        known = self._db.execute(
            "SELECT base, next FROM batches WHERE partition = ? AND base >= ? ORDER BY base LIMIT ?",
            (partition, first.base, len(entries)),
        )
        for entry, (base, end) in zip(entries, known, strict=True):
            if base != position and not self._pass_hole(partition, position, base):
                break
            run.append(entry)
            position = end
        return tuple(run)

    def partitions(self) -> list[str]:
        """Key prefixes of all partitions that have or had batches."""
        rows = self._db.execute("SELECT partition FROM batches UNION SELECT partition FROM partitions ORDER BY 1")
        return [row[0] for row in rows]

    def first_offset(self, partition: str) -> int:
        """The first offset that retention has left, 0 at the beginning."""
        row = self._db.execute("SELECT first FROM partitions WHERE partition = ?", (partition,)).fetchone()
        return row[0] if row else 0

    def end_offset(self, partition: str) -> int:
        """The offset behind the last stored record."""
        row = self._db.execute(
            "SELECT next FROM batches WHERE partition = ? ORDER BY base DESC LIMIT 1", (partition,)
        ).fetchone()
        return row[0] if row else self.first_offset(partition)

    def proven_sequence(self, partition: str, producer_id: int, epoch: int) -> int:
        """The next sequence number of a producer as its stored batches prove it; 0 when none is stored."""
        row = self._db.execute(
            "SELECT next FROM producers WHERE partition = ? AND id = ? AND epoch = ?", (partition, producer_id, epoch)
        ).fetchone()
        return row[0] if row else 0

    def expire_producers(self, before: float, *, below: int) -> list[int]:
        """Forget producers with an id under `below` and no batch since `before` (seconds since 1970); their ids."""
        rows = self._db.execute(
            "SELECT id FROM producers WHERE id < ? GROUP BY id HAVING max(at) < ?", (below, before)
        ).fetchall()
        self._db.executemany("DELETE FROM producers WHERE id = ?", rows)
        return [row[0] for row in rows]

    def close_holes(self, partition: str) -> int:
        """Close every hole at once and return how many: right only while nothing is being written."""
        holes = self._db.execute(
            "SELECT position, base FROM (SELECT base, lag(next, 1, ?) OVER (ORDER BY base) AS position"
            " FROM batches WHERE partition = ?) WHERE base != position",
            (self.first_offset(partition), partition),
        ).fetchall()
        with self.store.transaction():
            for position, base in holes:
                self._close(partition, position, base)
        self._holes_since.clear()
        return len(holes)

    def forget(self, partition: str) -> None:
        """Forget all that is known of a partition: it is gone, or begins anew."""
        for table in ("batches", "partitions", "producers"):
            self._db.execute(f"DELETE FROM {table} WHERE partition = ?", (partition,))

    def small_batches(self, partition: str, before: float) -> list[SmallBatch]:
        """Batches under half a mebibyte that are not newer than `before` (seconds since 1970), in order.

        Never the last one of the partition: Tansu answers "latest" with its first offset + 1.
        """
        rows = self._db.execute(
            "SELECT base, next, attributes, size, oldest, newest FROM batches WHERE partition = ? AND size < 524288"
            " AND newest <= ? AND base < (SELECT max(base) FROM batches WHERE partition = ?) ORDER BY base",
            (partition, before, partition),
        )
        return [SmallBatch(*row) for row in rows]

    def replace(self, partition: str, group: Sequence[SmallBatch], etags: Sequence[str], body: bytes) -> bool:
        """Put one batch `body` in the place of the neighbours in `group`. False, and nothing done, if one has changed.

        A reader that has listed the old batches and asks for one of them gets 404; Tansu then drops the client's
        connection, and the client asks again.
        """
        first, last = group[0], group[-1]
        with self.store.transaction():
            keys = [batch_key(partition, batch.base) for batch in group]
            entries = [self.store.head(key) for key in keys]
            if [entry and entry.etag for entry in entries] != list(etags):  # retention or a deletion was faster
                return False
            self.delete(keys)
            self.store.put(keys[0], body, modified=last.newest)
            self._db.execute(
                "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?)",
                (partition, first.base, last.next, first.attributes, len(body), first.oldest, last.newest),
            )
        return True

    def drop_oldest(self, partition: str, keys: Sequence[str]) -> None:
        """Delete the oldest batches of a partition (`keys` in order); readers go on at what follows them."""
        place = parse_key(keys[-1])
        if place is None:
            raise ValueError(f"not the key of a batch: {keys[-1]}")
        row = self._db.execute(
            "SELECT next FROM batches WHERE partition = ? AND base = ?", (partition, place.base)
        ).fetchone()
        with self.store.transaction():
            self._raise_first_offset(partition, row[0])
            self.delete(keys)

    def _raise_first_offset(self, partition: str, first: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO partitions VALUES (?, ?)", (partition, first))

    def _pass_hole(self, partition: str, position: int, base: int) -> bool:
        """Whether readers may go on from `position` to `base`; closes the hole when it has been held long enough."""
        now = self._monotonic()
        since = self._holes_since.setdefault((partition, position), now)
        if now - since < self._hold:
            return False
        logger.warning("closed a hole in %s: offsets %d to %d never came", partition, position, base - 1)
        self._close(partition, position, base)
        del self._holes_since[(partition, position)]
        return True

    def _close(self, partition: str, position: int, base: int) -> None:
        changed = self._db.execute(
            "UPDATE batches SET next = ? WHERE partition = ?"
            " AND base = (SELECT max(base) FROM batches WHERE partition = ? AND base < ?)",
            (base, partition, partition, position),
        )
        if changed.rowcount == 0:  # nothing in front of the hole: it is at the beginning of the log
            self._raise_first_offset(partition, base)

    def _refuse_passed(self, partition: str, base: int) -> None:
        if base < self._expected(partition, base):
            raise PreconditionFailed(f"readers of {partition} have passed offset {base}")

    def _expected(self, partition: str, base: int) -> int:
        """The offset at which readers go on behind the batch in front of `base`."""
        row = self._db.execute(
            "SELECT next FROM batches WHERE partition = ? AND base < ? ORDER BY base DESC LIMIT 1", (partition, base)
        ).fetchone()
        return row[0] if row else self.first_offset(partition)

    def _begin(self, partition: str) -> None:
        """A partition is created: what a produce request in flight left of a deleted namesake must not return."""
        left = [e.key for e in self.store.list(partition + "/records/", limit=1_000_000).entries]
        self.store.delete(left)
        self.forget(partition)
