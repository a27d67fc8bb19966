"""A worker for the transport's tests: stores what it gets in SQLite, then acknowledges.

Run as `python -m tests.integration.transport_worker CONFIG` with a JSON object (see `Config`). Takes one JSON command a
line on stdin and answers with one JSON line on stdout: {"stats": 1}, {"hold": true}, {"flow": false},
{"seek": [topic, partition, offset]}.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import faust
import psutil

from pipeline.transport import Batch, BatchSettings, batch_topic, make_app


@dataclass
class Config:
    """What a worker does; `agents` names a topic list for each agent."""

    brokers: str
    group: str
    name: str
    datadir: str
    sink: str
    agents: list[list[str]]
    batching: dict[str, Any] = field(default_factory=dict)
    #: Seconds to wait between storing a batch and acknowledging it.
    pause: float = 0.0
    #: Agents by number that store but never acknowledge.
    mute: list[int] = field(default_factory=list)
    #: Begin with all agents held: they take a batch and wait.
    hold: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    #: Let the body raise at a record with this value.
    fail_at: int | None = None
    #: Let agents iterate over the stream directly, which the transport refuses.
    auto: bool = False
    #: Declare a value type, which the transport refuses.
    typed: bool = False


def open_sink(path: str) -> sqlite3.Connection:
    """The store of all workers of a test: one row for each delivery of a record to an agent."""
    db = sqlite3.connect(path, timeout=30, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=OFF")  # a killed process loses nothing of it; a power cut is not tested
    db.execute("CREATE TABLE IF NOT EXISTS seen(worker, agent, topic, partition, offset, value, batch, at REAL)")
    return db


def build(config: Config) -> faust.App:
    """The app with its agents."""
    app = make_app(
        config.group,
        config.brokers,
        datadir=config.datadir,
        batching=BatchSettings(**config.batching),
        **{"commit_interval": 0.2, "session_timeout": 3.0, "heartbeat_interval": 0.5, **config.options},
    )
    db = open_sink(config.sink)
    released = asyncio.Event()
    if not config.hold:
        released.set()
    count = {"batches": 0, "records": 0, "acked": 0}

    def agent(number: int, topics: list[str]) -> None:
        async def body(stream: Any) -> None:
            async for event in stream.noack().events():
                batch: Batch = event.value
                if config.fail_at is not None and any(int(r.value) == config.fail_at for r in batch):
                    raise RuntimeError("as the test asked")
                count["batches"] += 1
                count["records"] += len(batch)
                await released.wait()
                db.execute("BEGIN")
                db.executemany(
                    "INSERT INTO seen VALUES(?,?,?,?,?,?,?,?)",
                    [
                        (config.name, number, batch.topic, batch.partition, r.offset, r.value, i, time.time())
                        for i, r in enumerate(batch)
                    ],
                )
                db.execute("COMMIT")
                if config.pause:
                    await asyncio.sleep(config.pause)
                if number not in config.mute:
                    await stream.ack(event)
                    count["acked"] += 1

        async def wrong(stream: Any) -> None:
            async for _ in stream:
                pass

        channel = app.topic(*topics, value_type=bytes) if config.typed else batch_topic(app, *topics)
        app.agent(channel, name=f"{config.group}.agent{number}", concurrency=1)(wrong if config.auto else body)

    for number, topics in enumerate(config.agents):
        agent(number, topics)

    @app.task
    async def commands() -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            command = json.loads(line)
            answer: dict[str, Any] = {}
            if "hold" in command:
                released.clear() if command["hold"] else released.set()
            if "seek" in command:
                topic, partition, offset = command["seek"]
                await app.consumer.seek(faust.types.TP(topic, partition), offset)
            if "flow" in command:
                # What faust does around a rebalance: buffers are cleared, then all is let go again.
                if command["flow"]:
                    app.flow_control.resume()
                    app.consumer.resume_flow()
                else:
                    app.consumer.stop_flow()
                    app.flow_control.suspend()
                    app.flow_control.clear()
            if "stats" in command:
                with contextlib.suppress(Exception):
                    stall = app.consumer.stall()
                    answer = {
                        **count,
                        "assigned": sorted(map(list, app.consumer.assignment())),
                        "inflight": app.consumer.ledger.inflight_batches,
                        "inflight_bytes": app.consumer.ledger.inflight_bytes,
                        "lag": sum(app.consumer.lag().values()),
                        "stalled": stall.seconds,
                        "waits_for": stall.what,
                        "rebalances": app.rebalancing_count,
                        "rss": psutil.Process().memory_info().rss,
                    }
            print(json.dumps(answer), flush=True)

    return app


def main() -> None:
    """Run until SIGTERM."""
    app = build(Config(**json.loads(sys.argv[1])))
    faust.Worker(app, loglevel="INFO", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
