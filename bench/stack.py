"""The real parts for a benchmark: embedded broker and store in a temporary folder, topics and tables made."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from clickhouse_connect.driver.client import Client
from pydantic import SecretStr

from infra.broker.ready import is_ready
from infra.clickhouse import migrate
from infra.clickhouse.client import connect
from infra.clickhouse.settings import ClickHouseSettings
from infra.store.users import load_or_create_credentials
from infra.topics import TopicSettings, create_topics
from pipeline.supervisor import Part, Supervisor, answers


@contextlib.asynccontextmanager
async def stack(partitions: int = 4) -> AsyncIterator[tuple[str, str, Client]]:
    """(Kafka's address, ClickHouse's URL, a client of it) inside the `with`; everything gone after it."""
    with tempfile.TemporaryDirectory(prefix="vocstream-bench-") as folder:
        data = Path(folder)
        supervisor = Supervisor(data / "logs")
        kafka, port = f"127.0.0.1:{_free_port()}", _free_port()
        url = load_or_create_credentials(data / "store").url("127.0.0.1", port)
        try:
            await supervisor.start(
                Part("broker", ["--data", str(data / "broker"), "--port", kafka.split(":")[1]], lambda: _ready(kafka)),
                Part(
                    "store",
                    ["--data", str(data / "store"), "--port", str(port)],
                    lambda: answers(f"http://127.0.0.1:{port}/ping"),
                ),
            )
            settings = ClickHouseSettings(url=SecretStr(url))
            client = await asyncio.to_thread(connect, settings)
            await asyncio.to_thread(migrate.apply, client, settings)
            await asyncio.to_thread(create_topics, kafka, TopicSettings(partitions=partitions))
            yield kafka, url, client
        finally:
            await supervisor.stop()


async def _ready(address: str) -> bool:
    try:
        return await asyncio.to_thread(is_ready, address)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
