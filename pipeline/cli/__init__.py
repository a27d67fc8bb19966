"""The command line, `vocstream`: one file a group of commands, each a thin layer over the room that does the work.

`run` starts processes, `emit` and `demo` write events, `look` reads what came of them, `admin` prepares the ground,
`classify` asks the model, `quality` measures it, `train`, `models` and `topics` change it. Every command explains
itself with --help; those that a program would read have --json.
"""

from __future__ import annotations

import logging
import os
import sys

import typer
from pydantic import ValidationError

from models.errors import ModelError
from pipeline.cli import admin, alerts, chaos, classify, demo, doctor, emit, look, models, quality, run, topics, train
from pipeline.cli.console import Failure, err
from pipeline.cli.rooms import SETTINGS
from pipeline.settings import PREFIX, UnknownSetting, refuse_unknown

app = typer.Typer(
    name="vocstream",
    help="Customer feedback as a stream: exact NPS, CSAT and CES, and labelled comments, from Kafka to ClickHouse.\n\n"
    "Start with [bold]vocstream demo[/bold], or [bold]vocstream up[/bold] and [bold]vocstream emit[/bold].",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
for module in (run, emit, demo, look, admin, classify, quality, train, models, topics, doctor, chaos, alerts):
    module.register(app)


def main() -> None:
    """Run the command line; a fault of the user's is one red sentence and exit code 2, never a traceback."""
    # What they log on an error is in the error that they raise, which is told once and in our words.
    for library in ("clickhouse_connect", "kafka"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    try:
        refuse_unknown(os.environ, SETTINGS)
        app()
    except Failure as failure:
        err.print(str(failure), style="red", highlight=False, markup=False)
        sys.exit(failure.code)
    except (UnknownSetting, ModelError) as error:
        err.print(str(error), style="red", highlight=False, markup=False)
        sys.exit(2)
    except ValidationError as error:
        prefixes = {room.__name__: str(room.model_config.get("env_prefix")) for room in SETTINGS}
        prefix = prefixes.get(error.title, PREFIX)
        for problem in error.errors(include_url=False, include_input=False):
            name = f"{prefix}{'_'.join(str(part) for part in problem['loc'])}".upper()
            err.print(f"setting {name}: {problem['msg']}", style="red", highlight=False, markup=False)
        sys.exit(2)
