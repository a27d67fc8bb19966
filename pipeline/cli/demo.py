"""`vocstream demo`: the main job on real parts, from nothing to a table of scores."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Annotated

import typer
from clickhouse_connect.driver.client import Client
from pydantic import SecretStr
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from infra.clickhouse.client import connect
from infra.clickhouse.settings import ClickHouseSettings
from pipeline.cli.console import Failure, err, out, print_records
from pipeline.cli.rooms import DEFAULT_DATA, DataOption

_PATIENCE = 600.0  # seconds for all labels; a model on one core does some 60 comments a second

# Each question with the title that its answer gets.
_REPORT = {
    "Scores, with their 95 % intervals": """
        SELECT tenant, metric, sum(n) AS answers,
            round(multiIf(
                metric = 'nps', npsScore(sum(promoters), sum(detractors), sum(n)),
                metric = 'stars', sum(sum_score) / sum(n),
                100 * sum(satisfied) / sum(n)), 2) AS score,
            round(multiIf(
                metric = 'nps', npsLow(sum(promoters), sum(detractors), sum(n)),
                metric = 'stars', meanLow(sum(sum_score), sum(sum_squares), sum(n), 1, 5),
                100 * wilsonLow(sum(satisfied), sum(n))), 2) AS ci_low,
            round(multiIf(
                metric = 'nps', npsHigh(sum(promoters), sum(detractors), sum(n)),
                metric = 'stars', meanHigh(sum(sum_score), sum(sum_squares), sum(n), 1, 5),
                100 * wilsonHigh(sum(satisfied), sum(n))), 2) AS ci_high
        FROM feedback.scores_daily GROUP BY tenant, metric ORDER BY tenant, metric""",
    "Sentiment by touchpoint": """
        SELECT touchpoint, count() AS comments,
            round(100 * countIf(sentiment IN ('negative', 'very_negative')) / count(), 1) AS negative_percent,
            round(100 * wilsonLow(countIf(sentiment IN ('negative', 'very_negative')), count()), 1) AS ci_low,
            round(100 * wilsonHigh(countIf(sentiment IN ('negative', 'very_negative')), count()), 1) AS ci_high,
            round(avg(sentiment_score), 2) AS mean_sentiment
        FROM feedback.enriched_responses WHERE sentiment NOT IN ('', 'unknown')
        GROUP BY touchpoint ORDER BY negative_percent DESC""",
    "Top topics": """
        SELECT topic, count() AS mentions,
            round(100 * (countIf(feeling IN ('positive', 'very_positive'))
                       - countIf(feeling IN ('negative', 'very_negative'))) / count(), 1) AS net_sentiment
        FROM feedback.enriched_responses ARRAY JOIN topics AS topic, topic_sentiments AS feeling
        GROUP BY topic ORDER BY mentions DESC, topic LIMIT 12""",
    "Freshness, seconds from the broker to the lane (scores are flushed within 0.2 s of it)": """
        SELECT lane, count() AS responses,
            round(quantileExact(0.5)(lag), 2) AS p50, round(quantileExact(0.95)(lag), 2) AS p95,
            round(quantileExact(0.99)(lag), 2) AS p99
        FROM (
            SELECT 'scores' AS lane, dateDiff('millisecond', received_at, processed_at) / 1000 AS lag
            FROM feedback.responses FINAL WHERE received_at >= fromUnixTimestamp64Milli({since:Int64})
            UNION ALL
            SELECT 'labels', dateDiff('millisecond', received_at, assumeNotNull(labelled_at)) / 1000
            FROM feedback.responses FINAL
            WHERE received_at >= fromUnixTimestamp64Milli({since:Int64}) AND labelled_at IS NOT NULL)
        GROUP BY lane ORDER BY lane DESC""",
}


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    events: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many events to emit.")] = 6_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same customers, with the same opinions.")] = 7,
    data: DataOption = DEFAULT_DATA,
    port_base: Annotated[int, typer.Option(min=1024, max=65000, help="First port of the parts.")] = 9600,
) -> None:
    """Run the whole path once: start all, emit made-up customers, label, score, show, stop.

    The data stays in --data. Look again with [bold]vocstream up[/bold] and [bold]vocstream query[/bold].
    """
    from pipeline.local import DataInUse
    from pipeline.models_at_hand import ensure_models
    from pipeline.supervisor import PartFailed

    ensure_models()
    try:
        asyncio.run(_demo(events, seed, data, port_base))
    except DataInUse as failure:
        raise Failure(str(failure), code=1) from failure
    except PartFailed as failure:
        raise Failure(f"{failure}\nThe whole log: {data / 'logs'}", code=1) from failure
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise Failure("stopped; the data is kept", code=130) from None


async def _demo(count: int, seed: int, data: Path, port_base: int) -> None:
    from pipeline.local import running

    job = asyncio.current_task()
    assert job is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, job.cancel)

    def tell(part: str, what: str) -> None:
        out.print(f"[dim]{part:>14}[/dim]  {what}", highlight=False)

    started = time.monotonic()
    async with running(data, port_base, tell) as addresses:
        out.print(f"[green]Everything is ready[/green] after {time.monotonic() - started:.1f} s.\n")
        settings = ClickHouseSettings(url=SecretStr(addresses["clickhouse"]))
        with contextlib.closing(await asyncio.to_thread(connect, settings)) as client:
            since = time.time_ns() // 1_000_000
            await _emit_and_watch(client, addresses["kafka"], count, seed, since)
            for title, sql in _REPORT.items():
                parameters = {"since": since} if "{since" in sql else {}
                result = await asyncio.to_thread(client.query, sql, parameters=parameters)
                records = [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]
                print_records(title, records, as_json=False)
    out.print(
        f"\nAll stopped; the data is kept in {data}. Go on with: "
        f'[bold]{_command()} up --data {data}[/bold], then [bold]{_command()} query "SELECT ..."[/bold]',
        highlight=False,
    )


async def _emit_and_watch(client: Client, brokers: str, count: int, seed: int, since: int) -> None:
    """Emit the events and show, live, what has arrived where; returns when every comment has its labels."""
    from pipeline.files import BadLine, to_message
    from pipeline.generator import events
    from pipeline.producer import Producer

    made = list(events(count, seed, source=f"demo/{since}"))
    messages = [m for i, e in enumerate(made) if not isinstance(m := to_message(e, i), BadLine)]
    responses = {e["data"]["response_id"]: "comment" in e["data"] for e in made if "response_id" in e["data"]}
    goals = {
        "acknowledged by Kafka": len(messages),
        "interactions stored": len({e["data"]["interaction_id"] for e in made if "interaction_id" in e["data"]}),
        "responses scored": len(responses),
        "comments labelled": sum(responses.values()),
    }
    columns = (TextColumn("{task.description:>24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    started = time.monotonic()
    took: dict[str, float] = {}
    with Progress(*columns, console=err) as progress, contextlib.closing(Producer(brokers, retry_for=30)) as producer:
        tasks = {name: progress.add_task(name, total=goal) for name, goal in goals.items()}
        acknowledged = tasks["acknowledged by Kafka"]

        def send() -> None:
            producer.send_all(iter(messages), lambda n: progress.advance(acknowledged, n))
            took["acknowledged by Kafka"] = time.monotonic() - started

        sending = asyncio.create_task(asyncio.to_thread(send))
        while len(took) < len(goals):
            if sending.done():
                sending.result()
            if time.monotonic() - started > _PATIENCE:
                raise Failure(f"not finished after {_PATIENCE:.0f} s: {set(goals) - set(took)}; see the logs", code=1)
            await asyncio.sleep(0.25)
            now = await asyncio.to_thread(_counts, client, since)
            for name, total in now.items():
                _advance(progress, tasks[name], total, goals[name])
                if total >= goals[name]:
                    took.setdefault(name, time.monotonic() - started)
    records = [
        {
            "step": name,
            "events": goals[name],
            "seconds": round(took[name], 2),
            "per_second": round(goals[name] / took[name]),
        }
        for name in goals
    ]
    print_records("Throughput", records, as_json=False)


def _advance(progress: Progress, task: TaskID, done: int, goal: int) -> None:
    progress.update(task, completed=min(done, goal))


def _counts(client: Client, since: int) -> dict[str, int]:
    """What this run brought so far: rows that were received since it began."""
    sql = """
        WITH fromUnixTimestamp64Milli({since:Int64}) AS began
        SELECT (SELECT count() FROM feedback.interactions FINAL WHERE received_at >= began),
               count(), countIf(comment != '' AND sentiment != '')
        FROM feedback.responses FINAL WHERE received_at >= began"""
    [row] = client.query(sql, parameters={"since": since}).result_rows
    return dict(zip(("interactions stored", "responses scored", "comments labelled"), map(int, row), strict=True))


def _command() -> str:
    return "vocstream" if os.environ.get("VIRTUAL_ENV") else ".venv/bin/vocstream"
