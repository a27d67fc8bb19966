"""SQL = Python, to 1e-9, over random counts."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client

from schemas.scales import SCALES
from schemas.scores import mean_interval, nps_interval, nps_score, wilson_interval
from tests.integration.clickhouse_rig import migrated_store, rows_of

SAMPLES = 2000


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with migrated_store() as store:
        store.command(
            "CREATE TABLE default.counts (p UInt64, d UInt64, n UInt64, s Float64, q Float64) ENGINE = Memory"
        )
        rng = random.Random(11)
        store.insert("default.counts", [[0, 0, 0, 0.0, 0.0], *(_counts(rng) for _ in range(SAMPLES))])
        yield store


def _counts(rng: random.Random) -> list[float]:
    sizes = [rng.choice((0, 1, rng.randrange(10), rng.randrange(10_000_000))) for _ in range(3)]
    p, passive, d = sizes
    # The same three counts as answers 5, 3 and 1 of a star scale: the sums belong together.
    return [p, d, p + passive + d, 5.0 * p + 3.0 * passive + d, 25.0 * p + 9.0 * passive + d]


def _same(found: float | None, expected: float | None) -> bool:
    if found is None or expected is None:
        return found is expected
    return found == pytest.approx(expected, abs=1e-9)


def test_functions_say_what_python_says(client: Client) -> None:
    rows = rows_of(
        client,
        "SELECT *, npsScore(p, d, n) AS nps, npsLow(p, d, n) AS nps_low, npsHigh(p, d, n) AS nps_high, "
        "wilsonLow(p, n) AS share_low, wilsonHigh(p, n) AS share_high, "
        "meanLow(s, q, n, 1, 5) AS mean_low, meanHigh(s, q, n, 1, 5) AS mean_high FROM default.counts",
    )
    assert len(rows) == SAMPLES + 1
    nothing = (None, None)
    for row in rows:
        p, d, n = row["p"], row["d"], row["n"]
        expected = (
            nps_score(p, d, n),
            *(nps_interval(p, d, n) or nothing),
            *(wilson_interval(p, n) or nothing),
            *(mean_interval(row["s"], row["q"], n, 1, 5) or nothing),
        )
        names = ("nps", "nps_low", "nps_high", "share_low", "share_high", "mean_low", "mean_high")
        assert all(_same(row[name], value) for name, value in zip(names, expected, strict=True)), row


def test_no_answers_give_null_in_every_function(client: Client) -> None:
    calls = ["npsScore(0, 0, 0)", "npsLow(0, 0, 0)", "npsHigh(0, 0, 0)", "wilsonLow(0, 0)", "wilsonHigh(0, 0)"]
    calls += ["meanLow(0, 0, 0, 1, 5)", "meanHigh(0, 0, 0, 1, 5)"]
    assert client.query(f"SELECT {', '.join(calls)}").result_rows == [(None,) * len(calls)]


def test_functions_take_sums_of_nullable_counts(client: Client) -> None:
    query = (
        "SELECT npsScore(sum(toNullable(p)), sum(toNullable(d)), sum(n)), npsScore(NULL, NULL, 5) FROM default.counts"
    )
    ((score, nothing),) = client.query(query).result_rows
    assert -100 <= score <= 100
    assert nothing is None


def test_the_ends_of_a_scale_are_read_off_its_name(client: Client) -> None:
    for scale in SCALES:
        query = f"SELECT scaleLowest('{scale.name}'), scaleHighest('{scale.name}')"
        assert client.query(query).result_rows == [(scale.low, scale.high)]


def test_a_day_begins_in_the_zone_of_each_row(client: Client) -> None:
    found = client.query(
        "SELECT zone, toString(localDay(toDateTime64(at, 3, 'UTC'), zone)) FROM values('zone String, at String', "
        "('America/Sao_Paulo', '2026-03-01 02:59:59.999'), ('America/Sao_Paulo', '2026-03-01 03:00:00.000'), "
        "('Asia/Kolkata', '2026-03-01 18:29:59.999'), ('Asia/Kolkata', '2026-03-01 18:30:00.000'), "
        "('', '2026-03-01 23:59:59.999'), ('America/Sao_Paulo', '2018-11-04 02:59:00'), "
        "('America/Sao_Paulo', '2018-11-05 01:59:00'))"  # the clock went forward on 4 November 2018
    ).result_rows
    days = [day for _, day in found]
    assert days == ["2026-02-28", "2026-03-01", "2026-03-01", "2026-03-02", "2026-03-01", "2018-11-03", "2018-11-04"]
