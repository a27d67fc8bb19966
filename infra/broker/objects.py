"""The object store: keys and bodies in one SQLite file, with the semantics of S3 that an optimistic writer needs.

It knows nothing of Kafka. Bodies come from the S3 endpoint (`s3.py`) and go back through it; `log.py` keeps its
index of record batches in the same file and the same transactions.

* A write may carry a condition (only if absent, only if unchanged); losing the race raises `PreconditionFailed`.
* An etag is the number of the row that holds the body. Row numbers are never used twice (AUTOINCREMENT), so an etag
  changes on every write, also when the same bytes are written again.
* Keys and bodies are in two tables: a listing walks a dense table and touches no body.

Durability: write-ahead log. A killed process loses nothing that was answered. At a power cut `synchronous=NORMAL` may
lose the newest transactions, always a suffix of them; `FULL` loses none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# auto_vacuum must be set before the first table is made; it lets retention give pages back to the file system.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS bodies (id INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS objects (
    key TEXT PRIMARY KEY, body_id INTEGER NOT NULL, size INTEGER NOT NULL, modified REAL NOT NULL,
    content_type TEXT NOT NULL
) WITHOUT ROWID;
"""

# The greatest character: `prefix + _LAST` is above every key that begins with the prefix.
_LAST = "\U0010ffff"


# The layout of the file, kept in its header; a change of any table raises it.
_LAYOUT = 2


class ForeignFile(RuntimeError):
    """The file was made by another version."""


class PreconditionFailed(Exception):
    """The condition of a conditional write or read does not hold."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key without its body. `modified` is seconds since 1970."""

    key: str
    etag: str
    size: int
    modified: float
    content_type: str


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a listing. `token` continues after this page; None on the last one."""

    entries: tuple[Entry, ...]
    common_prefixes: tuple[str, ...]
    token: str | None


class ObjectStore:
    """Objects by key in the SQLite file at `path`. One thread, one process; `clock` gives seconds since 1970."""

    def __init__(self, path: Path, *, clock: Callable[[], float], synchronous: str = "NORMAL") -> None:
        self._clock = clock
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute(f"PRAGMA synchronous = {synchronous}")
        self.db.execute("PRAGMA journal_size_limit = 67108864")
        (layout,) = self.db.execute("PRAGMA user_version").fetchone()
        if layout not in (0, _LAYOUT):
            self.db.close()
            raise ForeignFile(f"{path} has layout {layout}, this version reads {_LAYOUT}: give another directory")
        self.db.executescript(_SCHEMA)
        self.db.execute(f"PRAGMA user_version = {_LAYOUT}")

    def close(self) -> None:
        """Close the file; the write-ahead log is folded into it."""
        self.db.close()

    def now(self) -> float:
        """Seconds since 1970 by the clock of the store."""
        return self._clock()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen together or not at all. May be nested; the outermost one commits."""
        if self.db.in_transaction:
            yield
            return
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def put(
        self,
        key: str,
        body: bytes,
        *,
        content_type: str = "",
        if_match: str | None = None,
        if_absent: bool = False,
        modified: float | None = None,
    ) -> str:
        """Store `body` and return its etag. `PreconditionFailed` when `if_match` or `if_absent` does not hold.

        `modified` is now, when it is not given.
        """
        with self.transaction():
            row = self.db.execute("SELECT body_id FROM objects WHERE key = ?", (key,)).fetchone()
            if if_absent and row is not None:
                raise PreconditionFailed(f"{key} exists")
            if if_match is not None and (row is None or str(row[0]) != if_match):
                raise PreconditionFailed(f"{key} is not at etag {if_match}")
            body_id = self.db.execute("INSERT INTO bodies (body) VALUES (?)", (body,)).lastrowid
            self.db.execute(
                "INSERT INTO objects VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET body_id = excluded.body_id,"
                " size = excluded.size, modified = excluded.modified, content_type = excluded.content_type",
                (key, body_id, len(body), self._clock() if modified is None else modified, content_type),
            )
            if row is not None:
                self.db.execute("DELETE FROM bodies WHERE id = ?", row)
        return str(body_id)

    def head(self, key: str) -> Entry | None:
        """The entry of `key`, or None."""
        row = self.db.execute(
            "SELECT key, body_id, size, modified, content_type FROM objects WHERE key = ?", (key,)
        ).fetchone()
        return None if row is None else _entry(row)

    def get(self, key: str) -> tuple[Entry, bytes] | None:
        """Entry and body of `key`, or None."""
        row = self.db.execute(
            "SELECT key, body_id, size, modified, content_type, body FROM objects"
            " JOIN bodies ON bodies.id = objects.body_id WHERE key = ?",
            (key,),
        ).fetchone()
        return None if row is None else (_entry(row[:5]), row[5])

    def delete(self, keys: Sequence[str]) -> None:
        """Delete every key that exists; the others are no error, as in S3."""
        with self.transaction():
            for key in keys:
                self.db.execute("DELETE FROM bodies WHERE id = (SELECT body_id FROM objects WHERE key = ?)", (key,))
                self.db.execute("DELETE FROM objects WHERE key = ?", (key,))

    def list(self, prefix: str = "", *, delimiter: str = "", after: str = "", limit: int = 1000) -> Listing:
        """One page of at most `limit` keys and common prefixes that begin with `prefix` and lie above `after`.

        With a delimiter, keys that hold it behind the prefix are rolled up into one common prefix each. A rolled-up
        group is stepped over in one seek, however many keys it has.
        """
        entries: list[Entry] = []
        groups: list[str] = []
        position = after
        while True:
            room = limit - len(entries) - len(groups)
            rows = self.db.execute(
                "SELECT key, body_id, size, modified, content_type FROM objects"
                " WHERE key >= ? AND key > ? AND key < ? ORDER BY key LIMIT ?",
                (prefix, position, prefix + _LAST, room + 1),
            )
            for index, row in enumerate(rows):
                if index == room:
                    return Listing(tuple(entries), tuple(groups), position)
                if delimiter and (group := _group(row[0], prefix, delimiter)):
                    groups.append(group)
                    position = group + _LAST
                    break
                entries.append(_entry(row))
                position = row[0]
            else:
                return Listing(tuple(entries), tuple(groups), None)

    def reclaim(self, pages: int = 2000) -> None:
        """Give up to `pages` free pages back to the file system; small steps keep the pause short."""
        # `execute` would stop after the first page: the statement gives a row without columns for each of them.
        self.db.executescript(f"PRAGMA incremental_vacuum({int(pages)})")


def _group(key: str, prefix: str, delimiter: str) -> str:
    """The common prefix that `key` (which begins with `prefix`) is rolled up into, or '' when it stands for itself."""
    head, found, _ = key[len(prefix) :].partition(delimiter)
    return prefix + head + found if found else ""


def _entry(row: tuple[str, int, int, float, str]) -> Entry:
    key, body_id, size, modified, content_type = row
    return Entry(key, str(body_id), size, modified, content_type)
