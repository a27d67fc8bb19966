"""Migration files as text: cutting them into statements and filling in what depends on the installation.

A file is plain ClickHouse SQL with these placeholders, so that the same file serves the embedded store, one server
and a cluster:

* `{{on_cluster}}` - `ON CLUSTER name`, or nothing;
* `{{local}}` - `_local` where rows are sharded: the part of a table that one shard holds;
* `{{engine ReplacingMergeTree(version)}}` - that engine, or its Replicated sibling;
* `{{engine everywhere ...}}` - the same for small tables of which every node holds a whole copy;
* `{{distributed NAME by EXPRESSION}}` - a Distributed table over `feedback.NAME_local` where rows are sharded, else
  nothing; `{{drop_distributed NAME}}` takes it away;
* `{{one_node}}` - the statement is for a store of one node; replicated or sharded it is left out.

What follows a line `-- down` takes the migration back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from infra.clickhouse.settings import ClickHouseSettings

_TOKEN = re.compile(
    r"""
    (?P<comment>--[^\n]*|/\*.*?\*/)
    | (?P<quoted>'(?:\\.|''|[^'\\])*'|"(?:\\.|""|[^"\\])*"|`(?:\\.|``|[^`\\])*`|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    | (?P<end>;)
    """,
    re.VERBOSE | re.DOTALL,
)
_DOWN = re.compile(r"^--[ \t]*down[ \t]*$", re.MULTILINE)
_ONE_NODE = re.compile(r"\{\{\s*one_node\s*\}\}")
_PLACEHOLDER = re.compile(r"\{\{\s*(?P<name>\w+)(?P<argument>[^{}]*)\}\}")
_ENGINE = re.compile(r"^(?P<everywhere>everywhere\s+)?(?P<name>\w*MergeTree)(?:\((?P<arguments>.*)\))?$")
_DISTRIBUTED = re.compile(r"^(?P<table>\w+)\s+by\s+(?P<key>.+)$")


class TemplateError(ValueError):
    """A migration file uses a placeholder that does not exist, or in the wrong way."""


@dataclass(frozen=True, slots=True)
class Script:
    """The statements of one migration file, placeholders still in them."""

    up: tuple[str, ...]
    down: tuple[str, ...]


def split_statements(text: str) -> tuple[str, ...]:
    """The statements of `text`, without comments and final semicolons.

    A semicolon ends a statement only outside quotes, comments and heredocs ($$ ... $$).
    """
    statements: list[str] = []
    piece: list[str] = []
    position = 0
    for token in _TOKEN.finditer(text):
        piece.append(text[position : token.start()])
        position = token.end()
        if token["quoted"]:
            piece.append(token[0])
        elif token["end"]:
            statements.append("".join(piece))
            piece = []
    statements.append("".join([*piece, text[position:]]))
    tidy = (re.sub(r"[ \t]+$", "", s, flags=re.MULTILINE).strip() for s in statements)
    return tuple(s for s in tidy if s)


def read_script(text: str) -> Script:
    """Cut a migration file into its way up and its way down."""
    up, *down = _DOWN.split(text)
    if len(down) > 1:
        raise TemplateError("has more than one line `-- down`")
    return Script(split_statements(up), split_statements(down[0]) if down else ())


def render(statement: str, settings: ClickHouseSettings) -> str:
    """`statement` with its placeholders filled in; empty where it says nothing for these settings."""

    if _ONE_NODE.search(statement) and (settings.replicated or settings.sharded):
        return ""

    def fill(match: re.Match[str]) -> str:
        name, argument = match["name"], match["argument"].strip()
        if name == "on_cluster" and not argument:
            return f"ON CLUSTER '{settings.cluster}'" if settings.cluster else ""
        if name == "local" and not argument:
            return "_local" if settings.sharded else ""
        if name == "one_node" and not argument:
            return ""
        if name == "engine":
            return _engine(argument, settings)
        if name == "distributed":
            return _distributed(argument, settings)
        if name == "drop_distributed" and re.fullmatch(r"\w+", argument):
            drop = f"DROP TABLE IF EXISTS feedback.{argument} ON CLUSTER '{settings.cluster}' SYNC"
            return drop if settings.sharded else ""
        raise TemplateError(f"cannot fill in {match[0]}")

    return re.sub(r"[ \t]+$", "", _PLACEHOLDER.sub(fill, statement), flags=re.MULTILINE).strip()


def _engine(argument: str, settings: ClickHouseSettings) -> str:
    match = _ENGINE.match(argument)
    if match is None:
        raise TemplateError(f"not a MergeTree engine: {argument!r}")
    arguments = match["arguments"] or ""
    if not settings.replicated:
        return f"{match['name']}({arguments})"
    # ClickHouse itself fills in {shard}, {replica} (macros of the server), {database} and {table}.
    shard, replica = ("all", "{shard}-{replica}") if match["everywhere"] else ("{shard}", "{replica}")
    place = f"'/clickhouse/tables/{shard}/{{database}}/{{table}}', '{replica}'"
    return f"Replicated{match['name']}({', '.join(filter(None, [place, arguments]))})"


def _distributed(argument: str, settings: ClickHouseSettings) -> str:
    match = _DISTRIBUTED.match(argument)
    if match is None:
        raise TemplateError(f"write {{{{distributed NAME by EXPRESSION}}}}, not {argument!r}")
    if not settings.sharded:
        return ""
    table = f"feedback.{match['table']}"
    return (
        f"CREATE TABLE IF NOT EXISTS {table} ON CLUSTER '{settings.cluster}' AS {table}_local\n"
        f"ENGINE = Distributed('{settings.cluster}', 'feedback', '{match['table']}_local', {match['key']})"
    )
