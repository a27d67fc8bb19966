"""Rows into ClickHouse: our writer beside a bare clickhouse-connect insert of the same rows.

The rows are made before (events of `pipeline.generator` through `pipeline.decoding`), so that only writing is measured.
The ways take turns on one embedded store and one table, each over a connection of its own:
* ours: `pipeline.writer.Writer`, what the worker runs: off the event loop, columns out of rows, one context kept;
* bare: `client.insert(table, rows)`, as clickhouse-connect's documentation shows it;
* bare, by column: columns made before the clock starts, the fastest that clickhouse-connect offers.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from statistics import median

from pydantic import SecretStr

from bench.decode import responses
from bench.report import markdown, save, spread
from bench.stack import stack
from infra.clickhouse.client import connect
from infra.clickhouse.settings import ClickHouseSettings
from pipeline.decoding import decode_response
from pipeline.files import LineRecord
from pipeline.writer import Writer
from schemas.rows import ResponseRow

TABLE = "feedback.responses"
SIZES = (1_000, 10_000)
BATCHES = int(os.environ.get("BENCH_BATCHES", "20"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))


def prepare(count: int) -> list[ResponseRow]:
    """`count` different rows, as the score lane makes them."""
    now = time.time_ns() // 1_000_000
    records = (LineRecord("t", 0, i, now, b"k", value, ()) for i, value in enumerate(responses(count)))
    return [row for row in (decode_response(record, now) for record in records) if isinstance(row, ResponseRow)]


async def measure(url: str, size: int) -> dict[str, list[float]]:
    """Rows a second of each way, by round, in batches of `size` rows."""
    settings = ClickHouseSettings(url=SecretStr(url))
    rows = prepare(size)
    columns = list(zip(*rows, strict=True))
    writer = Writer(TABLE, ResponseRow._fields, lambda: connect(settings))
    client = connect(settings)

    async def ours() -> None:
        refused = await writer.write(rows)
        if refused:
            raise RuntimeError(f"rows were refused: {refused[0].error}")

    async def bare() -> None:
        client.insert(TABLE, rows, column_names=ResponseRow._fields)

    async def by_column() -> None:
        client.insert(TABLE, columns, column_names=ResponseRow._fields, column_oriented=True)

    ways: dict[str, Callable[[], Awaitable[None]]] = {"ours": ours, "bare": bare, "bare, by column": by_column}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(ROUNDS + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            for _ in range(BATCHES):
                await way()
            if round_:  # the first opens the connections
                found[name].append(BATCHES * len(rows) / (time.perf_counter() - began))
        client.command(f"TRUNCATE TABLE {TABLE}")
    writer.close()
    client.close()
    return found


async def run() -> None:
    """Measure both sizes and save."""
    table = []
    async with stack() as (_, url, _):
        for size in SIZES:
            found = await measure(url, size)
            bare = median(found["bare"])
            table += [
                (f"{size:,}", name, spread(rates), f"{median(rates) / bare:.2f}") for name, rates in found.items()
            ]
    save(
        "writer",
        "Rows into ClickHouse",
        f"Response rows made beforehand, {BATCHES} batches a round, {ROUNDS} rounds in turn, the embedded store on the "
        "same two cores; median (range).\n\n" + markdown(["rows a batch", "way", "rows/s", "of bare"], table),
    )


if __name__ == "__main__":
    asyncio.run(run())
