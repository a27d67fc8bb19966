"""Rolling windows, any dimension and any two of them: the views against a recomputation in Python."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from schemas.rows import ResponseRow
from tests.integration.clickhouse_expect import (
    DIMENSIONS,
    assert_cells,
    counted,
    local_day,
    score_cells,
    values,
)
from tests.integration.clickhouse_rig import filled_store, random_facts, rows_of, with_noise

SINCE, UNTIL = date(2026, 1, 10), date(2026, 3, 1)
PERIOD = f"since = '{SINCE}', until = '{UNTIL}'"
METRICS = ("nps", "stars")
ALL = ("all", "source", "question", "survey", "touchpoint", "channel", "journey_stage", "language", "sentiment")
EVERY = (*ALL, "topic", "segment.plan", "segment.region")


@pytest.fixture(scope="module")
def facts() -> list[ResponseRow]:
    return random_facts(9, 1500)


@pytest.fixture(scope="module")
def client(facts: list[ResponseRow]) -> Iterator[Client]:
    with filled_store(with_noise(9, facts)) as store:
        yield store


def in_period(facts: list[ResponseRow], metric: str) -> list[ResponseRow]:
    found = [r for r in counted(facts) if r.tenant == "acme" and r.metric == metric]
    return [r for r in found if SINCE <= local_day(r) < UNTIL]


@pytest.mark.parametrize("days", [7, 30, 90])
def test_rolling_windows(client: Client, facts: list[ResponseRow], days: int) -> None:
    rows = [row for row in counted(facts) if row.tenant == "bharat"]
    newest = max(map(local_day, rows))

    def windows(row: ResponseRow) -> list[tuple[object, ...]]:
        key = tuple(getattr(row, d) for d in DIMENSIONS)
        ends = (local_day(row) + timedelta(days=i) for i in range(days))
        return [(*key, end) for end in ends if end <= newest]

    found = rows_of(client, f"SELECT * FROM feedback.scores_rolling WHERE tenant = 'bharat' AND days = {days}")
    assert_cells(found, (*DIMENSIONS, "bucket"), score_cells(rows, windows))


def test_every_dimension_at_once(client: Client, facts: list[ResponseRow]) -> None:
    plain = ("survey", "touchpoint", "channel", "journey_stage", "language", "sentiment")

    def keys(row: ResponseRow) -> list[tuple[object, ...]]:
        pairs = [(d, getattr(row, d)) for d in plain]
        pairs += [("topic", topic) for topic in row.topics]
        pairs += [(f"segment.{k}", v) for k, v in row.segments.items()]
        return [(row.tenant, row.metric, row.scale, *pair, local_day(row)) for pair in pairs]

    found = rows_of(client, "SELECT * FROM feedback.scores_by_dimension WHERE tenant = 'acme'")
    names = ("tenant", "metric", "scale", "dimension", "value", "bucket")
    rows = [row for row in counted(facts) if row.tenant == "acme"]
    assert_cells(found, names, score_cells(rows, keys))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dimension", EVERY)
def test_one_dimension(client: Client, facts: list[ResponseRow], metric: str, dimension: str) -> None:
    call = f"scores_by(tenant = 'acme', metric = '{metric}', dimension = '{dimension}', {PERIOD})"
    expected = score_cells(in_period(facts, metric), lambda r: [(r.scale, v) for v in values(r, dimension)])
    assert_cells(rows_of(client, f"SELECT * FROM feedback.{call}"), ("scale", "value"), expected)


@pytest.mark.parametrize(
    ("first", "second"),
    [("touchpoint", "channel"), ("topic", "segment.plan"), ("topic", "topic"), ("sentiment", "all")],
)
def test_cross_tab(client: Client, facts: list[ResponseRow], first: str, second: str) -> None:
    call = f"cross_tab(tenant = 'acme', metric = 'nps', dimension_1 = '{first}', dimension_2 = '{second}', {PERIOD})"
    expected = score_cells(
        in_period(facts, "nps"), lambda r: [(a, b) for a in values(r, first) for b in values(r, second)]
    )
    assert_cells(rows_of(client, f"SELECT * FROM feedback.{call}"), ("value_1", "value_2"), expected)


def test_an_unknown_dimension_is_refused_and_an_unknown_segment_is_empty(client: Client) -> None:
    call = "SELECT * FROM feedback.scores_by(tenant = 'acme', metric = 'nps', dimension = '{}', " + PERIOD + ")"
    with pytest.raises(DatabaseError, match="unknown dimension"):
        client.query(call.format("chanel"))
    assert client.query(call.format("segment.nothing")).result_rows == []
