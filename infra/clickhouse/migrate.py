"""Numbered migrations: from the files of `migrations/` to the tables, functions and views of the store.

`NNNN_name.sql` files are applied in order, each once. The ledger `feedback.migrations` is a log: a row for each
migration applied or taken back, with the checksum of the file. A file that was applied and changed since, a gap in
the numbers, or a ledger that knows more than the files do, is refused before anything runs.

ClickHouse has no transaction around DDL. So each statement is written to be safe to run twice (IF NOT EXISTS,
OR REPLACE), and a migration enters the ledger after its last statement: one that broke half-way runs again whole.

    settings = ClickHouseSettings()
    with connect(settings) as client:
        for migration in plan(client, settings):
            print(migration.preview(settings))   # the dry run
        apply(client, settings)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from infra.clickhouse.settings import ClickHouseSettings
from infra.clickhouse.sql import Script, TemplateError, read_script, render

DATABASE = "feedback"
_FILE = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")

_LEDGER = (
    f"CREATE DATABASE IF NOT EXISTS {DATABASE} {{{{on_cluster}}}}",
    f"""CREATE TABLE IF NOT EXISTS {DATABASE}.migrations {{{{on_cluster}}}}
(
    number UInt32 COMMENT 'Number of the file',
    name String COMMENT 'Name of the file without its number',
    checksum String COMMENT 'SHA-256 of the file as applied',
    action LowCardinality(String) COMMENT 'applied or reverted; the last row of a number counts',
    applied_at DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'When it was applied or reverted'
)
ENGINE = {{{{engine everywhere MergeTree}}}}
ORDER BY (number, applied_at)
COMMENT 'Ledger of the migrations of this database'""",
)


class MigrationError(RuntimeError):
    """The migrations cannot go on; the message names the file, the statement and what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    checksum: str
    script: Script

    @property
    def title(self) -> str:
        """`0001_responses`."""
        return f"{self.number:04d}_{self.name}"

    def statements(self, settings: ClickHouseSettings, *, down: bool = False) -> list[str]:
        """The SQL to run, placeholders filled in."""
        try:
            rendered = [render(s, settings) for s in (self.script.down if down else self.script.up)]
        except TemplateError as error:
            raise MigrationError(f"{self.title}.sql: {error}") from error
        return [s for s in rendered if s]

    def preview(self, settings: ClickHouseSettings, *, down: bool = False) -> str:
        """The SQL as one text, for a dry run."""
        body = ";\n\n".join(self.statements(settings, down=down))
        return f"-- {self.title}{' (down)' if down else ''}\n{body};\n"


def load_migrations(folder: Traversable | None = None) -> list[Migration]:
    """All migration files in order. Raises MigrationError on a strange name, a gap or a number used twice."""
    folder = folder or resources.files("infra.clickhouse.migrations")
    found: list[Migration] = []
    for file in sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name):
        match = _FILE.match(file.name)
        if match is None:
            raise MigrationError(f"{file.name}: name a migration NNNN_what_it_does.sql")
        data = file.read_bytes()
        try:
            script = read_script(data.decode())
        except ValueError as error:
            raise MigrationError(f"{file.name}: {error}") from error
        found.append(Migration(int(match[1]), match[2], hashlib.sha256(data).hexdigest(), script))
    for expected, migration in enumerate(found, 1):
        if migration.number != expected:
            what = "is used twice" if migration.number < expected else f"leaves out {expected:04d}"
            raise MigrationError(f"{migration.title}.sql: the number {what}; number the files 0001, 0002, ...")
    return found


def applied(client: Client) -> dict[int, tuple[str, str]]:
    """What the ledger says is in place: number -> (name, checksum). Empty where there is no ledger yet."""
    known = client.query(f"SELECT count() FROM system.tables WHERE database = '{DATABASE}' AND name = 'migrations'")
    if known.result_rows[0][0] == 0:
        return {}
    rows = client.query(
        f"SELECT number, argMax(name, applied_at), argMax(checksum, applied_at) FROM {DATABASE}.migrations "
        "GROUP BY number HAVING argMax(action, applied_at) = 'applied' ORDER BY number"
    ).result_rows
    return {int(number): (str(name), str(checksum)) for number, name, checksum in rows}


def plan(client: Client, settings: ClickHouseSettings, migrations: list[Migration] | None = None) -> list[Migration]:
    """The migrations still to be applied, in order, after checking files against ledger. Changes nothing."""
    migrations = load_migrations() if migrations is None else migrations
    done = applied(client)
    by_number = {m.number: m for m in migrations}
    for number, (name, checksum) in done.items():
        migration = by_number.get(number)
        if migration is None:
            raise MigrationError(
                f"the store has migration {number:04d}_{name}, which this version does not know: "
                "it was made by a newer version; use that one"
            )
        if migration.checksum != checksum:
            raise MigrationError(
                f"{migration.title}.sql was changed after it had been applied: restore the file, "
                "and put the change into a new migration"
            )
    pending = [m for m in migrations if m.number not in done]
    if pending and done and pending[0].number < max(done):
        raise MigrationError(
            f"{pending[0].title} is not applied, but {max(done):04d} after it is: "
            "give the new file the next free number"
        )
    for migration in pending:  # a placeholder that cannot be filled in is found before anything runs
        migration.statements(settings)
    return pending


def apply(
    client: Client,
    settings: ClickHouseSettings,
    *,
    migrations: list[Migration] | None = None,
    on_step: Callable[[Migration], None] = lambda migration: None,
) -> list[Migration]:
    """Apply what is pending and say what was. `on_step` is called before each migration."""
    pending = plan(client, settings, migrations)
    for statement in _LEDGER:
        client.command(render(statement, settings))
    for migration in pending:
        on_step(migration)
        _run(client, migration, migration.statements(settings))
        _log(client, migration, "applied")
    return pending


def revert(
    client: Client,
    settings: ClickHouseSettings,
    down_to: int,
    *,
    migrations: list[Migration] | None = None,
    on_step: Callable[[Migration], None] = lambda migration: None,
) -> list[Migration]:
    """Take back, newest first, every migration above number `down_to`. Tables are dropped with their rows."""
    migrations = load_migrations() if migrations is None else migrations
    plan(client, settings, migrations)
    done = applied(client)
    back = [m for m in reversed(migrations) if m.number in done and m.number > down_to]
    for migration in back:
        if not migration.script.down:
            raise MigrationError(f"{migration.title}.sql has no `-- down` part and cannot be taken back")
    for migration in back:
        on_step(migration)
        _run(client, migration, migration.statements(settings, down=True))
        _log(client, migration, "reverted")
    return back


def _run(client: Client, migration: Migration, statements: list[str]) -> None:
    for index, statement in enumerate(statements, 1):
        try:
            client.command(statement)
        except ClickHouseError as error:
            raise MigrationError(
                f"{migration.title}.sql, statement {index} of {len(statements)} failed: {error}\n{statement}"
            ) from error


def _log(client: Client, migration: Migration, action: str) -> None:
    row = [migration.number, migration.name, migration.checksum, action]
    client.insert(f"{DATABASE}.migrations", [row], column_names=["number", "name", "checksum", "action"])
