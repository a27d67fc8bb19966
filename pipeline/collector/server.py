"""The collector as a process: one HTTP endpoint before one Kafka producer, and a clean end on SIGTERM or SIGINT.

    POST /v1/events   202 acknowledged, 400 some cannot be routed (the others are acknowledged), 401 token, 413 too
                      large, 415 Content-Type, 503 with Retry-After: too many requests, or the broker is away
    GET /health       200 while the broker answers, else 503

Memory is bounded by requests in flight times the size of a body. What was answered with 503 may be on its topic all the
same: sending it again changes nothing, because everything downstream is keyed by identity.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import web
from kafka.errors import KafkaError, MessageSizeTooLargeError

from infra.broker.ready import is_ready
from pipeline.collector.events import Refused, Unreadable, mode_of, read
from pipeline.collector.settings import CollectorSettings
from pipeline.producer import Message, Producer

log = logging.getLogger(__name__)

EVENTS, HEALTH = "/v1/events", "/health"
_RETRY_AFTER = {"Retry-After": "1"}


async def run(settings: CollectorSettings, brokers: str) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests that were taken. OSError when the port is in use."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    collector = Collector(settings, brokers)
    runner = web.AppRunner(collector.app, access_log=None, shutdown_timeout=settings.shutdown_seconds)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        log.info("taking events on http://%s:%d%s for %s", settings.host, settings.port, EVENTS, brokers)
        await stopped.wait()
    finally:
        await runner.cleanup()
        await asyncio.to_thread(collector.close)


@dataclass
class Counts:
    """What `/health` tells, since the start."""

    in_flight: int = 0
    acknowledged: int = 0
    refused: int = 0
    unavailable: int = 0


class Collector:
    """The web application (`app`), its producer, and a thread for each request in flight that waits for the broker."""

    def __init__(self, settings: CollectorSettings, brokers: str) -> None:
        self._settings = settings
        self._brokers = brokers.split(",")
        self._producer = Producer(brokers, patience=settings.acknowledge_seconds)
        self._threads = ThreadPoolExecutor(settings.max_in_flight, "waiting")
        self._counts = Counts()
        self._away = False
        self.app = web.Application(client_max_size=settings.max_body_bytes)
        self.app.add_routes([web.post(EVENTS, self.events), web.get(HEALTH, self.health)])

    def close(self) -> None:
        """Close the connections; what the broker has not acknowledged by now was not acknowledged to its sender."""
        self._producer.close()
        self._threads.shutdown(cancel_futures=True)

    async def health(self, _: web.Request) -> web.Response:
        """Whether the broker answers, and what was done."""
        broker = any(await asyncio.gather(*(asyncio.to_thread(_answers, address) for address in self._brokers)))
        report = {"role": "collector", "broker": broker, **vars(self._counts)}
        return web.json_response(report, status=200 if broker else 503)

    async def events(self, request: web.Request) -> web.Response:
        """Take the events of one request."""
        if not self._is_known(request):
            return _problem(
                401, "no token, or another one", "Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
            )
        if self._counts.in_flight >= self._settings.max_in_flight:
            return self._unavailable("too many requests at once")
        self._counts.in_flight += 1
        try:
            return await self._take(request)
        except Unreadable as unreadable:
            self._counts.refused += 1
            return _problem(unreadable.status, unreadable.error, unreadable.expected)
        finally:
            self._counts.in_flight -= 1

    async def _take(self, request: web.Request) -> web.Response:
        headers = list(request.headers.items())
        mode = mode_of(request.content_type, request.charset, headers)
        events = read(mode, request.content_type, headers, await self._body(request))
        if len(events) > self._settings.max_batch:
            raise Unreadable(413, f"{len(events):,} events", f"at most {self._settings.max_batch:,} a batch")
        messages = [event for event in events if isinstance(event, Message)]
        refused = [event for event in events if isinstance(event, Refused)]
        if messages:
            try:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._threads, self._producer.send_once, messages)
            except MessageSizeTooLargeError as error:
                raise Unreadable(413, "an event is larger than the broker takes", "a smaller event") from error
            except KafkaError as error:
                self._note_away(error)
                return self._unavailable("the broker does not acknowledge")
            self._note_away(None)
        self._counts.acknowledged += len(messages)
        self._counts.refused += len(refused)
        answer: dict[str, Any] = {"acknowledged": len(messages)}
        if refused:
            answer["refused"] = [asdict(event) for event in refused]
        return web.json_response(answer, status=400 if refused else 202)

    async def _body(self, request: web.Request) -> bytes:
        try:
            async with asyncio.timeout(self._settings.read_seconds):
                return await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            limit = f"at most {self._settings.max_body_bytes:,} bytes"
            raise Unreadable(413, "the body is too large", limit) from error
        except TimeoutError as error:
            limit = f"all of it within {self._settings.read_seconds:g} s"
            raise Unreadable(408, "the body did not come", limit) from error
        except web.RequestPayloadError as error:
            raise Unreadable(400, f"the body cannot be read: {error}", "a body as its headers say") from error

    def _is_known(self, request: web.Request) -> bool:
        if self._settings.token is None:
            return True
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        wanted = self._settings.token.get_secret_value().encode()
        return scheme.lower() == "bearer" and hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted)

    def _unavailable(self, why: str) -> web.Response:
        self._counts.unavailable += 1
        return _problem(503, why, "send the request again; what is sent twice counts once", _RETRY_AFTER)

    def _note_away(self, error: KafkaError | None) -> None:
        """Log when the broker goes and when it comes, not every request in between."""
        if error is not None and not self._away:
            log.warning("the broker does not acknowledge: %r", error)
        elif error is None and self._away:
            log.info("the broker acknowledges again")
        self._away = error is not None


def _answers(address: str) -> bool:
    try:
        return is_ready(address)
    except OSError:
        return False


def _problem(status: int, error: str, expected: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": error, "expected": expected}, status=status, headers=headers)
