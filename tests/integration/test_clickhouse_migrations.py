"""Migrations against a real engine: there and back, again, dry, changed behind their back, and broken half-way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from infra.clickhouse.migrate import MigrationError, applied, apply, load_migrations, plan, revert
from infra.clickhouse.settings import ClickHouseSettings
from tests.integration.clickhouse_rig import bare_store, rows_of

SETTINGS = ClickHouseSettings()


@pytest.fixture(scope="module")
def store() -> Iterator[Client]:
    with bare_store() as client:
        yield client


@pytest.fixture
def client(store: Client) -> Iterator[Client]:
    yield store
    store.command("DROP DATABASE IF EXISTS feedback SYNC")
    for row in rows_of(store, "SELECT name FROM system.functions WHERE origin = 'SQLUserDefined'"):
        store.command(f"DROP FUNCTION {row['name']}")


def _objects(client: Client) -> set[str]:
    found = rows_of(client, "SELECT name FROM system.tables WHERE database = 'feedback'")
    functions = rows_of(client, "SELECT name FROM system.functions WHERE origin = 'SQLUserDefined'")
    return {row["name"] for row in found + functions}


def test_there_and_back_and_there_again(client: Client) -> None:
    files = load_migrations()
    assert plan(client, SETTINGS) == files
    assert _objects(client) == set(), "a plan changes nothing"
    steps: list[str] = []
    assert apply(client, SETTINGS, on_step=lambda m: steps.append(m.title)) == files
    assert steps == [m.title for m in files]
    assert {number: name for number, (name, _) in applied(client).items()} == {m.number: m.name for m in files}
    everything = _objects(client)
    assert {"responses", "interactions", "dead_letters", "scores_daily", "npsScore"} <= everything
    assert apply(client, SETTINGS) == [], "a second run has nothing to do"

    assert revert(client, SETTINGS, down_to=4) == files[:3:-1]
    assert sorted(applied(client)) == [1, 2, 3, 4]
    assert revert(client, SETTINGS, down_to=0) == files[3::-1]
    assert _objects(client) == {"migrations"}
    assert apply(client, SETTINGS) == files
    assert _objects(client) == everything


def test_every_file_may_run_twice(client: Client) -> None:
    apply(client, SETTINGS)
    for migration in load_migrations():
        for statement in migration.statements(SETTINGS):
            client.command(statement)


def test_a_file_changed_after_it_was_applied_is_refused(client: Client) -> None:
    files = load_migrations()
    apply(client, SETTINGS)
    changed = [replace(files[0], checksum="0" * 64), *files[1:]]
    with pytest.raises(MigrationError, match=r"0001_responses\.sql was changed after it had been applied"):
        plan(client, SETTINGS, changed)


def test_a_store_made_by_a_newer_version_is_refused(client: Client) -> None:
    apply(client, SETTINGS)
    with pytest.raises(MigrationError, match="made by a newer version"):
        plan(client, SETTINGS, load_migrations()[:2])


def _folder(tmp_path: Path, *bodies: str) -> Path:
    for number, body in enumerate(bodies, 1):
        (tmp_path / f"{number:04d}_step.sql").write_text(body)
    return tmp_path


def test_a_failure_names_file_and_statement_and_the_rest_waits(client: Client, tmp_path: Path) -> None:
    good = "CREATE TABLE IF NOT EXISTS feedback.one (a Int8) ENGINE = {{engine MergeTree}} ORDER BY a;"
    bad = "CREATE TABLE IF NOT EXISTS feedback.two (a Int8) ENGINE = {{engine MergeTree}} ORDER BY a; SELECT nonsense;"
    files = load_migrations(_folder(tmp_path, good, bad, good))
    with pytest.raises(MigrationError, match=r"0002_step\.sql, statement 2 of 2 failed.*(?s:.)*SELECT nonsense"):
        apply(client, SETTINGS, migrations=files)
    assert sorted(applied(client)) == [1]
    mended = load_migrations(_folder(tmp_path, good, bad.replace("SELECT nonsense", "SELECT 1"), good))
    assert [m.number for m in apply(client, SETTINGS, migrations=mended)] == [2, 3]


def test_a_wrong_placeholder_is_found_before_anything_runs(client: Client, tmp_path: Path) -> None:
    files = load_migrations(_folder(tmp_path, "SELECT 1", "SELECT {{nonsense}}"))
    with pytest.raises(MigrationError, match=r"0002_step\.sql: cannot fill in \{\{nonsense\}\}"):
        apply(client, SETTINGS, migrations=files)
    assert _objects(client) == set()


def test_a_migration_without_a_way_back_is_not_taken_back(client: Client, tmp_path: Path) -> None:
    files = load_migrations(_folder(tmp_path, "SELECT 1", "SELECT 2\n-- down\nSELECT 3"))
    apply(client, SETTINGS, migrations=files)
    with pytest.raises(MigrationError, match=r"0001_step\.sql has no `-- down` part"):
        revert(client, SETTINGS, 0, migrations=files)
    assert sorted(applied(client)) == [1, 2], "nothing was taken back before the refusal"


@pytest.mark.parametrize("sharded", [False, True])
def test_what_a_cluster_would_run_is_sql(client: Client, sharded: bool) -> None:
    cluster = ClickHouseSettings(cluster="prod", replicated=True, sharded=sharded)
    for migration in load_migrations():
        for statement in migration.statements(cluster) + migration.statements(cluster, down=True):
            # No cluster here to run it on; but the parser of the engine reads it.
            client.query("SELECT formatQuery({sql:String})", parameters={"sql": statement})
