"""`vocstream chaos`: try to break the scores, with faults that a seed replays."""

from __future__ import annotations

import random
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.console import Failure, err, out, print_records
from pipeline.cli.rooms import JsonOption
from schemas.labels import Labels

_PORTS = 10  # that one set of parts may need
_SHOWN = 20
# With fewer bits the label of a close case depends on what else is in its batch, and batches are cut by the faults.
_SAME_LABELS = {"VOC_MODEL_PRECISION": "fp32"}


def register(app: typer.Typer) -> None:
    app.command()(chaos)


def chaos(
    seed: Annotated[int | None, typer.Option(help="First seed; drawn and printed where none is given.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, one after the other.")] = 1,
    faults: Annotated[int, typer.Option(min=0, help="Faults of each seed.")] = 20,
    events: Annotated[int, typer.Option(min=1, help="Records of each seed.")] = 6_000,
    seconds: Annotated[float, typer.Option(min=1, help="How long records are sent and faults happen.")] = 40.0,
    workers: Annotated[int, typer.Option(min=1, max=4, help="Workers of the score lane.")] = 2,
    labels: Annotated[bool, typer.Option("--labels", help="Run and break a worker of the label lane too.")] = False,
    port_base: Annotated[int | None, typer.Option(min=1024, max=65000, help="First port; default: free ones.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Kill, pause and restart the parts under load, then compare every score with a recomputation.

    Broker, store, workers and collector of its own, on a folder that is removed when all was right. A seed makes the
    stream (duplicates, edits, junk, late and future events; some of it over HTTP) and the faults: the same seed replays
    both. Exit code 1 when an event was lost or counted twice, or a figure is not what plain Python says.

    [dim]vocstream chaos --seed 7 --faults 20[/dim]
    """
    from pipeline.chaos.faults import plan
    from pipeline.chaos.parts import parts
    from pipeline.chaos.play import NotDrained, Outcome, play

    first = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    folder = Path(tempfile.mkdtemp(prefix="vocstream-chaos-"))
    outcomes: list[Outcome] = []

    def tell(line: str) -> None:
        err.print(line, style="dim", highlight=False, markup=False)

    label = _labeler() if labels else None
    err.print(f"seeds {first} to {first + seeds - 1}; state and logs in {folder}", highlight=False)
    try:
        with parts(
            folder, port_base or _free_ports(), score_workers=workers, labels=labels, environment=_SAME_LABELS
        ) as stack:
            names = [part.name for part in stack.all()]
            for number in range(first, first + seeds):
                err.print(f"seed {number}", style="bold", highlight=False)
                planned = plan(number, faults, seconds, names)
                outcomes.append(play(stack, number, planned, count=events, seconds=seconds, label=label, tell=tell))
                if not outcomes[-1].exact:
                    break
    except (NotDrained, TimeoutError) as failure:
        print_records("Chaos", list(map(_record, outcomes)), as_json=json_output)
        raise Failure(
            f"{failure}\nReplay with --seed {first + len(outcomes)}; logs in {folder / 'logs'}", 1
        ) from failure
    print_records("Chaos", list(map(_record, outcomes)), as_json=json_output)
    if not outcomes[-1].exact:
        for difference in outcomes[-1].differences[:_SHOWN]:
            err.print(str(difference), style="red", highlight=False, markup=False)
        raise Failure(f"seed {outcomes[-1].seed} broke it; replay with --seed {outcomes[-1].seed}; kept: {folder}", 1)
    _remove(folder)
    if not json_output:
        out.print("[green]Exact: nothing lost, nothing twice, every figure equal.[/green]")


def _labeler() -> Callable[[Sequence[str]], list[Labels]]:
    """The model itself, asked beside the stream."""
    from models.labeler import Labeler
    from models.settings import ModelSettings

    return Labeler.load(ModelSettings(precision="fp32")).label


def _record(outcome: Any) -> dict[str, Any]:
    """`http`: of the events, through the collector; `again`: sent again by us; `died`: parts that ended by themselves;
    `looks`: at the scores while it went on; `wrong`: of the `figures` compared."""
    return {
        "seed": outcome.seed,
        "events": outcome.sent,
        "http": outcome.over_http,
        "again": outcome.resent,
        "faults": outcome.faults,
        "died": len(outcome.died_by_themselves),
        "lost": outcome.lost,
        "twice": outcome.twice,
        "looks": outcome.looks,
        "figures": outcome.figures,
        "wrong": len(outcome.differences),
        "seconds": round(outcome.seconds, 1),
    }


def _free_ports() -> int:
    """The first of `_PORTS` ports that nobody listens on, below those that outgoing connections are given."""
    rng = random.Random(time.time_ns())
    while True:
        base = rng.randrange(12_000, 30_000)
        with suppress(OSError):
            for port in range(base, base + _PORTS):
                with closing(socket.socket()) as probe:
                    probe.bind(("127.0.0.1", port))
            return base


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
