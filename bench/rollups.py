"""Reading: what a dashboard asks, for each of 20 tenants, with the snapshots (of scores, of customers) and without.

Data: `bench.survey`, once a size, in an embedded store of its own that goes away after it. Without = the same views and
empty snapshots, so that they read the facts with FINAL. The two take turns: tables are exchanged between rounds. A
figure of a tenant is the median of its rounds; p50 and p95 are over the tenants. Then the same with as many touched
responses as half an hour of 100 answers a second leaves, the seconds of a refresh, what it stores, and the most parts
there were while 3,600 blocks of one row came in.

    BENCH_ROWS=1000000,10000000 python -m bench.rollups     # 50000000 takes 20 GB of disk
"""

from __future__ import annotations

import asyncio
import os
import time
from statistics import median, quantiles

from clickhouse_connect.driver.client import Client
from pydantic import SecretStr

from bench.report import RESULTS, markdown, save
from bench.stack import stack
from bench.survey import TENANTS, fill
from infra.clickhouse.client import connect
from infra.clickhouse.settings import ClickHouseSettings
from infra.clickhouse.snapshot import VIEWS, refresh

SIZES = [int(size) for size in os.environ.get("BENCH_ROWS", "1000000,10000000").split(",")]
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
TOUCHED = int(os.environ.get("BENCH_TOUCHED", "180000"))
TRICKLE = int(os.environ.get("BENCH_TRICKLE", "3600"))
ASKED = TENANTS[:: len(TENANTS) // int(os.environ.get("BENCH_TENANTS", str(len(TENANTS))))]  # from large to small

SNAPSHOTS = ("scored_snapshot", "customer_snapshot")

_WHOSE = "tenant = '{t}', metric = 'nps'"
_MONTH = "since = '2025-12-01', until = '2026-01-01'"
_TWO_MONTHS = "since_1 = '2025-11-01', until_1 = '2025-12-01', since_2 = '2025-12-01', until_2 = '2026-01-01'"
_NPS = "bucket, npsScore(sum(promoters), sum(detractors), sum(n)) AS score, sum(n) AS answers"
QUERIES = {
    "daily NPS, 90 days": f"SELECT {_NPS} FROM feedback.scores_daily "
    "WHERE tenant = '{t}' AND metric = 'nps' AND bucket >= '2025-10-03' GROUP BY bucket ORDER BY bucket",
    "NPS of 30 days, rolling, 90 days": f"SELECT {_NPS} FROM feedback.scores_rolling "
    "WHERE tenant = '{t}' AND metric = 'nps' AND days = 30 AND bucket >= '2025-10-03' GROUP BY bucket ORDER BY bucket",
    "monthly CSAT, two years": "SELECT bucket, sum(satisfied) / sum(n) FROM feedback.scores_monthly "
    "WHERE tenant = '{t}' AND metric = 'csat' GROUP BY bucket ORDER BY bucket",
    "by touchpoint, a month": f"SELECT * FROM feedback.scores_by({_WHOSE}, dimension = 'touchpoint', {_MONTH})",
    "by topic, a month": f"SELECT * FROM feedback.scores_by({_WHOSE}, dimension = 'topic', {_MONTH})",
    "topic x channel, a month": f"SELECT * FROM feedback.cross_tab({_WHOSE}, dimension_1 = 'topic', "
    f"dimension_2 = 'channel', {_MONTH})",
    "every dimension by day, a month": "SELECT value, sum(n) FROM feedback.scores_by_dimension WHERE tenant = '{t}' "
    "AND metric = 'nps' AND dimension = 'segment.plan' AND bucket >= '2025-12-01' GROUP BY value",
    "drivers, a month": f"SELECT * FROM feedback.drivers({_WHOSE}, dimension = 'topic', {_MONTH})",
    "change to the month before": f"SELECT * FROM feedback.score_change({_WHOSE}, dimension = 'topic', {_TWO_MONTHS})",
    "why it changed": f"SELECT * FROM feedback.change_parts({_WHOSE}, dimension = 'touchpoint', {_TWO_MONTHS})",
    "journey, two years": "SELECT * FROM feedback.journey_scores WHERE tenant = '{t}' AND metric = 'nps'",
    "one customer": "SELECT * FROM feedback.customer_360 WHERE tenant = '{t}' AND customer_id = 'c1234'",
    "customers at risk": "SELECT * FROM feedback.customer_360 WHERE tenant = '{t}' AND churn_risk = 'high' "
    "ORDER BY order_value DESC LIMIT 20",
}
Timings = dict[str, dict[str, list[float]]]  # query -> tenant -> seconds


def ask(client: Client, timings: Timings) -> None:
    """Every query for every tenant, once."""
    for name, sql in QUERIES.items():
        for tenant in ASKED:
            started = time.perf_counter()
            client.query(sql.format(t=tenant))
            timings.setdefault(name, {}).setdefault(tenant, []).append(time.perf_counter() - started)


def over_tenants(timings: Timings, name: str) -> tuple[float, float]:
    """(p50, p95) in milliseconds of the tenants' medians."""
    values = [1000 * median(seconds) for seconds in timings[name].values()]
    return median(values), quantiles(values, n=20, method="inclusive")[-1]


def stored(client: Client, table: str) -> float:
    """MB on disk of the active parts."""
    where = f"active AND database = 'feedback' AND table = '{table}'"
    return int(client.command(f"SELECT sum(bytes_on_disk) FROM system.parts WHERE {where}")) / 1e6


def exchange(client: Client) -> None:
    """Put empty snapshots in the place of the full ones, or back."""
    for table in SNAPSHOTS:
        client.command(f"EXCHANGE TABLES feedback.{table} AND feedback.empty_{table}")


def trickle(client: Client) -> int:
    """Insert `TRICKLE` blocks of one response; returns the most active parts that there ever were."""
    most = 0
    for number in range(TRICKLE):
        client.command(
            "INSERT INTO feedback.responses (tenant, source, response_id, metric, scale, score, band, occurred_at) "
            f"VALUES ('trickle', '/shop', 'r{number}', 'nps', '0-10', 9, 'promoter', now64(3))"
        )
        if number % 20 == 0:
            sql = "SELECT count() FROM system.parts WHERE active AND database = 'feedback' AND table = 'responses'"
            most = max(most, int(client.command(sql)))
    return most


def measure(client: Client, size: int) -> tuple[dict[str, Timings], str]:
    """Fill the store with `size` responses and ask; returns the timings of each way of reading, and notes."""
    for done in fill(client, size):
        print(f"{done:,} of {size:,} responses written", flush=True)
    refresh(client)
    started = time.perf_counter()
    refresh(client)
    seconds = time.perf_counter() - started
    for view in VIEWS:
        client.command(f"SYSTEM STOP VIEW {view}")  # no refresh while tables are exchanged
    sizes = [stored(client, table) for table in ("responses", "interactions", *SNAPSHOTS)]
    for table in SNAPSHOTS:
        client.command(f"CREATE TABLE feedback.empty_{table} AS feedback.{table}")
    found: dict[str, Timings] = {"snapshot": {}, "facts": {}, "touched": {}}
    for round_ in range(ROUNDS):
        ask(client, found["snapshot"])
        exchange(client)
        ask(client, found["facts"])
        exchange(client)
        print(f"{size:,}: round {round_ + 1} of {ROUNDS} done", flush=True)
    for _ in fill(client, size, first=size, rows=TOUCHED):
        pass
    for _ in range(ROUNDS):
        ask(client, found["touched"])
    notes = (
        f"A refresh of both: {seconds:.1f} s. Responses take {sizes[0]:,.0f} MB and interactions {sizes[1]:,.0f} MB, "
        f"the snapshot of scores {sizes[2]:,.0f} MB and that of customers {sizes[3]:,.0f} MB."
    )
    return found, notes


def plot(found: dict[int, dict[str, Timings]]) -> None:
    """bench/results/rollups.png: p95 over the tenants by size, a panel a query."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(3, 5, figsize=(18, 9), sharex=True, sharey=True, layout="constrained")
    for name, panel in zip(QUERIES, panels.flat, strict=False):
        for way, style in (("facts", "o-"), ("snapshot", "s-"), ("touched", "^--")):
            panel.plot(list(found), [over_tenants(found[size][way], name)[1] for size in found], style, label=way)
        panel.axhline(300, color="grey", linewidth=0.8)
        panel.set(title=name, xscale="log", yscale="log")
    for panel in list(panels.flat)[len(QUERIES) :]:
        panel.set_axis_off()
    panels[0][0].legend()
    figure.supxlabel("responses in the store")
    figure.supylabel("p95 over the tenants, ms")
    figure.savefig(RESULTS / "rollups.png", dpi=80)


async def run() -> None:
    """Measure every size, one after the other."""
    found: dict[int, dict[str, Timings]] = {}
    parts: list[str] = []
    for size in SIZES:
        async with stack() as (_, url, _):
            client = connect(ClickHouseSettings(url=SecretStr(url), query_timeout=3600))
            client.set_client_setting("max_memory_usage", 12_000_000_000)  # all customers of the largest tenant
            found[size], notes = measure(client, size)
            rows = []
            for name in QUERIES:
                times = [over_tenants(found[size][way], name) for way in ("facts", "snapshot", "touched")]
                rows.append((name, *(f"{p50:,.0f} / {p95:,.0f}" for p50, p95 in times)))
            if size == SIZES[0] and TRICKLE:
                notes += f" {TRICKLE:,} inserts of one row, as fast as they go: at most {trickle(client)} active parts."
            table = markdown(["p50 / p95 over tenants, ms", "facts", "snapshot", f"{TOUCHED:,} touched"], rows)
            parts.append(f"## {size:,} responses\n\n{notes}\n\n{table}")
    plot(found)
    save(
        "rollups",
        "Reading scores and customers, with and without the snapshots",
        f"20 tenants (23 % to 1.6 % of the rows, {len(ASKED)} of them asked, the largest among them), two years, "
        f"medians of {ROUNDS} rounds in turn.\n\n" + "\n\n".join(parts),
    )


if __name__ == "__main__":
    asyncio.run(run())
