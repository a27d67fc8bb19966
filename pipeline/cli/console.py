"""What every command shares: where to print, and how to fail."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

out = Console()
err = Console(stderr=True)


class Failure(Exception):
    """Something that the user can mend: one sentence of what is wrong and what to do, and the exit code."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


def print_json(content: Any) -> None:
    """One JSON document on standard output, for programs."""
    print(json.dumps(content, ensure_ascii=False, default=str, indent=2))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A table of `rows`; numbers are set to the right."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    body = [list(row) for row in rows]
    for place, name in enumerate(columns):
        numeric = body and all(isinstance(row[place], (int, float)) or row[place] is None for row in body)
        made.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in body:
        made.add_row(*(_cell(value) for value in row))
    return made


def print_records(title: str, records: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Records as a table for people or as JSON for programs."""
    if as_json:
        print_json(list(records))
    elif not records:
        out.print(f"[bold]{title or 'Rows'}[/bold]: none")
    else:
        out.print(table(title, list(records[0]), [list(record.values()) for record in records]))


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
