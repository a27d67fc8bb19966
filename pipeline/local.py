"""What runs on one machine, and where: the parts that `vocstream up` starts, their folders and their ports.

DIR/broker and DIR/store hold the data, DIR/worker what faust keeps, DIR/logs what the parts print, and
DIR/addresses.json where they are. Ports count from the base: Kafka, ClickHouse, then a health port a worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
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
from pipeline.settings import StreamSettings
from pipeline.supervisor import Part, PartFailed, Supervisor, answers, write_addresses

LANES = ("scores", "labels")

OnEvent = Callable[[str, str], None]


@contextlib.asynccontextmanager
async def running(data: Path, port_base: int, on_event: OnEvent) -> AsyncIterator[dict[str, str]]:
    """Everything up and ready inside the `with`, its addresses as the value; all stopped after it.

    `on_event(part, what)` is told of each part that gets ready, ends or is started again.
    """
    data = _made(data)
    supervisor = Supervisor(data / "logs", on_event)
    addresses_file = data / "addresses.json"
    try:
        addresses = await _start_infrastructure(supervisor, data, port_base)
        settings = ClickHouseSettings(url=SecretStr(addresses["clickhouse"]))
        await asyncio.to_thread(_prepare, settings, addresses["kafka"], on_event)
        await supervisor.start(*(_worker(lane, data, port_base + 2 + i, addresses) for i, lane in enumerate(LANES)))
        write_addresses(addresses_file, addresses)
        yield addresses
    finally:
        addresses_file.unlink(missing_ok=True)
        await asyncio.shield(supervisor.stop())


def _made(data: Path) -> Path:
    """The folder, there, and without the addresses of an earlier run: they are there while what they name is."""
    data.mkdir(parents=True, exist_ok=True)
    (data / "addresses.json").unlink(missing_ok=True)
    return data.absolute()


async def _start_infrastructure(supervisor: Supervisor, data: Path, port_base: int) -> dict[str, str]:
    """Broker and store, unless the environment names others."""
    addresses: dict[str, str] = {}
    parts = []
    if os.environ.get("VOC_KAFKA_BROKERS"):
        addresses["kafka"] = StreamSettings().kafka_brokers
    else:
        kafka = addresses["kafka"] = f"127.0.0.1:{port_base}"
        parts.append(
            Part("broker", ["--data", str(data / "broker"), "--port", str(port_base)], lambda: _kafka_answers(kafka))
        )
    if os.environ.get("VOC_CLICKHOUSE_URL"):
        addresses["clickhouse"] = ClickHouseSettings().url.get_secret_value()
    else:
        port = port_base + 1
        credentials = load_or_create_credentials(data / "store")
        addresses["clickhouse"] = credentials.url("127.0.0.1", port)
        addresses["clickhouse_reader"] = credentials.url("127.0.0.1", port, readonly=True)
        parts.append(
            Part(
                "store",
                ["--data", str(data / "store"), "--port", str(port)],
                lambda: answers(f"http://127.0.0.1:{port}/ping"),
            )
        )
    await supervisor.start(*parts)
    return addresses


def _worker(lane: str, data: Path, health_port: int, addresses: dict[str, str]) -> Part:
    health = addresses[f"worker_{lane}_health"] = f"http://127.0.0.1:{health_port}/healthz"
    environment = {
        "VOC_KAFKA_BROKERS": addresses["kafka"],
        "VOC_CLICKHOUSE_URL": addresses["clickhouse"],
        "VOC_HEALTH_PORT": str(health_port),
    }
    arguments = ["--lane", lane, "--data", str(data / "worker")]
    return Part("worker", arguments, lambda: answers(health), environment, name=f"worker-{lane}")


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
