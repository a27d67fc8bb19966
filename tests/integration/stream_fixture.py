"""The whole stream for tests, driven as its users do: events in over Kafka, rows and scores out over HTTP.

`Up` is the real `vocstream up` as a child process; it loads the model, which takes most of its start. `score_stack` is
one broker, one store and one score worker for the whole session, for tests that need no labels: each test uses a
tenant of its own (`tenant`), so that they do not meet.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import clickhouse_connect
import psutil
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import OperationalError
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from pipeline.chaos.parts import Parts
from pipeline.supervisor import write_addresses
from schemas import topics
from schemas.envelope import RESPONSE_TYPE

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # seconds until something is there; a quiet machine needs one
START_SECONDS = 150.0  # model and all, on a machine that does other things too
STOP_SECONDS = 10.0  # what `up` promises
_PORTS = 8

T = TypeVar("T")
Run = subprocess.CompletedProcess[str]


def free_ports() -> int:
    """The first of several ports in a row that nobody listens on, below those given to outgoing connections."""
    while True:
        base = random.randrange(20_000, 31_000)
        with contextlib.suppress(OSError), contextlib.ExitStack() as probes:
            for port in range(base, base + _PORTS):
                probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return base


def eventually(look: Callable[[], T], right: Callable[[T], bool] = bool, timeout: float = PATIENCE) -> T:
    """What `look` finds, as soon as it is `right`; what it found last when `timeout` seconds are over."""
    deadline = time.monotonic() + timeout
    while True:
        found = look()
        if right(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def vocstream(*arguments: str | Path, env: Mapping[str, str] | None = None, stdin: str | None = None) -> Run:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", **(env or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def running_on(data: Path, port_base: int) -> list[psutil.Process]:
    """The processes, other than this one, that have this folder or this broker's port in their command line."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = " ".join(process.info["cmdline"] or ())
        mine = str(data) in words or f"127.0.0.1:{port_base}" in words
        if mine and process.pid != os.getpid() and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


class Address(NamedTuple):
    """Where a running stream is: what a test needs to speak to it."""

    data: Path
    kafka: str
    clickhouse: str

    def client(self) -> Client:
        """A connection to the store, as any BI tool makes it; waits for one that is just being started again."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return clickhouse_connect.get_client(dsn=self.clickhouse, autogenerate_session_id=False)
            except OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """The answer to a query."""
        with contextlib.closing(self.client()) as client:
            answer = client.query(sql, parameters=parameters)
            return [dict(zip(answer.column_names, row, strict=True)) for row in answer.result_rows]

    def count(self, sql: str, **parameters: Any) -> int:
        """The only figure of the answer."""
        [row] = self.rows(sql, **parameters)
        [figure] = row.values()
        return int(figure)

    def responses(self, tenant: str) -> int:
        """Distinct responses of a tenant."""
        return self.count("SELECT count() FROM feedback.enriched_responses WHERE tenant = {t:String}", t=tenant)

    def wait_for_responses(self, tenant: str, count: int, timeout: float = PATIENCE) -> None:
        """Until `count` distinct responses are there; fails when they are not, or are more."""
        found = eventually(lambda: self.responses(tenant), lambda n: n >= count, timeout)
        assert found == count, f"{found} responses of {tenant}, expected {count}"


class Record(NamedTuple):
    """One Kafka record to send."""

    value: bytes | None
    topic: str = topics.RESPONSES
    headers: tuple[tuple[str, bytes], ...] = ()
    key: bytes | None = None


class Place(NamedTuple):
    """Where a record came to lie."""

    topic: str
    partition: int
    offset: int


def send(kafka: str, records: Sequence[Record]) -> list[Place]:
    """Send and wait for every acknowledgement, as an app with kafka-python does."""
    producer = KafkaProducer(bootstrap_servers=kafka, acks="all", linger_ms=20, max_request_size=8 * 1024 * 1024)
    try:
        futures = [producer.send(r.topic, value=r.value, key=r.key, headers=list(r.headers)) for r in records]
        return [Place(m.topic, m.partition, m.offset) for m in (f.get(timeout=30) for f in futures)]
    finally:
        producer.close()


def response(tenant: str, response_id: str, *, event: Mapping[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    """A structured-mode response event; `event` overrides attributes of the envelope."""
    envelope = {
        "specversion": "1.0",
        "id": f"{tenant}-{response_id}-{uuid.uuid4().hex[:8]}",
        "source": "/test",
        "type": RESPONSE_TYPE,
        "time": "2026-03-05T12:00:00Z",
    }
    return envelope | dict(event or {}) | {"data": {"tenant": tenant, "response_id": response_id} | data}


def structured(event: Mapping[str, Any], topic: str = topics.RESPONSES) -> Record:
    """The event as one JSON value."""
    return Record(json.dumps(event).encode(), topic)


def binary(event: Mapping[str, Any], topic: str = topics.RESPONSES) -> Record:
    """The event in binary mode: attributes as ce_ headers, the data alone as the value."""
    headers = tuple((f"ce_{name}", str(value).encode()) for name, value in event.items() if name != "data")
    return Record(json.dumps(event["data"]).encode(), topic, headers)


def read_topic(kafka: str, topic: str, right: Callable[[list[Any]], bool], timeout: float = PATIENCE) -> list[Any]:
    """The data of our own events on a topic, read from the beginning until they are `right`."""
    with contextlib.closing(KafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)) as consumer:
        places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        found: list[Any] = []
        deadline = time.monotonic() + timeout
        while not right(found) and time.monotonic() < deadline:
            for batch in consumer.poll(timeout_ms=200).values():
                found += [json.loads(record.value)["data"] for record in batch]
        return found


class Up:
    """`vocstream up` as a child process on a folder and ports of its own."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port_base = free_ports()
        self.output = data.parent / f"{data.name}-up.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        """Start it; with `wait` until it says that everything is ready."""
        self.file.unlink(missing_ok=True)  # of one that was killed
        with self.output.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipeline", "up", "--data", self.data, "--port-base", str(self.port_base)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        if wait:
            process = self.process
            eventually(lambda: self.file.exists() or process.poll() is not None, timeout=START_SECONDS)
            assert self.file.exists(), f"up is not ready: {self.printed()}\n{self.logs()}"

    @property
    def file(self) -> Path:
        """addresses.json: there when all is ready."""
        return self.data / "addresses.json"

    @property
    def address(self) -> Address:
        """What addresses.json says."""
        content = json.loads(self.file.read_text("utf-8"))
        return Address(self.data, content["kafka"], content["clickhouse"])

    def parts(self) -> dict[str, psutil.Process]:
        """The processes that it started, by what their command lines say: broker, store, worker scores, ..."""
        assert self.process is not None
        found = {}
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                words = child.cmdline()
                if "pipeline" in words:
                    role = words[words.index("pipeline") + 1]
                    found[f"worker {words[words.index('--lane') + 1]}" if role == "worker" else role] = child
        return found

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Signal it; fails unless all is gone within STOP_SECONDS, by itself and with exit code 0."""
        assert self.process is not None
        started = time.monotonic()
        self.process.send_signal(number)
        try:
            code = self.process.wait(STOP_SECONDS + 20)
            took = time.monotonic() - started
            left = eventually(lambda: running_on(self.data, self.port_base), lambda ps: not ps, timeout=1)
            assert not left, f"left running: {[p.cmdline() for p in left]}"
            assert took < STOP_SECONDS, f"stopping took {took:.1f} s"
            assert code == 0, f"exit code {code}: {self.printed()}"
            assert not self.file.exists(), "addresses.json outlived what it names"
        finally:
            self.close()

    def close(self) -> None:
        """Whatever went wrong, leave nothing behind."""
        for process in running_on(self.data, self.port_base):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self.process is not None:
            self.process.wait(5)

    def printed(self) -> str:
        """What it printed."""
        return self.output.read_text("utf-8", "replace")[-3000:]

    def logs(self) -> str:
        """The end of what its parts printed."""
        files = sorted((self.data / "logs").glob("*.log"))
        return "\n".join(f"--- {file.name}\n{file.read_text('utf-8', 'replace')[-1500:]}" for file in files)


class ScoreStack(NamedTuple):
    """Broker, store and one score worker, to speak to (`address`) and to break (`parts`)."""

    address: Address
    parts: Parts


@pytest.fixture(scope="session")
def score_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScoreStack]:
    """One for the session; commands find it with `--data stack.address.data`."""
    data = tmp_path_factory.mktemp("stream") / "data"
    parts = Parts(data, free_ports())
    try:
        parts.start()
        address = Address(data, parts.kafka, parts.clickhouse.url.get_secret_value())
        write_addresses(data / "addresses.json", {"kafka": address.kafka, "clickhouse": address.clickhouse})
        yield ScoreStack(address, parts)
    finally:
        parts.stop()


@pytest.fixture
def stream(score_stack: ScoreStack) -> Iterator[ScoreStack]:
    """The session's stack with all its parts running, whatever the test before did to them."""
    score_stack.parts.heal()
    score_stack.parts.wait_for_workers()
    yield score_stack
    score_stack.parts.heal()


@pytest.fixture
def tenant(request: pytest.FixtureRequest) -> str:
    """A tenant that no other test uses."""
    return f"{request.node.originalname[:40]}-{uuid.uuid4().hex[:8]}"
