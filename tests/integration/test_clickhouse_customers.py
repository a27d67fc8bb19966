"""Response rate, churn, retention, lifetime value and one row a customer, against plain Python."""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from schemas.rows import InteractionRow, ResponseRow
from schemas.scores import Z95, wilson_interval
from tests.integration.clickhouse_expect import NEGATIVE, local_day, month, same
from tests.integration.clickhouse_rig import (
    HOUR_MS,
    filled_store,
    random_facts,
    random_interactions,
    rows_of,
    with_noise,
)

DAY_MS = 24 * HOUR_MS
MONTH_MS = 30.4375 * DAY_MS
Customer = tuple[str, str]


@pytest.fixture(scope="module")
def facts() -> list[ResponseRow]:
    return random_facts(31, 1500)


@pytest.fixture(scope="module")
def acts() -> list[InteractionRow]:
    return random_interactions(32, 700)


@pytest.fixture(scope="module")
def client(facts: list[ResponseRow], acts: list[InteractionRow]) -> Iterator[Client]:
    with filled_store(with_noise(33, facts), acts + acts[::3]) as store:
        yield store


def histories(acts: list[InteractionRow]) -> dict[Customer, list[InteractionRow]]:
    found: dict[Customer, list[InteractionRow]] = defaultdict(list)
    for row in sorted(acts, key=lambda a: (a.occurred_at, a.source, a.interaction_id)):
        if row.customer_id and row.action != "survey_sent":
            found[row.tenant, row.customer_id].append(row)
    return found


def lost_on(own: list[InteractionRow]) -> date | None:
    """The day of the last farewell, unless the customer did something after it."""
    gone = [a for a in own if a.action == "cancelled"]
    if not gone or any(a.occurred_at > gone[-1].occurred_at for a in own if a.action != "cancelled"):
        return None
    return local_day(gone[-1])


def months(first: date, last: date) -> list[date]:
    return [date(m // 12, m % 12 + 1, 1) for m in range(first.year * 12 + first.month - 1, last.year * 12 + last.month)]


def assert_share(row: dict[str, Any], k: int, n: int) -> None:
    interval = wilson_interval(k, n)
    assert same(row["score"], 100 * k / n if n else None)
    assert same(row["ci_low"], interval and 100 * interval[0])
    assert same(row["ci_high"], interval and 100 * interval[1])


def test_response_rate(client: Client, facts: list[ResponseRow], acts: list[InteractionRow]) -> None:
    sent = [(a, json.loads(a.properties)["survey"]) for a in acts if a.action == "survey_sent"]
    answered = set()
    for row in facts:
        before = [
            (a.occurred_at, a.source, a.interaction_id)
            for a, survey in sent
            if row.customer_id and (a.tenant, a.customer_id, survey) == (row.tenant, row.customer_id, row.survey)
            and row.occurred_at - 30 * DAY_MS < a.occurred_at <= row.occurred_at
        ]  # fmt: skip
        answered |= {(row.tenant, *max(before)[1:])} if before else set()
    cells: dict[tuple[Any, ...], list[bool]] = defaultdict(list)
    for a, survey in sent:
        cells[a.tenant, survey, a.channel, month(a)].append((a.tenant, a.source, a.interaction_id) in answered)
    for row in rows_of(client, "SELECT * FROM feedback.response_rate"):
        found = cells.pop((row["tenant"], row["survey"], row["channel"], row["bucket"]))
        assert (row["n"], row["responses"]) == (len(found), sum(found))
        assert_share(row, sum(found), len(found))
    assert not cells
    assert answered


def cohorts(acts: list[InteractionRow]) -> dict[tuple[str, date], list[list[InteractionRow]]]:
    found: dict[tuple[str, date], list[list[InteractionRow]]] = defaultdict(list)
    for (tenant, _), own in histories(acts).items():
        found[tenant, month(own[0])].append(own)
    return found


def newest_month(acts: list[InteractionRow], tenant: str) -> date:
    return max(month(own[-1]) for (t, _), own in histories(acts).items() if t == tenant)


def test_churn_and_retention_by_cohort(client: Client, acts: list[InteractionRow]) -> None:
    found = {(r["tenant"], r["cohort"], r["bucket"]): r for r in rows_of(client, "SELECT * FROM feedback.cohort_churn")}
    for (tenant, cohort), customers in cohorts(acts).items():
        present = 0
        for bucket in months(cohort, newest_month(acts, tenant)):
            row = found.pop((tenant, cohort, bucket))
            gone = sum(1 for own in customers if (day := lost_on(own)) and day.replace(day=1) == bucket)
            new = len(customers) if bucket == cohort else 0
            lost, lost_new = (0, gone) if bucket == cohort else (gone, 0)
            assert (row["n"], row["lost"], row["new_customers"], row["lost_new"]) == (present, lost, new, lost_new)
            assert_share(row, lost, present)
            present += new - gone
            assert row["customers_at_end"] == present
            if row["n"]:
                assert row["score"] + row["retention"] == pytest.approx(100)
                assert same(row["retention"], 100 * (present - new) / row["n"])
    assert not found


def test_activity_by_cohort(client: Client, acts: list[InteractionRow]) -> None:
    found = {
        (r["tenant"], r["cohort"], r["bucket"]): r for r in rows_of(client, "SELECT * FROM feedback.cohort_activity")
    }
    for (tenant, cohort), customers in cohorts(acts).items():
        for bucket in months(cohort, newest_month(acts, tenant)):
            row = found.pop((tenant, cohort, bucket))
            active = sum(any(month(a) == bucket for a in own) for own in customers)
            assert (row["n"], row["active"]) == (len(customers), active)
            assert_share(row, active, len(customers))
    assert not found


def test_lifetime_value_and_its_components(client: Client, acts: list[InteractionRow]) -> None:
    found = {(r["tenant"], r["cohort"], r["currency"]): r for r in rows_of(client, "SELECT * FROM feedback.clv")}
    cells: dict[tuple[str, date, str], list[tuple[int, float, float]]] = defaultdict(list)
    for (tenant, _), own in histories(acts).items():
        lifespan = max(1.0, (own[-1].occurred_at - own[0].occurred_at) / MONTH_MS)
        for currency in ("BRL", "USD"):
            orders = [
                a.value for a in own if a.action == "order_placed" and a.value is not None and a.currency == currency
            ]
            if orders:
                cells[tenant, month(own[0]), currency].append((len(orders), sum(orders), lifespan))
    assert found.keys() == cells.keys()
    for key, customers in cells.items():
        row, n = found[key], len(customers)
        orders, revenue, life = (sum(c[i] for c in customers) for i in range(3))
        assert (row["n"], row["orders"]) == (n, orders)
        assert same(row["average_order_value"], revenue / orders)
        assert same(row["orders_per_month"], orders / life)
        assert same(row["lifespan_months"], life / n)
        assert same(row["score"], revenue / n), "the components multiply to the revenue a customer"
        half = Z95 * statistics.stdev(c[1] for c in customers) / math.sqrt(n) if n > 1 else None
        assert same(row["ci_low"], None if half is None else revenue / n - half)
        assert same(row["ci_high"], None if half is None else revenue / n + half)
    values = rows_of(client, "SELECT * FROM feedback.customer_value")
    assert len(values) == sum(map(len, cells.values()))
    for row in values:
        assert same(row["clv"], row["revenue"])
        assert same(row["average_order_value"] * row["orders"], row["revenue"])


def test_one_row_a_customer(client: Client, facts: list[ResponseRow], acts: list[InteractionRow]) -> None:
    found = {(r["tenant"], r["customer_id"]): r for r in rows_of(client, _CUSTOMERS)}
    did, said = histories(acts), defaultdict(list)
    for row in sorted(facts, key=lambda r: (r.occurred_at, r.source, r.response_id, r.question)):
        said[row.tenant, row.customer_id].append(row)
    assert found.keys() == did.keys() | said.keys()
    moments = {key: [r.occurred_at for r in (*did.get(key, []), *said.get(key, []))] for key in found}
    for key, row in found.items():
        newest = max(max(times) for (tenant, _), times in moments.items() if tenant == key[0])
        for name, value in customer(did.get(key, []), said.get(key, []), newest).items():
            assert same(row[name], value), (key, name, row[name], value)
    assert {r["churn_risk"] for r in found.values()} >= {"lost", "high", "medium"}


_CUSTOMERS = """SELECT * REPLACE (toUnixTimestamp64Milli(first_seen) AS first_seen,
    toUnixTimestamp64Milli(last_seen) AS last_seen, toUnixTimestamp64Milli(last_order_at) AS last_order_at)
FROM feedback.customer_360"""


def customer(did: list[InteractionRow], said: list[ResponseRow], newest: int) -> dict[str, Any]:
    """What feedback.customer_360 should say of one customer; `did` and `said` in order."""
    orders = [a for a in did if a.action == "order_placed"]
    worth = {c: [a.value or 0.0 for a in orders if a.currency == c] for c in ("BRL", "USD")}
    currency = min(worth, key=lambda c: (-len(worth[c]), c)) if orders else ""
    times = [r.occurred_at for r in (*did, *said)]
    scored = {m: [r for r in said if r.metric == m and r.score is not None and not r.excluded] for m in _METRICS}
    felt = [r for r in said if r.sentiment not in ("", "unknown")]
    scores = [r.sentiment_score or 0.0 for r in reversed(felt)]
    trend = statistics.mean(scores[:3]) - statistics.mean(scores[3:6]) if len(scores) > 3 else None
    cases = max(0, sum({"ticket_opened": 1, "ticket_closed": -1}.get(a.action, 0) for a in did))
    reasons = {
        "detractor": bool(scored["nps"]) and scored["nps"][-1].band == "detractor",
        "negative": bool(felt) and felt[-1].sentiment in NEGATIVE,
        "falling": trend is not None and trend <= -0.5,
        "open_case": cases > 0,
        "inactive": max(times) < newest - 90 * DAY_MS,
    }
    risks = [name for name, holds in reasons.items() if holds]
    gone = bool(did) and lost_on(did) is not None
    return {f"last_{m}": scored[m][-1].score if scored[m] else None for m in _METRICS} | {
        "first_seen": min(times),
        "last_seen": max(times),
        "interactions": len(did),
        "orders": len(orders),
        "currency": currency,
        "order_value": sum(worth[currency]) if orders else 0.0,
        "last_order_at": orders[-1].occurred_at if orders else None,
        "responses": len(said),
        "last_sentiment": felt[-1].sentiment if felt else "",
        "sentiment_trend": trend,
        "open_cases": cases,
        "lost": int(gone),
        "risk_reasons": risks,
        "churn_risk": "lost" if gone else "high" if len(risks) > 1 else "medium" if risks else "low",
    }


_METRICS = ("nps", "csat", "ces", "stars")
