"""Changes, differences, drivers and the parts of a change: the views against schemas/scores.py and plain sums."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from schemas.rows import ResponseRow
from schemas.scales import scale
from schemas.scores import Difference, benjamini_hochberg, mean_difference, nps_difference, share_difference
from tests.integration.clickhouse_expect import counted, expected_score, local_day, same, values
from tests.integration.clickhouse_rig import filled_store, random_facts, rows_of, with_noise

PERIODS = ((date(2026, 1, 5), date(2026, 2, 1)), (date(2026, 2, 1), date(2026, 3, 10)))
TWO = ", ".join(f"since_{i} = '{a}', until_{i} = '{b}'" for i, (a, b) in enumerate(PERIODS, 1))
ONE = "since = '2026-01-05', until = '2026-03-10'"
CASES = [
    (m, d) for m in ("nps", "csat", "ces", "stars", "thumbs") for d in ("all", "topic", "channel", "segment.region")
]


@pytest.fixture(scope="module")
def facts() -> list[ResponseRow]:
    return random_facts(13, 1500)


@pytest.fixture(scope="module")
def client(facts: list[ResponseRow]) -> Iterator[Client]:
    with filled_store(with_noise(13, facts)) as store:
        yield store


def chosen(facts: list[ResponseRow], metric: str, period: int | None = None) -> list[ResponseRow]:
    since, until = PERIODS[period] if period is not None else (PERIODS[0][0], PERIODS[1][1])
    rows = [r for r in counted(facts) if r.tenant == "acme" and r.metric == metric]
    return [r for r in rows if since <= local_day(r) < until]


def by_value(rows: list[ResponseRow], dimension: str) -> dict[tuple[str, str], list[ResponseRow]]:
    found: dict[tuple[str, str], list[ResponseRow]] = defaultdict(list)
    for row in rows:
        for value in values(row, dimension):
            found[row.scale, value].append(row)
    return found


def difference(metric: str, scale_name: str, first: list[ResponseRow], second: list[ResponseRow]) -> Difference | None:
    """What schemas/scores.py says of the two samples, in the unit of the score."""
    if not first or not second:
        return None
    one, two = (expected_score(metric, scale_name, rows) for rows in (first, second))
    if metric == "nps":
        return nps_difference(
            (one["promoters"], one["detractors"], one["n"]), (two["promoters"], two["detractors"], two["n"])
        )
    if metric == "stars":
        ends = scale(metric, scale_name)
        assert ends is not None
        sums = [(c["sum_score"], c["sum_squares"], c["n"]) for c in (one, two)]
        return mean_difference(sums[0], sums[1], ends.low, ends.high)
    shares = share_difference((one["satisfied"], one["n"]), (two["satisfied"], two["n"]))
    assert shares is not None
    return Difference(100 * shares.difference, 100 * shares.ci_low, 100 * shares.ci_high, shares.p_value)


def assert_q_values(found: list[dict[str, Any]]) -> None:
    tested = [row for row in found if row["p_value"] is not None]
    expected = benjamini_hochberg([row["p_value"] for row in tested])
    assert [row["q_value"] for row in tested] == pytest.approx(expected, abs=1e-9)
    assert all(row["q_value"] is None for row in found if row["p_value"] is None)


def assert_difference(row: dict[str, Any], expected: Difference | None) -> None:
    for name in ("difference", "ci_low", "ci_high", "p_value"):
        assert same(row[name], expected and getattr(expected, name)), (row, name, expected)


@pytest.mark.parametrize(("metric", "dimension"), CASES)
def test_change_between_two_periods(client: Client, facts: list[ResponseRow], metric: str, dimension: str) -> None:
    call = f"score_change(tenant = 'acme', metric = '{metric}', dimension = '{dimension}', {TWO})"
    found = rows_of(client, f"SELECT * FROM feedback.{call}")
    first, second = (by_value(chosen(facts, metric, i), dimension) for i in (0, 1))
    assert {(row["scale"], row["value"]) for row in found} == first.keys() | second.keys()
    for row in found:
        before, after = (side.get((row["scale"], row["value"]), []) for side in (first, second))
        assert_difference(row, difference(metric, row["scale"], before, after))
        for i, rows in ((1, before), (2, after)):
            assert row[f"n_{i}"] == len(rows)
            expected = expected_score(metric, row["scale"], rows) if rows else {}
            for name in ("score", "ci_low", "ci_high"):
                assert same(row[f"{name}_{i}"], expected.get(name)), (row, name)
    assert_q_values(found)


@pytest.mark.parametrize("metric", ["nps", "csat", "stars"])
@pytest.mark.parametrize(
    ("dimension", "one", "two"),
    [("segment.plan", "free", "pro"), ("topic", "other", "service.wait"), ("channel", "app", "x")],
)
def test_difference_between_two_segments(
    client: Client, facts: list[ResponseRow], metric: str, dimension: str, one: str, two: str
) -> None:
    call = (
        f"segment_difference(tenant = 'acme', metric = '{metric}', dimension = '{dimension}', "
        f"value_1 = '{one}', value_2 = '{two}', {ONE})"
    )
    found = rows_of(client, f"SELECT * FROM feedback.{call}")
    groups = by_value(chosen(facts, metric), dimension)
    assert found
    for row in found:
        first, second = (groups.get((row["scale"], value), []) for value in (one, two))
        assert (row["n_1"], row["n_2"]) == (len(first), len(second))
        assert_difference(row, difference(metric, row["scale"], first, second))
    assert_q_values(found)


@pytest.mark.parametrize(("metric", "dimension"), CASES)
def test_drivers_are_the_score_of_all_less_the_score_without(
    client: Client, facts: list[ResponseRow], metric: str, dimension: str
) -> None:
    call = f"drivers(tenant = 'acme', metric = '{metric}', dimension = '{dimension}', {ONE})"
    found = rows_of(client, f"SELECT * FROM feedback.{call}")
    rows = chosen(facts, metric)
    groups = by_value(rows, dimension)
    assert {(row["scale"], row["value"]) for row in found} == groups.keys()
    for row in found:
        everyone = [r for r in rows if r.scale == row["scale"]]
        having = groups[row["scale"], row["value"]]
        others = [r for r in everyone if row["value"] not in values(r, dimension)]
        scores = [
            expected_score(metric, row["scale"], side)["score"] if side else None for side in (everyone, having, others)
        ]
        for name, value in zip(("score_all", "score_with", "score_without"), scores, strict=True):
            assert same(row[name], value), (row, name)
        assert same(row["impact"], None if scores[2] is None else scores[0] - scores[2])
        gap = difference(metric, row["scale"], others, having)
        share = len(having) / len(everyone)
        assert same(row["share"], share)
        assert same(row["impact"], gap and share * gap.difference), "impact = share x difference"
        assert same(row["ci_low"], gap and share * gap.ci_low)
        assert same(row["ci_high"], gap and share * gap.ci_high)
        assert same(row["p_value"], gap and gap.p_value)
    assert_q_values(found)


@pytest.mark.parametrize(("metric", "dimension"), CASES)
def test_the_parts_of_a_change_add_up_to_it(
    client: Client, facts: list[ResponseRow], metric: str, dimension: str
) -> None:
    call = f"change_parts(tenant = 'acme', metric = '{metric}', dimension = '{dimension}', {TWO})"
    found = rows_of(client, f"SELECT * FROM feedback.{call}")
    assert found
    for scale_name in {row["scale"] for row in found}:
        cell = [row for row in found if row["scale"] == scale_name]
        sides = [[r for r in chosen(facts, metric, i) if r.scale == scale_name] for i in (0, 1)]
        before, after = (expected_score(metric, scale_name, rows)["score"] for rows in sides)
        for row in cell:
            assert same(row["change"], after - before)
            assert same(row["contribution"], row["mix"] + row["rate"])
            weights = [_weight(rows, dimension, row["value"]) for rows in sides]
            assert [row["n_1"], row["n_2"]] == pytest.approx(weights, abs=1e-9)
            assert [row["share_1"], row["share_2"]] == pytest.approx(
                [w / len(rows) for w, rows in zip(weights, sides, strict=True)], abs=1e-9
            )
        assert sum(row["contribution"] for row in cell) == pytest.approx(after - before, abs=1e-9)
        if dimension in ("all", "channel"):  # one value a response: the score of a value is its plain score
            for row in cell:
                for i, rows in enumerate(sides, 1):
                    own = [r for r in rows if values(r, dimension) == [row["value"]]]
                    assert same(row[f"score_{i}"], expected_score(metric, scale_name, own)["score"] if own else None)


def _weight(rows: list[ResponseRow], dimension: str, value: str) -> float:
    parts = [values(row, dimension) or [""] for row in rows]
    return sum(part.count(value) / len(part) for part in parts)
