"""The embedded store as a real process for tests.

with store(tmp_path / "store") as handle:
    client = handle.client()
    client.command("CREATE DATABASE feedback")
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from infra.store.users import load_or_create_credentials
from tests.integration.stack import free_port

_ROOT = Path(__file__).resolve().parents[2]
_READY_SECONDS = 120.0  # a start takes 3 s, and far more where all processors are busy
_STOP_SECONDS = 10.0


@dataclass
class StoreHandle:
    """A running store. The data directory outlives `kill`, `stop` and `restart`."""

    data_dir: Path
    port: int
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def url(self) -> str:
        """Address with the user and password that read and write."""
        return load_or_create_credentials(self.data_dir).url("127.0.0.1", self.port)

    @property
    def reader_url(self) -> str:
        """Address with the user and password that only read."""
        return load_or_create_credentials(self.data_dir).url("127.0.0.1", self.port, readonly=True)

    @property
    def pid(self) -> int:
        """Process id, for signals."""
        return self.process.pid

    def client(self, *, readonly: bool = False, **options: Any) -> Client:
        """A clickhouse-connect client; `options` go to get_client."""
        return clickhouse_connect.get_client(dsn=self.reader_url if readonly else self.url, **options)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.wait(_STOP_SECONDS)

    def stop(self) -> float:
        """SIGTERM, and wait for the end; returns the seconds it took."""
        started = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return time.monotonic() - started

    def restart(self) -> None:
        """Start again on the same directory and port (stopping it first if it runs)."""
        self.stop()
        self.process = _start(self.data_dir, self.port)
        _wait_ready(self)


@contextlib.contextmanager
def store(data_dir: Path, port: int | None = None, env: dict[str, str] | None = None) -> Iterator[StoreHandle]:
    """Run a store on `data_dir` (made if absent) until the block ends. `env` adds VOC_STORE_ variables."""
    data_dir.mkdir(parents=True, exist_ok=True)
    chosen = port if port is not None else free_port()
    handle = StoreHandle(data_dir, chosen, _start(data_dir, chosen, env))
    try:
        _wait_ready(handle)
        yield handle
    finally:
        handle.stop()


def _start(data_dir: Path, port: int, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    log = (data_dir / "store.log").open("ab")
    with log:
        return subprocess.Popen(
            [sys.executable, "-m", "infra.store", "--data", str(data_dir), "--port", str(port)],
            cwd=_ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _wait_ready(handle: StoreHandle) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if handle.process.poll() is not None:
            raise RuntimeError(f"the store ended: {(handle.data_dir / 'store.log').read_text()[-2000:]}")
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{handle.port}/ping", timeout=1) as answer,
        ):
            if answer.read() == b"Ok.\n":
                return
        time.sleep(0.05)
    raise RuntimeError(f"the store did not answer within {_READY_SECONDS} s")
