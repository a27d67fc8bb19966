"""A migrated store with labelled comments of one's choice, for the tests of the sentinel.

Times are seconds since 1970. NOW is a Wednesday; eight days of history hold every hour of the week.

Run as a program it is a sentinel whose clock goes FASTER times as fast, so that an alert lives and ends in seconds:

    python -m tests.integration.alerts_rig DATA URL BEGIN
"""

from __future__ import annotations

import asyncio
import logging
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from clickhouse_connect.driver.client import Client
from pydantic import SecretStr

from infra.clickhouse.client import connect
from infra.clickhouse.migrate import apply
from infra.clickhouse.settings import ClickHouseSettings
from pipeline.alerts.store import AlertStore
from pipeline.alerts.watch import Watch
from schemas.rows import ResponseRow
from tests.integration.clickhouse_rig import insert_responses
from tests.integration.store_stack import StoreHandle, store

NOW = 1_768_989_600.0  # Wednesday 2026-01-21, 10:00 UTC
HOUR = 3600.0
COMPLAINT = "the parcel was a week late and nobody told me why"


@contextmanager
def alert_store(folder: Path) -> Iterator[tuple[StoreHandle, Client]]:
    """A store with all tables; tenant `acme` is told in Portuguese."""
    with store(folder) as handle:
        client = connect(ClickHouseSettings(url=SecretStr(handle.url)))
        apply(client, ClickHouseSettings(url=SecretStr(handle.url)))
        client.insert("feedback.tenants", [["acme", "pt"]], column_names=["tenant", "language"])
        try:
            yield handle, client
        finally:
            client.close()


def response(
    at: float,
    number: int,
    *,
    tenant: str = "acme",
    sentiment: str = "positive",
    topic: str = "",
    comment: str = "fine",
    touchpoint: str = "delivery",
    score: int | None = None,
) -> ResponseRow:
    """One labelled response that occurred at `at`."""
    ms = round(at * 1000)
    return ResponseRow(
        tenant=tenant, source="test", response_id=f"r{number}", question="", metric="nps" if score is not None else "",
        scale="0-10" if score is not None else "", score=score,
        band="" if score is None else "promoter" if score > 8 else "passive" if score > 6 else "detractor",
        comment=comment, language="en", customer_id=f"c{number}", survey="post-purchase", touchpoint=touchpoint,
        channel=("email", "app")[number % 2], journey_stage="receive", segments={"plan": ("free", "pro")[number % 2]},
        excluded=0, flags=[], occurred_at=ms, updated_at=ms, received_at=ms, processed_at=ms, event_id=f"e{number}",
        extra="", digest=number, sentiment=sentiment, sentiment_score=-0.8 if sentiment == "negative" else 0.8,
        sentiment_confidence=0.9, topics=[topic] if topic else [], topic_sentiments=[sentiment] if topic else [],
        model_version="m1", label_rank=1,
    )  # fmt: skip


def ordinary(
    begin: float, end: float, *, every: float = 60.0, seed: int = 3, tenant: str = "acme"
) -> list[ResponseRow]:
    """A comment each `every` seconds, 12 % of them negative about one of three topics."""
    rng = random.Random(seed)
    rows = []
    at = begin
    while at < end:
        unhappy = rng.random() < 0.12
        topic = rng.choice(["delivery.delay", "price.value", "service.wait"])
        rows.append(
            response(
                at,
                rng.getrandbits(40),
                tenant=tenant,
                sentiment="negative" if unhappy else "positive",
                topic=topic,
                touchpoint=rng.choice(["delivery", "checkout", "support"]),
                score=rng.choice([2, 6]) if unhappy else rng.choice([8, 9, 10]),
            )
        )
        at += every
    return rows


def late_parcels(begin: float, end: float, *, every: float = 10.0, tenant: str = "acme") -> list[ResponseRow]:
    """A spike: complaints of late deliveries, one each `every` seconds."""
    count = int((end - begin) / every)
    return [
        response(
            begin + every * place,
            10_000_000 + int(begin) % 1_000_000 * 10 + place,
            tenant=tenant,
            sentiment="negative",
            topic="delivery.delay",
            comment=f"{COMPLAINT} ({place % 7} days)",
            score=1,
        )
        for place in range(count)
    ]


def put(client: Client, rows: Sequence[ResponseRow]) -> None:
    """Write responses."""
    insert_responses(client, rows)


_TABLES = ("responses", "sentinel_rows", "alerts", "alert_notices", "sentinel_lease")


def keep(client: Client) -> None:
    """Remember what the tables hold now."""
    for table in _TABLES:
        client.command(f"CREATE TABLE feedback.kept_{table} ENGINE = Memory AS SELECT * FROM feedback.{table}")


def put_back(client: Client) -> None:
    """Bring the tables back to what `keep` remembered."""
    for table in _TABLES:
        client.command(f"TRUNCATE TABLE feedback.{table}")
        names = [
            name
            for (name,) in client.query(
                "SELECT name FROM system.columns WHERE database = 'feedback' AND table = {table:String} "
                "AND default_kind NOT IN ('MATERIALIZED', 'ALIAS') ORDER BY position",
                parameters={"table": table},
            ).result_rows
        ]
        columns = ", ".join(names)
        client.command(f"INSERT INTO feedback.{table} ({columns}) SELECT {columns} FROM feedback.kept_{table}")


@contextmanager
def taught_store(folder: Path) -> Iterator[tuple[StoreHandle, Client, Watch]]:
    """A store with eight ordinary days of `acme` until NOW, learnt by the watch; `put_back` brings it back to that."""
    with alert_store(folder) as (handle, client):
        put(client, ordinary(NOW - 8 * 86_400, NOW, every=120))
        watch = Watch(AlertStore(client))
        watch.begin(NOW)
        keep(client)
        yield handle, client, watch


FASTER = 60.0


def hurried(begin: float) -> float:
    """The time of a hurried sentinel that was given `begin`."""
    return begin + FASTER * (time.time() - begin)


def start_hurried(handle: StoreHandle, folder: Path, begin: float) -> subprocess.Popen[bytes]:
    """Start this module as a program; what it says goes to sentinel.log."""
    with (folder / "sentinel.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.integration.alerts_rig", str(folder), handle.url, repr(begin)],
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def main(folder: str, url: str, begin: str) -> None:
    """A sentinel of alerts.yaml in `folder`, by a clock that goes FASTER times as fast since `begin`."""
    from pipeline.alerts.config import load_config
    from pipeline.alerts.sentinel import Sentinel

    logging.basicConfig(level=logging.INFO)
    service = Sentinel(
        lambda: connect(ClickHouseSettings(url=SecretStr(url))),
        load_config(Path(folder) / "alerts.yaml"),
        clock=lambda: hurried(float(begin)),
    )
    asyncio.run(service.run(asyncio.Event()))


if __name__ == "__main__":
    main(*sys.argv[1:])
