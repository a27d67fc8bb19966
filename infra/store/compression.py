"""Compression of HTTP bodies, streamed both ways: gzip, deflate, zstd, lz4 (frames), br when the package is installed.

Requests say `Content-Encoding`, answers follow `Accept-Encoding`. ClickHouse's own block format (`compress=1`,
`decompress=1`) is in blocks.py behind the same two interfaces.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import lz4.frame
import zstandard

from infra.store.errors import CANNOT_DECOMPRESS, UNKNOWN_COMPRESSION_METHOD, StoreError

try:
    # An optional package: without it "br" is neither offered nor taken.
    _brotli: Any = importlib.import_module("brotli")
except ImportError:
    _brotli = None


class Encoder(Protocol):
    """Bytes in, compressed bytes out; `end` closes the stream."""

    def feed(self, data: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class Decoder(Protocol):
    """Compressed bytes in, bytes out; `end` raises StoreError when the stream was cut off."""

    def feed(self, data: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class _Zlib:
    def __init__(self, window: int, level: int) -> None:
        self._stream = zlib.compressobj(level, zlib.DEFLATED, window)

    def feed(self, data: bytes) -> bytes:
        return self._stream.compress(data)

    def end(self) -> bytes:
        return self._stream.flush()


class _Zstd:
    def __init__(self, level: int) -> None:
        self._stream = zstandard.ZstdCompressor(level=level).compressobj()

    def feed(self, data: bytes) -> bytes:
        return self._stream.compress(data)

    def end(self) -> bytes:
        return self._stream.flush()


class _Lz4:
    def __init__(self) -> None:
        self._stream = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        head = b"" if self._begun else bytes(self._stream.begin())
        self._begun = True
        return head + bytes(self._stream.compress(data))

    def end(self) -> bytes:
        return (b"" if self._begun else bytes(self._stream.begin())) + bytes(self._stream.flush())


class _Brotli:
    def __init__(self, quality: int) -> None:
        self._stream = _brotli.Compressor(quality=quality)

    def feed(self, data: bytes) -> bytes:
        return bytes(self._stream.process(data))

    def end(self) -> bytes:
        return bytes(self._stream.finish())


# In the order of preference when a client weighs them alike. Levels favour speed: the bytes travel over loopback.
_ENCODERS: dict[str, Callable[[], Encoder]] = {
    "zstd": lambda: _Zstd(1),
    "lz4": _Lz4,
    "gzip": lambda: _Zlib(31, 3),
    "deflate": lambda: _Zlib(15, 3),
}
if _brotli is not None:
    _ENCODERS["br"] = lambda: _Brotli(2)


class _Members:
    """A decoder of one or more compressed members in a row (clients send each block as a frame of its own)."""

    def __init__(self, name: str, make: Callable[[], Any]) -> None:
        self._name = name
        self._make = make
        self._stream = make()
        self._inside = False

    def feed(self, data: bytes) -> bytes:
        out = []
        try:
            while data:
                self._inside = True
                out.append(self._stream.decompress(data))
                if not self._stream.eof:
                    break
                data = self._stream.unused_data
                self._stream = self._make()
                self._inside = False
        except (zlib.error, zstandard.ZstdError, RuntimeError, EOFError) as error:
            raise StoreError(CANNOT_DECOMPRESS, f"Cannot decompress the body as {self._name}: {error}") from None
        return b"".join(out)

    def end(self) -> bytes:
        if self._inside:
            raise StoreError(CANNOT_DECOMPRESS, f"The body's {self._name} stream is cut off")
        return b""


class _BrotliDecoder:
    def __init__(self) -> None:
        self._stream = _brotli.Decompressor()

    def feed(self, data: bytes) -> bytes:
        try:
            return bytes(self._stream.process(data))
        except _brotli.error as error:
            raise StoreError(CANNOT_DECOMPRESS, f"Cannot decompress the body as br: {error}") from None

    def end(self) -> bytes:
        if not self._stream.is_finished():
            raise StoreError(CANNOT_DECOMPRESS, "The body's br stream is cut off")
        return b""


def _inflate() -> Any:
    return _Deflate()


class _Deflate:
    """HTTP's "deflate" is zlib's format, but some clients send raw deflate: the first byte tells."""

    def __init__(self) -> None:
        self._stream: Any = None

    @property
    def eof(self) -> bool:
        return self._stream is not None and self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return bytes(self._stream.unused_data)

    def decompress(self, data: bytes) -> bytes:
        if self._stream is None:
            self._stream = zlib.decompressobj(15 if data[0] & 0x0F == 8 else -15)
        return bytes(self._stream.decompress(data))


_DECODERS: dict[str, Callable[[], Decoder]] = {
    "gzip": lambda: _Members("gzip", lambda: zlib.decompressobj(31)),
    "deflate": lambda: _Members("deflate", _inflate),
    "zstd": lambda: _Members("zstd", lambda: zstandard.ZstdDecompressor().decompressobj()),
    "lz4": lambda: _Members("lz4", lz4.frame.LZ4FrameDecompressor),
}
if _brotli is not None:
    _DECODERS["br"] = _BrotliDecoder


def decoder(content_encoding: str) -> Decoder | None:
    """The decoder of a request's Content-Encoding, None for identity. Raises StoreError 89 for one it does not know."""
    name = content_encoding.strip().lower().removeprefix("x-")
    if name in ("", "identity"):
        return None
    if name not in _DECODERS:
        raise StoreError(
            UNKNOWN_COMPRESSION_METHOD,
            f"Unknown Content-Encoding '{content_encoding}'; the store takes {', '.join(sorted(_DECODERS))}",
        )
    return _DECODERS[name]()


def encoder(accept_encoding: str) -> tuple[str, Encoder] | None:
    """The best encoding that an Accept-Encoding header allows and its encoder; None when it allows none."""
    weights: dict[str, float] = {}
    for part in accept_encoding.split(","):
        name, _, parameters = part.strip().partition(";")
        weight = 1.0
        if parameters.strip().startswith("q="):
            try:
                weight = float(parameters.strip()[2:])
            except ValueError:
                weight = 0.0
        weights[name.strip().lower()] = weight
    allowed = [(weights.get(name, 0.0), name) for name in _ENCODERS]
    best = max((weight for weight, _ in allowed), default=0.0)
    if best <= 0:
        return None
    name = next(name for weight, name in allowed if weight == best)
    return name, _ENCODERS[name]()
