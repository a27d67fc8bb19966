"""Settings of all rooms, and where a command finds broker and store.

In this order: the environment (`VOC_KAFKA_BROKERS`, `VOC_CLICKHOUSE_URL`), then what `vocstream up` wrote to
DIR/addresses.json, then the defaults.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from infra.broker.settings import BrokerSettings
from infra.clickhouse.settings import ClickHouseSettings
from infra.store.settings import StoreSettings
from infra.topics import TopicSettings
from models.settings import ModelSettings
from pipeline.collector.settings import CollectorSettings
from pipeline.settings import StreamSettings

SETTINGS: tuple[type[BaseSettings], ...] = (
    StreamSettings,
    TopicSettings,
    ClickHouseSettings,
    ModelSettings,
    BrokerSettings,
    StoreSettings,
    CollectorSettings,
)
DEFAULT_DATA = Path("data")

DataOption = Annotated[
    Path, typer.Option("--data", help="Folder that [bold]vocstream up[/bold] keeps its state in.", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output, for programs.")]


def stream_settings(data: Path = DEFAULT_DATA) -> StreamSettings:
    """The stream's settings, with the broker's address."""
    found = _addresses(data).get("kafka")
    if found and "VOC_KAFKA_BROKERS" not in os.environ:
        return StreamSettings(kafka_brokers=found)
    return StreamSettings()


def clickhouse_settings(data: Path = DEFAULT_DATA) -> ClickHouseSettings:
    """ClickHouse's settings, with its address."""
    found = _addresses(data).get("clickhouse")
    if found and "VOC_CLICKHOUSE_URL" not in os.environ:
        return ClickHouseSettings(url=SecretStr(found))
    return ClickHouseSettings()


def collector_address(data: Path = DEFAULT_DATA) -> str:
    """Where the collector is: what `vocstream up` wrote, or its settings say."""
    return _addresses(data).get("collector") or f"http://127.0.0.1:{CollectorSettings().port}"


def _addresses(data: Path) -> dict[str, str]:
    path = data / "addresses.json"
    try:
        content: dict[str, str] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return content
