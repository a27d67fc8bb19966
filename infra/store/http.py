"""ClickHouse's HTTP interface: `/` for queries, `/ping` and `/replicas_status` for health.

An answer is held back until a mebibyte of it is there or the query has ended, so that an error of a short query has
its status and its summary is complete. With `wait_end_of_query=1` it is held back whole (on disk beyond 16 MiB). An
error after that goes into the body, marked as ClickHouse does (`__exception__` and the tag of the header), and the
connection is cut.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import string
import tempfile
from typing import IO, Any

from aiohttp import BodyPartReader, web

from infra.store.blocks import BlockDecoder, BlockEncoder
from infra.store.compression import Encoder, decoder, encoder
from infra.store.engine import Engine, Summary
from infra.store.errors import StoreError, from_engine
from infra.store.execute import Executor, Outcome
from infra.store.request import Body, Request, parse
from infra.store.settings import StoreSettings
from infra.store.sql import names
from infra.store.users import Credentials

_HOLD_BYTES = 1 << 20
_SPOOL_BYTES = 16 << 20
_THREAD_BYTES = 128 << 10
_FORM_BYTES = 256 << 20  # forms are held in memory; plain bodies are streamed and have no limit
_CONTENT_TYPES = (
    ("TabSeparated", "text/tab-separated-values; charset=UTF-8"),
    ("TSV", "text/tab-separated-values; charset=UTF-8"),
    ("CSV", "text/csv; charset=UTF-8"),
    ("JSONEachRow", "application/x-ndjson; charset=UTF-8"),
    ("JSONCompactEachRow", "application/x-ndjson; charset=UTF-8"),
    ("JSON", "application/json; charset=UTF-8"),
    ("XML", "application/xml; charset=UTF-8"),
    ("Markdown", "text/markdown; charset=UTF-8"),
    ("Prometheus", "text/plain; version=0.0.4; charset=UTF-8"),
)
_BINARY = names(
    """Native RowBinary RowBinaryWithNames RowBinaryWithNamesAndTypes Arrow ArrowStream Parquet ORC Avro Npy MsgPack
    BSONEachRow Protobuf ProtobufSingle ProtobufList RawBLOB"""
)


def content_type(output: str) -> str:
    """The Content-Type of a format."""
    if output in _BINARY:
        return "application/octet-stream"
    return next((kind for prefix, kind in _CONTENT_TYPES if output.startswith(prefix)), "text/plain; charset=UTF-8")


class Store:
    """The HTTP application over one engine."""

    def __init__(self, settings: StoreSettings, engine: Engine, executor: Executor, credentials: Credentials) -> None:
        self._engine = engine
        self._executor = executor
        self._credentials = credentials
        self._host = socket.gethostname()
        self.app = web.Application(client_max_size=_FORM_BYTES)
        self.app.router.add_get("/ping", self._ping)
        self.app.router.add_get("/replicas_status", self._ping)
        self.app.router.add_route("*", "/", self._root)

    async def _ping(self, request: web.Request) -> web.Response:
        return web.Response(text="Ok.\n", headers=self._headers())

    def _headers(self) -> dict[str, str]:
        return {"X-ClickHouse-Server-Display-Name": self._host, "X-ClickHouse-Timezone": self._engine.timezone}

    async def _root(self, http: web.Request) -> web.StreamResponse:
        if http.method in ("GET", "HEAD") and not http.query.get("query"):
            return web.Response(text="Ok.\n", headers=self._headers())
        if http.method not in ("GET", "HEAD", "POST", "PUT"):
            raise web.HTTPMethodNotAllowed(http.method, ["GET", "HEAD", "POST", "PUT"])
        answer = _Answer(http, self._headers())
        try:
            values = {name: http.query[name] for name in http.query}  # of repeated parameters the first counts
            files: dict[str, bytes] = {}
            if http.content_type == "multipart/form-data":
                presented_form = await _form(http)
                values.update(presented_form[0])
                files = presented_form[1]
            request = parse(http.method, values, http.headers, self._credentials, files)
            answer.take(request)
            coding = decoder(http.headers.get("Content-Encoding", ""))
            decoders = [coding] if coding else []
            if request.decompress:
                decoders.append(BlockDecoder())
            body = Body(http.content, decoders)
            async with self._executor.connection(request) as running:
                outcome = await running.run(body)
                return await answer.send(outcome, request)
        except StoreError as error:
            return await answer.fail(error, self._engine.version)
        except RuntimeError as error:
            return await answer.fail(from_engine(error), self._engine.version)


async def _form(http: web.Request) -> tuple[dict[str, str], dict[str, bytes]]:
    """A multipart form: its plain fields (query, param_...) and its files (external tables)."""
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    async for part in await http.multipart():
        if not isinstance(part, BodyPartReader) or part.name is None:
            raise StoreError(36, "A part of the form has no name")
        data = bytes(await part.read())
        if part.filename is None:
            fields[part.name] = data.decode()
        else:
            files[part.name] = data
    return fields, files


class _Answer:
    """The answer to one request, from its headers to its last byte."""

    def __init__(self, http: web.Request, headers: dict[str, str]) -> None:
        self._http = http
        self._headers = headers
        self._response: web.StreamResponse | None = None
        self._encoder: Encoder | None = None
        self._tag = ""

    def take(self, request: Request) -> None:
        self._headers["X-ClickHouse-Query-Id"] = request.query_id

    async def send(self, outcome: Outcome, request: Request) -> web.StreamResponse:
        if request.compress:
            self._encoder = BlockEncoder()
        elif request.http_compression and (chosen := encoder(self._http.headers.get("Accept-Encoding", ""))):
            self._headers["Content-Encoding"], self._encoder = chosen
        if outcome.format:
            self._headers["X-ClickHouse-Format"] = outcome.format
            self._headers["Content-Type"] = content_type(outcome.format)
        else:
            self._headers["Content-Type"] = "text/plain; charset=UTF-8"
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as spool:
            held = 0
            async for piece in outcome.pieces:
                if self._response is not None:
                    await self._write(piece)
                    continue
                spool.write(piece)
                held += len(piece)
                if held >= _HOLD_BYTES and not request.wait_end:
                    await self._begin(outcome.summary)
                    await self._unspool(spool)
            if self._response is None:
                if held < _HOLD_BYTES:
                    return await self._whole(spool, outcome.summary)
                await self._begin(outcome.summary)
                await self._unspool(spool)
        return await self._finish()

    async def _whole(self, spool: IO[bytes], summary: Summary) -> web.Response:
        spool.seek(0)
        data = spool.read()
        if self._encoder is not None and data:
            data = await self._encode(data) + self._encoder.end()
        else:
            self._headers.pop("Content-Encoding", None)
        self._headers["X-ClickHouse-Summary"] = summary_header(summary)
        return web.Response(body=data, headers=self._headers)

    async def _begin(self, summary: Summary) -> None:
        self._tag = "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))
        self._headers["X-ClickHouse-Exception-Tag"] = self._tag
        self._headers["X-ClickHouse-Summary"] = summary_header(summary)
        self._response = web.StreamResponse(headers=self._headers)
        self._response.enable_chunked_encoding()
        await self._response.prepare(self._http)

    async def _unspool(self, spool: IO[bytes]) -> None:
        spool.seek(0)
        while piece := spool.read(_HOLD_BYTES):
            await self._write(piece)

    async def _encode(self, data: bytes) -> bytes:
        if self._encoder is None:
            return data
        if len(data) > _THREAD_BYTES:
            return await asyncio.to_thread(self._encoder.feed, data)
        return self._encoder.feed(data)

    async def _write(self, piece: bytes) -> None:
        assert self._response is not None
        if data := await self._encode(piece):
            await self._response.write(data)

    async def _finish(self) -> web.StreamResponse:
        assert self._response is not None
        if self._encoder is not None and (data := self._encoder.end()):
            await self._response.write(data)
        await self._response.write_eof()
        return self._response

    async def fail(self, error: StoreError, version: str) -> web.StreamResponse:
        """The error as an answer of its own; when the result has begun, in the body before the connection is cut."""
        message = error.text(version)
        if self._response is None:
            headers = {name: value for name, value in self._headers.items() if not name.startswith("Content-")}
            headers["X-ClickHouse-Exception-Code"] = str(error.code)
            headers["Content-Type"] = "text/plain; charset=UTF-8"
            if error.status == 401:
                headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
            return web.Response(status=error.status, text=None, body=message.encode(), headers=headers)
        block = f"\r\n__exception__\r\n{self._tag}\r\n{message}{len(message.encode())} {self._tag}\r\n__exception__\r\n"
        await self._write(block.encode())
        if self._encoder is not None and (data := self._encoder.end()):
            await self._response.write(data)
        if self._http.transport is not None:
            self._http.transport.close()
        return self._response


def summary_header(summary: Summary) -> str:
    """X-ClickHouse-Summary: JSON of numbers as strings, as a server writes it."""
    values: dict[str, Any] = {
        "read_rows": summary.read_rows,
        "read_bytes": summary.read_bytes,
        "written_rows": summary.written_rows,
        "written_bytes": summary.written_bytes,
        "total_rows_to_read": summary.read_rows,
        "result_rows": summary.result_rows,
        "result_bytes": summary.result_bytes,
        "elapsed_ns": round(summary.seconds * 1e9),
    }
    return json.dumps({name: str(value) for name, value in values.items()}, separators=(",", ":"))
