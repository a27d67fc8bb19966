"""Clients for the broker's tests: numbered producers that note what was acknowledged, and readers of a partition."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

TOPIC = "t"
Record = tuple[int, bytes]  # offset, value
_FAST: dict[str, Any] = {"reconnect_backoff_ms": 20, "reconnect_backoff_max_ms": 100, "request_timeout_ms": 6000}


def create_topic(address: str, name: str = TOPIC, partitions: int = 1) -> None:
    """Create a topic."""
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics([NewTopic(name, partitions, 1)])
    admin.close()


def read_all(address: str, *, start: int = 0, idle_ms: int = 1500) -> list[Record]:
    """The partition from offset `start`, until nothing comes for `idle_ms`."""
    consumer = KafkaConsumer(bootstrap_servers=address, consumer_timeout_ms=idle_ms, enable_auto_commit=False)
    place = TopicPartition(TOPIC, 0)
    consumer.assign([place])
    consumer.seek(place, start)
    found = [(record.offset, record.value) for record in consumer]
    consumer.close()
    return found


class Producing(threading.Thread):
    """Sends `NAME-000000`, `NAME-000001`, ... to one partition until stopped; never sends a value twice itself."""

    def __init__(self, address: str, name: str, *, idempotent: bool) -> None:
        super().__init__(name=name, daemon=True)
        self.address = address
        self.idempotent = idempotent
        self.acknowledged: list[Record] = []
        self.failed: Counter[str] = Counter()
        self.enough = threading.Event()

    def run(self) -> None:
        producer = KafkaProducer(
            bootstrap_servers=self.address,
            enable_idempotence=self.idempotent,
            acks="all",
            linger_ms=5,
            retries=100 if self.idempotent else 0,  # a repetition without idempotence may store twice
            max_in_flight_requests_per_connection=5 if self.idempotent else 1,
            retry_backoff_ms=50,
            delivery_timeout_ms=20_000,
            **_FAST,
        )
        number = 0
        while not self.enough.is_set():
            value = b"%s-%06d" % (self.name.encode(), number)
            sent = producer.send(TOPIC, value, partition=0)
            sent.add_callback(lambda value, meta: self.acknowledged.append((meta.offset, value)), value)
            sent.add_errback(lambda error: self.failed.update([type(error).__name__]))
            number += 1
            time.sleep(0.002)
        producer.flush(20)
        producer.close()


class Following(threading.Thread):
    """A live consumer at the tail of the partition: it sees what is there the moment it is shown, and never again."""

    def __init__(self, address: str) -> None:
        super().__init__(name="follower", daemon=True)
        self.address = address
        self.seen: list[Record] = []
        self.enough = threading.Event()

    def run(self) -> None:
        consumer = KafkaConsumer(bootstrap_servers=self.address, enable_auto_commit=False, **_FAST)
        place = TopicPartition(TOPIC, 0)
        consumer.assign([place])
        consumer.seek(place, 0)
        while not self.enough.is_set():
            for records in consumer.poll(100).values():
                self.seen += [(record.offset, record.value) for record in records]
        consumer.close()

    def wait_for(self, last: Record, seconds: float = 10.0) -> None:
        """Until `last` was seen, at most `seconds`; then stop."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and (not self.seen or self.seen[-1] != last):
            time.sleep(0.05)
        self.enough.set()
        self.join(10)
