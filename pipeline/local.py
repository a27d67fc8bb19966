"""What runs on one machine, and where: the parts that `vocstream up` starts, their folders and their ports.

DIR/broker and DIR/store hold the data, DIR/worker what faust keeps, DIR/logs what the parts print, and
DIR/addresses.json where they are. Ports count from the base: Kafka, ClickHouse, then a health port a worker and
the sentinel's, then the collector.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from clickhouse_connect.driver.exceptions import ClickHouseError
from kafka.errors import KafkaError
from pydantic import SecretStr

from infra.broker.ready import is_ready
from infra.clickhouse import migrate
from infra.clickhouse.client import ClickHouseAway, wait_for_clickhouse
from infra.clickhouse.settings import ClickHouseSettings
from infra.store.users import load_or_create_credentials
from infra.topics import TopicSettings, create_topics
from pipeline.collector.server import HEALTH
from pipeline.settings import StreamSettings
from pipeline.supervisor import Part, PartFailed, Supervisor, answers, write_addresses

LANES = ("scores", "labels")

OnEvent = Callable[[str, str], None]


class DataInUse(RuntimeError):
    """Another `vocstream up` or `demo` has this folder."""


@contextlib.asynccontextmanager
async def running(data: Path, port_base: int, on_event: OnEvent) -> AsyncIterator[dict[str, str]]:
    """Everything up and ready inside the `with`, its addresses as the value; all stopped after it.

    `on_event(part, what)` is told of each part that gets ready, ends or is started again.
    """
    data = data.absolute()
    with _owned(data):
        supervisor = Supervisor(data / "logs", on_event)
        addresses_file = data / "addresses.json"
        addresses_file.unlink(missing_ok=True)  # of a run that was killed: it is there while what it names is
        try:
            addresses = await _start_infrastructure(supervisor, data, port_base)
            settings = ClickHouseSettings(url=SecretStr(addresses["clickhouse"]))
            await _unless_cancelled(lambda: _prepare(settings, addresses["kafka"], on_event))
            await supervisor.start(
                *(_worker(lane, data, port_base + 2 + i, addresses) for i, lane in enumerate(LANES)),
                _sentinel(data, port_base + 2 + len(LANES), addresses),
                _collector(port_base + 3 + len(LANES), addresses),
            )
            write_addresses(addresses_file, addresses)
            yield addresses
        finally:
            addresses_file.unlink(missing_ok=True)
            await asyncio.shield(supervisor.stop())


@contextlib.contextmanager
def _owned(data: Path) -> Iterator[None]:
    """The folder, made if absent, for this process alone: the kernel lets go of it however the process ends."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataInUse(
                f"{data} is in use by another vocstream. Stop it, or give this one another --data and --port-base."
            ) from None
        yield


async def _unless_cancelled(work: Callable[[], None]) -> None:
    """`work` in a thread that is left alone when we are cancelled; asyncio.to_thread would be waited for at the end.

    What it waits for may never come (we are stopping the parts it speaks to), and it would wait a minute.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(error: Exception | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        failure: Exception | None = None
        try:
            work()
        except Exception as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish, failure)

    threading.Thread(target=run, name="prepare", daemon=True).start()
    await done


async def _start_infrastructure(supervisor: Supervisor, data: Path, port_base: int) -> dict[str, str]:
    """Broker and store, unless the environment names others."""
    addresses: dict[str, str] = {}
    parts = []
    if os.environ.get("VOC_KAFKA_BROKERS"):
        addresses["kafka"] = StreamSettings().kafka_brokers
    else:
        addresses["kafka"] = f"127.0.0.1:{port_base}"
        parts.append(broker_part(data / "broker", port_base))
    if os.environ.get("VOC_CLICKHOUSE_URL"):
        addresses["clickhouse"] = ClickHouseSettings().url.get_secret_value()
    else:
        port = port_base + 1
        credentials = load_or_create_credentials(data / "store")
        addresses["clickhouse"] = credentials.url("127.0.0.1", port)
        addresses["clickhouse_reader"] = credentials.url("127.0.0.1", port, readonly=True)
        parts.append(store_part(data / "store", port))
    await supervisor.start(*parts)
    return addresses


def broker_part(data: Path, port: int) -> Part:
    """The embedded broker on 127.0.0.1:`port` over `data`."""
    return Part("broker", ["--data", str(data), "--port", str(port)], lambda: _kafka_answers(f"127.0.0.1:{port}"))


def store_part(data: Path, port: int) -> Part:
    """The embedded store on 127.0.0.1:`port` over `data`."""
    return Part("store", ["--data", str(data), "--port", str(port)], lambda: answers(f"http://127.0.0.1:{port}/ping"))


def _worker(lane: str, data: Path, health_port: int, addresses: dict[str, str]) -> Part:
    health = addresses[f"worker_{lane}_health"] = f"http://127.0.0.1:{health_port}/healthz"
    environment = {
        "VOC_KAFKA_BROKERS": addresses["kafka"],
        "VOC_CLICKHOUSE_URL": addresses["clickhouse"],
        "VOC_HEALTH_PORT": str(health_port),
    }
    arguments = ["--lane", lane, "--data", str(data / "worker")]
    return Part("worker", arguments, lambda: answers(health), environment, name=f"worker-{lane}")


def _sentinel(data: Path, health_port: int, addresses: dict[str, str]) -> Part:
    """Alerts; receivers and rules are in DIR/alerts.yaml, if there is one."""
    health = addresses["sentinel_health"] = f"http://127.0.0.1:{health_port}/healthz"
    environment = {
        "VOC_KAFKA_BROKERS": addresses["kafka"],
        "VOC_CLICKHOUSE_URL": addresses["clickhouse"],
        "VOC_HEALTH_PORT": str(health_port),
    }
    return Part("sentinel", ["--data", str(data)], lambda: answers(health), environment)


def _collector(port: int, addresses: dict[str, str]) -> Part:
    """Events over HTTP; ready when it and the broker answer."""
    address = addresses["collector"] = f"http://127.0.0.1:{port}"
    environment = {"VOC_KAFKA_BROKERS": addresses["kafka"]}
    return Part("collector", ["--port", str(port)], lambda: answers(address + HEALTH), environment)


def _prepare(settings: ClickHouseSettings, brokers: str, on_event: OnEvent) -> None:
    """Tables and topics; raises PartFailed when they cannot be made."""
    try:
        with contextlib.closing(wait_for_clickhouse(settings)) as client:
            migrate.apply(client, settings, on_step=lambda migration: on_event("migrate", migration.title))
        for name in create_topics(brokers, TopicSettings()):
            on_event("topics", f"{name} created")
    except (ClickHouseAway, ClickHouseError, migrate.MigrationError, KafkaError) as error:
        raise PartFailed(f"tables or topics could not be made: {error}") from error


async def _kafka_answers(address: str) -> bool:
    try:
        return await asyncio.to_thread(is_ready, address)
    except OSError:
        return False
