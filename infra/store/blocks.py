"""ClickHouse's own compressed blocks, as `compress=1` and `decompress=1` exchange them (JDBC and native tools do).

A block: a 16-byte CityHash128 (version 1.0.2) of what follows, the method (LZ4, ZSTD or none), the compressed size
(these 9 bytes included), the size of the data, the compressed data. The hash comes from the optional package
`clickhouse-cityhash`; without it blocks are read unchecked (TCP has checksums of its own) and `compress=1` is refused.
"""

from __future__ import annotations

import importlib
import struct
from typing import Any

import lz4.block
import zstandard

from infra.store.errors import CANNOT_DECOMPRESS, CHECKSUM_DOESNT_MATCH, StoreError

try:
    _city: Any = importlib.import_module("clickhouse_cityhash.cityhash").CityHash128
except ImportError:
    _city = None

_LZ4, _ZSTD, _NONE = 0x82, 0x90, 0x02
_HEADER = struct.Struct("<BII")
_HASH = struct.Struct("<QQ")
_BLOCK_BYTES = 1 << 20  # max_compress_block_size of a server
_LIMIT_BYTES = 1 << 30  # a block that claims more is no block


def _checksum(data: bytes) -> bytes:
    hashed = _city(data)
    return _HASH.pack(hashed >> 64, hashed & 0xFFFFFFFFFFFFFFFF)  # the package puts the low half on top


class BlockEncoder:
    """Bytes to LZ4 blocks. Raises StoreError when the checksum cannot be made."""

    def __init__(self) -> None:
        if _city is None:
            raise StoreError(
                48, "compress=1 needs the package clickhouse-cityhash; Accept-Encoding needs nothing", "NOT_IMPLEMENTED"
            )

    def feed(self, data: bytes) -> bytes:
        """The blocks of these bytes."""
        return b"".join(self._block(data[at : at + _BLOCK_BYTES]) for at in range(0, len(data), _BLOCK_BYTES))

    def end(self) -> bytes:
        """Nothing: blocks stand alone."""
        return b""

    def _block(self, data: bytes) -> bytes:
        packed = bytes(lz4.block.compress(data, store_size=False))
        rest = _HEADER.pack(_LZ4, len(packed) + _HEADER.size, len(data)) + packed
        return _checksum(rest) + bytes(rest)


class BlockDecoder:
    """Blocks to bytes, in pieces of any size."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The data of the blocks that are now complete. Raises StoreError for a broken block."""
        self._held += data
        out = []
        at = 0
        while len(self._held) - at >= _HASH.size + _HEADER.size:
            method, packed, size = _HEADER.unpack_from(self._held, at + _HASH.size)
            if packed < _HEADER.size or packed > _LIMIT_BYTES or size > _LIMIT_BYTES:
                raise StoreError(CANNOT_DECOMPRESS, "The body is not made of ClickHouse's compressed blocks")
            end = at + _HASH.size + packed
            if len(self._held) < end:
                break
            rest = self._held[at + _HASH.size : end]
            if _city is not None and _checksum(rest) != self._held[at : at + _HASH.size]:
                raise StoreError(CHECKSUM_DOESNT_MATCH, "Checksum doesn't match: corrupted data in a compressed block")
            out.append(_unpack(method, rest[_HEADER.size :], size))
            at = end
        self._held = self._held[at:]
        return b"".join(out)

    def end(self) -> bytes:
        """Raises StoreError when a block is cut off."""
        if self._held:
            raise StoreError(CANNOT_DECOMPRESS, "The last compressed block of the body is cut off")
        return b""


def _unpack(method: int, packed: bytes, size: int) -> bytes:
    try:
        if method == _LZ4:
            return bytes(lz4.block.decompress(packed, uncompressed_size=size))
        if method == _ZSTD:
            return zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
        if method == _NONE:
            return packed
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as error:
        raise StoreError(CANNOT_DECOMPRESS, f"Cannot decompress a block: {error}") from None
    raise StoreError(CANNOT_DECOMPRESS, f"Unknown method 0x{method:02x} in a compressed block")
