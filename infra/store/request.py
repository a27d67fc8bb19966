"""An HTTP request, read as ClickHouse reads it: URL parameters and headers become a `Request`; the body stays a stream.

The query text is in `query=`, in the body, or begins in one and goes on in the other; its data follows it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from aiohttp import StreamReader

from infra.store.compression import Decoder
from infra.store.errors import BAD_ARGUMENTS, READONLY, StoreError
from infra.store.sql import names
from infra.store.users import Credentials, User, presented

# Parameters of the protocol; every other one is a setting, or a query parameter when it begins with param_.
_PROTOCOL = names(
    """query user password quota_key role stacktrace default_format database query_id session_id session_timeout
    session_check close_session compress decompress wait_end_of_query buffer_size client_protocol_version
    http_native_compression_disable_checksumming_on_decompress add_http_cors_header cache"""
)
# Settings of the HTTP layer itself: read here where they matter, of no use to the engine.
_HTTP_SETTINGS = frozenset(("enable_http_compression", "send_progress_in_http_headers", "max_http_get_redirects"))
_THREAD_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class External:
    """A table that came with the request: its columns as in CREATE TABLE, its format, its bytes."""

    name: str
    structure: str
    format: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """What a request asks for, apart from its body. `settings` holds engine settings and `param_...` values."""

    user_name: str
    user: User
    query: bytes
    settings: dict[str, str]
    read_only: int
    query_id: str
    database: str = ""
    default_format: str = "TabSeparated"
    session_id: str = ""
    session_timeout: float | None = None
    session_check: bool = False
    session_close: bool = False
    wait_end: bool = False
    compress: bool = False
    decompress: bool = False
    http_compression: bool = True
    external: tuple[External, ...] = ()


def parse(
    method: str,
    values: Mapping[str, str],
    headers: Mapping[str, str],
    credentials: Credentials,
    files: Mapping[str, bytes] | None = None,
) -> Request:
    """Read the parameters (of the URL and of a form) and headers; `files` are a form's files, by name.

    GET and HEAD only read (readonly=2: settings may change, data may not), as do all requests of read-only users.
    Raises StoreError: 516 for who it is, 36 for a value that makes no sense.
    """
    name, password = presented(headers, values)
    user = credentials.authenticate(name, password)
    settings = {
        key: value
        for key, value in values.items()
        if key not in _PROTOCOL and key not in _HTTP_SETTINGS and not key.startswith("http_")
    }
    external = tuple(_external(name, data, settings) for name, data in (files or {}).items())
    asked = settings.pop("readonly", None)
    floor = 2 if user.readonly or method in ("GET", "HEAD") else 0
    if asked is not None and asked not in ("0", "1", "2"):
        raise StoreError(BAD_ARGUMENTS, f"readonly is 0, 1 or 2, not '{asked}'")
    if floor and asked == "0":
        raise StoreError(READONLY, "Cannot modify 'readonly' setting in readonly mode.")
    read_only = floor if asked in (None, "0") else int(str(asked))
    timeout = values.get("session_timeout")
    if timeout is not None and not timeout.isdigit():
        raise StoreError(BAD_ARGUMENTS, f"Invalid session timeout: '{timeout}'")
    return Request(
        user_name=name,
        user=user,
        query=values.get("query", "").encode(),
        settings=settings,
        read_only=read_only,
        query_id=values.get("query_id") or headers.get("X-ClickHouse-Query-Id") or str(uuid.uuid4()),
        database=values.get("database") or headers.get("X-ClickHouse-Database", ""),
        default_format=values.get("default_format") or headers.get("X-ClickHouse-Format") or "TabSeparated",
        session_id=values.get("session_id", ""),
        session_timeout=float(timeout) if timeout is not None else None,
        session_check=_flag(values, "session_check"),
        session_close=_flag(values, "close_session"),
        wait_end=_flag(values, "wait_end_of_query") or _flag(values, "http_wait_end_of_query"),
        compress=_flag(values, "compress"),
        decompress=_flag(values, "decompress"),
        http_compression=values.get("enable_http_compression", "1") != "0",
        external=external,
    )


def _external(name: str, data: bytes, settings: dict[str, str]) -> External:
    structure = settings.pop(f"{name}_structure", "")
    types = settings.pop(f"{name}_types", "")
    if not structure and not types:
        raise StoreError(BAD_ARGUMENTS, f"External table {name} needs {name}_structure or {name}_types in the URL")
    columns = structure or ", ".join(f"_{at} {kind}" for at, kind in enumerate(types.split(","), 1))
    return External(name, columns, settings.pop(f"{name}_format", "TabSeparated"), data)


def _flag(values: Mapping[str, str], name: str) -> bool:
    return values.get(name, "0").lower() in ("1", "true")


class Body:
    """A request's body as decoded bytes, read piece by piece: at most a piece is in memory at a time."""

    def __init__(self, stream: StreamReader, decoders: list[Decoder]) -> None:
        self._stream = stream
        self._decoders = decoders
        self._ended = False

    async def read(self, least: int) -> bytes:
        """At least `least` bytes, fewer only at the end of the body. Raises StoreError for broken compression."""
        parts: list[bytes] = []
        size = 0
        while size < least and not self._ended:
            data = await self._stream.readany()
            self._ended = not data
            for decoder in self._decoders:
                if len(data) > _THREAD_BYTES:
                    data = await asyncio.to_thread(decoder.feed, data)
                elif data:
                    data = decoder.feed(data)
                if self._ended:
                    data += decoder.end()
            parts.append(data)
            size += len(data)
        return b"".join(parts)

    async def pieces(self, least: int) -> AsyncIterator[bytes]:
        """The rest of the body, in pieces of at least `least` bytes."""
        while not self._ended:
            data = await self.read(least)
            if data:
                yield data

    @property
    def ended(self) -> bool:
        """Whether the end was read."""
        return self._ended
