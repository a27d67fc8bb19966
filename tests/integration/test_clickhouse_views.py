"""Every score view says what a plain recomputation in Python says of the newest versions."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from clickhouse_connect.driver.client import Client

from schemas.rows import ResponseRow, from_ms
from schemas.scales import scale
from schemas.scores import mean_interval, nps_interval, nps_score, wilson_interval
from tests.integration.clickhouse_rig import (
    TENANTS,
    ZONES,
    insert_responses,
    labelled,
    migrated_store,
    random_response,
    rows_of,
)

ROWS = 3000
DIMENSIONS = ("tenant", "metric", "survey", "touchpoint", "channel", "scale")


def zone(tenant: str) -> ZoneInfo:
    return ZoneInfo("UTC" if tenant in ("nowhere", "plain") else ZONES[tenant])


def local_day(row: ResponseRow) -> date:
    return from_ms(row.occurred_at).astimezone(zone(row.tenant)).date()


@pytest.fixture(scope="module")
def facts() -> list[ResponseRow]:
    """The newest version of each response."""
    rng = random.Random(2026)
    return [random_response(rng, identity) for identity in range(ROWS)]


@pytest.fixture(scope="module")
def client(facts: list[ResponseRow]) -> Iterator[Client]:
    """A store that got the facts with duplicates, older versions and other scores, shuffled, in several blocks."""
    rng = random.Random(7)
    sent = list(facts)
    for row in rng.sample(facts, ROWS // 3):
        older = random_response(rng, 0)._replace(
            tenant=row.tenant,
            source=row.source,
            response_id=row.response_id,
            question=row.question,
            updated_at=row.updated_at - 1 - rng.randrange(10**8),
        )
        sent += [older, row, row._replace(received_at=row.received_at + 1)]
    sent += [row._replace(label_rank=0, sentiment="", topics=[]) for row in facts if row.label_rank]
    rng.shuffle(sent)
    with migrated_store() as store:
        for start in range(0, len(sent), 1500):
            insert_responses(store, sent[start : start + 1500])
        yield store


def expected_score(metric: str, scale_name: str, rows: list[ResponseRow]) -> dict[str, Any]:
    """What DEFINITIONS say of the answers of one cell."""
    scores = [row.score for row in rows if row.score is not None]
    bands = [row.band for row in rows]
    n, total, squares = len(rows), sum(scores), sum(s * s for s in scores)
    counts: dict[str, Any] = dict.fromkeys(("promoters", "passives", "detractors", "satisfied"))
    if metric == "nps":
        counts |= {f"{b}s": bands.count(b) for b in ("promoter", "passive", "detractor")}
        score: float | None = nps_score(counts["promoters"], counts["detractors"], n)
        interval = nps_interval(counts["promoters"], counts["detractors"], n)
    else:
        k = counts["satisfied"] = bands.count("satisfied")
        ends = scale(metric, scale_name)
        assert ends is not None
        if metric == "stars":
            score, interval = total / n, mean_interval(total, squares, n, ends.low, ends.high)
        else:
            score, share = 100 * k / n, wilson_interval(k, n)
            interval = share and (100 * share[0], 100 * share[1])
    assert interval is not None
    return counts | {
        "n": n, "sum_score": total, "sum_squares": squares, "mean_score": total / n,
        "score": score, "ci_low": interval[0], "ci_high": interval[1],
    }  # fmt: skip


BUCKETS: dict[str, Callable[[ResponseRow], Any]] = {
    "hourly": lambda row: datetime.fromtimestamp(row.occurred_at // 3_600_000 * 3600, UTC),
    "daily": local_day,
    "monthly": lambda row: local_day(row).replace(day=1),
}


@pytest.mark.parametrize("name", BUCKETS)
def test_scores_by_time(client: Client, facts: list[ResponseRow], name: str) -> None:
    cells: dict[tuple[Any, ...], list[ResponseRow]] = defaultdict(list)
    for row in facts:
        if row.metric and row.score is not None and not row.excluded:
            cells[(*(getattr(row, d) for d in DIMENSIONS), BUCKETS[name](row))].append(row)
    found = rows_of(client, f"SELECT * FROM feedback.scores_{name}")
    assert len(found) == len(cells)
    for row in found:
        bucket = row["bucket"]
        if isinstance(bucket, datetime):
            bucket = bucket.replace(tzinfo=UTC)
        key = (*(row[d] for d in DIMENSIONS), bucket)
        for column, value in expected_score(row["metric"], row["scale"], cells.pop(key)).items():
            assert row[column] == (value if value is None else pytest.approx(value, abs=1e-9)), (key, column)


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
    counted = [r for r in facts if r.metric == "nps" and r.score is not None and not r.excluded]
    expected = expected_score("nps", "0-10", counted)
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


POSITIVE, NEGATIVE = {"positive", "very_positive"}, {"negative", "very_negative"}


def _net(found: dict[str, Any], sentiments: list[str]) -> None:
    positive, negative = (sum(s in words for s in sentiments) for words in (POSITIVE, NEGATIVE))
    n = len(sentiments)
    assert (found["n"], found["positive"], found["negative"]) == (n, positive, negative)
    assert found["score"] == pytest.approx(nps_score(positive, negative, n), abs=1e-9)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx(nps_interval(positive, negative, n), abs=1e-9)


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
        _net(row, topics.pop((row["tenant"], row["topic"], row["model_version"])))
    for row in rows_of(client, "SELECT * FROM feedback.sentiment_by_touchpoint"):
        _net(row, touchpoints.pop((row["tenant"], row["touchpoint"], row["model_version"])))
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
