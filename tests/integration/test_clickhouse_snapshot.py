"""The snapshot behind the scores: what is served is what the facts say, before, during and after every refresh."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from infra.clickhouse.client import connect
from infra.clickhouse.migrate import apply, revert
from infra.clickhouse.settings import ClickHouseSettings
from infra.clickhouse.snapshot import begin, refresh
from schemas.rows import ResponseRow
from tests.integration.clickhouse_expect import DIMENSIONS, assert_cells, counted, local_day, score_cells
from tests.integration.clickhouse_rig import (
    HOUR_MS,
    TENANTS,
    insert_responses,
    labelled,
    migrated_store,
    random_facts,
    random_response,
    rows_of,
    with_noise,
)
from tests.integration.store_stack import StoreHandle, store

SETTINGS = ClickHouseSettings()
_numbers = itertools.count()


def newest(sent: Iterable[ResponseRow]) -> list[ResponseRow]:
    """What FINAL must leave of the rows."""
    kept: dict[tuple[str, ...], ResponseRow] = {}
    for row in sorted(sent, key=lambda r: (r.updated_at, r.digest, -r.received_at, r.label_rank)):
        kept[row.tenant, row.source, row.response_id, row.question] = row
    return [row for row in kept.values() if not row.deleted]


def served_by_tenant(client: Client, tenants: Iterable[str]) -> dict[str, list[tuple[object, ...]]]:
    """What the scores of some tenants are made of."""
    sql = """
        SELECT source, response_id, question, metric, score, sentiment, touchpoint, occurred_on, tenant
        FROM feedback.scored_responses WHERE tenant IN {tenants:Array(String)}"""
    found: dict[str, list[tuple[object, ...]]] = {tenant: [] for tenant in tenants}
    for row in client.query(sql, parameters={"tenants": list(found)}).result_rows:
        found[row[-1]].append(row[:-1])
    return {tenant: sorted(rows) for tenant, rows in found.items()}


def served(client: Client, tenant: str) -> list[tuple[object, ...]]:
    """The same of one tenant."""
    return served_by_tenant(client, [tenant])[tenant]


def right(sent: Iterable[ResponseRow]) -> list[tuple[object, ...]]:
    """The same out of the rows that were sent to a tenant."""
    return sorted(
        (r.source, r.response_id, r.question, r.metric, r.score, r.sentiment, r.touchpoint, local_day(r))
        for r in counted(newest(sent))
    )


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A store with some thousand responses of other tenants, in a snapshot."""
    with migrated_store() as opened:
        insert_responses(opened, with_noise(5, random_facts(4, 2000)))
        refresh(opened, times=2)
        yield opened


@pytest.fixture
def tenant() -> str:
    return f"tenant-{next(_numbers)}"


def _response(tenant: str, identity: int = 1) -> ResponseRow:
    return random_response(random.Random(identity), identity)._replace(
        tenant=tenant, metric="nps", scale="0-10", score=9.0, band="promoter", excluded=0, label_rank=0, sentiment=""
    )


def _later(row: ResponseRow) -> ResponseRow:
    return row._replace(updated_at=row.updated_at + HOUR_MS)


CHANGES = {
    "a late response": lambda row: row._replace(response_id="late", occurred_at=row.occurred_at - 500 * HOUR_MS),
    "a correction": lambda row: _later(row)._replace(score=0.0, band="detractor"),
    "a move to another day": lambda row: _later(row)._replace(occurred_at=row.occurred_at - 90 * HOUR_MS),
    "a move to another touchpoint": lambda row: _later(row)._replace(touchpoint="elsewhere"),
    "a withdrawal": lambda row: _later(row)._replace(deleted=1),
    "a withdrawal dated on another day": lambda row: _later(row)._replace(deleted=1, occurred_at=row.occurred_at + 1e8),
    "kept out of calculations": lambda row: _later(row)._replace(excluded=1),
    "a score taken back": lambda row: _later(row)._replace(score=None, band=""),
    "labels": lambda row: labelled(random.Random(1), row),
    "a duplicate": lambda row: row,
    "an older version that comes late": lambda row: row._replace(updated_at=row.updated_at - HOUR_MS, score=0.0),
}


def test_every_change_is_served_at_once_and_after_the_refresh(client: Client) -> None:
    sent = {change: [_response(change), _response(change, 2)] for change in CHANGES}
    insert_responses(client, [row for rows in sent.values() for row in rows])
    refresh(client, times=2)
    for change, rows in sent.items():
        changed = CHANGES[change](rows[0])
        rows.append(changed._replace(occurred_at=int(changed.occurred_at)))
    expected = {change: right(rows) for change, rows in sent.items()}
    insert_responses(client, [rows[-1] for rows in sent.values()])
    assert served_by_tenant(client, CHANGES) == expected
    client.command("OPTIMIZE TABLE feedback.responses FINAL")  # the older versions are gone from the disk
    assert served_by_tenant(client, CHANGES) == expected
    for _ in range(2):
        refresh(client)
        assert served_by_tenant(client, CHANGES) == expected


ROWS = st.builds(
    lambda identity, day, updated, digest, received, score, deleted, excluded, label: _response("", identity)._replace(
        occurred_at=_response("", identity).occurred_at + day * 24 * HOUR_MS,
        updated_at=updated,
        digest=digest,
        received_at=received,
        score=score,
        band="" if score is None else "promoter" if score > 8 else "detractor",
        deleted=deleted,
        excluded=excluded,
        label_rank=label,
        sentiment="positive" if label else "",
    ),
    *(st.integers(0, n) for n in (3, 2, 3, 1, 1)),
    st.sampled_from([None, 0.0, 9.0]),
    *(st.integers(0, 1) for _ in range(3)),
)
STEPS = st.lists(st.lists(ROWS, min_size=1, max_size=4) | st.sampled_from(["refresh", "merge"]), max_size=6)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_order_of_inserts_merges_and_refreshes_serves_the_facts(
    client: Client, steps: list[list[ResponseRow] | str]
) -> None:
    tenant = f"tenant-{next(_numbers)}"
    sent: list[ResponseRow] = []
    for step in steps:
        if step == "refresh":
            refresh(client)
        elif step == "merge":
            client.command("OPTIMIZE TABLE feedback.responses FINAL")
        elif isinstance(step, list):
            rows = [row._replace(tenant=tenant) for row in step]
            insert_responses(client, rows)
            sent += rows
        assert served(client, tenant) == right(sent)


def test_scores_of_all_tenants_come_from_the_snapshot_and_are_right(client: Client, tenant: str) -> None:
    facts = random_facts(4, 2000)
    insert_responses(client, [_response(tenant)])  # the newest block counts: else what others left behind it is touched
    refresh(client, times=2)
    keys = (*DIMENSIONS, "bucket")
    expected = score_cells(counted(facts), lambda row: [(*(getattr(row, d) for d in DIMENSIONS), local_day(row))])
    daily = f"SELECT * FROM feedback.scores_daily WHERE tenant IN {TENANTS}"
    assert_cells(rows_of(client, daily), keys, expected)
    (touched,) = rows_of(client, "SELECT count() AS n FROM feedback.touched_responses")
    assert touched["n"] == 0, "all that was served came from the snapshot"


def test_what_is_not_touched_is_read_from_the_snapshot(client: Client, tenant: str) -> None:
    refresh(client, times=2)
    client.command(
        f"INSERT INTO feedback.scored_snapshot SELECT * REPLACE ('{tenant}' AS tenant, 0 AS id) "
        "FROM feedback.scored_snapshot LIMIT 1"
    )
    assert len(served(client, tenant)) == 1, "a row that only the snapshot has is served"
    refresh(client)
    assert served(client, tenant) == [], "and each refresh begins anew from the facts"


def test_a_new_time_zone_moves_the_days_at_once(client: Client, tenant: str) -> None:
    row = _response(tenant)._replace(occurred_at=1_767_236_400_000)  # 1 January 2026, 03:00 UTC
    insert_responses(client, [row])
    refresh(client, times=2)
    for zone, day in (("America/Sao_Paulo", "2026-01-01"), ("America/New_York", "2025-12-31"), ("UTC", "2026-01-01")):
        client.insert("feedback.tenants", [[tenant, zone]], column_names=["tenant", "timezone"])
        for _ in range(2):
            (found,) = served(client, tenant)
            assert str(found[-1]) == day, zone
            refresh(client)


def test_inserts_that_race_with_refreshes_are_never_missed_and_never_twice(client: Client, tenant: str) -> None:
    blocks = [[_response(tenant, 100 * b + i) for i in range(20)] for b in range(12)]
    blocks += [[_later(row)._replace(occurred_at=row.occurred_at + 30 * HOUR_MS) for row in b] for b in blocks]
    written = [0]
    done = threading.Event()

    def write() -> None:
        for block in blocks:
            insert_responses(client, block)
            written[0] += 1
        done.set()

    def renew() -> None:
        while not done.is_set():
            refresh(client)

    threads = [threading.Thread(target=write), threading.Thread(target=renew)]
    for thread in threads:
        thread.start()
    try:
        while not done.is_set():
            before = written[0]
            found = served(client, tenant)
            assert len(found) == len({row[1] for row in found}), "counted twice"
            assert len(found) >= min(before, 12) * 20, "written and not served"
    finally:
        for thread in threads:
            thread.join()
    assert served(client, tenant) == right(itertools.chain.from_iterable(blocks))


def _opened(handle: StoreHandle) -> Client:
    return connect(ClickHouseSettings(url=SecretStr(handle.url)))


@pytest.mark.timeout(600)  # four starts of a store
def test_a_store_killed_in_a_refresh_comes_back_right(tmp_path: Path) -> None:
    with store(tmp_path / "store") as handle:
        client = _opened(handle)
        apply(client, SETTINGS)
        tables = {row["name"] for row in rows_of(client, "SELECT name FROM system.tables WHERE database = 'feedback'")}
        sent = [_response("plain", i) for i in range(3000)]
        insert_responses(client, sent)
        refresh(client, times=2)
        for attempt in range(3):
            changed = [_later(row)._replace(updated_at=attempt + row.updated_at, score=0.0) for row in sent[:100]]
            insert_responses(client, changed)
            sent += changed
            begin(client)
            handle.kill()
            handle.restart()
            client = _opened(handle)
            assert served(client, "plain") == right(sent)
        refresh(client, times=2)
        assert served(client, "plain") == right(sent)
        left = {row["name"] for row in rows_of(client, "SELECT name FROM system.tables WHERE database = 'feedback'")}
        assert left == tables, "a refresh that was cut off leaves nothing behind"


def test_without_the_snapshot_the_same_is_served(client: Client) -> None:
    with_snapshot = served_by_tenant(client, TENANTS)
    revert(client, SETTINGS, down_to=13)
    try:
        assert served_by_tenant(client, TENANTS) == with_snapshot
    finally:
        apply(client, SETTINGS)
    assert served_by_tenant(client, TENANTS) == with_snapshot
