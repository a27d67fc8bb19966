"""The real parts as child processes that can be killed, paused and started again, one by one.

Unlike `pipeline.supervisor` nothing here is started again by itself: whoever breaks a part says when it comes back.
Used by `vocstream chaos` and by the tests that need broker, store, score workers and collector without loading a model.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client
from pydantic import SecretStr

from infra.broker.ready import wait_ready
from infra.clickhouse import migrate
from infra.clickhouse.client import connect, wait_for_clickhouse
from infra.clickhouse.settings import ClickHouseSettings
from infra.process import die_with_parent
from infra.store.users import load_or_create_credentials
from infra.topics import TopicSettings, create_topics
from pipeline.collector.server import EVENTS, HEALTH

START_SECONDS = 240.0  # a busy machine that loads a model; a quiet one needs 5, and 15 with the model
STOP_SECONDS = 10.0


class Part:
    """One process: `python -m pipeline ROLE ...`. `name` is for people, `output` is where it prints."""

    def __init__(self, name: str, arguments: list[str], output: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.output = output
        self._arguments = arguments
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs (or is paused)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, if it does not run; returns before it is ready."""
        if self.alive:
            return
        with self.output.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pipeline", *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **self._environment},
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: it hangs, its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """SIGTERM, without waiting."""
        self._signal(signal.SIGTERM)

    def stop(self) -> None:
        """SIGTERM, and wait; kill -9 when that takes more than STOP_SECONDS."""
        self.resume()
        self.end()
        if self._process is not None:
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self.alive:
            os.kill(self.pid, number)


class Parts:
    """Broker, store, `score_workers` workers of the score lane, with `labels` one of the label lane, and the collector.

    All state is kept below `data`; ports count from `port_base`: Kafka, ClickHouse, a health port a worker, HTTP.
    `environment` is added to that of every part.
    """

    def __init__(
        self,
        data: Path,
        port_base: int,
        *,
        score_workers: int = 1,
        labels: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data = data.absolute()
        logs = self.data / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self.kafka = f"127.0.0.1:{port_base}"
        url = load_or_create_credentials(self.data / "store").url("127.0.0.1", port_base + 1)
        self.clickhouse = ClickHouseSettings(url=SecretStr(url))
        given = dict(environment or {})

        def part(name: str, role: str, *arguments: str, **extra: str) -> Part:
            return Part(name, [role, *arguments], logs / f"{name}.log", given | extra)

        def at(port: int, folder: str) -> tuple[str, ...]:
            return "--data", str(self.data / folder), "--port", str(port)

        self.broker = part("broker", "broker", *at(port_base, "broker"))
        self.store = part("store", "store", *at(port_base + 1, "store"))
        lanes = [("scores", f"scores-{i + 1}") for i in range(score_workers)] + [("labels", "labels")] * labels
        self.workers: dict[str, Part] = {}
        self._health: dict[str, str] = {}
        for port, (lane, name) in enumerate(lanes, port_base + 2):
            self._health[name] = f"http://127.0.0.1:{port}/healthz"
            self.workers[name] = part(
                name,
                "worker",
                *("--lane", lane, "--data", str(self.data / "worker" / name)),
                VOC_KAFKA_BROKERS=self.kafka,
                VOC_CLICKHOUSE_URL=url,
                VOC_HEALTH_PORT=str(port),
            )

        port = port_base + 2 + len(lanes)
        self.collector = part("collector", "collector", "--port", str(port), VOC_KAFKA_BROKERS=self.kafka)
        self._health["collector"] = f"http://127.0.0.1:{port}{HEALTH}"
        self.events_url = f"http://127.0.0.1:{port}{EVENTS}"

    def __getitem__(self, name: str) -> Part:
        return next(part for part in self.all() if part.name == name)

    def all(self) -> list[Part]:
        """Every part, in the order in which they start."""
        return [self.broker, self.store, *self.workers.values(), self.collector]

    def start(self) -> None:
        """Start all, with tables and topics; returns when all work."""
        self.broker.start()
        self.store.start()
        wait_ready(self.kafka, START_SECONDS)
        with closing(wait_for_clickhouse(self.clickhouse, START_SECONDS)) as client:
            migrate.apply(client, self.clickhouse)
        create_topics(self.kafka, TopicSettings())
        for part in (*self.workers.values(), self.collector):
            part.start()
        self.wait_for_workers()

    def wait_for_workers(self, timeout: float = START_SECONDS) -> None:
        """Until workers and collector say that they are well; TimeoutError with the end of its log if one does not."""
        deadline = time.monotonic() + timeout
        for name in self._health:
            part = self[name]
            while self.health(name) is None:
                if not part.alive or time.monotonic() > deadline:
                    tail = part.output.read_text("utf-8", "replace")[-2000:]
                    raise TimeoutError(f"{name} {'is not ready' if part.alive else 'ended'}; it printed:\n{tail}")
                time.sleep(0.05)

    def heal(self) -> None:
        """Whatever was done to them: let every part run again."""
        for part in self.all():
            part.resume()
            part.start()

    def stop(self) -> None:
        """End all, workers first."""
        for part in reversed(self.all()):
            part.stop()

    def health(self, name: str) -> dict[str, Any] | None:
        """What a worker or the collector says of itself; None where it does not answer, or is not well."""
        try:
            with urllib.request.urlopen(self._health[name], timeout=2) as answer:
                report: dict[str, Any] = json.loads(answer.read())
                return report
        except (urllib.error.URLError, OSError, TimeoutError):
            return None

    def client(self) -> Client:
        """A connection to the store."""
        return connect(self.clickhouse)


@contextmanager
def parts(data: Path, port_base: int, **options: Any) -> Iterator[Parts]:
    """Running `Parts` inside the `with`; all ended after it."""
    made = Parts(data, port_base, **options)
    try:
        made.start()
        yield made
    finally:
        made.stop()
