"""The snapshot behind the customers: what is served is what the facts say, before, during and after every refresh."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.clickhouse.migrate import apply, revert
from infra.clickhouse.settings import ClickHouseSettings
from infra.clickhouse.snapshot import refresh
from schemas.rows import InteractionRow, ResponseRow
from tests.integration.clickhouse_rig import (
    HOUR_MS,
    insert_responses,
    migrated_store,
    random_facts,
    random_interactions,
    random_response,
    rows_of,
)

SERVED = """
SELECT tenant, customer_id, kind, at, source, source_id, question, role, currency, value, metric, score, band,
    sentiment, sentiment_score
FROM feedback.customer_events ORDER BY ALL"""
FACTS = """
SELECT * FROM
(
SELECT tenant, customer_id, 'act' AS kind, occurred_at AS at, source, interaction_id AS source_id, '' AS question,
    role, currency, value, '' AS metric, NULL AS score, '' AS band, '' AS sentiment, NULL AS sentiment_score
FROM feedback.enriched_interactions WHERE role != 'survey' AND customer_id != ''
UNION ALL
SELECT tenant, customer_id, 'response', occurred_at, source, response_id, question, '', '', NULL,
    if(excluded = 0 AND score IS NOT NULL, metric, ''), score, band, sentiment, sentiment_score
FROM feedback.enriched_responses WHERE customer_id != ''
)
ORDER BY ALL"""


def insert_acts(client: Client, rows: list[InteractionRow]) -> None:
    client.insert("feedback.interactions", rows, column_names=InteractionRow._fields)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A store with some hundred acts and responses in the snapshot."""
    with migrated_store() as opened:
        insert_responses(opened, random_facts(41, 600))
        insert_acts(opened, random_interactions(42, 300))
        refresh(opened, times=2)
        yield opened


def assert_served(client: Client) -> None:
    assert client.query(SERVED).result_rows == client.query(FACTS).result_rows


def test_all_comes_from_the_snapshot_and_is_right(client: Client) -> None:
    insert_responses(client, random_facts(43, 1))  # the newest blocks count: else what others left behind it is touched
    insert_acts(client, [a for a in random_interactions(44, 30) if a.customer_id and a.action != "survey_sent"])
    refresh(client, times=2)
    touched = (
        "SELECT id FROM feedback.touched_interactions UNION ALL SELECT id FROM feedback.touched_customer_responses"
    )
    assert rows_of(client, touched) == []
    assert_served(client)
    client.command(
        "INSERT INTO feedback.customer_snapshot SELECT * REPLACE (0 AS id) FROM feedback.customer_snapshot LIMIT 1"
    )
    assert len(client.query(SERVED).result_rows) == len(client.query(FACTS).result_rows) + 1, "the snapshot is read"
    refresh(client)
    assert_served(client)


ACTS = st.builds(
    lambda identity, customer, day, digest, deleted, action: random_interactions(identity, 1)[0]._replace(
        tenant="t", interaction_id=f"i{identity}", customer_id=customer, digest=digest, deleted=deleted, action=action,
        occurred_at=random_interactions(identity, 1)[0].occurred_at + day * 24 * HOUR_MS,
    ),
    st.integers(0, 3), st.sampled_from(["", "a", "b"]), *(st.integers(0, n) for n in (2, 1, 1)),
    st.sampled_from(["order_placed", "survey_sent", "cancelled"]),
)  # fmt: skip
SAID = st.builds(
    lambda identity, customer, updated, digest, deleted, score, label: random_response(
        random.Random(identity), identity
    )._replace(
        tenant="t", customer_id=customer, updated_at=updated, digest=digest, deleted=deleted, score=score,
        label_rank=label, sentiment="positive" if label else "",
    ),
    st.integers(0, 3), st.sampled_from(["", "a", "b"]), *(st.integers(0, n) for n in (3, 1, 1)),
    st.sampled_from([None, 9.0]), st.integers(0, 1),
)  # fmt: skip
BLOCKS = st.lists(ACTS, min_size=1, max_size=3) | st.lists(SAID, min_size=1, max_size=3)
STEPS = st.lists(BLOCKS | st.sampled_from(["refresh", "merge"]), min_size=2, max_size=7)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_order_of_inserts_merges_and_refreshes_serves_the_facts(
    client: Client, steps: list[list[InteractionRow] | list[ResponseRow] | str]
) -> None:
    """Corrections that move an act or a response to another customer or to none, withdrawals, late labels."""
    for step in steps:
        if step == "refresh":
            refresh(client)
        elif step == "merge":
            client.command("OPTIMIZE TABLE feedback.responses FINAL")
            client.command("OPTIMIZE TABLE feedback.interactions FINAL")
        elif isinstance(step[0], ResponseRow):
            insert_responses(client, step)  # type: ignore[arg-type]
        else:
            insert_acts(client, step)  # type: ignore[arg-type]
        assert_served(client)


def test_a_customer_is_the_same_without_the_snapshot(client: Client) -> None:
    everyone = "SELECT * FROM feedback.customer_360 ORDER BY tenant, customer_id"
    with_snapshot = client.query(everyone).result_rows
    revert(client, ClickHouseSettings(), down_to=14)
    try:
        assert client.query(everyone).result_rows == with_snapshot
    finally:
        apply(client, ClickHouseSettings())
    assert client.query(everyone).result_rows == with_snapshot
