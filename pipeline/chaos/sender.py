"""Sends the stream at an even pace and does not rest until every record is acknowledged.

A record whose acknowledgement did not come is sent again, with the same timestamp: it may then be in the topic
twice, which must change nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from pipeline.chaos.stream import Sent


class Sender(threading.Thread):
    """Sends `records` over `seconds`; `join` it. `failure` is what made it give up, if anything did.

    `enough` ends it early: `taken` records were then sent, and are acknowledged when it has ended.
    """

    def __init__(self, brokers: str, records: Sequence[Sent], seconds: float) -> None:
        super().__init__(name="sender", daemon=True)
        self._brokers = brokers
        self._records = records
        self._pace = seconds / max(1, len(records))
        self._producer: KafkaProducer | None = None
        self.enough = threading.Event()
        self.give_up = threading.Event()
        self.taken = 0
        self.acknowledged = 0
        self.resent = 0
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            self._run()
        except Exception as failure:  # told by the thread that waits for this one
            self.failure = failure
        finally:
            self._discard()

    def _run(self) -> None:
        began = time.monotonic()
        flying: list[tuple[Sent, Any]] = []
        for place, record in enumerate(self._records):
            ahead = began + place * self._pace - time.monotonic()
            if ahead > 0.005:
                self.enough.wait(ahead)
            if self.enough.is_set():
                break
            flying.append((record, self._send(record)))
            self.taken += 1
        while flying:
            failed = [record for record, future in flying if not self._arrived(future)]
            self.acknowledged = self.taken - len(failed)
            self.resent += len(failed)
            if failed:
                self._discard()
            flying = [(record, self._send(record)) for record in failed]

    def _send(self, record: Sent) -> Any:
        while True:
            try:
                self._producer = self._producer or KafkaProducer(
                    bootstrap_servers=self._brokers,
                    client_id="chaos",
                    acks="all",
                    enable_idempotence=False,  # a repetition shall be a second record: the harder case
                    linger_ms=20,
                    delivery_timeout_ms=15_000,
                    request_timeout_ms=5_000,
                    max_block_ms=5_000,
                    reconnect_backoff_max_ms=500,
                )
                return self._producer.send(
                    record.topic,
                    key=record.key,
                    value=record.value,
                    headers=list(record.headers),
                    timestamp_ms=record.timestamp,
                )
            except (KafkaError, AssertionError):  # no broker, or a producer that has given up
                if self.give_up.is_set():
                    raise
                self._discard()
                time.sleep(0.2)

    def _arrived(self, future: Any) -> bool:
        try:
            future.get(timeout=30)
        except KafkaError:
            if self.give_up.is_set():
                raise
            return False
        return True

    def _discard(self) -> None:
        failed, self._producer = self._producer, None
        if failed is not None:
            failed.close(timeout=1)
