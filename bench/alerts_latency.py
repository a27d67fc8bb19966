"""End to end: from a spike acknowledged by the broker to the webhook, on all parts (python -m bench.alerts_latency).

`vocstream up` in whole: broker, score and label lanes with the model as configured, store, and sentinel with its usual
tick of ten seconds, which sends to a web server of this program. Every few seconds, at no fixed place in a tick, a
tenant that is new complains eight times at once; the aim is a notice within a tick and five seconds.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
from aiohttp import web

from bench.report import markdown, save
from pipeline.generator import corpus
from pipeline.local import running
from pipeline.producer import Message, Producer
from schemas import topics

SPIKES = int(os.environ.get("BENCH_SPIKES", "40"))
COMPLAINTS, APART = 8, 4.0  # seconds
TICK = 10.0
PORT_BASE, HOOK = 21_700, 21_790
PATIENCE = 300.0


def complaints(rng: random.Random, tenant: str) -> list[Message]:
    """Eight unhappy comments of one tenant."""
    unhappy = [one["text"] for one in corpus() if one["sentiment"] == "very_negative"]
    return [
        Message(
            topics.RESPONSES,
            f"{tenant}-{place}".encode(),
            orjson.dumps(
                {
                    "specversion": "1.0", "id": f"{tenant}-{place}", "source": "bench", "type": "vocstream.response.v1",
                    "data": {"tenant": tenant, "response_id": f"{tenant}-{place}", "touchpoint": "delivery",
                             "comment": comment},
                }
            ),
        )
        for place, comment in enumerate(rng.sample(unhappy, COMPLAINTS))
    ]  # fmt: skip


async def measure(brokers: str, notices: list[tuple[float, str, str]]) -> tuple[list[float], int]:
    """Seconds from acknowledged to told, a spike; and how many notices of firing there were beyond one each."""
    rng = random.Random(11)
    producer = Producer(brokers, retry_for=30)
    acknowledged: dict[str, float] = {}
    for place in range(-1, SPIKES):  # the first warms everything up
        tenant = f"bench{place}"
        await producer.publish(complaints(rng, tenant))
        acknowledged[tenant] = time.perf_counter()
        if place < 0:
            await _until(lambda: bool(notices))
        await asyncio.sleep(rng.uniform(0, 2 * APART))
    producer.close()
    await _until(lambda: {tenant for _, tenant, _ in notices} >= set(acknowledged))
    firing = [(at, tenant) for at, tenant, status in notices if status == "firing"]
    first = {tenant: at for at, tenant in reversed(firing)}
    return [first[tenant] - at for tenant, at in acknowledged.items() if tenant != "bench-1"], len(firing) - len(first)


async def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("a spike was not told in time")
        await asyncio.sleep(0.01)


async def run() -> None:
    """Measure and save."""
    notices: list[tuple[float, str, str]] = []

    async def take(request: web.Request) -> web.Response:
        at = time.perf_counter()
        body = await request.json()
        notices.append((at, body["vocstream"]["series"]["tenant"], body["status"]))
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    server = web.AppRunner(app)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", HOOK).start()
    try:
        with tempfile.TemporaryDirectory(prefix="vocstream-bench-") as folder:
            (Path(folder) / "alerts.yaml").write_text(
                f"tick_seconds: {TICK}\nreceivers:\n  - {{name: bench, type: webhook, url: 'http://127.0.0.1:{HOOK}/'}}\n"
            )
            async with running(Path(folder), PORT_BASE, lambda part, what: None) as addresses:
                lags, extra = await measure(addresses["kafka"], notices)
    finally:
        await server.cleanup()
    p50, p95 = np.percentile(lags, [50, 95])
    save(
        "alerts_latency",
        "Alerts: a spike acknowledged by the broker to its webhook, seconds",
        f"All parts on one machine, a tick every {TICK:g} s (so half a tick of waiting at the median); each spike is "
        f"{COMPLAINTS} comments of a new tenant; {extra} notices of firing beyond one a spike. "
        f"The aim is p95 under {TICK + 5:g} s.\n\n"
        + markdown(["spikes", "p50", "p95", "max"], [(len(lags), f"{p50:.1f}", f"{p95:.1f}", f"{max(lags):.1f}")]),
    )


if __name__ == "__main__":
    asyncio.run(run())
