"""What senders get wrong, through the real Kafka: a dead letter with its reason, or accepted by rule; never a stall."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from schemas import topics
from tests.integration.stream_fixture import (
    Address,
    Place,
    Record,
    ScoreStack,
    binary,
    eventually,
    read_topic,
    response,
    send,
    structured,
)

Event = dict[str, Any]


def without(event: Event, name: str) -> Event:
    """The event without one attribute."""
    return {key: value for key, value in event.items() if key != name}


def nps(tenant: str, **more: Any) -> Event:
    """A good response but for what `more` says."""
    return response(tenant, "bad", **{"metric": "nps", "score": 9} | more)


def raw(event: Event, old: str, new: str) -> Record:
    """The event as JSON with a piece of its text replaced, for what json.dumps would never write."""
    text = json.dumps(event)
    assert old in text
    return Record(text.replace(old, new).encode())


# What is wrong, as a record of the tenant; the reason it must get.
REFUSED: dict[str, tuple[Callable[[str], Record], str]] = {
    "not JSON": (lambda t: Record(b"{score: 9"), "not_json"),
    "not UTF-8": (lambda t: Record(b'{"id": "\xff\xfe"}'), "not_json"),
    "empty value": (lambda t: Record(b""), "empty"),
    "no value": (lambda t: Record(None, key=b"k"), "empty"),
    "a list": (lambda t: Record(b"[1, 2]"), "wrong_shape"),
    "data is text": (lambda t: structured(nps(t) | {"data": "nine"}), "wrong_shape"),
    "no data": (lambda t: structured(without(nps(t), "data")), "wrong_shape"),
    "score is text": (lambda t: structured(nps(t, score="9")), "wrong_shape"),
    "score is true": (lambda t: structured(nps(t, score=True)), "wrong_shape"),
    "score is NaN": (lambda t: raw(nps(t), '"score": 9', '"score": NaN'), "wrong_shape"),
    "score too high": (lambda t: structured(nps(t, score=11)), "score_out_of_scale"),
    "score too low": (lambda t: structured(nps(t, score=-1)), "score_out_of_scale"),
    "score between": (lambda t: structured(nps(t, score=8.5)), "score_out_of_scale"),
    "csat of ten": (lambda t: structured(nps(t, metric="csat", score=10)), "score_out_of_scale"),
    "unknown scale": (lambda t: structured(nps(t, scale="1-100")), "unknown_scale"),
    "unknown metric": (lambda t: structured(nps(t, metric="happiness")), "unknown_metric"),
    "nothing said": (lambda t: structured(response(t, "bad")), "nothing_said"),
    "naive time": (lambda t: structured(nps(t, occurred_at="2026-03-05T12:00:00")), "naive_timestamp"),
    "naive envelope time": (lambda t: structured(nps(t) | {"time": "2026-03-05T12:00:00"}), "naive_timestamp"),
    "before 1970": (lambda t: structured(nps(t, occurred_at="1969-12-31T23:59:59Z")), "timestamp_out_of_range"),
    "no envelope id": (lambda t: structured(without(nps(t), "id")), "no_id"),
    "empty envelope id": (lambda t: structured(nps(t) | {"id": ""}), "no_id"),
    "no id in binary mode": (lambda t: binary(without(nps(t), "id")), "no_id"),
    "no response id": (
        lambda t: structured(nps(t) | {"data": {"tenant": t, "score": 9, "metric": "nps"}}),
        "wrong_shape",
    ),
    "schema version 9": (lambda t: structured(nps(t) | {"type": "vocstream.response.v9"}), "unknown_schema_version"),
    "CloudEvents 2.0": (lambda t: structured(nps(t) | {"specversion": "2.0"}), "unknown_schema_version"),
    "an id of 600 letters": (lambda t: structured(nps(t, customer_id="x" * 600)), "too_large"),
    "lone surrogate": (lambda t: raw(nps(t, comment="oi"), '"oi"', '"\\ud83d oi"'), "not_json"),
    "depth of 10,000": (lambda t: Record(b'{"data":' * 10_000 + b"1" + b"}" * 10_000), "not_json"),
}


def letters_at(address: Address, places: list[Place]) -> dict[Place, dict[str, Any]]:
    """The dead letters of these records, from the table."""
    rows = address.rows("SELECT * FROM feedback.dead_letters FINAL")
    found = {Place(row["topic"], row["partition"], row["offset"]): row for row in rows}
    return {place: found[place] for place in places if place in found}


def test_every_kind_of_junk_becomes_a_dead_letter_with_its_reason(stream: ScoreStack, tenant: str) -> None:
    records = [make(tenant) for make, _ in REFUSED.values()]
    good = structured(response(tenant, "good", metric="nps", score=10))
    places = send(stream.address.kafka, [*records, good])
    stream.address.wait_for_responses(tenant, 1)
    found = eventually(lambda: letters_at(stream.address, places), lambda f: len(f) == len(records))
    reasons = {name: found[place]["reason"] for name, place in zip(REFUSED, places, strict=False) if place in found}
    assert reasons == {name: reason for name, (_, reason) in REFUSED.items()}
    assert {row["stage"] for row in found.values()} == {"decode"}
    assert all(row["error"] for row in found.values())

    told = read_topic(stream.address.kafka, topics.DEAD_LETTERS, lambda d: found.keys() <= _places(d))
    assert found.keys() <= _places(told)
    by_place = {Place(d["topic"], d["partition"], d["offset"]): d for d in told}
    assert {place: by_place[place]["reason"] for place in found} == {p: row["reason"] for p, row in found.items()}


def _places(letters: list[Event]) -> set[Place]:
    return {Place(letter["topic"], letter["partition"], letter["offset"]) for letter in letters}


def test_bad_interactions_become_dead_letters_too(stream: ScoreStack, tenant: str) -> None:
    event = {"specversion": "1.0", "id": "i1", "source": "/test", "type": "vocstream.interaction.v1"}
    bad = [{"value": "ten"}, {"occurred_at": "2026-03-05T12:00:00"}, {"segments": ["gold"]}]
    records = [structured(event | {"data": {"tenant": tenant} | data}, topics.INTERACTIONS) for data in bad]
    good = structured(event | {"data": {"tenant": tenant, "action": "paid", "value": 10}}, topics.INTERACTIONS)
    places = send(stream.address.kafka, [*records, good])
    found = eventually(lambda: letters_at(stream.address, places), lambda f: len(f) == len(records))
    assert [found[place]["reason"] for place in places[:-1]] == ["wrong_shape", "naive_timestamp", "wrong_shape"]
    sql = "SELECT count() FROM feedback.interactions FINAL WHERE tenant = {t:String}"
    assert eventually(lambda: stream.address.count(sql, t=tenant)) == 1


def test_a_dead_letter_holds_no_personal_data_and_is_cut(stream: ScoreStack, tenant: str) -> None:
    event = nps(tenant, score=99, comment="write to ana@example.com or (11) 98765-4321 " + "x" * 50_000)
    [place] = send(stream.address.kafka, [structured(event)._replace(key=b"ana@example.com")])
    found = eventually(lambda: letters_at(stream.address, [place]))
    payload = found[place]["payload"]
    assert "ana@example.com" not in payload
    assert "98765-4321" not in payload
    assert "[email]" in payload
    assert "[phone]" in payload
    assert len(payload) <= 16_384
    assert found[place]["key"] == "[email]"


def accepted(stream: ScoreStack, tenant: str, record: Record) -> dict[str, Any]:
    """The row of the one response of a tenant."""
    send(stream.address.kafka, [record])
    stream.address.wait_for_responses(tenant, 1)
    [row] = stream.address.rows("SELECT * FROM feedback.enriched_responses WHERE tenant = {t:String}", t=tenant)
    return row


def test_a_comment_of_two_megabytes_is_cut_and_its_score_counts(stream: ScoreStack, tenant: str) -> None:
    row = accepted(stream, tenant, structured(response(tenant, "r", metric="nps", score=9, comment="x" * 2_000_000)))
    assert row["flags"] == ["comment_cut"]
    assert row["comment"] == "x" * 20_000
    assert row["band"] == "promoter"


def test_nul_characters_are_taken_out(stream: ScoreStack, tenant: str) -> None:
    event = response(tenant, "r\0x", metric="nps", score=9, comment="bom\0 dia", segments={"plan": "gold\0"})
    row = accepted(stream, tenant, structured(event))
    assert (row["response_id"], row["comment"]) == ("rx", "bom dia")
    assert json.loads(row["segments"]) == {"plan": "gold"}
    assert row["flags"] == ["nul_removed"]


def test_a_clock_ahead_is_clamped_to_the_time_of_receipt(stream: ScoreStack, tenant: str) -> None:
    event = response(tenant, "r", metric="nps", score=9, occurred_at="2199-01-01T00:00:00Z")
    row = accepted(stream, tenant, structured(event))
    assert row["flags"] == ["clock_clamped"]
    assert row["occurred_at"] == row["received_at"]


def test_a_response_may_come_before_its_survey_was_sent(stream: ScoreStack, tenant: str) -> None:
    """Nothing refers to the survey: a response says which one it answers, and counts."""
    row = accepted(stream, tenant, structured(response(tenant, "r", metric="csat", score=5, survey="not-yet-sent")))
    assert (row["survey"], row["band"]) == ("not-yet-sent", "satisfied")


def test_unknown_fields_and_extensions_are_kept(stream: ScoreStack, tenant: str) -> None:
    event = response(tenant, "r", event={"traceparent": "00-1"}, metric="nps", score=7, mood={"deep": [1, 2]})
    row = accepted(stream, tenant, structured(event))
    assert json.loads(row["extra"]) == {"traceparent": "00-1", "mood": {"deep": [1, 2]}}


def _junk_among(stream: ScoreStack, tenant: str, count: int, timeout: float) -> None:
    """`count` events, every twentieth of them junk: all good ones scored, all junk dead-lettered, exactly."""
    rng = random.Random(5)
    kinds = [make for name, (make, _) in REFUSED.items() if not name.startswith("depth")]
    bad = set(rng.sample(range(count), count // 20))
    records = [
        rng.choice(kinds)(tenant)
        if number in bad
        else structured(response(tenant, f"r{number}", metric="nps", score=number % 11))
        for number in range(count)
    ]
    places = send(stream.address.kafka, records)
    stream.address.wait_for_responses(tenant, count - len(bad), timeout)
    wanted = {places[number] for number in bad}
    found = eventually(lambda: letters_at(stream.address, places), lambda f: len(f) == len(wanted))
    assert found.keys() == wanted
    [scores] = stream.address.rows(
        "SELECT sum(n) AS n, sum(promoters) AS promoters, sum(detractors) AS detractors "
        "FROM feedback.scores_daily WHERE tenant = {t:String}",
        t=tenant,
    )
    good = [number % 11 for number in range(count) if number not in bad]
    assert scores == {
        "n": len(good),
        "promoters": sum(score >= 9 for score in good),
        "detractors": sum(score <= 6 for score in good),
    }


def test_one_in_twenty_is_junk(stream: ScoreStack, tenant: str) -> None:
    _junk_among(stream, tenant, 5_000, timeout=60)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_in_twenty_is_junk_among_a_hundred_thousand(stream: ScoreStack, tenant: str) -> None:
    _junk_among(stream, tenant, 100_000, timeout=600)
