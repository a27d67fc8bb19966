"""What every view must say, recomputed in plain Python from the records that the broker acknowledged.

Shares nothing with the pipeline or the SQL but the definitions: formulas of `schemas.scores`, bands of
`schemas.scales`, and the rule of versions (newest `updated_at`, then the hash of the bytes, then first received).
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.chaos.stream import Sent
from pipeline.decoding import digest  # which hash breaks ties is no part of the rule
from schemas import scores, topics
from schemas.rows import from_ms, to_ms
from schemas.scales import Band, scale

TOLERANCE = 1e-9  # absolute and relative, of every figure
_AHEAD_MS = 5 * 60 * 1000  # a clock may be so far ahead

Identity = tuple[str, str, str, str]  # tenant, source, response id, question
Figures = dict[str, float | None]
ScoreKey = tuple[str, str, str, str, str, str, Any]  # tenant, metric, survey, touchpoint, channel, scale, bucket
GRAINS = ("hourly", "daily", "monthly")


@dataclass
class Expected:
    """The state after all records: newest versions by identity, and the marks of junk."""

    responses: dict[Identity, dict[str, Any]] = field(default_factory=dict)
    interactions: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    junk: set[str] = field(default_factory=set)

    def scores(self, grain: str, zones: Mapping[str, str]) -> dict[ScoreKey, Figures]:
        """The rows of `feedback.scores_<grain>` by their key; `zones` has the time zone of each tenant."""
        groups: dict[ScoreKey, list[tuple[float, Band]]] = defaultdict(list)
        for (tenant, *_), row in self.responses.items():
            if row["excluded"] or row["band"] is None:
                continue
            bucket = _bucket(grain, row["occurred"], zones[tenant])
            key = (tenant, row["metric"], row["survey"], row["touchpoint"], row["channel"], row["scale"], bucket)
            groups[key].append((row["score"], row["band"]))
        return {key: _figures(key[1], key[5], answers) for key, answers in groups.items()}


def expect(sent: Iterable[Sent]) -> Expected:
    """The state that `sent`, in any order and any number of times, must end in."""
    state = Expected()
    for record in sent:
        if record.mark:
            state.junk.add(record.mark)
            continue
        attributes, data = _parse(record)
        if record.topic == topics.RESPONSES:
            row = _response(record, attributes, data)
            identity = (data["tenant"], attributes["source"], data["response_id"], data.get("question", ""))
            if identity not in state.responses or row["version"] > state.responses[identity]["version"]:
                state.responses[identity] = row
        else:
            row = _interaction(record, attributes, data)
            place = (data["tenant"], attributes["source"], data["interaction_id"])
            if place not in state.interactions or row["version"] > state.interactions[place]["version"]:
                state.interactions[place] = row
    state.responses = {identity: row for identity, row in state.responses.items() if not row["deleted"]}
    state.interactions = {place: row for place, row in state.interactions.items() if not row["deleted"]}
    return state


def differ(found: float | None, wanted: float | None) -> bool:
    """Whether two figures differ by more than TOLERANCE."""
    if found is None or wanted is None:
        return found is not wanted
    return not math.isclose(found, wanted, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _parse(record: Sent) -> tuple[dict[str, Any], dict[str, Any]]:
    content = json.loads(record.value)
    if record.headers:
        return {name.removeprefix("ce_"): value.decode() for name, value in record.headers}, content
    return content, content["data"]


def _response(record: Sent, attributes: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    updated = _clamped(data.get("updated_at", attributes["time"]), record.timestamp)
    found = scale(data["metric"], data["scale"]) if "metric" in data else None
    return {
        "metric": data.get("metric", ""),
        "scale": found.name if found else "",
        "score": data.get("score"),
        "band": found.bands[data["score"]] if found else None,
        "comment": data.get("comment", ""),
        "excluded": data.get("excluded", False),
        "deleted": data.get("deleted", False),
        "survey": data["survey"],
        "touchpoint": data["touchpoint"],
        "channel": data["channel"],
        "event_id": attributes["id"],
        "occurred": _clamped(data["occurred_at"], record.timestamp),
        "updated": updated,
        "received": record.timestamp,
        "version": (updated, digest(record.value), -record.timestamp),
    }


def _interaction(record: Sent, attributes: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    occurred = _clamped(attributes["time"], record.timestamp)
    return {
        "event_id": attributes["id"],
        "deleted": data["deleted"],
        "occurred": occurred,
        "version": (occurred, digest(record.value), -record.timestamp),
    }


def _clamped(moment: str, received: int) -> int:
    ms = to_ms(datetime.fromisoformat(moment))
    return received if ms > received + _AHEAD_MS else ms


def _bucket(grain: str, ms: int, zone: str) -> Any:
    """Hours are cut in UTC, days and months in the time zone of the tenant."""
    if grain == "hourly":
        return from_ms(ms).replace(minute=0, second=0, microsecond=0)
    day: date = from_ms(ms).astimezone(ZoneInfo(zone)).date()
    return day if grain == "daily" else day.replace(day=1)


def _figures(metric: str, scale_name: str, answers: list[tuple[float, Band]]) -> Figures:
    n = len(answers)
    total = float(sum(score for score, _ in answers))
    squares = float(sum(score * score for score, _ in answers))
    count = {band: sum(found is band for _, found in answers) for band in Band}
    promoters, detractors, satisfied = count[Band.PROMOTER], count[Band.DETRACTOR], count[Band.SATISFIED]
    low, high = map(float, scale_name.split("-"))
    interval: tuple[float, float] | None
    score: float | None
    if metric == "nps":
        score, interval = scores.nps_score(promoters, detractors, n), scores.nps_interval(promoters, detractors, n)
    elif metric == "stars":
        score, interval = total / n, scores.mean_interval(total, squares, n, low, high)
    else:
        share = scores.wilson_interval(satisfied, n)
        score, interval = 100 * satisfied / n, share and (100 * share[0], 100 * share[1])
    assert interval is not None, "a group has answers"
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
