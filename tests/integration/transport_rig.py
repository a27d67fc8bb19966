"""What the transport's tests need: topics with known records, worker processes, and questions to both."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from tests.integration.transport_worker import Config, open_sink

_ROOT = Path(__file__).resolve().parents[2]


def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.05)
    return answer


def create_topic(address: str, name: str, partitions: int) -> None:
    """Make a topic with one replica."""
    admin = KafkaAdminClient(bootstrap_servers=address)
    try:
        admin.create_topics([NewTopic(name=name, num_partitions=partitions, replication_factor=1)])
    finally:
        admin.close()


def produce(address: str, topic: str, partitions: int, count: int, first: int = 0, size: int = 20) -> None:
    """Send records whose values are numbers from `first` on, padded to `size` bytes, to the partitions in turn."""
    producer = KafkaProducer(bootstrap_servers=address, linger_ms=20, acks="all", batch_size=65536)
    try:
        sent = [
            producer.send(topic, value=str(n).encode().ljust(size), partition=n % partitions)
            for n in range(first, first + count)
        ]
        for future in sent:
            future.get(timeout=30)
    finally:
        producer.close()


def committed(address: str, group: str) -> dict[tuple[str, int], int]:
    """The offsets that a group has committed, by (topic, partition)."""
    admin = KafkaAdminClient(bootstrap_servers=address)
    try:
        offsets = admin.list_group_offsets({group: None})[group]
    finally:
        admin.close()
    return {(tp.topic, tp.partition): int(meta.offset) for tp, meta in offsets.items() if meta.offset >= 0}


class Worker:
    """A worker process and the pipe to it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        Path(config.datadir).mkdir(parents=True, exist_ok=True)
        self.log = Path(config.datadir) / "log.txt"
        self._out = self.log.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.transport_worker", json.dumps(asdict(config))],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._out,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command and return the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()
        while line := self.process.stdout.readline():
            if line.startswith(b"{"):
                return dict(json.loads(line))
        raise AssertionError(f"the worker ended:\n{self.log.read_text()[-4000:]}")

    def stats(self) -> dict[str, Any]:
        """What the worker says of itself; empty before its consumer runs."""
        return self.ask(stats=1)

    def wait_assigned(self, partitions: int, seconds: float = 30) -> None:
        """Wait until the group gave it this many partitions."""
        wait_until(lambda: len(self.stats().get("assigned", [])) == partitions, seconds, "an assignment")

    def kill(self) -> None:
        """kill -9."""
        self.end(signal.SIGKILL)

    def stop(self) -> float:
        """SIGTERM; return how long it took."""
        return self.end(signal.SIGTERM)

    def end(self, number: signal.Signals) -> float:
        """Send a signal and wait for the end; return the seconds."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait(5)
            for pipe in (self.process.stdin, self.process.stdout, self._out):
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()  # type: ignore[union-attr]
        return time.monotonic() - began


class Rig:
    """One test's group of workers over one sink."""

    def __init__(self, address: str, path: Path, group: str) -> None:
        self.address = address
        self.path = path
        self.group = group
        self.db = open_sink(str(path / "sink.db"))
        self.workers: list[Worker] = []
        self.overtaken: list[str] = []
        self.looks = 0

    def start(self, *topics: str, **config: Any) -> Worker:
        """Start a worker; `agents` defaults to one agent on all topics."""
        name = f"w{len(self.workers)}"
        config.setdefault("agents", [list(topics)])
        worker = Worker(
            Config(
                brokers=self.address,
                group=self.group,
                name=name,
                datadir=str(self.path / name),
                sink=str(self.path / "sink.db"),
                **config,
            )
        )
        self.workers.append(worker)
        return worker

    def count(self, distinct: bool = True) -> int:
        """Records that agent 0 of any worker stored."""
        what = "DISTINCT topic || '/' || partition || '/' || offset" if distinct else "*"
        return int(self.db.execute(f"SELECT count({what}) FROM seen WHERE agent = 0").fetchone()[0])

    def numbers(self, agent: int = 0) -> list[int]:
        """The numbers stored by an agent, sorted, each as often as it was stored."""
        rows = self.db.execute("SELECT value FROM seen WHERE agent = ?", (agent,)).fetchall()
        return sorted(int(value) for (value,) in rows)

    def wait_count(self, count: int, seconds: float = 60) -> None:
        """Wait until so many different records are stored."""
        wait_until(lambda: self.count() >= count, seconds, f"{count} records (has {self.count()})")

    def committed(self) -> int:
        """The sum of the committed offsets of the group."""
        return sum(committed(self.address, self.group).values())

    def check_commits(self) -> None:
        """Note every partition whose committed offset passes what is stored. Commits are asked first: rows stay."""
        for (topic, partition), offset in committed(self.address, self.group).items():
            stored = self.db.execute(
                "SELECT count(DISTINCT offset) FROM seen WHERE topic=? AND partition=? AND offset<?",
                (topic, partition, offset),
            ).fetchone()[0]
            self.looks += 1
            if stored != offset:
                self.overtaken.append(f"{topic}[{partition}] committed {offset}, stored {stored} below it")

    def close(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.kill()
        self.db.close()


@contextlib.contextmanager
def rig(address: str, path: Path, group: str) -> Iterator[Rig]:
    """A rig whose workers are gone at the end."""
    made = Rig(address, path, group)
    try:
        yield made
    finally:
        made.close()
