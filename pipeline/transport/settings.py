"""Bounds and waits of the batch transport, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How much is fetched, handed out and waited for. Set it as `app.batching`; `make_app` does.

    Memory of one worker stays below about `max_inflight_bytes` handed out, plus one prefetched answer of at most
    `partition_fetch_bytes` (or one record batch, where that is larger) for each partition, times the
    overhead of Python objects.
    """

    #: Most records in one batch.
    max_records: int = 1000
    #: A batch ends with the record that reaches this many bytes of keys, values and headers.
    max_bytes: int = 1 * _MIB
    #: Batches of one partition handed out beyond the committable prefix; then the partition waits.
    max_inflight_batches: int = 4
    #: Bytes handed out and not acknowledged, over all partitions; then every partition waits.
    max_inflight_bytes: int = 64 * _MIB
    #: How long a broker may hold an empty fetch back, in ms. faust's own 1500 makes a quiet topic slow.
    fetch_max_wait_ms: int = 50
    #: Least bytes a broker should answer with before that wait ends.
    fetch_min_bytes: int = 1
    #: Most bytes of one partition in one answer of the broker.
    partition_fetch_bytes: int = 1 * _MIB
    #: `read_committed` hides aborted transactions; leave it off for brokers without transactions.
    isolation_level: Literal["read_uncommitted", "read_committed"] = "read_uncommitted"
    #: How long one commit, or one look-up of committed offsets, may take before it is tried again later, in s.
    request_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse values that could never deliver a record."""
        for name in (
            "max_records",
            "max_bytes",
            "max_inflight_batches",
            "max_inflight_bytes",
            "fetch_min_bytes",
            "partition_fetch_bytes",
            "request_timeout_s",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"BatchSettings.{name} must be above zero, not {getattr(self, name)!r}")
        if self.fetch_max_wait_ms < 0:
            raise ValueError(f"BatchSettings.fetch_max_wait_ms cannot be negative: {self.fetch_max_wait_ms!r}")
