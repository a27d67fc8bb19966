"""The cells that each score view must have, and what stands in them, recomputed in plain Python.

Comes from `expected.Expected`; goes to `compare`. A view is a way to put the answers into cells (a survey's Monday, a
topic, a stage and a plan); what is said of the answers of a cell is the same for all of them. The formulas are those of
`schemas.scores`, the days those of the tenant.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from pipeline.chaos.expected import Row
from schemas import scores
from schemas.rows import from_ms
from schemas.scales import Band

Figures = dict[str, float | None]
Key = tuple[Any, ...]
CROSSED = ("segment.plan", "journey_stage")  # the two dimensions of the cross-tab that is compared
CROSSED_METRICS = ("nps", "stars")  # and its metrics: it takes one a query
_WINDOWS = (7, 30, 90)
_PLACE = ("tenant", "metric", "scale", "survey", "touchpoint", "channel")
_TENANT = ("tenant", "metric", "scale")
_POSITIVE, _NEGATIVE = {"positive", "very_positive"}, {"negative", "very_negative"}


class View(NamedTuple):
    """`key`: its columns that name a cell. `cells(row, day, newest)`: where a response of that day belongs, of a tenant
    whose newest scored response is of the day `newest`."""

    name: str
    key: tuple[str, ...]
    cells: Callable[[Row, date, date], Iterable[Key]]


def _of(row: Row, names: Sequence[str]) -> Key:
    return tuple(row[name] for name in names)


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _windows(row: Row, day: date, newest: date) -> Iterator[Key]:
    """Each window of 7, 30 and 90 days that the day is in, up to the one that ends with `newest`."""
    for days in _WINDOWS:
        for later in range(min(days, (newest - day).days + 1)):
            yield *_of(row, _PLACE), days, day + timedelta(days=later)


def _dimensions(row: Row, day: date, newest: date) -> Iterator[Key]:
    names = ("survey", "touchpoint", "channel", "journey_stage", "language", "sentiment")
    pairs = [(name, row[name]) for name in names]
    pairs += [("topic", topic) for topic in row["topics"]]
    pairs += [(f"segment.{name}", value) for name, value in row["segments"].items()]
    for dimension, value in pairs:
        yield *_of(row, _TENANT), dimension, value, day


def _crossed(row: Row, day: date, newest: date) -> Iterator[Key]:
    if "plan" in row["segments"] and row["metric"] in CROSSED_METRICS:
        yield *_of(row, _TENANT), row["segments"]["plan"], row["journey_stage"]


SCORES = (
    View(
        "scores_hourly",
        (*_PLACE, "bucket"),
        lambda row, day, newest: [
            (*_of(row, _PLACE), from_ms(row["occurred_at"]).replace(minute=0, second=0, microsecond=0))
        ],
    ),
    View("scores_daily", (*_PLACE, "bucket"), lambda row, day, newest: [(*_of(row, _PLACE), day)]),
    View("scores_weekly", (*_PLACE, "bucket"), lambda row, day, newest: [(*_of(row, _PLACE), _monday(day))]),
    View("scores_monthly", (*_PLACE, "bucket"), lambda row, day, newest: [(*_of(row, _PLACE), day.replace(day=1))]),
    View("scores_rolling", (*_PLACE, "days", "bucket"), _windows),
    View("scores_by_dimension", (*_TENANT, "dimension", "value", "bucket"), _dimensions),
    View("cross_tab", (*_TENANT, "value_1", "value_2"), _crossed),
    View(
        "journey_scores",
        (*_TENANT, "journey_stage", "touchpoint", "bucket"),
        lambda row, day, newest: [(*_of(row, _TENANT), row["journey_stage"], row["touchpoint"], day.replace(day=1))],
    ),
)
"""Views of scores: of the responses that count."""

_FEELING = ("tenant", "touchpoint", "model_version")
FEELINGS = (
    View("topics", ("tenant", "topic", "model_version"), lambda row, day, newest: []),  # see `net_sentiments`
    View("sentiment_by_touchpoint", _FEELING, lambda row, day, newest: [_of(row, _FEELING)]),
    View(
        "journey_sentiment",
        (*_FEELING, "journey_stage", "bucket"),
        lambda row, day, newest: [(*_of(row, _FEELING), row["journey_stage"], day.replace(day=1))],
    ),
)
"""Views of net sentiment: of the comments that are labelled."""


def score_cells(view: View, responses: Iterable[Row], zones: Mapping[str, str]) -> dict[Key, Figures]:
    """What a view of SCORES must hold, by its key; `zones` has the time zone of each tenant."""
    dated = [(row, local_day(row, zones)) for row in responses if row["band"] and not row["excluded"]]
    newest: dict[str, date] = {}
    for row, day in dated:
        newest[row["tenant"]] = max(day, newest.get(row["tenant"], day))
    cells: dict[Key, list[Row]] = defaultdict(list)
    for row, day in dated:
        for key in view.cells(row, day, newest[row["tenant"]]):
            cells[key].append(row)
    return {key: score_figures(rows) for key, rows in cells.items()}


def net_sentiments(view: View, responses: Iterable[Row], zones: Mapping[str, str]) -> dict[Key, Figures]:
    """What a view of FEELINGS must hold, by its key."""
    cells: dict[Key, Counter[str]] = defaultdict(Counter)
    for row in responses:
        if row["excluded"]:
            continue
        if view.name == "topics":
            for topic, sentiment in zip(row["topics"], row["topic_sentiments"], strict=True):
                cells[row["tenant"], topic, row["model_version"]][sentiment] += 1
        else:
            day = local_day(row, zones)
            for key in view.cells(row, day, day):
                cells[key][row["sentiment"]] += 1
    found = {}
    for key, words in cells.items():
        if n := sum(times for word, times in words.items() if word not in ("", "unknown")):
            found[key] = _net(sum(words[word] for word in _POSITIVE), sum(words[word] for word in _NEGATIVE), n)
    return found


def local_day(row: Row, zones: Mapping[str, str]) -> date:
    """The day on which it happened for the tenant."""
    return from_ms(row["occurred_at"]).astimezone(ZoneInfo(zones[row["tenant"]])).date()


def score_figures(rows: Sequence[Row]) -> Figures:
    """What every view says of the answers of one cell, which are of one metric and scale."""
    metric, n = rows[0]["metric"], len(rows)
    total = float(sum(row["score"] for row in rows))
    squares = float(sum(row["score"] ** 2 for row in rows))
    count = Counter(row["band"] for row in rows)
    promoters, detractors, satisfied = count[Band.PROMOTER], count[Band.DETRACTOR], count[Band.SATISFIED]
    low, high = map(float, rows[0]["scale"].split("-"))
    interval: tuple[float, float] | None
    score: float | None
    if metric == "nps":
        score, interval = scores.nps_score(promoters, detractors, n), scores.nps_interval(promoters, detractors, n)
    elif metric == "stars":
        score, interval = total / n, scores.mean_interval(total, squares, n, low, high)
    else:
        share = scores.wilson_interval(satisfied, n)
        score, interval = 100 * satisfied / n, share and (100 * share[0], 100 * share[1])
    assert interval is not None, "a cell has answers"
    is_nps = metric == "nps"
    return {
        "n": n,
        "promoters": promoters if is_nps else None,
        "passives": count[Band.PASSIVE] if is_nps else None,
        "detractors": detractors if is_nps else None,
        "satisfied": None if is_nps else satisfied,
        "sum_score": total,
        "sum_squares": squares,
        "mean_score": total / n,
        "score": score,
        "ci_low": interval[0],
        "ci_high": interval[1],
    }


def _net(positive: int, negative: int, n: int) -> Figures:
    interval = scores.nps_interval(positive, negative, n)
    assert interval is not None, "a cell has comments"
    score = scores.nps_score(positive, negative, n)
    return {"n": n, "positive": positive, "negative": negative, "score": score} | dict(
        zip(("ci_low", "ci_high"), interval, strict=True)
    )
