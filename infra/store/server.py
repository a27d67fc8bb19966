"""The store as a process: the engine, its lock, the HTTP server, and a clean end on SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import Callable
from typing import IO

from aiohttp import web

from infra.store.engine import Engine
from infra.store.errors import StoreError
from infra.store.execute import Executor
from infra.store.http import Store
from infra.store.sessions import Sessions
from infra.store.settings import StoreSettings
from infra.store.users import Credentials, load_or_create_credentials


class StartError(RuntimeError):
    """The store cannot start; the message says why and what to do."""


async def run(
    settings: StoreSettings,
    *,
    stop: asyncio.Event | None = None,
    ready: Callable[[str], None] | None = None,
    signals: bool = True,
) -> None:
    """Serve until `stop` is set or SIGTERM or SIGINT comes, then end running queries and close the engine.

    `ready` is called once with the address (without password) when the store answers. Raises StartError when the data
    directory or the port is in use.
    """
    stop = stop or asyncio.Event()
    data = settings.data.absolute()
    lock = _lock(settings)
    listener = _listen(settings)
    try:
        credentials = (
            Credentials(users=settings.users) if settings.users is not None else load_or_create_credentials(data)
        )
        engine = await asyncio.to_thread(_open, settings)
    except BaseException:
        listener.close()
        lock.close()
        raise
    sessions = Sessions(engine, settings.session_timeout_seconds, settings.session_timeout_max_seconds)
    executor = Executor(engine, sessions, settings.max_queries, settings.external_sources)
    store = Store(settings, engine, executor, credentials)
    runner = web.AppRunner(
        store.app,
        access_log=None,
        auto_decompress=False,
        handler_cancellation=True,
        shutdown_timeout=settings.shutdown_seconds,
        keepalive_timeout=75.0,
    )
    await runner.setup()
    site = web.SockSite(runner, listener)
    await site.start()
    loop = asyncio.get_running_loop()
    if signals:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
    expiry = asyncio.create_task(_expire(sessions))
    try:
        if ready is not None:
            ready(f"http://{settings.host}:{settings.port}")
        await stop.wait()
    finally:
        expiry.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await expiry
        await site.stop()
        await executor.drain(settings.shutdown_seconds)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(runner.cleanup(), 0.5)
        if executor.shutdown():
            sessions.close()
            engine.close()
            lock.close()
        else:
            # A query that does not let itself be cancelled: its data is safe on disk (as after kill -9), so leave.
            os._exit(0)


async def _expire(sessions: Sessions) -> None:
    while True:
        await asyncio.sleep(1.0)
        sessions.expire()


def _open(settings: StoreSettings) -> Engine:
    try:
        return Engine.open(settings.data.absolute() / "data")
    except StoreError as error:
        raise StartError(f"the engine cannot open {settings.data}: {error.message}") from None


def _lock(settings: StoreSettings) -> IO[str]:
    """Hold the directory while this process lives; the kernel lets go of it however the process ends."""
    data = settings.data.absolute()
    data.mkdir(parents=True, exist_ok=True)
    file = (data / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise StartError(
            f"{settings.data} is in use by another store. Stop that one, or give this one another --data directory."
        ) from None
    return file


def _listen(settings: StoreSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise StartError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}."
            " Give another --port, or stop what listens there."
        ) from None
    listener.setblocking(False)
    return listener
