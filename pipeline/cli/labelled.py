"""Files of labelled comments as the commands read them: every bad line is told with its file and number."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated, Any

import typer

from models.labelled import LabelError, Labelled
from pipeline.cli.console import Failure
from pipeline.files import BadLine, read_rows

SHOWN = 5  # bad lines that are told
FORMAT = (
    "\n\nA file is JSON Lines or CSV, a comment a row: [bold]text[/bold] (or comment); [bold]label[/bold] (negative, "
    "neutral, positive), [bold]sentiment[/bold] (five levels or mixed) or [bold]topics[/bold] "
    "(delivery.delay:negative product.quality); and, if known, [bold]language[/bold]."
)
FileArgument = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="Labelled comments, JSON Lines or CSV.", show_default=False)
]
SplitOption = Annotated[str | None, typer.Option(help="Only rows whose column `split` says this.", show_default=False)]
LimitOption = Annotated[
    int | None, typer.Option(min=1, help="At most this many rows of a file, always the same ones, from all over it.")
]


def labelled_rows(file: Path, split: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """The rows of a file, each checked to be a labelled comment. Raises Failure that says which are not, and why."""
    rows, bad, splits, total = [], [], set(), 0
    for number, row in read_rows(file):
        total += 1
        if isinstance(row, BadLine):
            bad.append(f"line {number}: {row.error}")
            continue
        splits.add(str(row.get("split", "")))
        if split is not None and row.get("split") != split:
            continue
        try:
            Labelled.of(row)
        except LabelError as error:
            bad.append(f"line {number}: {error}")
            continue
        rows.append(row)
    if bad:
        more = f"\n... and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        told = "\n".join(f"{file}, {line}" for line in bad[:SHOWN])
        raise Failure(f"{told}{more}\n{len(bad)} of {total} rows cannot be used: mend or remove them, then try again.")
    if not rows:
        there = ", ".join(sorted(splits - {""})) or "none"
        raise Failure(f"{file} has no comment" + (f" of the split {split!r}; its splits: {there}" if split else ""))
    if limit is not None and len(rows) > limit:
        chosen = sorted(random.Random(3).sample(range(len(rows)), limit))
        rows = [rows[at] for at in chosen]
    return rows
