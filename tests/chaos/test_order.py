"""Any order and any cut of the batches end in the same tables and the same scores, to the last digit.

Real: decoding, lanes, writer, the embedded store with all its views, and the snapshot made anew between batches. Only
the broker is left out: it would keep the order.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator, Sequence

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from infra.clickhouse.client import connect
from infra.clickhouse.migrate import apply
from infra.clickhouse.settings import ClickHouseSettings
from infra.clickhouse.snapshot import refresh
from pipeline.chaos.compare import Comparison, compare_store
from pipeline.chaos.expected import expect
from pipeline.chaos.stream import ZONES, Sent, records, tenants
from pipeline.flush import Work
from pipeline.lanes import score_responses, store_interactions
from pipeline.writer import Writer
from schemas import topics
from schemas.rows import InteractionRow, ResponseRow
from tests.integration.store_stack import StoreHandle, store
from tests.unit.records import FakeRecord

START_MS = 1_770_000_000_000
_runs = itertools.count()


@pytest.fixture(scope="module")
def handle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreHandle]:
    with store(tmp_path_factory.mktemp("order") / "store") as running:
        client = connect(ClickHouseSettings(url=SecretStr(running.url)))
        apply(client, ClickHouseSettings())
        client.close()
        yield running


async def _never() -> None:
    raise AssertionError("nothing here acknowledges")


async def _write(batches: Sequence[Sequence[Sent]], writers: dict[str, Writer]) -> None:
    """Each batch as a worker takes it: decoded, then one insert a table."""
    for batch in batches:
        for topic, decode in ((topics.RESPONSES, score_responses), (topics.INTERACTIONS, store_interactions)):
            taken = [
                FakeRecord(sent.value, sent.headers, sent.timestamp, sent.key, topic)
                for sent in batch
                if sent.topic == topic
            ]
            work = Work(_never)
            decode(taken, work, START_MS + 10**7)
            assert await writers[topic].write(work.rows) == []


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10**6),
    cuts=st.lists(st.integers(1, 399), max_size=6),
    again=st.integers(0, 5),
    refreshes=st.integers(0, 2),
)
def test_any_order_and_any_cut_end_in_the_same_scores(
    handle: StoreHandle, seed: int, cuts: list[int], again: int, refreshes: int
) -> None:
    """Batches out of order, cut anywhere, some twice; the snapshot made anew before some of them, or never."""
    run = f"order{next(_runs)}x"
    zones = dict(zip(tenants(run), ZONES, strict=True))
    sent = list(records(seed, run, 400, START_MS))
    rng = random.Random(seed)
    shuffled = rng.sample(sent, len(sent))
    edges = [0, *sorted(set(cuts)), len(sent)]
    batches = [shuffled[start:end] for start, end in itertools.pairwise(edges)]
    batches += rng.choices(batches, k=again)

    def client() -> Client:
        return connect(ClickHouseSettings(url=SecretStr(handle.url)))

    writers = {
        topics.RESPONSES: Writer("feedback.responses", ResponseRow._fields, client),
        topics.INTERACTIONS: Writer("feedback.interactions", InteractionRow._fields, client),
    }
    reader = client()
    try:
        reader.insert("feedback.tenants", list(map(list, zones.items())), column_names=["tenant", "timezone"])
        at = sorted(rng.randrange(len(batches) + 1) for _ in range(refreshes))
        for start, end in itertools.pairwise([0, *at, len(batches)]):
            asyncio.run(_write(batches[start:end], writers))
            if end in at:
                refresh(reader, times=2)
        found = Comparison()
        compare_store(found, reader, expect(sent), zones)
    finally:
        reader.close()
        for writer in writers.values():
            writer.close()
    assert found.differences == []
    assert (found.lost, found.twice) == (0, 0)
    assert found.figures > 5_000
