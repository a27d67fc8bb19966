"""Bytes to rows: nothing raises, the same record is the same row, and the rules of docs/definitions.md about times."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.decoding import (
    CLOCK_TOLERANCE_MS,
    MAX_COMMENT,
    MAX_ERROR,
    MAX_PAYLOAD,
    dead_letter,
    decode_interaction,
    decode_response,
)
from schemas.dead_letter import DeadLetter, Reason, Stage
from schemas.labels import Labels, Sentiment, TopicMention
from schemas.rows import DeadLetterRow, EnrichedResponse, ResponseRow, from_ms, to_ms
from tests.unit.records import NOW_MS, RECEIVED_MS, FakeRecord, envelope, response

# JSON as strange as senders can make it, near enough to an event to get past the first checks.
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | _TEXT,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(_TEXT, inside, max_size=3),
    max_leaves=8,
)
_TIME = st.datetimes(timezones=st.timezones()).map(lambda t: t.isoformat()) | st.sampled_from(
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-03-02", "1772460309", "2026-03-02T11:05:09"]
)
_SCORE = st.integers(-1, 11) | st.floats() | _JSON
_DATA = st.fixed_dictionaries(
    {"response_id": st.sampled_from(["r-1", 7, "\0"]) | _JSON},
    optional={
        "tenant": _JSON,
        "metric": st.sampled_from(["nps", "csat", "ces", "stars", "thumbs"]) | _JSON,
        "scale": st.sampled_from(["0-10", "1-5", "1-3", "1-7", "0-1"]) | _JSON,
        "score": _SCORE,
        "comment": _TEXT | _JSON,
        "segments": st.dictionaries(_TEXT, _JSON, max_size=3) | _JSON,
        "properties": st.dictionaries(_TEXT, _JSON, max_size=3) | _JSON,
        "occurred_at": _TIME,
        "updated_at": _TIME,
        "excluded": _JSON,
        "deleted": _JSON,
        "unknown": _JSON,
    },
)
_GOOD = st.fixed_dictionaries(
    {"response_id": st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)},
    optional={
        "customer_id": st.integers(0, 10**12) | _TEXT,
        "segments": st.dictionaries(_TEXT, _TEXT | st.booleans() | st.integers() | st.none(), max_size=3),
        "occurred_at": st.integers(0, 2**42).map(lambda ms: from_ms(ms).isoformat()),
        "excluded": st.booleans(),
        "comment": _TEXT,
        "unknown": _JSON,
    },
).map(lambda data: {"metric": "nps", "score": 9} | data)


def _record(data: Any, **changes: Any) -> FakeRecord:
    return FakeRecord(envelope(data))._replace(**changes)


def _row(record: FakeRecord) -> ResponseRow:
    row = decode_response(record, NOW_MS)
    assert isinstance(row, ResponseRow), row
    return row


@given(value=st.binary(), headers=st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=8)), max_size=3))
def test_no_bytes_raise(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    record = FakeRecord(value, tuple(headers))
    for decode in (decode_response, decode_interaction):
        assert isinstance(decode(record, NOW_MS), tuple | DeadLetter)


@settings(max_examples=300)
@given(data=_DATA, timestamp=st.integers(-(2**63), 2**63 - 1) | st.just(RECEIVED_MS))
def test_no_event_raises_and_a_row_can_go_on(data: dict[str, Any], timestamp: int) -> None:
    record = _record(data, timestamp=timestamp)
    decode_interaction(record, NOW_MS)
    row = decode_response(record, NOW_MS)
    if isinstance(row, ResponseRow):
        assert EnrichedResponse.of(row).row() == row
        assert row.response_id
        json.loads(row.extra or "{}")
    else:
        DeadLetterRow.of(row)


@given(headers=st.fixed_dictionaries({"ce_id": st.binary(), "ce_source": st.binary(), "ce_time": st.binary()}))
def test_no_headers_raise(headers: dict[str, bytes]) -> None:
    record = FakeRecord(b'{"response_id": "r", "score": 1}', (("ce_type", b"t"), *headers.items()))
    assert isinstance(decode_response(record, NOW_MS), ResponseRow | DeadLetter)


@given(data=_GOOD)
def test_a_row_is_a_function_of_its_record(data: dict[str, Any]) -> None:
    record = _record(data)
    row = _row(record)
    later = decode_response(record._replace(partition=5, offset=9, key=None), NOW_MS + 86_400_000)
    assert isinstance(later, ResponseRow)
    assert later._replace(processed_at=NOW_MS) == row


@given(data=_GOOD)
def test_an_enriched_response_is_its_row(data: dict[str, Any]) -> None:
    row = _row(_record(data))
    mentions = (
        TopicMention(topic="delivery.delay", sentiment=Sentiment.NEGATIVE, sentiment_score=-0.5, confidence=0.5),
    )
    labels = Labels(
        language="en",
        sentiment=Sentiment.MIXED,
        sentiment_score=0.125,
        confidence=0.75,
        topics=mentions,
        model_version="m1",
    )
    for version in (row, row.labelled(labels, NOW_MS + 1)):
        over_the_wire = EnrichedResponse.model_validate_json(EnrichedResponse.of(version).model_dump_json())
        assert over_the_wire.row() == version


def test_a_duplicate_is_the_same_row_and_a_change_is_another_digest() -> None:
    assert _row(response()) == _row(response())
    assert _row(response()).digest != _row(response(score=8)).digest


# Times


def test_times_default_to_one_another_and_then_to_the_record() -> None:
    time, occurred, updated = "2026-03-02T10:00:00Z", "2026-03-02T08:00:00-01:00", "2026-03-02T11:00:00Z"
    ms = {
        name: 1_772_445_600_000 + hours * 3_600_000 for name, hours in [("time", 0), ("occurred", -1), ("updated", 1)]
    }

    def times(data: dict[str, str], **attributes: str) -> tuple[int, int]:
        row = _row(FakeRecord(envelope({"response_id": "r", "score": 1} | data, **attributes)))
        return row.occurred_at, row.updated_at

    assert times({}) == (RECEIVED_MS, RECEIVED_MS)
    assert times({}, time=time) == (ms["time"], ms["time"])
    assert times({"occurred_at": occurred}) == (ms["occurred"], ms["occurred"])
    assert times({"occurred_at": occurred}, time=time) == (ms["occurred"], ms["time"])
    assert times({"updated_at": updated}) == (ms["updated"], ms["updated"])
    assert times({"occurred_at": occurred, "updated_at": updated}, time=time) == (ms["occurred"], ms["updated"])


@pytest.mark.parametrize(
    ("ahead", "clamped"), [(0, False), (CLOCK_TOLERANCE_MS, False), (CLOCK_TOLERANCE_MS + 1, True)]
)
def test_a_clock_over_five_minutes_ahead_is_clamped_and_flagged(ahead: int, clamped: bool) -> None:
    row = _row(
        response(occurred_at=from_ms(RECEIVED_MS + ahead).isoformat(), updated_at=from_ms(RECEIVED_MS).isoformat())
    )
    assert row.occurred_at == (RECEIVED_MS if clamped else RECEIVED_MS + ahead)
    assert row.flags == (["clock_clamped"] if clamped else [])


@pytest.mark.parametrize("timestamp", [-1, 0, 2**62, NOW_MS + CLOCK_TOLERANCE_MS + 1])
def test_a_record_without_a_timestamp_of_this_life_is_received_now(timestamp: int) -> None:
    assert _row(response()._replace(timestamp=timestamp)).received_at == NOW_MS
    letter = decode_response(FakeRecord(b"x", timestamp=timestamp), NOW_MS)
    assert isinstance(letter, DeadLetter)
    assert to_ms(letter.occurred_at) == NOW_MS


def test_fractions_of_a_millisecond_are_cut() -> None:
    assert _row(response(occurred_at="2026-03-02T10:00:00.123999Z")).occurred_at == 1_772_445_600_123


# Size


def test_a_comment_of_two_megabytes_is_cut_and_its_score_counts() -> None:
    row = _row(response(comment="não gostei 😞 " * 160_000))
    assert len(row.comment) == MAX_COMMENT
    assert (row.band, row.flags) == ("promoter", ["comment_cut"])


def test_a_huge_record_of_junk_becomes_a_small_dead_letter() -> None:
    letter = decode_response(FakeRecord(b"\xff\x00{" * 700_000), NOW_MS)
    assert isinstance(letter, DeadLetter)
    assert letter.reason is Reason.NOT_JSON
    assert len(letter.payload) <= MAX_PAYLOAD


def test_ten_thousand_faults_become_a_short_error() -> None:
    letter = decode_response(response(segments={f"s{i}": [] for i in range(10_000)}), NOW_MS)
    assert isinstance(letter, DeadLetter)
    assert len(letter.error) <= MAX_ERROR
    assert "data.segments.s0" in letter.error
    assert "more" in letter.error


@pytest.mark.parametrize("value", [None, b""])
def test_a_record_without_a_value_is_a_dead_letter(value: bytes | None) -> None:
    letter = decode_interaction(FakeRecord(value), NOW_MS)
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.stage, letter.payload) == (Reason.EMPTY, Stage.DECODE, "")


# NUL


def test_nul_is_taken_out_of_every_text_headers_included() -> None:
    structured = _row(response(comment="a\0b", customer_id="c\0", segments={"pl\0an": "pl\0us"}))
    assert (structured.comment, structured.customer_id, structured.segments) == ("ab", "c", {"plan": "plus"})
    binary = FakeRecord(
        b'{"response_id": "r", "score": 1}', (("ce_id", b"e\x00-1"), ("ce_source", b"/app"), ("ce_type", b"t"))
    )
    assert (_row(binary).event_id, _row(binary).flags) == ("e-1", ["nul_removed"])


def test_text_that_only_looks_like_a_nul_is_left_alone() -> None:
    row = _row(response(comment="\\u0000 is how JSON writes it"))
    assert (row.comment, row.flags) == ("\\u0000 is how JSON writes it", [])


# Personal data


def test_a_dead_letter_holds_no_personal_data() -> None:
    record = response(score=99, comment="ana@example.com", **{"joao@example.com": 1}, segments={"eva@example.com": []})
    letter = decode_response(record._replace(key=b"rui@example.com"), NOW_MS)
    assert isinstance(letter, DeadLetter)
    assert "@" not in letter.model_dump_json()
    assert letter.key == "[email]"


def test_what_the_cut_goes_through_is_still_redacted() -> None:
    padding = "x" * (MAX_PAYLOAD - 8)
    letter = dead_letter(
        FakeRecord(f"{padding} ana.maria@example.com".encode()), NOW_MS, Reason.NOT_JSON, Stage.DECODE, ""
    )
    assert "ana" not in letter.payload


def test_segments_and_unknown_fields_are_redacted_and_stay_json() -> None:
    row = _row(response(segments={"mail": "ana@example.com", "order_id": "4500123456"}, phone=11987654321, big=2**70))
    assert row.segments == {"mail": "[email]", "order_id": "4500123456"}
    assert json.loads(row.extra) == {"phone": "[phone]", "big": str(2**70)}
