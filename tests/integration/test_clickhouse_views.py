"""Every score view says what a plain recomputation in Python says of the newest versions."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from schemas.rows import ResponseRow, from_ms
from tests.integration.clickhouse_expect import (
    DIMENSIONS,
    assert_cells,
    assert_net_sentiment,
    counted,
    expected_score,
    local_day,
    score_cells,
)
from tests.integration.clickhouse_rig import (
    TENANTS,
    filled_store,
    insert_responses,
    labelled,
    random_facts,
    random_response,
    rows_of,
    with_noise,
)

ROWS = 3000


@pytest.fixture(scope="module")
def facts() -> list[ResponseRow]:
    """The newest version of each response."""
    return random_facts(2026, ROWS)


@pytest.fixture(scope="module")
def client(facts: list[ResponseRow]) -> Iterator[Client]:
    """A store that got the facts with duplicates, older versions and other scores, shuffled."""
    with filled_store(with_noise(7, facts)) as store:
        yield store


BUCKETS: dict[str, Callable[[ResponseRow], Any]] = {
    "hourly": lambda row: datetime.fromtimestamp(row.occurred_at // 3_600_000 * 3600, UTC),
    "daily": local_day,
    "weekly": lambda row: local_day(row) - timedelta(days=local_day(row).weekday()),
    "monthly": lambda row: local_day(row).replace(day=1),
}


@pytest.mark.parametrize("name", BUCKETS)
def test_scores_by_time(client: Client, facts: list[ResponseRow], name: str) -> None:
    expected = score_cells(counted(facts), lambda row: [(*(getattr(row, d) for d in DIMENSIONS), BUCKETS[name](row))])
    assert_cells(rows_of(client, f"SELECT * FROM feedback.scores_{name}"), (*DIMENSIONS, "bucket"), expected)


def test_days_are_cut_in_the_zone_of_the_tenant(client: Client, facts: list[ResponseRow]) -> None:
    utc_days = {(row.response_id, from_ms(row.occurred_at).date()) for row in facts}
    found = rows_of(client, "SELECT tenant, response_id, occurred_on FROM feedback.scored_responses")
    moved = [row for row in found if (row["response_id"], row["occurred_on"]) not in utc_days]
    assert {row["tenant"] for row in moved} == {"acme", "bharat"}
    assert {row["tenant"] for row in found} == set(TENANTS)


def test_counts_add_up_over_any_grouping(client: Client, facts: list[ResponseRow]) -> None:
    (row,) = rows_of(
        client,
        "SELECT sum(n) AS answers, npsScore(sum(promoters), sum(detractors), sum(n)) AS score, "
        "npsLow(sum(promoters), sum(detractors), sum(n)) AS low FROM feedback.scores_monthly WHERE metric = 'nps'",
    )
    expected = expected_score("nps", "0-10", [r for r in counted(facts) if r.metric == "nps"])
    assert row["answers"] == expected["n"]
    assert (row["score"], row["low"]) == pytest.approx((expected["score"], expected["ci_low"]), abs=1e-9)


def test_enriched_responses_are_the_newest_versions(client: Client, facts: list[ResponseRow]) -> None:
    found = {row["response_id"]: row for row in rows_of(client, "SELECT * FROM feedback.enriched_responses")}
    assert len(found) == len(facts)
    for row in facts:
        seen = found[row.response_id]
        for name in (
            "score",
            "band",
            "comment",
            "sentiment",
            "sentiment_score",
            "topics",
            "topic_sentiments",
            "model_version",
        ):
            assert seen[name] == getattr(row, name), (row.response_id, name)


def test_net_sentiment_by_topic_and_by_touchpoint(client: Client, facts: list[ResponseRow]) -> None:
    topics: dict[tuple[str, ...], list[str]] = defaultdict(list)
    touchpoints: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for row in facts:
        if row.excluded:
            continue
        if row.sentiment not in ("", "unknown"):
            touchpoints[row.tenant, row.touchpoint, row.model_version].append(row.sentiment)
        for topic, sentiment in zip(row.topics, row.topic_sentiments, strict=True):
            if sentiment != "unknown":
                topics[row.tenant, topic, row.model_version].append(sentiment)
    for row in rows_of(client, "SELECT * FROM feedback.topics"):
        assert row["parent"] == row["topic"].split(".")[0]
        assert_net_sentiment(row, topics.pop((row["tenant"], row["topic"], row["model_version"])))
    for row in rows_of(client, "SELECT * FROM feedback.sentiment_by_touchpoint"):
        assert_net_sentiment(row, touchpoints.pop((row["tenant"], row["touchpoint"], row["model_version"])))
    assert not topics
    assert not touchpoints


def test_segments_are_rows(client: Client, facts: list[ResponseRow]) -> None:
    found = rows_of(client, "SELECT response_id, segment, value FROM feedback.segments")
    expected = {(row.response_id, *pair) for row in facts for pair in row.segments.items()}
    assert {tuple(row.values()) for row in found} == expected
    assert len(found) == len(expected)


def test_columns_of_views_are_plain_and_explained(client: Client) -> None:
    columns = rows_of(
        client,
        "SELECT table, c.name AS name, type, comment FROM system.columns AS c "
        "JOIN system.tables AS t ON t.database = c.database AND t.name = c.table "
        "WHERE c.database = 'feedback' AND engine = 'View'",
    )
    plain = r"(String|U?Int\d+|Float\d+|Date|DateTime(\('UTC'\))?|DateTime64\(3, 'UTC'\))"
    for column in columns:
        assert column["comment"], column
        ((fits,),) = client.query(
            "SELECT match({t:String}, {p:String})",
            parameters={"t": column["type"], "p": rf"^({plain}|Nullable\({plain}\)|Array\({plain}\))$"},
        ).result_rows
        assert fits, column


def test_a_late_label_changes_its_row_and_no_count(client: Client) -> None:
    row = random_response(random.Random(1), 10**6)._replace(
        tenant="late", metric="nps", scale="0-10", score=9.0, band="promoter", excluded=0, label_rank=0, sentiment=""
    )
    insert_responses(client, [row])
    before = rows_of(client, "SELECT * FROM feedback.scores_daily WHERE tenant = 'late'")
    insert_responses(client, [labelled(random.Random(2), row)])
    assert rows_of(client, "SELECT * FROM feedback.scores_daily WHERE tenant = 'late'") == before
    (seen,) = rows_of(client, "SELECT sentiment FROM feedback.enriched_responses WHERE tenant = 'late'")
    assert seen["sentiment"]
