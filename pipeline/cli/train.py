"""`vocstream train`: weights of your own, measured, with their card."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.console import Failure, err, out

_STEP = re.compile(r"(member \d+ of \d+: )?step ")  # progress: shown until the next line, and not kept


def register(app: typer.Typer) -> None:
    app.command()(train)


def train(
    target: Annotated[Path, typer.Option("--out", help="Folder for weights and their card.md.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of the public corpora; without, our own corpus alone."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed and data give the same weights.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the processor.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Few rows, one epoch: to try it out.")] = False,
    choices: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of any other choice; a wrong name lists them all.")
    ] = None,
) -> None:
    """Train sentiment and topics on top of the default encoder, measure them, and write a model card.

    [dim]vocstream train --out my-heads --quick[/dim]

    [dim]vocstream compare default my-heads my-comments.csv[/dim]

    [dim]VOC_MODEL_HEADS=my-heads vocstream up[/dim]

    Needs no data of yours: the labelled comments that come with the package (models/corpus) are enough. Add lines to
    them, as models/corpus/GUIDE.md says, to teach your own trade. A full run takes an hour or more on one core.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Failure(f"{target} is not an empty folder: choose another, so that no weights are overwritten")
    given = dict(_pair(choice) for choice in choices or [])
    given |= {"seed": seed, "threads": threads}
    from pydantic import ValidationError

    from models.training.settings import TrainSettings
    from models.training.train import train as run

    try:
        settings = TrainSettings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        names = ", ".join(TrainSettings.model_fields)
        raise Failure(f"--set {'.'.join(map(str, first['loc']))}: {first['msg']}; there are {names}") from error
    with err.status("starting") as status:

        def tell(line: str) -> None:
            status.update(line)
            if not _STEP.match(line):
                err.print(line, highlight=False)

        run(data, target, settings=settings, quick=quick, tell=tell)
    out.print(f"Figures: {target / 'card.md'}. To use it: VOC_MODEL_HEADS={target}", highlight=False)


def _pair(text: str) -> tuple[str, Any]:
    """A value that is JSON is read as such, so that lists can be given."""
    name, separator, value = text.partition("=")
    if not separator:
        raise Failure(f"--set {text}: expected NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
