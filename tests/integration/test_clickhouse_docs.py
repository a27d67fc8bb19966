"""docs/scores.md: every example runs and finds something, and no view is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from tests.integration.clickhouse_rig import filled_store, random_facts, random_interactions, rows_of

PAGE = (Path(__file__).parents[2] / "docs" / "scores.md").read_text()
EXAMPLES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
INTERNAL = {
    "tenant_zones", "touched_responses", "rezoned_tenants", "touched_interactions", "touched_customer_responses",
}  # fmt: skip


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with filled_store(random_facts(41, 1500), random_interactions(42, 1500)) as store:
        yield store


def test_every_example_runs(client: Client) -> None:
    assert len(EXAMPLES) > 20
    for example in EXAMPLES:
        if example.startswith("INSERT"):
            client.command(example)
        else:
            assert client.query(example).result_rows, f"finds nothing: {example}"


def test_every_view_has_an_example(client: Client) -> None:
    views = rows_of(client, "SELECT name FROM system.tables WHERE database = 'feedback' AND engine = 'View'")
    shown = set(re.findall(r"feedback\.(\w+)", "".join(EXAMPLES)))
    missing = {row["name"] for row in views} - shown - INTERNAL
    assert missing <= {"scores_hourly"}, missing
