"""Connecting to a real store: wrong passwords, several at once migrating, a kill -9, and a user who only reads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from pydantic import SecretStr

from infra.clickhouse.client import connect, wait_for_clickhouse
from infra.clickhouse.migrate import apply, plan
from infra.clickhouse.settings import ClickHouseSettings
from tests.integration.clickhouse_rig import insert_responses, random_facts, rows_of
from tests.integration.store_stack import StoreHandle, store


@pytest.fixture(scope="module")
def handle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreHandle]:
    with store(Path(tmp_path_factory.mktemp("store"))) as running:
        yield running


def test_a_wrong_password_is_said_at_once(handle: StoreHandle) -> None:
    wrong = ClickHouseSettings(url=SecretStr(handle.url.replace("@", "x@")))
    with pytest.raises(DatabaseError, match="AUTHENTICATION_FAILED"):
        wait_for_clickhouse(wrong, 60, sleep=lambda _: pytest.fail("waited for a password to get right"))


def test_several_may_migrate_at_once(handle: StoreHandle) -> None:
    settings = ClickHouseSettings(url=SecretStr(handle.url))
    failures: list[Exception] = []

    def migrate() -> None:
        try:
            with connect(settings) as client:
                apply(client, settings)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=migrate) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with connect(settings) as client:
        assert plan(client, settings) == []


def test_views_and_functions_outlive_a_kill_and_serve_a_reader(handle: StoreHandle) -> None:
    settings = ClickHouseSettings(url=SecretStr(handle.url))
    with connect(settings) as client:
        apply(client, settings)
        insert_responses(client, random_facts(51, 300))
        before = rows_of(client, "SELECT * FROM feedback.scores_monthly ORDER BY ALL")
    handle.kill()
    handle.restart()
    with wait_for_clickhouse(settings, 30) as client:
        assert plan(client, settings) == []
    reader = connect(ClickHouseSettings(url=SecretStr(handle.reader_url)))
    assert rows_of(reader, "SELECT * FROM feedback.scores_monthly ORDER BY ALL") == before
    for view in rows_of(reader, "SELECT name FROM system.tables WHERE database = 'feedback' AND engine = 'View'"):
        if not rows_of(
            reader, f"SELECT 1 FROM system.columns WHERE database = 'feedback' AND table = '{view['name']}'"
        ):
            continue  # with parameters
        reader.query(f"SELECT * FROM feedback.{view['name']} LIMIT 1")
    period = "since = '2026-01-01', until = '2026-04-01'"
    call = f"feedback.drivers(tenant = 'acme', metric = 'nps', dimension = 'topic', {period})"
    assert rows_of(reader, f"SELECT * FROM {call}")
    with pytest.raises(DatabaseError):
        reader.command("DROP VIEW feedback.topics")
