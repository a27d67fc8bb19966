"""One query from its text to its result: which connection, which guard, insert or select, and what happens when the
client goes away. Knows the engine and asyncio, but no HTTP.

A query runs in a thread of the pool. Its result comes through a pipe, read by the event loop; data of an INSERT goes in
piece by piece. If the caller is cancelled, the query is killed and its end awaited in the background.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from infra.store import sql as text
from infra.store.engine import Connection, Engine, Summary, enlarge_pipe, refuse_files, refuse_loss_of_default
from infra.store.errors import (
    QUERY_IS_TOO_LARGE,
    READONLY,
    SYNTAX_ERROR,
    TOO_MANY_SIMULTANEOUS_QUERIES,
    StoreError,
)
from infra.store.request import Body, Request
from infra.store.sessions import Session, Sessions

T = TypeVar("T")
_HEAD_BYTES = 256 << 10  # an INSERT's head must end within this, as max_query_size on a server
_PIECE_BYTES = 1 << 20
_QUERY_BYTES = 256 << 20  # a query that is not an INSERT is held in memory: refuse to hold more


@dataclass(slots=True)
class Outcome:
    """What a query gives: the format of its result, the result as pieces, and (after the last piece) its summary.

    `pieces` raises StoreError in the place where the query failed.
    """

    format: str
    pieces: AsyncIterator[bytes]
    summary: Summary


class Executor:
    """Runs queries on the engine for the HTTP side."""

    def __init__(self, engine: Engine, sessions: Sessions, max_queries: int, external_sources: bool) -> None:
        self._engine = engine
        self._sessions = sessions
        self._max = max_queries
        self._external = external_sources
        self._pool = ThreadPoolExecutor(max_workers=max_queries + 4, thread_name_prefix="query")
        self._running: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self.active = 0

    @contextlib.asynccontextmanager
    async def connection(self, request: Request) -> AsyncIterator[Running]:
        """A connection for this request, set up: the session's or a fresh one. Given back when its work has ended."""
        if self.active >= self._max:
            raise StoreError(
                TOO_MANY_SIMULTANEOUS_QUERIES,
                f"Too many simultaneous queries. Maximum: {self._max} (VOC_STORE_MAX_QUERIES)",
            )
        session: Session | None = None
        if request.session_id:
            session = self._sessions.enter(
                request.user_name,
                request.session_id,
                timeout=request.session_timeout,
                check=request.session_check,
                read_only=request.user.readonly,
            )
        running = Running(self, request, session)
        self.active += 1
        try:
            yield running
        finally:
            # The caller may be cancelled (its client went away): the end of the work must not depend on it.
            task = asyncio.get_running_loop().create_task(self._release(running))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            if not running.working:
                await asyncio.shield(task)

    async def _release(self, running: Running) -> None:
        try:
            await running.end()
        finally:
            self.active -= 1
            self._ended.set()
            if running.session is not None:
                self._sessions.leave(running.session, close=running.request.session_close)

    async def in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run blocking work in the pool of query threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    async def drain(self, seconds: float) -> None:
        """Wait up to `seconds` for queries to end, then cancel the rest and wait for their end a moment."""
        if not await self._idle(seconds):
            await self.in_thread(self._engine.kill_all)
            await self._idle(1.0)

    async def _idle(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.active:
                    self._ended.clear()
                    await self._ended.wait()
        return self.active == 0

    def shutdown(self) -> bool:
        """Stop the threads. False when a query still runs in one of them."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        return self.active == 0

    def kill(self, marker: str) -> Coroutine[Any, Any, None]:
        """Cancel the queries that run under this marker."""
        return self.in_thread(self._engine.kill, marker)

    def guard(self, request: Request, statement: bytes) -> None:
        """Refuse what a server would not let a client of HTTP do."""
        refuse_files(statement)
        refuse_loss_of_default(statement)
        if request.user.readonly or not self._external:
            self._engine.check_inside(statement)

    @property
    def engine(self) -> Engine:
        """The engine."""
        return self._engine


class Running:
    """One request's hold on a connection."""

    def __init__(self, executor: Executor, request: Request, session: Session | None) -> None:
        self._executor = executor
        self.request = request
        self.session = session
        self._connection: Connection | None = None if session is None else session.connection
        self._undo: dict[str, str] = {}
        self._work: asyncio.Future[Any] | None = None
        self._reader: _PipeReader | None = None
        self._marker = request.settings.get("log_comment") or request.query_id

    @property
    def working(self) -> bool:
        """Whether the engine still works for this request."""
        return self._work is not None and not self._work.done()

    async def run(self, body: Body) -> Outcome:
        """Find out what the request wants, start it, and return its outcome (for SELECT while it still runs)."""
        query = self.request.query
        piece = b""
        head = query + b"\n" if query else b""
        if not query or text.is_insert(query):
            piece = await body.read(_PIECE_BYTES)
            head += piece
        if text.is_insert(head):
            return await self._insert(head, body)
        rest = [head]
        size = len(head)
        while not body.ended:
            rest.append(await body.read(_PIECE_BYTES))
            size += len(rest[-1])
            if size > _QUERY_BYTES:
                raise StoreError(QUERY_IS_TOO_LARGE, "The query is too large: only the data of an INSERT may be longer")
        return await self._query(b"".join(rest))

    # ---- queries -------------------------------------------------------------------------------------------------

    async def _query(self, query: bytes) -> Outcome:
        if not query.strip():
            raise StoreError(SYNTAX_ERROR, "Empty query")
        before, output, after = text.split_format(query)
        output = output or self.request.default_format
        self._executor.guard(self.request, before + after)
        kind = await self._start(self._set_up, before + b"\n" + after)
        if kind == "READ_ONLY":
            return await self._pour(before, output, after)
        data, summary = await self._start(self._must().run, before + b"\n" + after, output)
        if self.session is not None:
            self._follow_use(before)
        return Outcome(output, _once(data), summary)

    async def _pour(self, before: bytes, output: str, after: bytes) -> Outcome:
        reading, writing = os.pipe()
        enlarge_pipe(writing)
        reader = self._reader = _PipeReader(reading)
        outcome = Outcome(output, _nothing(), Summary())
        work = self._begin(_pour_and_close, self._must(), before, writing, output, after)

        async def pieces() -> AsyncIterator[bytes]:
            while data := await reader.read():
                yield data
            outcome.summary = await work

        outcome.pieces = pieces()
        return outcome

    # ---- inserts -------------------------------------------------------------------------------------------------

    async def _insert(self, head: bytes, body: Body) -> Outcome:
        insert = await self._head(head, body)
        head = insert.whole
        parsed = insert.parsed
        if parsed.format is None:
            while not body.ended:
                head += await body.read(_PIECE_BYTES)
                if len(head) > _QUERY_BYTES:
                    raise StoreError(
                        QUERY_IS_TOO_LARGE, "The query is too large: only the data of an INSERT may be longer"
                    )
            self._executor.guard(self.request, head)
            await self._start(self._set_up, head)
            return self._inserted(await self._start(self._must().run, head))
        statement, data = parsed.statement, head[parsed.data_at :]
        self._executor.guard(self.request, statement + parsed.source)
        if parsed.format == "Values" and body.ended and len(head) <= _HEAD_BYTES:
            # VALUES may hold expressions and query parameters: the engine's own parser reads them.
            await self._start(self._set_up, head)
            return self._inserted(await self._start(self._must().run, head))
        if body.ended:
            return self._inserted(await self._start(self._insert_whole, parsed, data))
        await self._start(self._begin_insert, parsed)
        connection = self._must()
        if data:
            await self._start(connection.append, data)
        async for piece in body.pieces(_PIECE_BYTES):
            await self._start(connection.append, piece)
        return self._inserted(await self._start(self._finish_insert, parsed))

    async def _head(self, head: bytes, body: Body) -> _Head:
        while True:
            try:
                parsed = text.insert_head(head, body.ended)
            except ValueError:
                # Neither FORMAT nor VALUES: the data has the default format, when a client names one.
                return _Head(head, text.Insert(head, None, len(head)))
            if parsed is not None:
                return _Head(head, parsed)
            if len(head) > _HEAD_BYTES + _PIECE_BYTES and not text.has_pair(head[:_HEAD_BYTES], b"INSERT", b"INTO"):
                raise StoreError(QUERY_IS_TOO_LARGE, "The head of the INSERT does not end")
            head += await body.read(_PIECE_BYTES)

    def _insert_whole(self, parsed: text.Insert, data: bytes) -> Summary:
        self._begin_insert(parsed)
        self._must().append(data)
        return self._finish_insert(parsed)

    def _begin_insert(self, parsed: text.Insert) -> None:
        self._set_up(parsed.statement if not parsed.source else b"")
        connection = self._must()
        statement = parsed.statement
        if parsed.source:
            # INSERT ... SELECT ... FROM input(): chDB's streaming insert has no input(), a temporary table stands in.
            structure, _ = connection.run(b"SELECT " + parsed.structure, "TSVRaw")
            connection.run(b"CREATE OR REPLACE TEMPORARY TABLE _input (" + structure.rstrip(b"\n") + b")")
            statement = b"INSERT INTO _input"
        connection.begin_insert(statement, str(parsed.format))

    def _finish_insert(self, parsed: text.Insert) -> Summary:
        connection = self._must()
        summary = connection.finish_insert()
        if parsed.source:
            call = parsed.source.rindex(parsed.structure)
            start = parsed.source[:call].lower().rindex(b"input")
            end = parsed.source.index(b")", call + len(parsed.structure)) + 1
            query = parsed.statement + parsed.source[:start] + b"_input" + parsed.source[end:]
            _, summary = connection.run(query)
            connection.run("DROP TABLE _input")
        return summary

    def _inserted(self, result: Summary | tuple[bytes, Summary]) -> Outcome:
        summary = result if isinstance(result, Summary) else result[1]
        return Outcome("", _nothing(), summary)

    # ---- the connection ------------------------------------------------------------------------------------------

    def _set_up(self, query: bytes) -> str:
        """Connect, apply database and settings, refuse what may not run. Returns the engine's class of the query."""
        request = self.request
        if self._connection is None:
            self._connection = self._executor.engine.connect()
        connection = self._connection
        kind, statements = connection.classify(query) if query else ("MUTATING", 1)
        if statements > 1:
            raise StoreError(SYNTAX_ERROR, "Multi-statements are not allowed")
        if request.database and (self.session is not None or request.database != "default"):
            connection.use(request.database)
        for table in request.external:
            connection.run(f"CREATE OR REPLACE TEMPORARY TABLE {text.identifier(table.name)} ({table.structure})")
            connection.begin_insert(f"INSERT INTO {text.identifier(table.name)}".encode(), table.format)
            connection.append(table.data)
            connection.finish_insert()
        settings = {"log_comment": request.query_id, **request.settings}
        if self.session is not None:
            if request.read_only and kind not in ("READ_ONLY", "CONTROL") and not request.user.readonly:
                raise StoreError(
                    READONLY,
                    "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly.",
                )
            self._undo = _current(connection, [name for name in request.settings if not name.startswith("param_")])
        elif request.read_only:
            settings["readonly"] = str(request.read_only)
        connection.configure(settings)
        return kind

    def _follow_use(self, query: bytes) -> None:
        words = list(text.tokens(query))
        if self.session is not None and len(words) >= 2 and words[0].is_word(b"USE"):
            self.session.database = words[-1].text.decode().strip('`"')

    def _restore(self) -> None:
        connection = self._must()
        if self.request.database and self.session is not None and self.session.database != self.request.database:
            connection.use(self.session.database)
        for table in self.request.external:
            connection.run(f"DROP TABLE {text.identifier(table.name)}")
        for name, value in self._undo.items():
            connection.run(f"SET {name} = {value}")

    def _must(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("the connection is not set up")
        return self._connection

    # ---- work and its end ----------------------------------------------------------------------------------------

    def _begin(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        task: asyncio.Future[T] = asyncio.ensure_future(self._executor.in_thread(work, *arguments))
        # A failure that nobody awaits any more (the client is gone) is no news.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._work = task
        return task

    async def _start(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.shield(self._begin(work, *arguments))

    async def end(self) -> None:
        """Kill what still runs, wait for its end, and give the connection back in the state it was."""
        if self._work is not None and not self._work.done():
            drained = asyncio.ensure_future(self._reader.drain()) if self._reader is not None else None
            while not self._work.done():
                # More than once: the kill may come before the engine has registered the query.
                await self._executor.kill(self._marker)
                await asyncio.wait([self._work], timeout=0.25)
            if drained is not None:
                await drained
        if self._reader is not None:
            self._reader.close()
        if self._connection is not None:
            if self.session is None:
                await self._executor.in_thread(self._connection.close)
            else:
                self._connection.cancel_insert()
                if self._undo or self.request.database or self.request.external:
                    with contextlib.suppress(StoreError):
                        await self._executor.in_thread(self._restore)


@dataclass(frozen=True, slots=True)
class _Head:
    whole: bytes
    parsed: text.Insert


class _PipeReader:
    """The reading end of a pipe for the event loop. No thread waits; no more than a piece is held."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._closed = False
        os.set_blocking(descriptor, False)

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return os.read(self._descriptor, _PIECE_BYTES)
            except BlockingIOError:
                ready = loop.create_future()
                loop.add_reader(self._descriptor, _set, ready)
                try:
                    await ready
                finally:
                    loop.remove_reader(self._descriptor)

    async def drain(self) -> None:
        """Read to the end and forget it."""
        while await self.read():
            pass

    def close(self) -> None:
        """Close the descriptor, once."""
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _pour_and_close(connection: Connection, query: bytes, descriptor: int, output: str, after: bytes) -> Summary:
    try:
        return connection.pour(query, descriptor, output, after)
    finally:
        os.close(descriptor)


def _current(connection: Connection, names: list[str]) -> dict[str, str]:
    """The values of settings as they can be SET again: a literal, or DEFAULT where none was set."""
    if not names:
        return {}
    listed = ", ".join(text.literal(name) for name in names)
    answer, _ = connection.run(f"SELECT name, value, changed FROM system.settings WHERE name IN ({listed})", "TSV")
    found = (line.split("\t") for line in answer.decode().splitlines())
    return {name: f"'{value}'" if changed == "1" else "DEFAULT" for name, value, changed in found}


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


async def _once(data: bytes) -> AsyncIterator[bytes]:
    if data:
        yield data
