"""Everything on one machine: start the parts in order, start again what dies, stop all cleanly.

Used by `vocstream up` and `vocstream demo`. Each part is a process of its own with its role in its command line; they
speak Kafka and ClickHouse to each other and nothing else. What a part prints goes to DIR/logs/ROLE.log. With
`VOC_KAFKA_BROKERS` or `VOC_CLICKHOUSE_URL` set, that part is not started and the given one is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from infra.process import die_with_parent

START_SECONDS = 300.0  # a cold model load on a very busy machine
STOP_SECONDS = 3.5  # for the workers, and again for store and broker; then kill -9: `up` promises 10
_FIRST_PAUSE, _LONGEST_PAUSE, _SETTLED_SECONDS = 0.2, 10.0, 60.0
_TAIL_LINES = 12

Ready = Callable[[], Awaitable[bool]]


class PartFailed(RuntimeError):
    """A part did not start; the message holds the end of what it printed."""


@dataclass
class Part:
    """One process: its role, what to run (`vocstream ROLE ...`), its environment, and how to tell it is ready."""

    role: str
    arguments: list[str]
    ready: Ready
    environment: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or self.role


class Supervisor:
    """Starts parts and keeps them running until `stop`."""

    def __init__(self, logs: Path, on_event: Callable[[str, str], None] = lambda name, what: None) -> None:
        self._logs = logs
        self._on_event = on_event
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._order: list[str] = []
        logs.mkdir(parents=True, exist_ok=True)

    async def start(self, *parts: Part) -> None:
        """Start `parts` side by side; return when all are ready. PartFailed when one ends before or takes too long."""
        await asyncio.gather(*(self._start(part) for part in parts))

    def pids(self) -> dict[str, int]:
        """The processes by part."""
        return {name: process.pid for name, process in self._running.items() if process.returncode is None}

    async def stop(self) -> None:
        """End all, the last started first, so that workers finish while broker and store are still there."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        workers = [n for n in self._order if n not in ("broker", "store")]
        for group in (workers, ["store", "broker"]):
            deadline = time.monotonic() + STOP_SECONDS
            processes = [self._running[n] for n in group if n in self._running]
            for process in processes:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):  # it ended just now
                        process.send_signal(signal.SIGTERM)
            await asyncio.gather(*(self._end(process, deadline) for process in processes))

    async def _end(self, process: asyncio.subprocess.Process, deadline: float) -> None:
        try:
            await asyncio.wait_for(process.wait(), deadline - time.monotonic())
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _start(self, part: Part) -> None:
        process = await self._spawn(part)
        self._order.append(part.name)
        await self._until_ready(part, process)
        self._on_event(part.name, "ready")
        self._keepers.append(asyncio.create_task(self._keep(part, process), name=f"keep {part.name}"))

    async def _until_ready(self, part: Part, process: asyncio.subprocess.Process) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not await part.ready():
            if process.returncode is not None:
                raise PartFailed(f"{part.name} ended with {process.returncode}:\n{self._tail(part)}")
            if time.monotonic() > deadline:
                raise PartFailed(f"{part.name} is not ready after {START_SECONDS:.0f} s:\n{self._tail(part)}")
            await asyncio.sleep(0.05)

    async def _keep(self, part: Part, process: asyncio.subprocess.Process) -> None:
        pause = _FIRST_PAUSE
        while True:
            started = time.monotonic()
            status = await process.wait()
            if time.monotonic() - started > _SETTLED_SECONDS:
                pause = _FIRST_PAUSE
            self._on_event(part.name, f"ended ({status}), starting it again")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            process = await self._spawn(part)

    async def _spawn(self, part: Part) -> asyncio.subprocess.Process:
        with self._log(part).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "pipeline",
                part.role,
                *part.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **part.environment},
                start_new_session=True,  # a terminal's Ctrl-C reaches us alone: we stop them in order
                preexec_fn=die_with_parent(signal.SIGTERM),
            )
        self._running[part.name] = process
        return process

    def _log(self, part: Part) -> Path:
        return self._logs / f"{part.name}.log"

    def _tail(self, part: Part) -> str:
        lines = self._log(part).read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])


async def answers(url: str) -> bool:
    """Whether an HTTP GET of `url` is answered with 200."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session,
            session.get(url) as response,
        ):
            return response.status == 200
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False


def write_addresses(path: Path, addresses: Mapping[str, str]) -> None:
    """Write the addresses at once (never half a file); readable by the owner only, for it holds passwords."""
    draft = path.with_suffix(".tmp")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(addresses, indent=2) + "\n", "utf-8")
    draft.replace(path)
