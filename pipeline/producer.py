"""Events onto topics, with kafka-python; an event counts only when the broker has acknowledged it.

Used by the lanes (comments, enriched responses, dead letters), by `vocstream emit` and by the collector. kafka-python's
producer is idempotent and retries by itself; what still fails (the embedded broker answers UNKNOWN while its storage is
away) is sent again here, by a new producer if the old one has given up. Sending again may duplicate an event: that
changes nothing, because everything downstream is keyed by identity. For the collector alone nothing is sent again here:
its own senders do that.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError

log = logging.getLogger(__name__)

LINGER_MS = 20  # the embedded broker's tail slows with the number of batches
MAX_REQUEST = 4 * 1024 * 1024  # bytes; the topics' max.message.bytes is the same
WINDOW = 5_000  # events in flight: some 3 MB, and more than a broker's round trip at 30,000 a second


class Message(NamedTuple):
    """One event to write."""

    topic: str
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()


class Producer:
    """Writes messages and returns when every one of them is acknowledged.

    `retry_for` bounds, in seconds, how long one message is tried; None is for ever. `patience` is how long kafka-python
    itself tries to deliver a message.
    """

    def __init__(
        self,
        brokers: str,
        *,
        retry_for: float | None = None,
        patience: float = 20.0,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._brokers = brokers.split(",")
        self._retry_for = retry_for
        self._patience = patience
        self._sleep = sleep
        self._making = threading.Lock()
        self._kafka: KafkaProducer | None = None
        self._closing = False

    def send_all(self, messages: Iterable[Message], on_acknowledged: Callable[[int], None] = lambda _: None) -> int:
        """Write `messages` in order of arrival, at most WINDOW of them unacknowledged; the count acknowledged.

        Raises KafkaError when a message was tried for `retry_for` seconds, MessageSizeTooLargeError at once.
        """
        flying: deque[tuple[Message, Any]] = deque()
        count = 0
        for message in messages:
            flying.append((message, self._send(message)))
            if len(flying) >= WINDOW:
                count += self._land(flying, len(flying) // 2, on_acknowledged)
        return count + self._land(flying, len(flying), on_acknowledged)

    async def publish(self, messages: Sequence[Message]) -> None:
        """`send_all` off the event loop."""
        if messages:
            await asyncio.get_running_loop().run_in_executor(None, self.send_all, messages)

    def send_once(self, messages: Sequence[Message]) -> None:
        """Write `messages`; raises KafkaError unless every one is acknowledged within about `patience`.

        Many threads may call it at once, and nothing else beside it: their messages share batches, not failures. What
        was not acknowledged may be on its topic all the same.
        """
        kafka = self._made()
        try:
            futures = [kafka.send(m.topic, key=m.key, value=m.value, headers=list(m.headers)) for m in messages]
            for future in futures:
                future.get(timeout=2 * self._patience)
        except (KafkaTimeoutError, MessageSizeTooLargeError):
            raise  # the producer is well
        except (KafkaError, AssertionError) as error:
            with self._making:
                if self._kafka is kafka:
                    self._discard()
            raise error if isinstance(error, KafkaError) else KafkaError(str(error)) from error

    def _made(self) -> KafkaProducer:
        """The producer that all threads share."""
        if not self._making.acquire(timeout=self._patience):
            raise KafkaTimeoutError("no connection to a broker yet")
        try:
            if self._closing:
                raise KafkaError("closed")
            return self._producer()
        finally:
            self._making.release()

    def close(self) -> None:
        """Give up what is being tried again and close the connections."""
        self._closing = True
        if self._kafka is not None:
            self._kafka.close(timeout=2)

    def _land(self, flying: deque[tuple[Message, Any]], count: int, on_acknowledged: Callable[[int], None]) -> int:
        """Wait for the `count` oldest; send again the ones that failed."""
        for _ in range(count):
            message, future = flying.popleft()
            self._wait(message, future)
            on_acknowledged(1)
        return count

    def _wait(self, message: Message, future: Any) -> None:
        give_up_at = None if self._retry_for is None else time.monotonic() + self._retry_for
        pause = 0.05
        while True:
            try:
                future.get(timeout=30)
            except MessageSizeTooLargeError:
                raise
            except KafkaError as error:
                if self._closing or (give_up_at is not None and time.monotonic() > give_up_at):
                    raise
                log.warning("sending again to %s: %r", message.topic, error)
                self._sleep(pause)
                pause = min(2 * pause, 2.0)
                future = self._send(message, anew=True)
            else:
                return

    def _send(self, message: Message, *, anew: bool = False) -> Any:
        while True:
            try:
                return self._producer().send(
                    message.topic, key=message.key, value=message.value, headers=list(message.headers)
                )
            except MessageSizeTooLargeError:
                raise
            except (KafkaError, AssertionError) as error:  # closed, fenced, or no metadata within max_block_ms
                if self._closing or (self._retry_for is not None and not anew):
                    raise
                log.warning("a new producer, because the old one failed: %r", error)
                self._discard()
                self._sleep(0.2)

    def _producer(self) -> KafkaProducer:
        if self._kafka is None:
            patience = int(1000 * self._patience)
            self._kafka = KafkaProducer(
                bootstrap_servers=self._brokers,
                client_id="vocstream",
                acks="all",
                linger_ms=LINGER_MS,
                batch_size=256 * 1024,
                compression_type="lz4",
                max_request_size=MAX_REQUEST,
                delivery_timeout_ms=patience,
                request_timeout_ms=patience // 2,
                max_block_ms=patience // 2,
                bootstrap_timeout_ms=patience // 2,
                reconnect_backoff_max_ms=1_000,  # a broker that comes back is found soon, however long it was away
            )
        return self._kafka

    def _discard(self) -> None:
        failed, self._kafka = self._kafka, None
        if failed is not None:
            failed.close(timeout=0)
