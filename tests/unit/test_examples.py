"""Every example of schemas/examples does what its name says: decoded as a worker would, and held to the JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pipeline.decoding import decode_interaction, decode_response
from pipeline.flush import Work
from pipeline.lanes import label_comments
from schemas.dead_letter import DeadLetter, Stage
from schemas.labels import Labels
from schemas.published import json_schema
from schemas.rows import EnrichedResponse, to_ms
from schemas.topics import TOPICS
from tests.unit.records import NOW_MS, RECEIVED_MS, example_record, examples

TOPIC = {topic.name.removeprefix("feedback."): topic for topic in TOPICS}
KINDS = tuple(TOPIC)
DECODERS = {"responses": decode_response, "interactions": decode_interaction}
OURS = tuple(kind for kind in KINDS if kind not in DECODERS)  # topics that nobody else writes
SENT_MS = 1_772_460_309_250  # 2026-03-02T14:05:09.250Z

# What is said of each valid example: columns of its row.
ROWS: dict[str, dict[str, Any]] = {
    "responses/before-its-survey": {"metric": "csat", "score": 2, "survey": "not-sent-yet", "band": "unsatisfied"},
    "responses/binary-mode": {"source": "/app", "event_id": "e-1042", "score": 9, "occurred_at": SENT_MS, "extra": ""},
    "responses/binary-mode-extension": {"comment": "ok", "extra": '{"traceparent":"00-7f1c-01"}'},
    "responses/withdrawn": {"deleted": 1, "score": None, "comment": "", "updated_at": SENT_MS + 90_750},
    "responses/ces-1-low-is-easy": {"scale": "1-5", "score": 1, "band": "satisfied"},
    "responses/ces-2-high-is-easy": {"scale": "1-7", "score": 1, "band": "unsatisfied"},
    "responses/comment-only": {"metric": "", "score": None, "band": "", "scale": "", "language": ""},
    "responses/correction": {"score": 10, "occurred_at": SENT_MS, "updated_at": SENT_MS + 80_750, "flags": []},
    "responses/csat-of-three": {"scale": "1-3", "score": 3, "band": "satisfied"},
    "responses/deep-nesting-is-kept": {"extra": '{"tree":' + "[" * 100 + "1" + "]" * 100 + "}"},
    "responses/every-field": {
        "tenant": "aurora-shop",
        "source": "/shop",
        "response_id": "r-77",
        "question": "q1",
        "metric": "nps",
        "scale": "0-10",
        "score": 9.0,
        "band": "promoter",
        "comment": "Chegou antes do prazo, embalagem perfeita 😍",
        "language": "pt",
        "customer_id": "c-318",
        "survey": "relationship",
        "touchpoint": "delivery",
        "channel": "whatsapp",
        "journey_stage": "receive",
        "segments": {"plan": "plus", "country": "BR"},
        "excluded": 0,
        "flags": [],
        "occurred_at": SENT_MS,
        "updated_at": SENT_MS + 110_750,
        "received_at": RECEIVED_MS,
        "processed_at": NOW_MS,
        "event_id": "e-1042",
        "extra": "",
        "sentiment": "",
        "label_rank": 0,
    },
    "responses/excluded-is-stored": {"excluded": 1, "score": 9, "band": "promoter"},
    "responses/future-clock-is-clamped": {
        "occurred_at": RECEIVED_MS,
        "updated_at": SENT_MS,
        "flags": ["clock_clamped"],
    },
    "responses/huge-number-in-unknown-field": {"extra": '{"ledger":"1208925819614629174706176"}'},
    "responses/least": {"tenant": "default", "metric": "", "score": 4, "band": "", "occurred_at": RECEIVED_MS},
    "responses/no-metric-is-not-counted": {"metric": "", "score": 8.5, "band": ""},
    "responses/nul-is-removed": {"comment": "good value", "flags": ["nul_removed"]},
    "responses/null-is-left-out": {"comment": "", "customer_id": "", "survey": "", "segments": {}, "excluded": 0},
    "responses/numbers-as-ids": {
        "response_id": "90210",
        "customer_id": "318",
        "event_id": "77",
        "score": 0,
        "band": "detractor",
        "segments": {"age": "41", "member": "true", "spent": "12.5"},
    },
    "responses/personal-data-is-redacted": {
        "comment": "Me liguem no [phone] ou [email]; pedido 4500123456",
        "extra": '{"contact":"[email]"}',
    },
    "responses/score-with-decimal-point": {"score": 4.0, "band": "satisfied"},
    "responses/thumbs": {"scale": "0-1", "band": "satisfied"},
    "responses/unknown-fields-are-kept": {
        "extra": '{"traceparent":"00-7f1c-01","nps_category":"passive","agent":{"team":"north"}}',
        "band": "promoter",  # the sender's own "passive" counts for nothing
    },
    "interactions/binary-mode": {"source": "/app", "interaction_id": "i-5", "action": "order_placed"},
    "interactions/every-field": {
        "tenant": "aurora-shop",
        "source": "/shop",
        "interaction_id": "i-5",
        "customer_id": "c-318",
        "action": "order_placed",
        "touchpoint": "checkout",
        "channel": "app",
        "journey_stage": "buy",
        "value": 189.9,
        "currency": "BRL",
        "segments": {"plan": "plus"},
        "properties": '{"items":3,"coupon":null}',
        "flags": [],
        "occurred_at": SENT_MS,
        "received_at": RECEIVED_MS,
        "processed_at": NOW_MS,
        "event_id": "e-1042",
        "extra": "",
    },
    "interactions/least": {"interaction_id": "e-1042", "action": "", "value": None, "occurred_at": RECEIVED_MS},
    "interactions/order-number-stays-phone-goes": {"properties": '{"order_id":4500123456,"phone":"[phone]"}'},
    "interactions/survey-sent": {"action": "survey_sent", "properties": '{"survey":"relationship"}'},
    "interactions/withdrawn": {"deleted": 1, "interaction_id": "i-77"},
    "interactions/unknown-fields-are-kept": {"extra": '{"campaign":"spring"}'},
}


def _name(file: Path) -> str:
    return f"{file.parts[-3]}/{file.stem}"


def _all(sort: str, *kinds: str) -> list[Any]:
    return [pytest.param(file, id=_name(file)) for kind in kinds for file in examples(kind, sort)]


def test_every_valid_example_is_described_here() -> None:
    assert {_name(f) for kind in DECODERS for f in examples(kind, "valid")} == set(ROWS)


def test_every_topic_has_both_sorts_of_examples() -> None:
    assert all(examples(kind, sort) for kind in KINDS for sort in ("valid", "invalid"))


@pytest.mark.parametrize("file", _all("valid", *DECODERS))
def test_a_valid_example_becomes_the_row_described(file: Path) -> None:
    row = DECODERS[file.parts[-3]](example_record(file), NOW_MS)
    assert not isinstance(row, DeadLetter), row
    expected = ROWS[_name(file)]
    assert {column: getattr(row, column) for column in expected} == expected


@pytest.mark.parametrize("file", _all("invalid", *DECODERS))
def test_an_invalid_example_becomes_a_dead_letter_for_the_reason_in_its_name(file: Path) -> None:
    record = example_record(file)
    letter = DECODERS[file.parts[-3]](record, NOW_MS)
    assert isinstance(letter, DeadLetter), letter
    assert (letter.reason.value, letter.stage) == (file.name.split(".")[0], Stage.DECODE)
    assert (letter.topic, letter.partition, letter.offset) == (record.topic, record.partition, record.offset)
    assert (to_ms(letter.occurred_at), to_ms(letter.failed_at)) == (RECEIVED_MS, NOW_MS)
    assert letter.error


@pytest.mark.parametrize("file", _all("valid", *OURS))
def test_a_valid_example_of_our_own_topics_is_read_and_written_without_loss(file: Path) -> None:
    event = TOPIC[file.parts[-3]].event.model_validate_json(file.read_bytes())
    written = event.model_dump_json(exclude_none=True)
    assert json.loads(file.read_bytes())["data"].keys() <= json.loads(written)["data"].keys()
    assert TOPIC[file.parts[-3]].event.model_validate_json(written) == event
    data = event.data  # type: ignore[attr-defined]
    if isinstance(data, EnrichedResponse):
        assert EnrichedResponse.of(data.row()) == data


@pytest.mark.parametrize("file", _all("invalid", *OURS))
async def test_an_invalid_comment_becomes_a_dead_letter_of_the_label_lane(file: Path) -> None:
    if file.parts[-3] != "comments":
        with pytest.raises(ValueError, match="validation error"):
            TOPIC[file.parts[-3]].event.model_validate_json(file.read_bytes())
        return

    async def no_labels(_: Any) -> list[Labels]:
        raise AssertionError("there is nothing to label")

    work = Work(acknowledge=lambda: no_labels(()))  # type: ignore[arg-type, return-value]
    await label_comments([example_record(file)], work, no_labels, lambda: NOW_MS)
    assert [(letter.reason.value, letter.stage) for letter in work.letters] == [("wrong_shape", Stage.LABEL)]
    assert work.rows == []


@pytest.mark.parametrize("file", _all("valid", *KINDS))
def test_a_valid_example_satisfies_the_json_schema(file: Path) -> None:
    schema = json_schema(TOPIC[file.parts[-3]])
    if example_record(file).headers:  # binary mode: the value is the data alone
        schema = {"$defs": schema["$defs"], **schema["properties"]["data"]}
    Draft202012Validator(schema).validate(json.loads(file.read_bytes()))


# What a JSON Schema cannot say: zones of times, versions inside a name, ids in headers, limits of the decoder.
_BEYOND_A_SCHEMA = (
    "not_json",
    "empty",
    "naive_timestamp",
    "timestamp_out_of_range",
    "unknown_schema_version.v",
    "unknown_schema_version.dataschema",
    "no_id.nothing-but-nul",
    "no_id.binary-mode",
    "wrong_shape.time-is-no-time",
    "wrong_shape.naive-time",
)


@pytest.mark.parametrize(
    "file", [p for p in _all("invalid", *KINDS) if not p.values[0].name.startswith(_BEYOND_A_SCHEMA)]
)
def test_an_invalid_example_fails_the_json_schema_too(file: Path) -> None:
    schema = Draft202012Validator(json_schema(TOPIC[file.parts[-3]]))
    assert not schema.is_valid(json.loads(file.read_bytes()))
