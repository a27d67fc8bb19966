"""The state that every table must end in, recomputed in plain Python from the records that the broker acknowledged.

Goes to `views`, which makes of it what every view must say, and to `compare`. Shares nothing with the pipeline or the
SQL but the definitions: bands of `schemas.scales`, and the rule of versions (newest `updated_at`, then the hash of the
bytes, then first received). A row here has the columns of the view that shows it; times are milliseconds since 1970.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.chaos.stream import Sent
from pipeline.decoding import digest  # which hash breaks ties is no part of the rule
from schemas import topics
from schemas.labels import Labels
from schemas.rows import to_ms
from schemas.scales import scale

_AHEAD_MS = 5 * 60 * 1000  # a clock may be so far ahead
_VERSION = "version"

Row = dict[str, Any]
Identity = tuple[str, ...]  # responses: tenant, source, response id, question; interactions: the first three


@dataclass
class Expected:
    """The state after all records: newest versions by identity, and the marks of junk."""

    responses: dict[Identity, Row] = field(default_factory=dict)
    interactions: dict[Identity, Row] = field(default_factory=dict)
    junk: set[str] = field(default_factory=set)

    def comments(self) -> list[str]:
        """The distinct comments, sorted."""
        return sorted({row["comment"] for row in self.responses.values()} - {""})

    def label(self, labels: dict[str, Labels]) -> None:
        """Put the labels of each comment into the responses that have it, as the label lane does."""
        for row in self.responses.values():
            if row["comment"]:
                row |= _label_columns(labels[row["comment"]])


def expect(sent: Iterable[Sent]) -> Expected:
    """The state that `sent`, in any order and any number of times, must end in; without labels."""
    state = Expected()
    for record in sent:
        if record.mark:
            state.junk.add(record.mark)
            continue
        attributes, data = _parse(record)
        if record.topic == topics.RESPONSES:
            _keep_newest(state.responses, _response(record, attributes, data), ("response_id", "question"))
        else:
            _keep_newest(state.interactions, _interaction(record, attributes, data), ("interaction_id",))
    state.responses = _standing(state.responses)
    state.interactions = _standing(state.interactions)
    return state


def _keep_newest(rows: dict[Identity, Row], row: Row, own: tuple[str, ...]) -> None:
    identity = (row["tenant"], row["source"], *(row[name] for name in own))
    if identity not in rows or row[_VERSION] > rows[identity][_VERSION]:
        rows[identity] = row


def _standing(rows: dict[Identity, Row]) -> dict[Identity, Row]:
    """Those that were not withdrawn, without what only decides between versions."""
    columns = {identity: dict(row) for identity, row in rows.items() if not row["deleted"]}
    for row in columns.values():
        del row[_VERSION], row["deleted"]
    return columns


def _parse(record: Sent) -> tuple[Row, Row]:
    content = json.loads(record.value)
    if record.headers:
        return {name.removeprefix("ce_"): value.decode() for name, value in record.headers}, content
    return content, content["data"]


def _response(record: Sent, attributes: Row, data: Row) -> Row:
    occurred, ahead = _clamped(data["occurred_at"], record.timestamp)
    updated, later = _clamped(data.get("updated_at") or attributes["time"], record.timestamp)
    found = scale(data["metric"], data["scale"]) if "metric" in data else None
    return {
        "tenant": data["tenant"],
        "source": attributes["source"],
        "response_id": data["response_id"],
        "question": data.get("question", ""),
        "metric": data.get("metric", ""),
        "scale": found.name if found else "",
        "score": data.get("score"),
        "band": found.bands[data["score"]].value if found else "",
        "comment": data.get("comment", ""),
        "language": data.get("language", ""),
        "customer_id": data["customer_id"],
        "survey": data["survey"],
        "touchpoint": data["touchpoint"],
        "channel": data["channel"],
        "journey_stage": data["journey_stage"],
        "segments": data.get("segments", {}),
        "excluded": int(data.get("excluded", False)),
        "flags": ["clock_clamped"] if ahead or later else [],
        "occurred_at": occurred,
        "updated_at": updated,
        "received_at": record.timestamp,
        "event_id": attributes["id"],
        "extra": "",
        "deleted": data.get("deleted", False),
        _VERSION: (updated, digest(record.value), -record.timestamp),
        **_label_columns(None),
    }


def _label_columns(labels: Labels | None) -> Row:
    if labels is None:
        empty = {"sentiment": "", "sentiment_score": None, "sentiment_confidence": None}
        return empty | {"topics": [], "topic_sentiments": [], "model_version": ""}
    return {
        "language": labels.language,
        "sentiment": labels.sentiment.value,
        "sentiment_score": _single(labels.sentiment_score),
        "sentiment_confidence": _single(labels.confidence),
        "topics": [mention.topic for mention in labels.topics],
        "topic_sentiments": [mention.sentiment.value for mention in labels.topics],
        "model_version": labels.model_version,
    }


def _single(number: float) -> float:
    """As a Float32 keeps it."""
    [kept] = struct.unpack("f", struct.pack("f", number))
    return float(kept)


def _interaction(record: Sent, attributes: Row, data: Row) -> Row:
    occurred, ahead = _clamped(attributes["time"], record.timestamp)
    return {
        "tenant": data["tenant"],
        "source": attributes["source"],
        "interaction_id": data["interaction_id"],
        "customer_id": data["customer_id"],
        "action": data["action"],
        "touchpoint": data["touchpoint"],
        "value": data.get("value"),
        "currency": data.get("currency", ""),
        "flags": ["clock_clamped"] if ahead else [],
        "occurred_at": occurred,
        "received_at": record.timestamp,
        "event_id": attributes["id"],
        "deleted": data["deleted"],
        _VERSION: (occurred, digest(record.value), -record.timestamp),
    }


def _clamped(moment: str, received: int) -> tuple[int, bool]:
    ms = to_ms(datetime.fromisoformat(moment))
    return (received, True) if ms > received + _AHEAD_MS else (ms, False)
