"""What a tick costs with 5,000 series: a store of its own, one query, one judgement (python -m bench.alerts_scale).

Writes bench/results/alerts_scale.md. 40 tenants, each with a survey, touchpoints, channels, languages, topics and
segments, so that some 5,000 series and twice as many rows (a row is one measure of a series) are watched.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline.alerts.rows import Rows
from pipeline.alerts.series import windows_of
from pipeline.alerts.store import AlertStore
from pipeline.alerts.watch import Watch
from tests.integration.alerts_rig import HOUR, NOW, alert_store, put, response

TENANTS, SEGMENTS, ANSWERS, OLD = 40, 100, 60_000, 300_000
TICKS = 15


def fill(rng: random.Random, count: int, begin: float, end: float, first: int) -> list:  # type: ignore[type-arg]
    """`count` responses of all tenants and segments."""
    return [
        response(
            rng.uniform(begin, end),
            first + number,
            tenant=f"t{rng.randrange(TENANTS)}",
            sentiment="negative" if rng.random() < 0.12 else "positive",
            topic=rng.choice(["delivery.delay", "price.value", "service.wait", "product.quality"]),
            touchpoint=rng.choice(["delivery", "checkout", "support"]),
        )._replace(segments={"city": f"c{rng.randrange(SEGMENTS)}", "plan": rng.choice(["free", "pro"])})
        for number in range(count)
    ]


def main(out: Path) -> None:
    """Measure, print, save."""
    rng = random.Random(5)
    with tempfile.TemporaryDirectory() as folder, alert_store(Path(folder) / "store") as (_, client):
        for part in range(OLD // 50_000):
            put(client, fill(rng, 50_000, NOW - 30 * 86_400, NOW - 3 * HOUR, part * 50_000))
        put(client, fill(rng, ANSWERS, NOW - HOUR, NOW, 10_000_000))
        watch = Watch(AlertStore(client))
        watch.learnt_until = NOW - 2 * HOUR
        watch.tick(NOW)
        rows: Rows = watch.rows
        series = len({(key.tenant, key.dimension, key.value) for key in rows.keys})
        query, judge, whole = [], [], []
        for tick in range(TICKS):
            at = NOW + tick
            started = time.perf_counter()
            k, n = windows_of(client, rows, at)
            middle = time.perf_counter()
            watch.detector.step(at, k, n)
            ended = time.perf_counter()
            query.append(middle - started)
            judge.append(ended - middle)
            whole.append(ended - started)
    text = (
        f"# Alerts: the cost of a tick\n\n{series:,} series, {len(rows.keys):,} rows, {ANSWERS:,} answers in the hour "
        f"under test, {OLD + ANSWERS:,} in the table; {TICKS} ticks; load {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} cores.\n\n| part | median ms | slowest ms |\n|---|---|---|\n"
    )
    for name, times in (("query and counts", query), ("judgement", judge), ("whole tick", whole)):
        text += f"| {name} | {1000 * np.median(times):.0f} | {1000 * max(times):.0f} |\n"
    out.mkdir(parents=True, exist_ok=True)
    (out / "alerts_scale.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("bench/results"))
