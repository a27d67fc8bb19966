"""Commands that run processes: `up` for everything on one machine, and each part by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.console import Failure, out, print_json, table
from pipeline.cli.rooms import DEFAULT_DATA, DataOption, JsonOption, clickhouse_settings, stream_settings

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class Lane(StrEnum):
    """Which lane a worker works in."""

    SCORES = "scores"
    LABELS = "labels"


def register(app: typer.Typer) -> None:
    for command in (up, worker, store, broker, collector):
        app.command()(command)


def up(
    data: DataOption = DEFAULT_DATA,
    port_base: Annotated[
        int, typer.Option(min=1024, max=65000, help="First port; Kafka gets it, the other parts the next ones.")
    ] = 9600,
    json_output: JsonOption = False,
) -> None:
    """Start everything on this machine, keep it running, stop it with Ctrl-C.

    Broker, store, collector, sentinel and one worker a lane, on 127.0.0.1. All state is kept below --data. When
    everything is ready, --data/addresses.json says where it is. With VOC_KAFKA_BROKERS or VOC_CLICKHOUSE_URL set, those
    are used instead.
    """
    from pipeline.models_at_hand import ensure_models

    ensure_models()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_up(data, port_base, json_output))


async def _up(data: Path, port_base: int, json_output: bool) -> None:
    from pipeline.local import DataInUse, running
    from pipeline.supervisor import PartFailed

    stopped, ready = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)

    def tell(part: str, what: str) -> None:
        if not json_output:
            out.print(f"[dim]{part:>14}[/dim]  {what}", highlight=False)

    async def run_until_stopped() -> None:
        async with running(data, port_base, tell) as addresses:
            ready.set()
            if json_output:
                print_json(addresses)
            else:
                out.print(table("Everything is ready", ["part", "address"], addresses.items()))
                out.print(
                    f"State in {data}, logs in {data / 'logs'}. Try: vocstream status --data {data}. Ctrl-C stops."
                )
            await stopped.wait()

    job = asyncio.create_task(run_until_stopped())
    halt = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({job, halt}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.is_set():  # told to stop while still starting
            job.cancel()
        await job
    except asyncio.CancelledError:
        pass
    except DataInUse as failure:
        raise Failure(str(failure), code=1) from failure
    except PartFailed as failure:
        raise Failure(f"{failure}\nThe whole log: {data / 'logs'}", code=1) from failure
    finally:
        halt.cancel()


def worker(
    lane: Annotated[Lane, typer.Option(help="[bold]scores[/bold] needs no model; [bold]labels[/bold] does.")],
    data: Annotated[Path, typer.Option("--data", help="Folder for what the stream library keeps.")] = Path(
        "data/worker"
    ),
) -> None:
    """Run one worker of one lane. Start as many as a topic has partitions; Kafka shares the work out."""
    from pipeline.worker import run_worker

    logging.basicConfig(level=logging.WARNING, format=LOG_FORMAT)
    logging.getLogger("pipeline").setLevel(logging.INFO)
    run_worker(lane.value, data, stream_settings(), clickhouse_settings())


def store(
    data: Annotated[Path, typer.Option("--data", help="Folder of the tables.")] = Path("data/store"),
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1 of ClickHouse's HTTP interface.")] = 9601,
) -> None:
    """Run the embedded store: the ClickHouse engine behind ClickHouse's HTTP interface."""
    from infra.store.server import run
    from infra.store.settings import StoreSettings

    _serve(run(StoreSettings(data=data, port=port)))


def broker(
    data: Annotated[Path, typer.Option("--data", help="Folder of the records.")] = Path("data/broker"),
    port: Annotated[int, typer.Option(help="Kafka port on 127.0.0.1.")] = 9600,
) -> None:
    """Run the embedded broker: Kafka's protocol over one SQLite file."""
    from infra.broker.server import run
    from infra.broker.settings import BrokerSettings

    _serve(run(BrokerSettings(data=data, port=port)))


def collector(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="HTTP port; default: VOC_COLLECTOR_PORT, or 9605.")
    ] = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Take events over HTTP and write them to Kafka, for apps that have no Kafka client.

    POST /v1/events takes CloudEvents: one (application/cloudevents+json, or plain application/json), a batch
    (application/cloudevents-batch+json, or a list), or the data alone with ce-* headers. The answer is 202 when the
    broker has acknowledged every event, 400 with what is wrong with which event, and 503 when it is to be sent again.

    [dim]curl -H 'Content-Type: application/cloudevents+json' http://127.0.0.1:9605/v1/events -d '{"specversion": "1.0",
    "id": "e-1", "source": "shop/app", "type": "vocstream.response.v1",
    "data": {"tenant": "acme", "response_id": "r-1", "metric": "nps", "score": 9}}'[/dim]

    A token (VOC_COLLECTOR_TOKEN), limits and the address are settings: docs/settings.md. GET /health says how it is.
    Start as many as you like, behind any load balancer.
    """
    from pipeline.collector.server import run
    from pipeline.collector.settings import CollectorSettings

    settings = CollectorSettings() if port is None else CollectorSettings(port=port)
    _serve(run(settings, stream_settings(data).kafka_brokers))


def _serve(service: Coroutine[Any, Any, None]) -> None:
    import uvloop

    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    try:
        uvloop.run(service)
    except (RuntimeError, OSError, ValueError) as error:  # a port or folder in use, a binary that is not there
        raise Failure(str(error), code=1) from error
