"""One store for all tools, filled with responses in every metric and scale."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.clickhouse.client import connect
from infra.clickhouse.migrate import apply
from infra.clickhouse.settings import ClickHouseSettings
from schemas.rows import InteractionRow
from tests.integration.clickhouse_rig import ZONES, insert_responses, random_facts, random_interactions, with_noise
from tests.integration.store_stack import StoreHandle, store

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreHandle]:
    """A store with 1,500 responses (older versions and duplicates among them) and 1,500 acts of four tenants."""
    with store(tmp_path_factory.mktemp("store")) as handle:
        client = connect(ClickHouseSettings(url=SecretStr(handle.url)))
        apply(client, ClickHouseSettings())
        client.insert("feedback.tenants", list(map(list, ZONES.items())), column_names=["tenant", "timezone"])
        insert_responses(client, with_noise(52, random_facts(51, 1500)))
        client.insert("feedback.interactions", random_interactions(53, 1500), column_names=list(InteractionRow._fields))
        client.close()
        yield handle
