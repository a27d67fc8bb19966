"""What an agent gets: one fetched run of records of one partition.

Made by the transport's consumer from aiokafka's fetch results, handed to agents as `event.value`, and acknowledged
as a whole by `stream.ack(event)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from aiokafka.structs import ConsumerRecord

#: A record as aiokafka delivers it: `offset`, `timestamp` (ms), `key`, `value` (bytes or None), `headers`.
Record: TypeAlias = ConsumerRecord  # of bytes and bytes; aiokafka ships no types


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records of one partition, in offset order; never empty.

    `next_offset` is where reading goes on after this batch, and what is committed once it and all before it are
    acknowledged. It may be larger than `last_offset + 1`: compaction and transaction markers leave gaps.
    `size` is keys, values and headers in bytes.
    """

    topic: str
    partition: int
    first_offset: int
    next_offset: int
    records: Sequence[Record]
    size: int

    @property
    def last_offset(self) -> int:
        """Offset of the last record in the batch."""
        return int(self.records[-1].offset)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __repr__(self) -> str:
        # Short on purpose: faust logs events, and records hold what customers wrote.
        return f"<Batch {self.topic}[{self.partition}] {self.first_offset}..{self.last_offset} n={len(self)}>"
