"""The embedded broker as one supervised process: the S3 endpoint, retention, merging and the Tansu child.

`run(settings)` returns when it is asked to stop (SIGTERM, SIGINT, or cancelled). The endpoint lives in this process, so
it cannot be gone while the child is there; the child is tied to this process by the kernel and started again,
with a growing pause, when it dies. Whoever starts this process starts it again when it dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from infra.broker import tansu
from infra.broker.compaction import Compactor
from infra.broker.lock import data_lock, require_free_port
from infra.broker.log import RecordLog
from infra.broker.objects import ObjectStore
from infra.broker.ready import is_ready
from infra.broker.recovery import recover
from infra.broker.retention import delete_expired
from infra.broker.s3 import S3Endpoint
from infra.broker.settings import BrokerSettings

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0  # seconds before the child is started again
_SETTLED_SECONDS = 30.0  # a child that lived this long starts again without a pause
_COMPACTION_PAUSE = 1.0  # seconds between two looks for batches to merge
_STOP_SECONDS = 1.5  # what the child gets to end by itself: it holds nothing that is not stored


async def run(settings: BrokerSettings) -> None:
    """Serve until told to stop. `BrokerConflict` or `TansuUnavailable` say why it cannot start."""
    path = tansu.binary()
    settings.data.mkdir(parents=True, exist_ok=True)
    with data_lock(settings.data):
        require_free_port(settings.port)
        store = ObjectStore(settings.data / "records.sqlite", clock=time.time, synchronous=settings.synchronous)
        log = RecordLog(store, hold_seconds=settings.hole_hold_seconds, monotonic=time.monotonic)
        access_key = secrets.token_hex(16)
        try:
            async with _endpoint(S3Endpoint(log, access_key=access_key)) as url, _stop_signals() as stopped:

                async def start() -> asyncio.subprocess.Process:
                    recover(log, tansu.CLUSTER)
                    return await tansu.start(
                        path,
                        port=settings.port,
                        endpoint=url,
                        access_key=access_key,
                        output=settings.data / "tansu.log",
                    )

                jobs = [
                    asyncio.create_task(_keep_running(start, settings.port)),
                    asyncio.create_task(_retain(log, settings)),
                    asyncio.create_task(_compact(log)),
                    asyncio.create_task(stopped.wait()),
                ]
                try:
                    done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
                    for job in done:
                        job.result()
                finally:
                    for job in jobs:
                        job.cancel()
                    await asyncio.gather(*jobs, return_exceptions=True)
        finally:
            store.close()


async def _keep_running(start: Callable[[], Awaitable[asyncio.subprocess.Process]], port: int) -> None:
    pause = _FIRST_PAUSE
    while True:
        child = await start()
        started = time.monotonic()
        ready = asyncio.create_task(_announce(port))
        try:
            code = await child.wait()
        finally:
            ready.cancel()
            await _end(child)
        if time.monotonic() - started > _SETTLED_SECONDS:
            pause = _FIRST_PAUSE
        logger.error("tansu ended with %s (see tansu.log); it is started again in %.1f s", code, pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


async def _announce(port: int) -> None:
    """Say once that clients are served."""
    while True:
        with contextlib.suppress(OSError):
            if await asyncio.to_thread(is_ready, f"127.0.0.1:{port}"):
                logger.info("kafka on 127.0.0.1:%d", port)
                return
        await asyncio.sleep(0.05)


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), _STOP_SECONDS)
    except TimeoutError:
        child.kill()
        await child.wait()


async def _retain(log: RecordLog, settings: BrokerSettings) -> None:
    while True:
        await asyncio.sleep(settings.retention_interval_seconds)
        total = 0
        while deleted := delete_expired(log, hours=settings.retention_hours, max_bytes=settings.retention_bytes):
            total += deleted
            await asyncio.sleep(0.01)  # let requests through between two steps
        if total:
            logger.info("retention deleted %d batches", total)


async def _compact(log: RecordLog) -> None:
    compactor = Compactor(log)
    while True:
        await asyncio.sleep(_COMPACTION_PAUSE)
        await compactor.run_once()


@contextlib.asynccontextmanager
async def _endpoint(endpoint: S3Endpoint) -> AsyncIterator[str]:
    """Serve the endpoint on a free port of the loopback interface; its URL."""
    runner = web.AppRunner(endpoint.application(), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _stop_signals() -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    try:
        yield stopped
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
