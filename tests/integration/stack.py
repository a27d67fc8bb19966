"""Real processes for tests: the embedded broker as a child process on a free port of the loopback interface.

with broker(tmp_path / "broker") as kafka:
    producer = KafkaProducer(bootstrap_servers=kafka.address)
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from infra.broker.ready import wait_ready

_ROOT = Path(__file__).resolve().parents[2]
_READY_SECONDS = 20.0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on right now.

    Drawn below the range from which the kernel serves outgoing connections: a client that keeps trying to reach a
    killed server could otherwise be given that very port as its own, and the server could not come back.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class BrokerHandle:
    """A running broker. `kill` is kill -9 of the process (its Tansu child dies with it); `stop` is SIGTERM."""

    data_dir: Path
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """host:port for a Kafka client."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process that holds the storage and supervises Tansu."""
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    @property
    def tansu_pid(self) -> int:
        """The Tansu child."""
        (child,) = psutil.Process(self.pid).children()
        return int(child.pid)

    @property
    def output(self) -> Path:
        """What the broker printed."""
        return self.data_dir.parent / f"{self.data_dir.name}.log"

    def start(self) -> None:
        """Start and wait until clients are served."""
        assert self._process is None, "the broker is running"
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        with self.output.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "infra.broker", "--data", str(self.data_dir), "--port", str(self.port)],
                cwd=_ROOT,
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment},
            )
        try:
            wait_ready(self.address, _READY_SECONDS)
        except TimeoutError:
            self.kill()
            raise TimeoutError(f"the broker is not ready; it printed:\n{self.output.read_text()}") from None

    def kill(self) -> None:
        """kill -9, no farewell."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait for a clean end."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Start again on the same data and port; kills it first when it runs."""
        self.kill()
        self.start()

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(number)
        try:
            process.wait(10)
            _wait_dead(family)  # a dying child must not answer for the next broker
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
            raise


def _wait_dead(processes: list[psutil.Process], timeout: float = 3.0) -> None:
    """Until none of `processes` runs; one that its new parent has not collected yet counts as dead."""
    deadline = time.monotonic() + timeout
    while any(map(_alive, processes)):
        assert time.monotonic() < deadline, f"left running: {processes}"
        time.sleep(0.01)


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def broker(
    data_dir: Path, port: int | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[BrokerHandle]:
    """A running broker over `data_dir`; stopped at the end. `environment` adds settings (`VOC_BROKER_...`)."""
    handle = BrokerHandle(data_dir, port or free_port(), environment or {})
    handle.start()
    try:
        yield handle
    finally:
        handle.stop()
