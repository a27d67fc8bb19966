"""The ClickHouse engine in this process (chDB): one data directory, one connection a request or session.

A connection is a session of its own (settings, current database, temporary tables) and costs 0.3 ms, so each request
gets a fresh one and nothing of it can leak into the next. Results of SELECT leave by `INTO OUTFILE` into a pipe: the
engine writes any format as one well-formed stream, and a slow reader slows the query instead of filling memory. Data of
INSERT enters by chDB's streaming insert. All methods block; the HTTP side calls them in threads.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.store import sql as text
from infra.store.errors import ACCESS_DENIED, SYNTAX_ERROR, UNKNOWN_EXCEPTION, StoreError, from_engine
from infra.store.sql import names

_FILES = "_files"
# Table functions and engines that stay inside the store. Everything else that the engine lists (file, url, s3, remote,
# executable, python, ...) reaches the disk, the network or this very process, and the engine has no grants to stop it.
_INSIDE_FUNCTIONS = names(
    """numbers numbers_mt zeros zeros_mt primes values null view viewexplain viewifpermitted merge generaterandom
    generateseries generate_series format input dictionary loop mergetreeindex mergetreeprojection mergetreetextindex
    mergetreeanalyzeindexes mergetreeanalyzeindexesuuid mergetreecodecblockcounts sqlstandardvalues fuzzjson
    timeseriesdata timeseriestags timeseriesmetrics timeseriessamples timeseriesselector timeseriesmetricfamilies
    prometheusquery prometheusqueryrange"""
)
_INSIDE_ENGINES = names(
    """mergetree replacingmergetree summingmergetree aggregatingmergetree collapsingmergetree coalescingmergetree
    versionedcollapsingmergetree graphitemergetree replicatedmergetree replicatedreplacingmergetree
    replicatedsummingmergetree replicatedaggregatingmergetree replicatedcollapsingmergetree
    replicatedcoalescingmergetree replicatedversionedcollapsingmergetree replicatedgraphitemergetree memory log tinylog
    stripelog null set join buffer merge view materializedview dictionary generaterandom alias timeseries
    embeddedrocksdb fuzzjson loop distributed"""
)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a query read and wrote, in rows and bytes, and its seconds: the numbers of X-ClickHouse-Summary."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    seconds: float = 0.0


class Connection:
    """One session of the engine. Not for two threads at once."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._insert: Any = None
        self._started = 0.0

    def run(self, query: bytes | str, output: str = "TabSeparated") -> tuple[bytes, Summary]:
        """Run any statement and return its whole result, which must be small; for results of any size use `pour`."""
        started = time.perf_counter()
        try:
            result = self._raw.query(_statement(query), output)
            data = bytes(result.bytes())
        except RuntimeError as error:
            raise from_engine(error) from None
        return data, _summary(result, started, len(data))

    def pour(self, query: bytes, descriptor: int, output: str, after: bytes = b"") -> Summary:
        """Run a SELECT (or SHOW, DESCRIBE, ...) and write its result in the format `output` to a file descriptor.

        Blocks while the reader of a pipe is slow. A reader must go on reading to the end even if it wants no more
        (`Engine.kill` ends the query soon): the engine does not take a closed pipe as a reason to stop.
        """
        target = f"\nINTO OUTFILE '/proc/self/fd/{descriptor}' APPEND FORMAT {output}\n".encode()
        _, summary = self.run(query + target + after, output)
        return summary

    def configure(self, settings: Mapping[str, str]) -> None:
        """SET all of `settings` in one statement; names of query parameters begin with `param_`."""
        if not settings:
            return
        pairs = []
        for name, value in settings.items():
            if not name.isidentifier() or not name.isascii():
                raise StoreError(115, f"Unknown setting '{name}'.", "UNKNOWN_SETTING")
            pairs.append(f"{name} = {text.literal(value)}")
        self.run("SET " + ", ".join(pairs))

    def use(self, database: str) -> None:
        """Make `database` the current one. Raises StoreError 81 when there is none of this name."""
        self.run(f"USE {text.identifier(database)}")

    def begin_insert(self, statement: bytes, input_format: str) -> None:
        """Start an INSERT whose data comes by `append`; `statement` is the text up to FORMAT or VALUES."""
        self._started = time.perf_counter()
        try:
            self._insert = self._raw.send_insert(_statement(statement), input_format)
        except RuntimeError as error:
            raise from_engine(error) from None

    def append(self, data: bytes) -> None:
        """Hand over the next bytes of the data. The engine parses and writes while more come."""
        try:
            self._insert.append(data)
        except RuntimeError as error:
            raise from_engine(error) from None

    def finish_insert(self) -> Summary:
        """End the data; returns when the rows are written."""
        insert, self._insert = self._insert, None
        try:
            result = insert.finish()
        except RuntimeError as error:
            raise from_engine(error) from None
        rows, size = int(result.rows_written), int(result.bytes_written)
        return Summary(rows, size, rows, size, rows, size, time.perf_counter() - self._started)

    def cancel_insert(self) -> None:
        """Give up an INSERT that has begun. Blocks already written stay, as on a server."""
        insert, self._insert = self._insert, None
        if insert is not None:
            with contextlib.suppress(RuntimeError):
                insert.cancel()

    def classify(self, query: bytes) -> tuple[str, int]:
        """What the query would do, without running it: ("READ_ONLY" | "CONTROL" | "MUTATING" | ..., statements)."""
        found = self._raw._conn.classify_query(_statement(query))
        return found["query_class"].name, int(found["statement_count"])

    def close(self) -> None:
        """End the session; its temporary tables go with it."""
        self.cancel_insert()
        with contextlib.suppress(RuntimeError):
            self._raw.close()


class Engine:
    """The engine and its data directory. `open` starts it; `close` ends it cleanly."""

    def __init__(self, chdb: Any, path: Path) -> None:
        self._chdb = chdb
        self._path = path
        # Held all the time: the engine shuts down with its last connection.
        self._base = Connection(chdb.connect(f"{path}?default_database={_FILES}"))
        self.version = ""
        self.timezone = ""
        self.outside: frozenset[str] = frozenset()

    @classmethod
    def open(cls, path: Path) -> Engine:
        """Start the engine on `path` (made if absent) and warm it up.

        Raises StoreError when the directory is in use by another process or cannot be read.
        """
        import chdb  # 180 MB of engine: only the process that runs it pays for it

        left = _left_behind(path)
        _plain_default_database(path)
        try:
            engine = cls(chdb, path)
        except RuntimeError as error:
            raise from_engine(error) from None
        engine._prepare()
        for database, table in left:
            engine._base.run(f"DROP TABLE IF EXISTS {text.identifier(database)}.{text.identifier(table)} SYNC")
        return engine

    def _prepare(self) -> None:
        base = self._base
        answer, _ = base.run("SELECT version(), timezone()")
        self.version, self.timezone = answer.decode().rstrip("\n").split("\t")
        base.run(f"DROP DATABASE IF EXISTS {_FILES}")
        left, _ = base.run("SELECT name FROM system.databases WHERE engine NOT IN ('Atomic', 'Memory', 'Replicated')")
        if left:
            raise StoreError(
                UNKNOWN_EXCEPTION, f"database {left.decode().strip()} shows files of this machine: not started"
            )
        listed, _ = base.run("SELECT lower(name) FROM system.table_functions")
        engines, _ = base.run("SELECT lower(name) FROM system.table_engines")
        self.outside = (frozenset(listed.decode().split()) - _INSIDE_FUNCTIONS) | (
            frozenset(engines.decode().split()) - _INSIDE_ENGINES - _INSIDE_FUNCTIONS
        )
        self._warm_up()

    def _warm_up(self) -> None:
        # The first insert and the first result of a process cost up to a second (thread pools, JIT, page faults of the
        # 550 MB library): pay it before anybody waits.
        connection = self.connect()
        try:
            connection.run(
                "CREATE TEMPORARY TABLE warm (a UInt64, b String, c DateTime64(3)) ENGINE = MergeTree ORDER BY a"
            )
            block, _ = connection.run(
                "SELECT number AS a, toString(a) AS b, now64(3) AS c FROM numbers(1000)", "Native"
            )
            connection.begin_insert(b"INSERT INTO warm (a, b, c)", "Native")
            connection.append(block)
            connection.finish_insert()
            connection.run("SELECT count(), max(b) FROM warm GROUP BY a % 7", "Native")
        finally:
            connection.close()

    def connect(self) -> Connection:
        """A new session in the database `default`."""
        return Connection(self._chdb.connect(str(self._path)))

    def kill(self, marker: str) -> None:
        """Cancel the queries whose log_comment is `marker`; returns at once, they end within about 0.1 s."""
        connection = self.connect()
        try:
            connection.run(f"KILL QUERY WHERE Settings['log_comment'] = {text.literal(marker)} ASYNC")
        finally:
            connection.close()

    def kill_all(self) -> None:
        """Cancel whatever runs."""
        connection = self.connect()
        try:
            connection.run("KILL QUERY WHERE query NOT LIKE 'KILL QUERY%' ASYNC")
        finally:
            connection.close()

    def close(self) -> None:
        """End the engine. Queries must have ended before."""
        self._base.close()

    def check_inside(self, query: bytes) -> None:
        """Raise StoreError 497 when the query calls what reaches outside of the store."""
        for name in sorted(text.calls(query) & self.outside):
            raise StoreError(
                ACCESS_DENIED,
                f"{name}() reaches outside of the embedded store. A user who writes may use it when the store runs with"
                " VOC_STORE_EXTERNAL_SOURCES=true",
            )


def _left_behind(path: Path) -> list[tuple[str, str]]:
    """Databases and names of the tables that a kill amid CREATE OR REPLACE, or a refresh, left in `path`.

    They stand aside for a moment while the new is put in the place of the old, and nobody refers to them by name; what
    is there before the engine starts stays for ever, and takes the space of a whole snapshot.
    """
    return [(file.parent.name, file.stem) for file in path.glob("metadata/*/_tmp_replace_*.sql")]


def _plain_default_database(path: Path) -> None:
    """Give the data directory an ordinary database `default`.

    chDB's own one is laid over the file system: `SELECT * FROM '/etc/passwd'` would answer. The engine lays it over the
    database named by `default_database` instead, which is dropped at once; `default` itself then comes from this file.
    The link is made anew at each start; if it is there, the engine takes its id for the overlay and clashes.
    """
    metadata = path / "metadata"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "default").unlink(missing_ok=True)
    definition = metadata / "default.sql"
    if not definition.exists():
        part = metadata / "default.sql.part"
        part.write_text(f"ATTACH DATABASE _ UUID '{uuid.uuid4()}'\nENGINE = Atomic\n")
        part.replace(definition)


def refuse_files(query: bytes) -> None:
    """Raise StoreError 1 for INTO OUTFILE and FROM INFILE, which are for clients on their own disks."""
    if text.has_pair(query, b"INTO", b"OUTFILE"):
        raise StoreError(1, "INTO OUTFILE is not allowed over HTTP", "UNSUPPORTED_METHOD")
    if text.has_pair(query, b"FROM", b"INFILE"):
        raise StoreError(1, "FROM INFILE is not allowed over HTTP", "UNSUPPORTED_METHOD")


def refuse_loss_of_default(query: bytes) -> None:
    """Raise StoreError 497 for DROP, DETACH and RENAME of the database `default`: every connection begins in it."""
    words = list(text.tokens(query))
    if len(words) > 2 and words[0].is_word(b"DROP", b"DETACH", b"RENAME") and words[1].is_word(b"DATABASE"):
        for word in words[2:]:
            if word.name == "default":
                raise StoreError(
                    ACCESS_DENIED, "The database default stays: every connection of this store begins in it"
                )


def _statement(query: bytes | str) -> str:
    if isinstance(query, str):
        return query
    try:
        return query.decode()
    except UnicodeDecodeError:
        # chDB takes text; bytes that are no UTF-8 can only stand in string literals, and only as escapes.
        raise StoreError(SYNTAX_ERROR, "The query is not valid UTF-8; write other bytes as escapes ('\\xff')") from None


def _summary(result: Any, started: float, size: int) -> Summary:
    written = int(result.rows_written())
    return Summary(
        read_rows=int(result.storage_rows_read()),
        read_bytes=int(result.storage_bytes_read()),
        written_rows=written,
        written_bytes=int(result.bytes_written()),
        result_rows=written or int(result.rows_read()),
        result_bytes=int(result.bytes_written()) or int(result.bytes_read()) or size,
        seconds=time.perf_counter() - started,
    )


def enlarge_pipe(descriptor: int) -> None:
    """Ask for a 1 MiB pipe (64 KiB by default): fewer switches between the engine and the reader."""
    if sys.platform == "linux":
        import fcntl

        # The kernel may refuse (a user's pipes have a budget); the pipe then works as it is.
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 1 << 20)


def close_all(descriptors: Iterable[int]) -> None:
    """Close file descriptors, those already closed included."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
