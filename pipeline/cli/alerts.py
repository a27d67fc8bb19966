"""Commands of the sentinel: `sentinel` runs it, `alerts ...` looks at alerts, answers them and tries things out."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from clickhouse_connect.driver.exceptions import ClickHouseError

from infra.clickhouse.client import ClickHouseAway, connect, wait_for_clickhouse
from pipeline.cli.console import Failure, out, print_json, print_records
from pipeline.cli.rooms import DEFAULT_DATA, DataOption, JsonOption, clickhouse_settings, stream_settings

alerts = typer.Typer(
    help="Alerts: check the configuration, list, acknowledge, snooze, replay the past.", no_args_is_help=True
)
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="YAML of receivers and rules; default: alerts.yaml in --data, if there.")
]
AlertArgument = Annotated[str, typer.Argument(help="Id of the alert, or the beginning of it.")]


def register(app: typer.Typer) -> None:
    app.command()(sentinel)
    app.add_typer(alerts, name="alerts")


def sentinel(
    config: ConfigOption = None,
    data: DataOption = DEFAULT_DATA,
    topic: Annotated[bool, typer.Option(help="Also write notices to topic feedback.alerts.")] = True,
) -> None:
    """Watch every series and tell people of spikes. Start as many as you like: one is active, the others stand by."""
    from functools import partial

    from pipeline.alerts.delivery.topic import Topic
    from pipeline.alerts.sentinel import Sentinel

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kafka").setLevel(logging.ERROR)
    stream = stream_settings(data)
    extra = (Topic(stream.kafka_brokers),) if topic else ()
    service = Sentinel(
        partial(connect, clickhouse_settings(data)), _config(config, data), extra=extra, health_port=stream.health_port
    )

    async def run() -> None:
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        await service.run(stopped)

    asyncio.run(run())
    for one in extra:
        one.close()


@alerts.command()
def check(config: ConfigOption = None, data: DataOption = DEFAULT_DATA, json_output: JsonOption = False) -> None:
    """Check the configuration, and show what would be watched: the series with answers in the last day."""
    import time

    from pipeline.alerts.detector import Detector
    from pipeline.alerts.rows import Rows
    from pipeline.alerts.series import count

    found = _config(config, data)
    rows = Rows(Detector(), ignored=frozenset(found.ignore))
    with closing(_client(data)) as client:
        now = time.time()
        count(client, rows, now - 86_400, now, [now - 86_400, now])
    watched: dict[tuple[str, str, str], int] = {}
    for key in rows.keys:
        place = (key.tenant, key.dimension, key.measure.value)
        watched[place] = watched.get(place, 0) + 1
    records = [
        {"tenant": tenant, "dimension": dimension, "measure": measure, "series": number}
        for (tenant, dimension, measure), number in sorted(watched.items())
    ]
    receivers = [
        {"receiver": one.name, "type": one.type, "tenants": ", ".join(one.tenants) or "all"} for one in found.receivers
    ]
    rules = [one.model_dump(mode="json", exclude_none=True) for one in found.rules]
    if json_output:
        print_json({"watched": records, "receivers": receivers, "rules": rules})
        return
    print_records("Watched: answers in the last day", records, as_json=False)
    print_records("Receivers", receivers, as_json=False)
    print_records("Rules", rules, as_json=False)
    out.print("[green]The configuration is good.[/green]")


@alerts.command("test")
def try_out(
    receiver: Annotated[str, typer.Argument(help="Name of a receiver in the configuration.")],
    config: ConfigOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Send a made-up alert to RECEIVER, firing and then resolved, and say whether it was taken."""
    from pipeline.alerts.delivery import make
    from pipeline.alerts.example import example, resolved

    found = {one.name: one for one in _config(config, data).receivers}
    if receiver not in found:
        raise Failure(f"no receiver is called {receiver}; there are: {', '.join(found) or 'none'}")

    async def both() -> None:
        target = make(found[receiver])
        alert = example(datetime.now(UTC))
        await target.send(alert)
        await target.send(resolved(alert, datetime.now(UTC)))

    try:
        asyncio.run(both())
    except Exception as error:
        raise Failure(f"{receiver} did not take it: {type(error).__name__}: {error}", code=1) from error
    out.print(f"[green]{receiver} took both notices.[/green]")


@alerts.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    data: DataOption = DEFAULT_DATA,
    json_output: JsonOption = False,
) -> None:
    """Show the alerts that are open, the latest first."""
    from pipeline.alerts.store import AlertStore

    with closing(_client(data)) as client:
        found = AlertStore(client).alerts("1" if every else "status != 'resolved'", limit=200)
    if json_output:
        print_json([alert.model_dump(mode="json") for alert in found])
        return
    records = [
        {"id": a.alert_id[:8], "status": a.status.value, "since": f"{a.started_at:%Y-%m-%d %H:%M}", "what": a.summary}
        for a in found
    ]
    print_records("Alerts", records, as_json=False)


@alerts.command()
def ack(
    alert: AlertArgument,
    by: Annotated[str, typer.Option(help="Who takes care of it.")] = "",
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Say that somebody takes care of an alert."""
    from schemas.alerts import Status

    _revise(data, alert, {"status": Status.ACKNOWLEDGED, "acknowledged_by": by, "snoozed_until": None})
    out.print("[green]Acknowledged.[/green]")


@alerts.command()
def snooze(
    alert: AlertArgument,
    minutes: Annotated[int, typer.Option(min=1, help="It speaks again after so long, if it still burns.")] = 60,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Let an alert be quiet for a while."""
    from schemas.alerts import Status

    until = datetime.now(UTC) + timedelta(minutes=minutes)
    _revise(data, alert, {"status": Status.SNOOZED, "snoozed_until": until})
    out.print(f"[green]Quiet until {until:%H:%M} UTC.[/green]")


@alerts.command()
def replay(
    begin: Annotated[datetime, typer.Option("--from", help="From when, UTC.")],
    end: Annotated[datetime, typer.Option("--to", help="Until when, UTC.")],
    plot: Annotated[Path | None, typer.Option(help="Write a picture (PNG) here; needs matplotlib.")] = None,
    step: Annotated[int, typer.Option(min=10, help="Seconds between looks.")] = 300,
    config: ConfigOption = None,
    data: DataOption = DEFAULT_DATA,
    json_output: JsonOption = False,
) -> None:
    """Show what would have fired on the past, with the configuration as it is now. Changes and sends nothing."""
    from pipeline.alerts import replay as past

    with closing(_client(data)) as client:
        found = past.replay(
            client,
            _config(config, data),
            begin.replace(tzinfo=UTC).timestamp(),
            end.replace(tzinfo=UTC).timestamp(),
            step,
        )
        if plot is not None:
            try:
                past.plot(client, found, begin.replace(tzinfo=UTC), end.replace(tzinfo=UTC), plot)
            except ModuleNotFoundError as error:
                raise Failure("a picture needs matplotlib: pip install matplotlib", code=1) from error
    if json_output:
        print_json([alert.model_dump(mode="json") for alert in found])
        return
    records = [
        {
            "fired": f"{a.fired_at:%Y-%m-%d %H:%M}",
            "resolved": f"{a.resolved_at:%Y-%m-%d %H:%M}" if a.resolved_at else "–",
            "what": a.summary,
        }
        for a in found
    ]
    print_records("What would have fired", records, as_json=False)


def _config(path: Path | None, data: Path):  # type: ignore[no-untyped-def]  # AlertConfig; imported when it is needed
    from pipeline.alerts.config import ConfigError, load_config

    if path is None and (data / "alerts.yaml").exists():
        path = data / "alerts.yaml"
    try:
        return load_config(path)
    except ConfigError as error:
        raise Failure(str(error)) from error


def _client(data: Path):  # type: ignore[no-untyped-def]  # a clickhouse_connect Client
    try:
        return wait_for_clickhouse(clickhouse_settings(data), timeout=5)
    except (ClickHouseAway, ClickHouseError) as error:
        raise Failure(str(error), code=1) from error


def _revise(data: Path, beginning: str, changes: dict[str, object]) -> None:
    from pipeline.alerts.store import AlertStore

    with closing(_client(data)) as client:
        store = AlertStore(client)
        found = store.alerts("startsWith(alert_id, {beginning:String}) AND status != 'resolved'", beginning=beginning)
        if len(found) != 1:
            what = "no open alert begins" if not found else f"{len(found)} open alerts begin"
            raise Failure(f"{what} with {beginning}: see vocstream alerts list", code=1)
        newest = found[0]
        update = {"revision": newest.revision + 1, "updated_at": datetime.now(UTC), **changes}
        store.save(newest.model_copy(update=update))
