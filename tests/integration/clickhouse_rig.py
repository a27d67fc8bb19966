"""A migrated store for the tests of tables, functions and views, and a maker of random responses.

`Facts` keeps in Python what was written; the tests recompute from it what a view should say. Everything comes from a
seeded generator, so a failing test fails again.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client
from pydantic import SecretStr

from infra.clickhouse.client import connect
from infra.clickhouse.migrate import apply
from infra.clickhouse.settings import ClickHouseSettings
from schemas.labels import Sentiment
from schemas.rows import InteractionRow, ResponseRow
from schemas.scales import SCALES, Scale
from tests.integration.store_stack import store

HOUR_MS = 3_600_000
JANUARY_2026 = 1_767_225_600_000
ZONES = {"acme": "America/Sao_Paulo", "bharat": "Asia/Kolkata", "nowhere": "Mars/Olympus"}
"""Tenants and their time zones; `plain` has no row in feedback.tenants, `nowhere` an unknown zone: both are UTC."""
TENANTS = ("acme", "bharat", "nowhere", "plain")
TOPICS = ("delivery.delay", "product.quality", "price.value", "service.wait", "other")


@contextmanager
def bare_store() -> Iterator[Client]:
    """A client of an embedded store of its own, without tables."""
    with tempfile.TemporaryDirectory() as folder, store(Path(folder)) as handle:
        client = connect(ClickHouseSettings(url=SecretStr(handle.url)))
        try:
            yield client
        finally:
            client.close()


@contextmanager
def migrated_store() -> Iterator[Client]:
    """The same with all migrations applied and the tenants of ZONES in it."""
    with bare_store() as client:
        apply(client, ClickHouseSettings())
        client.insert("feedback.tenants", list(map(list, ZONES.items())), column_names=["tenant", "timezone"])
        yield client


def insert_responses(client: Client, rows: Sequence[ResponseRow]) -> None:
    """Write the rows as one block, as the pipeline does."""
    client.insert("feedback.responses", rows, column_names=ResponseRow._fields)


def random_response(rng: random.Random, identity: int, *, span_hours: int = 24 * 75) -> ResponseRow:
    """A response on any of the scales, or without score or comment, somewhere in `span_hours` from January 2026."""
    scale: Scale | None = rng.choice([*SCALES, None])
    score = float(rng.choice(sorted(scale.bands))) if scale and rng.random() < 0.95 else None
    occurred = JANUARY_2026 + rng.randrange(span_hours * HOUR_MS)
    comment = rng.choice(("", "tudo certo", "llegó tarde", "never again"))
    row = ResponseRow(
        tenant=rng.choice(TENANTS),
        source=rng.choice(("/shop", "/app")),
        response_id=f"r{identity}",
        question=rng.choice(("", "q2")),
        metric=scale.metric.value if scale else "",
        scale=scale.name if scale else "",
        score=score,
        band=scale.bands[score].value if scale and score is not None else "",
        comment=comment,
        language=rng.choice(("pt", "es", "en")) if comment else "",
        customer_id=f"c{rng.randrange(40)}",
        survey=rng.choice(("post-purchase", "yearly")),
        touchpoint=rng.choice(("checkout", "support", "store")),
        channel=rng.choice(("email", "app")),
        journey_stage=rng.choice(("buy", "use", "leave")),
        segments={"plan": rng.choice(("free", "pro"))} | ({"region": rng.choice("ns")} if rng.random() < 0.5 else {}),
        excluded=int(rng.random() < 0.1),
        flags=[],
        occurred_at=occurred,
        updated_at=occurred,
        received_at=occurred + rng.randrange(5000),
        processed_at=occurred + 6000,
        event_id=f"e{identity}",
        extra="",
        digest=rng.getrandbits(64),
    )
    return labelled(rng, row) if comment and rng.random() < 0.9 else row


def labelled(rng: random.Random, row: ResponseRow, model_version: str = "") -> ResponseRow:
    """The same response with random labels."""
    topics = rng.sample(TOPICS, rng.randrange(4))
    return row._replace(
        sentiment=rng.choice(list(Sentiment)).value,
        sentiment_score=rng.randrange(-8, 9) / 8,  # exact in 32 bits
        sentiment_confidence=0.5,
        topics=topics,
        topic_sentiments=[rng.choice(list(Sentiment)).value for _ in topics],
        model_version=model_version or rng.choice(("m1", "m2")),
        label_rank=1,
    )


def rows_of(client: Client, query: str) -> list[dict[str, Any]]:
    """The answer as dictionaries."""
    result = client.query(query)
    return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]


def random_facts(seed: int, count: int) -> list[ResponseRow]:
    """Responses of which each is the newest version of its own identity."""
    rng = random.Random(seed)
    return [random_response(rng, identity) for identity in range(count)]


def with_noise(seed: int, facts: Sequence[ResponseRow]) -> list[ResponseRow]:
    """The facts as they arrive: older versions with other content, duplicates, unlabelled twins; shuffled."""
    rng = random.Random(seed)
    sent = list(facts)
    for row in rng.sample(facts, len(facts) // 3):
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
    return sent


ACTIONS = ("order_placed", "order_placed", "survey_sent", "cancelled", "ticket_opened", "ticket_closed", "visited")


def random_interactions(seed: int, count: int, *, span_hours: int = 24 * 140) -> list[InteractionRow]:
    """Acts of some customers (and surveys sent to them), the newest version of each; some customers are unknown."""
    rng = random.Random(seed)
    return [
        InteractionRow(
            tenant=rng.choice(TENANTS),
            source=rng.choice(("/shop", "/app")),
            interaction_id=f"i{identity}",
            customer_id=rng.choice(("", *(f"c{i}" for i in range(40)))),
            action=rng.choice(ACTIONS),
            touchpoint=rng.choice(("checkout", "store", "support")),
            channel=rng.choice(("web", "app")),
            journey_stage=rng.choice(("buy", "use")),
            value=rng.choice((None, 1.5, 20.25, 100.0)),
            currency=rng.choice(("BRL", "USD")),
            segments={},
            properties=f'{{"survey": "{rng.choice(("post-purchase", "yearly"))}"}}',
            flags=[],
            occurred_at=(occurred := JANUARY_2026 + rng.randrange(span_hours // 6) * 6 * HOUR_MS),  # ties are wanted
            received_at=occurred + 100,
            processed_at=occurred + 200,
            event_id=f"e{identity}",
            extra="",
            digest=rng.getrandbits(64),
        )
        for identity in range(count)
    ]


@contextmanager
def filled_store(responses: Sequence[ResponseRow], interactions: Sequence[InteractionRow] = ()) -> Iterator[Client]:
    """A migrated store that got these rows, in several blocks."""
    with migrated_store() as client:
        for start in range(0, len(responses), 1500):
            insert_responses(client, responses[start : start + 1500])
        if interactions:
            client.insert("feedback.interactions", interactions, column_names=InteractionRow._fields)
        yield client
