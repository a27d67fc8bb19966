"""`vocstream emit`: a file of events or of comments onto the topics."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from kafka.errors import KafkaError, MessageSizeTooLargeError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipeline.cli.console import Failure, err, out, print_json
from pipeline.cli.rooms import DEFAULT_DATA, DataOption, JsonOption, stream_settings
from pipeline.files import BadLine, BadMapping, Mapping, read_messages
from pipeline.producer import Message, Producer

_MOST_REPORTED = 20


def register(app: typer.Typer) -> None:
    app.command()(emit)


def emit(
    file: Annotated[Path, typer.Argument(help="JSON Lines or CSV; - is standard input.", allow_dash=True)],
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=FIELD", help="A column of the file and its field; may be repeated."),
    ] = None,
    constants: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Field with one value for all lines; may be repeated."),
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Report bad lines and go on.")] = False,
    data: DataOption = DEFAULT_DATA,
    json_output: JsonOption = False,
) -> None:
    """Emit the events of a FILE and wait until the broker has acknowledged every one.

    Without --map a line is a CloudEvents envelope of an interaction or a response (JSON Lines). With --map a line is
    a row of comments, and becomes a response:

    [dim]vocstream emit reviews.csv --map text=comment --map rating=score --set metric=stars --set tenant=acme[/dim]

    Emitting a file again changes nothing: a row keeps its identity (file name and line, unless response_id is mapped).
    """
    if str(file) != "-" and not file.is_file():
        raise Failure(f"there is no file {file}")
    try:
        mapping = Mapping.parse(columns or [], constants or []) if columns or constants else None
        _emit(file, mapping, skip_bad, data, json_output)
    except BadMapping as error:
        raise Failure(str(error)) from error
    except MessageSizeTooLargeError as error:
        raise Failure(f"the broker's limit is smaller than an event of {file}: {error}") from error
    except KafkaError as error:
        raise Failure(f"the broker did not acknowledge: {error!r}. Is it running? vocstream status", code=1) from error


def _emit(file: Path, mapping: Mapping | None, skip_bad: bool, data: Path, json_output: bool) -> None:
    bad: list[BadLine] = []
    producer = Producer(stream_settings(data).kafka_brokers, retry_for=30.0)
    with contextlib.closing(producer), _progress(json_output) as progress:
        task = progress.add_task(f"emit {file.name}", total=None)

        def good() -> Iterator[Message]:
            for count, line in enumerate(read_messages(file, mapping), 1):
                if isinstance(line, BadLine):
                    bad.append(line)
                    if not skip_bad:
                        return
                    if len(bad) <= _MOST_REPORTED:
                        err.print(f"line {line.number}: {line.error}", style="yellow", highlight=False, markup=False)
                else:
                    yield line
                progress.update(task, total=count)

        acknowledged = producer.send_all(good(), lambda n: progress.advance(task, n))
    if bad and not skip_bad:
        raise Failure(
            f"line {bad[0].number}: {bad[0].error}. {acknowledged} events before it are acknowledged. "
            "Mend the line, or skip such lines with --skip-bad; emitting again repeats nothing."
        )
    if json_output:
        print_json({"acknowledged": acknowledged, "bad": [line._asdict() for line in bad]})
    else:
        out.print(
            f"[green]{acknowledged:,} acknowledged[/green]" + (f", {len(bad):,} bad lines skipped" if bad else "")
        )


def _progress(quiet: bool) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=quiet,
    )
