"""What the views should say, recomputed in plain Python from the newest versions of the responses."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from schemas.rows import InteractionRow, ResponseRow, from_ms
from schemas.scales import scale
from schemas.scores import mean_interval, nps_interval, nps_score, wilson_interval
from tests.integration.clickhouse_rig import ZONES

DIMENSIONS = ("tenant", "metric", "survey", "touchpoint", "channel", "scale")
POSITIVE, NEGATIVE = {"positive", "very_positive"}, {"negative", "very_negative"}


def local_day(row: ResponseRow | InteractionRow) -> date:
    """The day on which it happened for the tenant."""
    zone = ZONES.get(row.tenant, "UTC")
    return from_ms(row.occurred_at).astimezone(ZoneInfo("UTC" if zone.startswith("Mars") else zone)).date()


def month(row: ResponseRow | InteractionRow) -> date:
    """The first day of that day's month."""
    return local_day(row).replace(day=1)


def counted(facts: Sequence[ResponseRow]) -> list[ResponseRow]:
    """The responses that count in a score."""
    return [row for row in facts if row.metric and row.score is not None and not row.excluded]


def expected_score(metric: str, scale_name: str, rows: list[ResponseRow]) -> dict[str, Any]:
    """What DEFINITIONS say of the answers of one cell."""
    scores = [row.score for row in rows if row.score is not None]
    bands = [row.band for row in rows]
    n, total, squares = len(rows), sum(scores), sum(s * s for s in scores)
    counts: dict[str, Any] = dict.fromkeys(("promoters", "passives", "detractors", "satisfied"))
    if metric == "nps":
        counts |= {f"{b}s": bands.count(b) for b in ("promoter", "passive", "detractor")}
        score: float | None = nps_score(counts["promoters"], counts["detractors"], n)
        interval = nps_interval(counts["promoters"], counts["detractors"], n)
    else:
        k = counts["satisfied"] = bands.count("satisfied")
        ends = scale(metric, scale_name)
        assert ends is not None
        if metric == "stars":
            score, interval = total / n, mean_interval(total, squares, n, ends.low, ends.high)
        else:
            score, share = 100 * k / n, wilson_interval(k, n)
            interval = share and (100 * share[0], 100 * share[1])
    assert interval is not None
    return counts | {
        "n": n, "sum_score": total, "sum_squares": squares, "mean_score": total / n,
        "score": score, "ci_low": interval[0], "ci_high": interval[1],
    }  # fmt: skip


def score_cells(
    rows: Iterable[ResponseRow], keys: Callable[[ResponseRow], Iterable[tuple[Any, ...]]]
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The expected scores of each key; a row may belong to several."""
    cells: dict[tuple[Any, ...], list[ResponseRow]] = defaultdict(list)
    for row in rows:
        for key in keys(row):
            cells[key].append(row)
    return {key: expected_score(found[0].metric, found[0].scale, found) for key, found in cells.items()}


def assert_cells(
    found: list[dict[str, Any]], key: Sequence[str], expected: dict[tuple[Any, ...], dict[str, Any]]
) -> None:
    """The rows are exactly the expected cells, each number to 1e-9."""
    left = dict(expected)
    assert found, "an empty answer proves nothing"
    for row in found:
        place = tuple(_plain(row[name]) for name in key)
        for column, value in left.pop(place).items():
            assert same(row[column], value), (place, column, row[column], value)
    assert not left


def _plain(value: Any) -> Any:
    """Moments in UTC: clickhouse-connect gives naive UTC, or the zone of the server where that is another one."""
    if not isinstance(value, datetime):
        return value
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def same(found: Any, expected: Any) -> bool:
    """Equal, numbers to 1e-9; None only to None."""
    if found is None or expected is None or isinstance(expected, str | list | date):
        return bool(found == expected)
    return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)


def assert_net_sentiment(found: dict[str, Any], sentiments: list[str]) -> None:
    """A row of a view of net sentiment against the sentiments it is made of."""
    positive, negative = (sum(s in words for s in sentiments) for words in (POSITIVE, NEGATIVE))
    n = len(sentiments)
    assert (found["n"], found["positive"], found["negative"]) == (n, positive, negative)
    assert found["score"] == pytest.approx(nps_score(positive, negative, n), abs=1e-9)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx(nps_interval(positive, negative, n), abs=1e-9)


def values(row: ResponseRow, dimension: str) -> list[str]:
    """The values of a response in a dimension of feedback.scores_by."""
    if dimension == "all":
        return [""]
    if dimension == "topic":
        return row.topics
    if dimension.startswith("segment."):
        return [v for k, v in row.segments.items() if k == dimension.removeprefix("segment.")]
    return [getattr(row, dimension)]
