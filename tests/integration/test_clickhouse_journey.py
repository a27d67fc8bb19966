"""Journeys: stages, paths between touchpoints, and what came before an answer, against plain Python."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from schemas.rows import InteractionRow, ResponseRow
from schemas.scores import wilson_interval
from tests.integration.clickhouse_expect import (
    assert_cells,
    assert_net_sentiment,
    counted,
    local_day,
    month,
    same,
    score_cells,
)
from tests.integration.clickhouse_rig import (
    HOUR_MS,
    filled_store,
    random_facts,
    random_interactions,
    rows_of,
    with_noise,
)

THIRTY_DAYS = 30 * 24 * HOUR_MS


@pytest.fixture(scope="module")
def facts() -> list[ResponseRow]:
    return random_facts(21, 1500)


@pytest.fixture(scope="module")
def acts() -> list[InteractionRow]:
    return random_interactions(22, 1500, span_hours=24 * 75)


@pytest.fixture(scope="module")
def client(facts: list[ResponseRow], acts: list[InteractionRow]) -> Iterator[Client]:
    with filled_store(with_noise(23, facts), acts + acts[::3]) as store:
        yield store


def by_customer(acts: list[InteractionRow]) -> dict[tuple[str, str], list[InteractionRow]]:
    """The acts of each known customer in order; surveys sent are none."""
    own = [row for row in acts if row.customer_id and row.action != "survey_sent"]
    own.sort(key=lambda row: (row.tenant, row.customer_id, row.occurred_at, row.source, row.interaction_id))
    return {key: list(group) for key, group in groupby(own, key=lambda row: (row.tenant, row.customer_id))}


def test_interactions_have_their_day_and_their_role(client: Client, acts: list[InteractionRow]) -> None:
    roles = {"order_placed": "order", "survey_sent": "survey", "cancelled": "lost"}
    roles |= {"ticket_opened": "case_opened", "ticket_closed": "case_closed", "visited": "other"}
    found = rows_of(client, "SELECT interaction_id, role, occurred_on FROM feedback.enriched_interactions")
    assert {(r["interaction_id"], r["role"], r["occurred_on"]) for r in found} == {
        (row.interaction_id, roles[row.action], local_day(row)) for row in acts
    }
    assert len(found) == len(acts)


def test_scores_by_stage_and_touchpoint(client: Client, facts: list[ResponseRow]) -> None:
    names = ("tenant", "metric", "scale", "journey_stage", "touchpoint")
    expected = score_cells(counted(facts), lambda r: [(*(getattr(r, n) for n in names), month(r))])
    assert_cells(rows_of(client, "SELECT * FROM feedback.journey_scores"), (*names, "bucket"), expected)


def test_feeling_by_stage_and_touchpoint(client: Client, facts: list[ResponseRow]) -> None:
    names = ("tenant", "journey_stage", "touchpoint", "model_version")
    cells: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for row in facts:
        if not row.excluded and row.sentiment not in ("", "unknown"):
            cells[(*(getattr(row, n) for n in names), month(row))].append(row.sentiment)
    for found in rows_of(client, "SELECT * FROM feedback.journey_sentiment"):
        assert_net_sentiment(found, cells.pop((*(found[n] for n in names), found["bucket"])))
    assert not cells


def test_paths_between_touchpoints(client: Client, acts: list[InteractionRow]) -> None:
    moves: dict[tuple[str, str, str], list[tuple[str, float | None]]] = defaultdict(list)
    away: Counter[tuple[str, str]] = Counter()
    for (tenant, customer), own in by_customer(acts).items():
        for here, there in zip(own, [*own[1:], None], strict=True):
            away[tenant, here.touchpoint] += 1
            hours = (there.occurred_at - here.occurred_at) / HOUR_MS if there else None
            moves[tenant, here.touchpoint, there.touchpoint if there else "(end)"].append((customer, hours))
    for row in rows_of(client, "SELECT * FROM feedback.touchpoint_paths"):
        found = moves.pop((row["tenant"], row["from_touchpoint"], row["to_touchpoint"]))
        n = away[row["tenant"], row["from_touchpoint"]]
        interval = wilson_interval(len(found), n)
        assert interval is not None
        assert (row["moves"], row["n"], row["customers"]) == (len(found), n, len({c for c, _ in found}))
        assert same(row["score"], 100 * len(found) / n)
        assert same(row["ci_low"], 100 * interval[0])
        assert same(row["ci_high"], 100 * interval[1])
        hours = [h for _, h in found if h is not None]
        assert same(row["median_hours"], statistics.median(hours) if hours else None)
    assert not moves


def test_scores_by_what_the_customer_did_last(
    client: Client, facts: list[ResponseRow], acts: list[InteractionRow]
) -> None:
    histories = by_customer(acts)

    def keys(row: ResponseRow) -> list[tuple[Any, ...]]:
        before = [a for a in histories.get((row.tenant, row.customer_id), []) if a.occurred_at <= row.occurred_at]
        last = before[-1] if before and before[-1].occurred_at > row.occurred_at - THIRTY_DAYS else None
        step = (last.touchpoint, last.action) if last else ("", "")
        return [(row.tenant, row.metric, row.scale, *step, month(row))]

    names = ("tenant", "metric", "scale", "last_touchpoint", "last_action", "bucket")
    assert_cells(
        rows_of(client, "SELECT * FROM feedback.scores_by_last_step"), names, score_cells(counted(facts), keys)
    )
