"""Migration files as text: statements, placeholders, and what holds for every file of the project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra.clickhouse.migrate import MigrationError, load_migrations
from infra.clickhouse.settings import ClickHouseSettings
from infra.clickhouse.sql import TemplateError, read_script, render, split_statements

SINGLE = ClickHouseSettings()
CLUSTER = ClickHouseSettings(cluster="prod", replicated=True, sharded=True)
REPLICAS = ClickHouseSettings(cluster="prod", replicated=True)

SAFE_TO_RUN_TWICE = re.compile(
    r"^(CREATE (TABLE|DATABASE|MATERIALIZED VIEW) IF NOT EXISTS |CREATE OR REPLACE (VIEW|FUNCTION) "
    r"|DROP (TABLE|VIEW|FUNCTION) IF EXISTS "
    r"|ALTER TABLE \S+\s+(ON CLUSTER '\w+' )?"
    r"((ADD|DROP|MODIFY) COLUMN IF (NOT )?EXISTS |(MODIFY|RESET) SETTING |MATERIALIZE COLUMN ))"
)


def test_statements_end_at_semicolons_outside_quotes_and_comments() -> None:
    text = """
    -- a comment; with a semicolon
    SELECT 'a;b', "c;d", `e;f`, 'it''s; \\'quoted\\';';  /* not; here */
    SELECT $$ heredoc; $$, $x$ another; $$; $x$ ;
    ;
    SELECT 3
    """
    assert split_statements(text) == (
        """SELECT 'a;b', "c;d", `e;f`, 'it''s; \\'quoted\\';'""",
        "SELECT $$ heredoc; $$, $x$ another; $$; $x$",
        "SELECT 3",
    )


def test_a_comment_sign_within_quotes_is_text() -> None:
    assert split_statements("SELECT '-- no comment', '/* nor */';") == ("SELECT '-- no comment', '/* nor */'",)


def test_down_part_is_cut_off() -> None:
    script = read_script("CREATE A;\n-- down\nDROP A;\n")
    assert (script.up, script.down) == (("CREATE A",), ("DROP A",))
    assert read_script("CREATE A").down == ()
    with pytest.raises(TemplateError, match="more than one"):
        read_script("A;\n-- down\nB;\n-- down\nC;")


def test_placeholders_say_nothing_on_one_server() -> None:
    assert render("CREATE TABLE f.t{{local}} {{on_cluster}}\n(a Int8)", SINGLE) == "CREATE TABLE f.t\n(a Int8)"
    assert render("ENGINE = {{engine ReplacingMergeTree(version, deleted)}}", SINGLE) == (
        "ENGINE = ReplacingMergeTree(version, deleted)"
    )
    assert render("{{distributed t by cityHash64(id)}}", SINGLE) == ""
    assert render("{{drop_distributed t}}", SINGLE) == ""


def test_placeholders_on_a_cluster() -> None:
    assert render("CREATE TABLE f.t{{local}} {{on_cluster}}", CLUSTER) == "CREATE TABLE f.t_local ON CLUSTER 'prod'"
    assert render("CREATE TABLE f.t{{local}} {{on_cluster}}", REPLICAS) == "CREATE TABLE f.t ON CLUSTER 'prod'"
    assert render("{{engine ReplacingMergeTree(v, d)}}", CLUSTER) == (
        "ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', v, d)"
    )
    assert render("{{engine everywhere MergeTree}}", CLUSTER) == (
        "ReplicatedMergeTree('/clickhouse/tables/all/{database}/{table}', '{shard}-{replica}')"
    )
    assert render("{{distributed t by cityHash64(id)}}", CLUSTER) == (
        "CREATE TABLE IF NOT EXISTS feedback.t ON CLUSTER 'prod' AS feedback.t_local\n"
        "ENGINE = Distributed('prod', 'feedback', 't_local', cityHash64(id))"
    )


@pytest.mark.parametrize("text", ["{{cluster}}", "{{engine Log}}", "{{distributed t}}", "{{local x}}"])
def test_a_wrong_placeholder_is_refused(text: str) -> None:
    with pytest.raises(TemplateError):
        render(text, CLUSTER)


@pytest.mark.parametrize("settings", [SINGLE, REPLICAS, CLUSTER], ids=["single", "replicas", "shards"])
def test_every_file_renders_is_safe_to_run_twice_and_has_a_way_back(settings: ClickHouseSettings) -> None:
    for migration in load_migrations():
        up, down = migration.statements(settings), migration.statements(settings, down=True)
        for statement in (*up, *down):
            assert "{{" not in statement
            assert SAFE_TO_RUN_TWICE.match(statement), f"{migration.title}: {statement[:80]}"
            assert ("ON CLUSTER" in statement) == bool(settings.cluster), f"{migration.title}: {statement[:80]}"
        if "REFRESH" not in migration.preview(settings):
            assert len(down) == len(up), f"{migration.title}: not everything is taken back"
        assert migration.preview(settings).startswith(f"-- {migration.title}\n")


def test_every_column_has_a_comment() -> None:
    for migration in load_migrations():
        for statement in migration.statements(SINGLE):
            head = re.match(
                r"CREATE (?:OR REPLACE VIEW|TABLE IF NOT EXISTS) (feedback\.\w+)\s*\n\((.*?)\n\)\n", statement, re.S
            )
            if head is None:  # a function, or a view with parameters: ClickHouse keeps no columns for those
                no_columns = statement.startswith(("ALTER TABLE", "CREATE MATERIALIZED VIEW"))
                assert not no_columns or "ADD COLUMN" not in statement or "COMMENT '" in statement
                told = re.search(r"\nCOMMENT '.* parameters: .*'$", statement)
                assert no_columns or "FUNCTION" in statement or told, statement[:80]
                continue
            columns = re.findall(r"^    (?!PROJECTION)(\w+) (?!COMMENT)", head[2], re.M)
            assert columns
            assert len(columns) == head[2].count("COMMENT '"), head[1]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0001_a.sql", "0003_b.sql"], "leaves out 0002"),
        (["0001_a.sql", "0001_b.sql"], "is used twice"),
        (["1_a.sql"], "name a migration"),
        (["0002_a.sql"], "leaves out 0001"),
    ],
)
def test_files_with_gaps_doubles_and_strange_names_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).write_text("CREATE TABLE IF NOT EXISTS x;")
    with pytest.raises(MigrationError, match=message):
        load_migrations(tmp_path)


def test_other_files_beside_the_migrations_are_let_be(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("SELECT 1; SELECT 2;")
    (tmp_path / "README.md").write_text("words")
    (only,) = load_migrations(tmp_path)
    assert (only.number, only.name, only.script.up) == (1, "a", ("SELECT 1", "SELECT 2"))
