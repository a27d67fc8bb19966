"""What a key and a body tell about a Kafka record batch. Pure functions; nothing is stored here.

Tansu stores each produced batch as one object under `.../partitions/PPPPPPPPPP/records/OOOOOOOOOOOOOOOOOOOO.batch`,
where O is the offset of its first record. The body is a record batch of message format v2 (Kafka documentation,
"Record Batch": fixed header, big-endian); compression begins behind the header, so it never hides these fields.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

_KEY = re.compile(r"(?P<partition>.+/partitions/\d{10})/records/(?P<base>\d{20})\.batch")
_WATERMARK = re.compile(r"(?P<partition>.+/partitions/\d{10})/watermark\.json")
_TOPIC = re.compile(r".*/topics/(?P<topic>[^/]+)/partitions/(?P<number>\d{10})")

# attributes and lastOffsetDelta at byte 21; producerId, producerEpoch, baseSequence, recordCount at byte 43.
_ATTRIBUTES = struct.Struct(">hi")
_PRODUCER = struct.Struct(">qhii")
HEADER_SIZE = 61
_SEQUENCES = 2**31  # a sequence number is followed by 0 after 2^31 - 1

RECORDS = "/records/"


@dataclass(frozen=True, slots=True)
class BatchKey:
    """Where a batch lies: `partition` is the key prefix of its partition, `base` the offset of its first record."""

    partition: str
    base: int


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """Header fields that the log needs. `producer_id` is -1 for a producer that is not idempotent.

    `attributes` holds the codec (bits 0-2), the kind of timestamp (3), transactional (4) and control (5).
    """

    attributes: int
    offsets: int
    producer_id: int
    producer_epoch: int
    next_sequence: int


def parse_key(key: str) -> BatchKey | None:
    """The place of a batch, or None when `key` is not one of a batch."""
    match = _KEY.fullmatch(key)
    return BatchKey(match["partition"], int(match["base"])) if match else None


def batch_key(partition: str, base: int) -> str:
    """The key of the batch of `partition` that begins at offset `base`."""
    return f"{partition}{RECORDS}{base:020d}.batch"


def partition_of_watermark(key: str) -> str | None:
    """The partition prefix of a watermark object, or None when `key` is another object."""
    match = _WATERMARK.fullmatch(key)
    return match["partition"] if match else None


def topic_partition(partition: str) -> tuple[str, int]:
    """Topic name and partition number of a partition prefix. `ValueError` when it is none."""
    match = _TOPIC.fullmatch(partition)
    if match is None:
        raise ValueError(f"not the prefix of a partition: {partition!r}")
    return match["topic"], int(match["number"])


def parse_header(body: bytes) -> BatchHeader:
    """Read the header of a v2 record batch. `ValueError` when `body` is too short to be one."""
    if len(body) < HEADER_SIZE:
        raise ValueError(f"{len(body)} bytes are not a record batch: its header alone has {HEADER_SIZE}")
    attributes, delta = _ATTRIBUTES.unpack_from(body, 21)
    producer_id, epoch, sequence, count = _PRODUCER.unpack_from(body, 43)
    return BatchHeader(attributes, delta + 1, producer_id, epoch, (sequence + count) % _SEQUENCES)
