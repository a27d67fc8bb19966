"""(b) Broker to ClickHouse without comments: events a CPU-second of one worker process.

Three consumers of the same records in turn, each a process of its own with the same decoder and the same writer:
* ours: `vocstream worker --lane scores`;
* a bare aiokafka loop: getmany, decode, insert, commit, and nothing else: the limit of any framework on this client;
* stock faust: its own transport and `noack_take`, the only stock loop that loses nothing.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from statistics import median

import orjson
import psutil
from clickhouse_connect.driver.client import Client

from bench.report import markdown, save, spread
from bench.stack import stack
from pipeline.generator import events
from pipeline.producer import Message, Producer
from schemas import topics
from schemas.envelope import RESPONSE_TYPE

COUNT = int(os.environ.get("BENCH_EVENTS", "200000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
PEERS = {
    "ours": ["-m", "pipeline", "worker", "--lane", "scores", "--data", "{folder}"],
    "bare aiokafka": ["-m", "bench.peers", "aiokafka"],
    "stock faust": ["-m", "bench.peers", "faust"],
}
STOCK_SHARE = 10  # stock faust gets a tenth of the records: its rate is the same, and the run ends


def score_only(count: int) -> list[Message]:
    """Score-only responses, all different."""
    sample = [e for e in events(20_000, seed=2) if e["type"] == RESPONSE_TYPE]
    made = []
    for i in range(count):
        event = sample[i % len(sample)]
        data = {k: v for k, v in event["data"].items() if k != "comment"} | {"response_id": f"r-{i}"}
        made.append(Message(topics.RESPONSES, f"c-{i}".encode(), orjson.dumps(event | {"id": f"e-{i}", "data": data})))
    return made


async def measure(name: str, kafka: str, url: str, client: Client, round_: int, goal: int) -> tuple[float, float]:
    """Run one peer until `goal` rows are there: (events/s, events a CPU-second)."""
    client.command("TRUNCATE TABLE feedback.responses")
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "VOC_KAFKA_BROKERS": kafka,
            "VOC_CLICKHOUSE_URL": url,
            "VOC_GROUP": f"bench-{name.replace(' ', '-')}-{round_}",
            "BENCH_FOLDER": folder,
        }
        arguments = [argument.format(folder=folder) for argument in PEERS[name]]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=environment, stderr=asyncio.subprocess.DEVNULL
        )
        watched = psutil.Process(process.pid)
        try:
            first: tuple[int, float, float] | None = None
            while True:
                await asyncio.sleep(0.02)
                rows = int(str(client.command("SELECT count() FROM feedback.responses")))
                now, cpu = time.perf_counter(), sum(watched.cpu_times()[:2])
                if rows and first is None:
                    first = (rows, now, cpu)  # from the first insert on: start-up is not what is measured
                if rows >= goal and first is not None:
                    done = rows - first[0]
                    return done / (now - first[1]), done / (cpu - first[2])
        finally:
            process.terminate()
            await process.wait()


async def run() -> None:
    """Fill the topic once, then let each peer read it, in turn."""
    wall: dict[str, list[float]] = {name: [] for name in PEERS}
    core: dict[str, list[float]] = {name: [] for name in PEERS}
    async with stack() as (kafka, url, client):
        producer = Producer(kafka, retry_for=60)
        await producer.publish(score_only(COUNT))
        producer.close()
        for round_ in range(ROUNDS):
            for name in PEERS:
                goal = COUNT // STOCK_SHARE if name == "stock faust" else COUNT
                per_second, per_core = await measure(name, kafka, url, client, round_, goal)
                wall[name].append(per_second)
                core[name].append(per_core)
                print(f"round {round_} {name}: {per_second:,.0f}/s, {per_core:,.0f} a CPU-second", flush=True)
    bare = median(core["bare aiokafka"])
    rows = [(name, spread(wall[name]), spread(core[name]), f"{median(core[name]) / bare:.2f}") for name in PEERS]
    save(
        "ingest",
        "Broker to ClickHouse, score-only responses",
        f"{COUNT:,} records on 4 partitions of the embedded broker, {ROUNDS} rounds in turn, one process each, "
        "the embedded store beside it on the same two cores; median (range).\n\n"
        + markdown(["consumer", "events/s", "events a CPU-second", "of the bare loop"], rows),
    )


if __name__ == "__main__":
    asyncio.run(run())
