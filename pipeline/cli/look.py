"""Commands that look: `status` of the stream, `query` of the scores."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from clickhouse_connect.driver.exceptions import ClickHouseError

from infra.clickhouse.client import ClickHouseAway, wait_for_clickhouse
from pipeline.cli.console import Failure, out, print_json, print_records, table
from pipeline.cli.rooms import DEFAULT_DATA, DataOption, JsonOption, clickhouse_settings, stream_settings


class Format(StrEnum):
    """How `query` prints."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    for command in (status, query):
        app.command()(command)


def status(data: DataOption = DEFAULT_DATA, json_output: JsonOption = False) -> None:
    """Show what is behind, what is stored, how fresh it is, and what could not be used."""
    from pipeline.status import StreamAway, look

    try:
        report = look(stream_settings(data), clickhouse_settings(data))
    except (StreamAway, ClickHouseAway) as error:
        raise Failure(f"{error}\nIs it running? vocstream up --data {data}", code=1) from error
    if json_output:
        print_json(report)
        return
    out.print(
        table(
            "Lag: records not yet in ClickHouse",
            ["group", "topic", "partition", "committed", "end", "lag"],
            [list(row.values()) for row in report["partitions"]],
        )
    )
    print_records("Rows", report["tables"], as_json=False)
    print_records("Dead letters", report["dead_letters"], as_json=False)


def query(
    sql: Annotated[str, typer.Argument(help="One SQL statement, in quotes.")],
    output: Annotated[Format, typer.Option("--format", help="How to print the rows.")] = Format.TABLE,
    data: DataOption = DEFAULT_DATA,
    json_output: JsonOption = False,
) -> None:
    """Ask ClickHouse.

    [dim]vocstream query "SELECT * FROM feedback.scores_daily WHERE metric = 'nps' ORDER BY bucket"[/dim]
    """
    try:
        client = wait_for_clickhouse(clickhouse_settings(data), timeout=5)
        if output is Format.CSV:
            print(client.raw_query(sql, fmt="CSVWithNames").decode(), end="")
            return
        result = client.query(sql)
    except ClickHouseAway as error:
        raise Failure(str(error), code=1) from error
    except ClickHouseError as error:
        raise Failure(str(error)) from error
    records = [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]
    print_records("", records, as_json=json_output or output is Format.JSON)
