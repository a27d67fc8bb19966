"""Many record batches into one, byte for byte the same records. A pure function of bytes (see `compaction.py`).

A v2 record is `length, attributes, timestampDelta, offsetDelta, rest` (Kafka documentation, "Record"; lengths and
deltas are zigzag varints). Only the two deltas count from the batch's base, so only they are written anew.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import crc32c
from kafka.codec import gzip_decode, gzip_encode, lz4_decode, lz4_encode, zstd_decode, zstd_encode

from infra.broker.batches import HEADER_SIZE

# From byte 21, where the checksum begins: attributes, lastOffsetDelta, baseTimestamp, maxTimestamp, producerId,
# producerEpoch, baseSequence, recordCount.
_HEADER = struct.Struct(">hiqqqhii")
_CHECKED = 21
_CODEC, _SPECIAL = 0b111, 0b110000  # transactional or control batches are never merged
_MAGIC = 2


def mergeable(attributes: int) -> bool:
    """Whether batches with these attributes can be merged with others of the very same ones."""
    return not attributes & _SPECIAL and attributes & _CODEC in _CODECS


def merge(batches: Sequence[tuple[int, bytes]]) -> bytes:
    """One batch of all records of `batches` (first offset and body of each, in order, with equal attributes).

    The merged batch names no producer: what its sequence numbers prove was noted when they were stored. An exception
    of any kind says that a body is not what its header promises.
    """
    origin = batches[0][0]
    attributes, _, origin_time, _, *_ = _HEADER.unpack_from(batches[0][1], _CHECKED)
    decode, encode = _CODECS[attributes & _CODEC]
    records, count, newest, last = bytearray(), 0, 0, 0
    for base, body in batches:
        kind, delta, base_time, max_time, _, _, _, number = _HEADER.unpack_from(body, _CHECKED)
        if body[16] != _MAGIC:
            raise ValueError(f"message format {body[16]} is not known")
        if kind != attributes:
            raise ValueError(f"attributes {kind} and {attributes} do not go into one batch")
        _rebase(records, decode(body[HEADER_SIZE:]), number, base - origin, base_time - origin_time)
        count, newest, last = count + number, max(newest, max_time), base - origin + delta
    content = _HEADER.pack(attributes, last, origin_time, newest, -1, -1, -1, count) + encode(bytes(records))
    # baseOffset and leader epoch are filled in by Tansu when it serves the batch; neither is under the checksum.
    return struct.pack(">qiibI", 0, len(content) + 9, 0, _MAGIC, crc32c.crc32c(content)) + content


def _rebase(target: bytearray, records: bytes, count: int, offsets: int, milliseconds: int) -> None:
    """Append `count` records to `target`, their deltas raised by `offsets` and `milliseconds`."""
    position = 0
    for _ in range(count):
        length, start = _read(records, position)
        end = start + length
        time, position = _read(records, start + 1)
        offset, position = _read(records, position)
        head = bytearray(records[start : start + 1])
        _write(head, time + milliseconds)
        _write(head, offset + offsets)
        _write(target, len(head) + end - position)
        target += head
        target += records[position:end]
        position = end


def _read(data: bytes, position: int) -> tuple[int, int]:
    """The zigzag varint at `position`, and the position behind it."""
    raw = shift = 0
    while True:
        byte = data[position]
        position += 1
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (raw >> 1) ^ -(raw & 1), position
        shift += 7


def _write(target: bytearray, value: int) -> None:
    raw = (value << 1) ^ (value >> 63)
    while raw > 0x7F:
        target.append(raw & 0x7F | 0x80)
        raw >>= 7
    target.append(raw)


def _same(data: bytes) -> bytes:
    return data


# By the codec's number. Snappy (2) needs a package that nothing else here needs: such batches stay as they are.
_CODECS: dict[int, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    0: (_same, _same),
    1: (gzip_decode, gzip_encode),
    3: (lz4_decode, lz4_encode),
    4: (zstd_decode, zstd_encode),
}
