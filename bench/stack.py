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

from infra.clickhouse import migrate
from infra.clickhouse.client import connect
from infra.clickhouse.settings import ClickHouseSettings
from infra.store.users import load_or_create_credentials
from infra.topics import TopicSettings, create_topics
from pipeline.local import broker_part, store_part
from pipeline.supervisor import Supervisor


@contextlib.asynccontextmanager
async def stack(partitions: int = 4) -> AsyncIterator[tuple[str, str, Client]]:
    """(Kafka's address, ClickHouse's URL, a client of it) inside the `with`; everything gone after it."""
    with tempfile.TemporaryDirectory(prefix="vocstream-bench-") as folder:
        data = Path(folder)
        supervisor = Supervisor(data / "logs")
        kafka_port, port = _free_port(), _free_port()
        kafka = f"127.0.0.1:{kafka_port}"
        url = load_or_create_credentials(data / "store").url("127.0.0.1", port)
        try:
            await supervisor.start(broker_part(data / "broker", kafka_port), store_part(data / "store", port))
            settings = ClickHouseSettings(url=SecretStr(url))
            client = await asyncio.to_thread(connect, settings)
            await asyncio.to_thread(migrate.apply, client, settings)
            await asyncio.to_thread(create_topics, kafka, TopicSettings(partitions=partitions))
            yield kafka, url, client
        finally:
            await supervisor.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
