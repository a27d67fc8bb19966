"""Record batches made by hand for the tests of the broker's log: only the header fields that it reads are set."""

from __future__ import annotations

import struct

PARTITION = "clusters/vocstream/topics/t/partitions/0000000000"


def batch(records: int = 1, *, producer: int = -1, epoch: int = -1, sequence: int = -1, size: int = 61) -> bytes:
    """A v2 record batch of `records` records, `size` bytes long; its body is zeros."""
    body = bytearray(max(size, 61))
    struct.pack_into(">i", body, 23, records - 1)
    struct.pack_into(">qhii", body, 43, producer, epoch, sequence, records)
    return bytes(body)


def key(base: int, partition: str = PARTITION) -> str:
    """The key under which Tansu stores a batch that begins at offset `base`."""
    return f"{partition}/records/{base:020d}.batch"
