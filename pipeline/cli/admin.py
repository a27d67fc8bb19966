"""Commands that prepare the ground: tables (`migrate`) and Kafka topics (`kafka-topics`)."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer
from kafka.errors import KafkaError

from infra.clickhouse import migrate as migrations
from infra.clickhouse.client import ClickHouseAway, wait_for_clickhouse
from infra.topics import TopicSettings, create_topics, describe_topics
from pipeline.cli.console import Failure, out, print_records
from pipeline.cli.rooms import DEFAULT_DATA, DataOption, JsonOption, clickhouse_settings, stream_settings


def register(app: typer.Typer) -> None:
    for command in (migrate, kafka_topics):
        app.command()(command)


def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the SQL and change nothing.")] = False,
    down_to: Annotated[int | None, typer.Option(help="Take back every migration above this number.")] = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Bring ClickHouse's tables, views and functions to this version. `up` does it by itself.

    The same files serve the embedded store, one server, and a cluster (VOC_CLICKHOUSE_CLUSTER, _REPLICATED, _SHARDED).
    """
    settings = clickhouse_settings(data)
    try:
        with closing(wait_for_clickhouse(settings, timeout=10)) as client:
            if dry_run:
                pending = migrations.plan(client, settings)
                for migration in pending:
                    print(migration.preview(settings))
                out.print(f"{len(pending)} migrations would be applied.")
                return
            if down_to is not None:
                done = migrations.revert(
                    client, settings, down_to, on_step=lambda m: out.print(f"taking back {m.title}")
                )
            else:
                done = migrations.apply(client, settings, on_step=lambda m: out.print(f"applying {m.title}"))
    except (ClickHouseAway, migrations.MigrationError) as error:
        raise Failure(str(error), code=1) from error
    out.print(f"[green]{len(done)} migrations done.[/green]" if done else "Nothing to do.")


def kafka_topics(
    create: Annotated[bool, typer.Option("--create", help="Create those that are missing.")] = False,
    data: DataOption = DEFAULT_DATA,
    json_output: JsonOption = False,
) -> None:
    """Show the topics of Kafka, who writes and reads them; create them with --create.

    What comments speak of is [bold]vocstream topics[/bold].
    """
    brokers = stream_settings(data).kafka_brokers
    try:
        if create:
            for name in create_topics(brokers, TopicSettings()):
                out.print(f"created {name}")
        print_records("Topics", describe_topics(brokers), as_json=json_output)
    except KafkaError as error:
        raise Failure(f"no Kafka broker at {brokers}: {error}", code=1) from error
