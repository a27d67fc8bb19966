"""The made-up stream: the same for the same seed, and every event of it usable."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from pipeline.decoding import decode_interaction, decode_response
from pipeline.generator import events
from schemas.envelope import RESPONSE_TYPE
from schemas.rows import InteractionRow, ResponseRow, to_ms
from tests.unit.records import FakeRecord

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
COUNT = 4000


def test_the_same_seed_is_the_same_stream_and_another_one_is_not() -> None:
    assert list(events(500, 7, now=NOW)) == list(events(500, 7, now=NOW))
    assert list(events(500, 7, now=NOW)) != list(events(500, 8, now=NOW))


def test_another_source_is_other_events_of_the_same_customers() -> None:
    first, second = list(events(200, 7, now=NOW)), list(events(200, 7, now=NOW, source="load"))
    assert [e["data"] for e in first] == [e["data"] for e in second]
    assert {e["source"] for e in second} == {"load"}


def test_every_event_becomes_a_row() -> None:
    now_ms = to_ms(NOW)
    rows: list[ResponseRow | InteractionRow] = []
    for event in events(COUNT, 7, now=NOW):
        record = FakeRecord(json.dumps(event).encode(), timestamp=now_ms)
        decode = decode_response if event["type"] == RESPONSE_TYPE else decode_interaction
        row = decode(record, now_ms)
        assert isinstance(row, ResponseRow | InteractionRow), row
        rows.append(row)
    responses = [row for row in rows if isinstance(row, ResponseRow)]
    assert all(now_ms - timedelta(days=15) // timedelta(milliseconds=1) <= row.occurred_at <= now_ms for row in rows)
    assert {row.metric for row in responses} == {"nps", "csat", "ces", "stars"}
    assert {row.language for row in responses if row.comment} == {"pt", "es", "en"}
    assert all(row.band for row in responses)


def test_some_come_twice_and_some_are_corrected() -> None:
    stream = list(events(COUNT, 7, now=NOW))
    assert COUNT <= len(stream) < COUNT * 1.1
    by_id = Counter(event["id"] for event in stream)
    assert 0 < sum(n - 1 for n in by_id.values()) < COUNT * 0.04
    of_response: dict[str, list[dict[str, object]]] = {}
    for event in {e["id"]: e for e in stream}.values():
        if event["type"] == RESPONSE_TYPE:
            of_response.setdefault(event["data"]["response_id"], []).append(event)
    corrected = [
        sorted(versions, key=lambda e: str(e["time"])) for versions in of_response.values() if len(versions) > 1
    ]
    assert corrected
    for versions in corrected:
        assert all(str(a["time"]) < str(b["time"]) for a, b in pairwise(versions))
