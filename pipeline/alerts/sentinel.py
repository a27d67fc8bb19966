"""The sentinel's process: one look a tick, one sentinel among many, notices on their way meanwhile.

Reads and writes ClickHouse only (and topic `feedback.alerts`). The lease decides who is active; the others stand by
and take over when it ends, at most LEASE_SECONDS later. Everything that must survive is in the store before it is told.

What the lease guarantees: an alert is written only by its holder, for the store looks at the lease in the statement
that writes (`AlertStore.save`); and no notice is sent by one that has not renewed it for LEASE_SECONDS. So a sentinel
that was stopped for a while and wakes up tells nothing. What it cannot call back is the one notice that was on its way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import socket
import time
from collections.abc import Callable
from functools import partial

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from pipeline.alerts.config import AlertConfig
from pipeline.alerts.delivery import Receiver, make
from pipeline.alerts.delivery.courier import Courier, Outcome, overdue
from pipeline.alerts.series import moment
from pipeline.alerts.store import AlertStore, LeaseLost
from pipeline.alerts.watch import Watch
from pipeline.health import serve_health

log = logging.getLogger(__name__)

LEASE_SECONDS = 20.0
_SURE_SECONDS = 1.0  # a first claim is asked again after so long: two that claimed at once have seen each other then
_AWAY_SECONDS = 2.0


class Sentinel:
    """Runs until told to stop. `connect` makes a client that serves several threads."""

    def __init__(
        self,
        connect: Callable[[], Client],
        config: AlertConfig,
        *,
        extra: tuple[Receiver, ...] = (),
        holder: str = "",
        clock: Callable[[], float] = time.time,
        health_port: int = 0,
    ) -> None:
        self._connect = connect
        self._config = config
        self._receivers = (*extra, *(make(one) for one in config.receivers))
        self._holder = holder or f"{socket.gethostname()}:{os.getpid()}"
        self._clock = clock
        self._health_port = health_port
        self._active = False
        self._ticks = 0
        self._seconds = 0.0
        self._rows = 0
        self._renewed = -math.inf  # monotonic seconds, taken before the store was asked

    async def run(self, stopped: asyncio.Event) -> None:
        """Stand by, be active, and stand by again when the store was away or the lease was lost."""
        async with serve_health(self._health_port, self._report):
            while not stopped.is_set():
                try:
                    client = await asyncio.to_thread(self._connect)
                    with contextlib.closing(client):
                        store = AlertStore(client, self._holder)
                        await self._stand_by(store, stopped)
                        if not stopped.is_set():
                            await self._serve(store, stopped)
                except LeaseLost:
                    log.warning("the lease is lost: another sentinel is active")
                except (ClickHouseError, OSError) as error:
                    log.warning("ClickHouse is away, trying again: %s", " ".join(str(error).split())[:300])
                    await _pause(_AWAY_SECONDS, stopped)
                finally:
                    self._active = False

    def _report(self) -> dict[str, object]:
        return {
            "role": "sentinel",
            "active": self._active,
            "rows": self._rows,
            "ticks": self._ticks,
            "last_tick_seconds": round(self._seconds, 3),
        }

    async def _stand_by(self, store: AlertStore, stopped: asyncio.Event) -> None:
        """Until the lease is ours."""
        while not stopped.is_set():
            if await self._claim(store):
                await _pause(_SURE_SECONDS, stopped)
                if await self._claim(store):
                    return
            await _pause(LEASE_SECONDS / 4, stopped)

    async def _claim(self, store: AlertStore) -> bool:
        asked = time.monotonic()
        held = await asyncio.to_thread(store.claim, self._holder, LEASE_SECONDS)
        self._renewed = asked if held else -math.inf
        return held

    def _holds(self) -> bool:
        """Whether the lease is surely ours still."""
        return time.monotonic() - self._renewed < LEASE_SECONDS

    async def _keep(self, store: AlertStore, stopped: asyncio.Event) -> None:
        """Renew the lease, however long a tick takes, until it is lost."""
        while not stopped.is_set() and self._holds():
            await _pause(LEASE_SECONDS / 4, stopped)
            if not stopped.is_set():
                with contextlib.suppress(ClickHouseError, OSError):
                    await self._claim(store)

    async def _serve(self, store: AlertStore, stopped: asyncio.Event) -> None:
        """Tick while the lease is ours."""
        keeper = asyncio.create_task(self._keep(store, stopped))
        courier = Courier(
            self._receivers, partial(self._note, store, stopped), may=self._holds, attempts=self._config.attempts
        )
        try:
            watch = Watch(store, self._config)
            await asyncio.to_thread(watch.begin, self._clock())
            courier.start()
            done, begun = await asyncio.to_thread(store.notices)
            for event in overdue(await asyncio.to_thread(store.alerts, "updated_at > now() - INTERVAL 2 DAY")):
                courier.send(event, done=done, begun=begun)
            self._active = True
            log.info("active as %s: %d rows, receivers %s", self._holder, len(watch.rows.keys), courier.waiting())
            while not stopped.is_set():
                started = time.monotonic()
                if not self._holds():
                    raise LeaseLost(self._holder)
                for event in await asyncio.to_thread(watch.tick, self._clock()):
                    courier.send(event)
                self._seconds, self._rows = time.monotonic() - started, len(watch.rows.keys)
                self._ticks += 1
                await _pause(max(0.0, self._config.tick_seconds - self._seconds), stopped)
        finally:
            await courier.stop()
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
            if stopped.is_set():
                with contextlib.suppress(ClickHouseError, OSError):
                    await asyncio.to_thread(store.release, self._holder)

    def _note(self, store: AlertStore, stopped: asyncio.Event, outcome: Outcome) -> None:
        """Remember a notice that is done with, for as long as it takes: unnoted, it would be sent again."""
        while True:
            try:
                store.note(
                    outcome.alert,
                    outcome.event,
                    outcome.receiver,
                    status=outcome.status,
                    attempts=outcome.attempts,
                    error=outcome.error,
                    at=moment(self._clock()),
                )
            except (ClickHouseError, OSError) as error:
                if stopped.is_set():
                    return
                log.warning("a notice could not be noted, trying again: %s", error)
                time.sleep(_AWAY_SECONDS)
            else:
                return


async def _pause(seconds: float, stopped: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopped.wait(), seconds)
