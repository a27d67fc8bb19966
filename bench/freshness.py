"""(d) Freshness: from the broker's acknowledgement of an event to its being seen in the score view.

`vocstream up` in whole. Probes (responses with a survey name of their own) go in ten times a second among a steady
500 events a second; a reader polls `feedback.scores_daily` and notes when each probe is first there. Then the same
with a burst of 5,000 comments at once: scores must not wait for the model.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from clickhouse_connect.driver.client import Client
from pydantic import SecretStr

from bench.report import markdown, save
from infra.clickhouse.client import connect
from infra.clickhouse.settings import ClickHouseSettings
from pipeline.generator import corpus
from pipeline.local import running
from pipeline.producer import Message, Producer
from schemas import topics

SECONDS = int(os.environ.get("BENCH_SECONDS", "30"))
RATE, PROBES_A_SECOND, BURST = 500, 10, 5_000
POLL = 0.02  # seconds between looks


def response(name: str, **more: Any) -> Message:
    """One response event."""
    data = {"tenant": "bench", "response_id": name, "metric": "nps", "score": 9, **more}
    event = {"specversion": "1.0", "id": name, "source": "bench", "type": "vocstream.response.v1", "data": data}
    return Message(topics.RESPONSES, name.encode(), orjson.dumps(event))


async def load(brokers: str, name: str, burst: int, acknowledged: dict[str, float]) -> None:
    """SECONDS of RATE events a second, probes among them; after a third of it `burst` comments at once."""
    load_producer, probe_producer, burst_producer = (Producer(brokers, retry_for=30) for _ in range(3))
    comments = [comment["text"] for comment in corpus()]
    bursting: asyncio.Task[None] | None = None
    began = time.perf_counter()
    for tick in range(SECONDS * PROBES_A_SECOND):
        await asyncio.sleep(max(0.0, began + tick / PROBES_A_SECOND - time.perf_counter()))
        each = RATE // PROBES_A_SECOND - 1
        filling = asyncio.create_task(
            load_producer.publish([response(f"{name}-{tick}-{i}", survey="load") for i in range(each)])
        )
        if burst and tick == SECONDS * PROBES_A_SECOND // 3:
            said = [response(f"{name}-burst-{i}", survey="load", comment=comments[i]) for i in range(burst)]
            bursting = asyncio.create_task(burst_producer.publish(said))
        probe = f"{name}-probe-{tick}"
        await probe_producer.publish([response(probe, survey=probe)])
        acknowledged[probe] = time.perf_counter()
        await filling
    if bursting is not None:
        await bursting
    for producer in (load_producer, probe_producer, burst_producer):
        producer.close()


async def watch(client: Client, name: str, seen: dict[str, float], goal: int) -> None:
    """Note when each probe is first in the score view."""
    sql = f"SELECT survey FROM feedback.scores_daily WHERE tenant = 'bench' AND survey LIKE '{name}-probe-%'"
    while len(seen) < goal:
        rows = (await asyncio.to_thread(client.query, sql)).result_rows
        now = time.perf_counter()
        for (survey,) in rows:
            seen.setdefault(survey, now)
        await asyncio.sleep(POLL)


async def measure(brokers: str, client: Client, name: str, burst: int) -> list[float]:
    """Seconds from acknowledged to seen, a probe."""
    acknowledged: dict[str, float] = {}
    seen: dict[str, float] = {}
    goal = SECONDS * PROBES_A_SECOND
    await asyncio.wait_for(
        asyncio.gather(load(brokers, name, burst, acknowledged), watch(client, name, seen, goal)), SECONDS + 120
    )
    return [max(0.0, seen[probe] - at) for probe, at in acknowledged.items()]


async def run() -> None:
    """Measure both and save."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="vocstream-bench-") as folder:
        async with running(Path(folder), 21_600, lambda part, what: None) as addresses:
            settings = ClickHouseSettings(url=SecretStr(addresses["clickhouse"]))
            with contextlib.closing(await asyncio.to_thread(connect, settings)) as client:
                await measure(addresses["kafka"], client, "warm", 0)
                for name, burst in (("steady", 0), ("burst", BURST)):
                    lags = await measure(addresses["kafka"], client, name, burst)
                    p50, p95, p99 = np.percentile(lags, [50, 95, 99])
                    what = f"{RATE} events/s" + (f" and {burst:,} comments at once" if burst else "")
                    rows.append((what, len(lags), f"{p50:.2f}", f"{p95:.2f}", f"{p99:.2f}", f"{max(lags):.2f}"))
    save(
        "freshness",
        "Freshness: acknowledged by the broker to seen in the score view, seconds",
        f"All parts on one machine, {SECONDS} s each, {PROBES_A_SECOND} probes a second, "
        f"read every {POLL * 1000:.0f} ms beside the query's own time.\n\n"
        + markdown(["load", "probes", "p50", "p95", "p99", "max"], rows),
    )


if __name__ == "__main__":
    asyncio.run(run())
