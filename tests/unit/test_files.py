"""Files to messages: envelopes, mapped rows, CSV, and bad lines told with their numbers."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.files import BadLine, BadMapping, Mapping, read_messages, to_message
from pipeline.generator import events
from pipeline.producer import Message
from schemas import topics
from tests.unit.records import examples

COMMENT = Mapping.parse(["text=comment"], [])


def _file(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def _data(message: Message | BadLine) -> dict[str, Any]:
    assert isinstance(message, Message), message
    return dict(json.loads(message.value)["data"])


def test_envelopes_go_to_the_topic_of_their_type_with_the_customer_as_key(tmp_path: Path) -> None:
    made = list(events(100, 3))
    lines = "\n\n".join(json.dumps(event) for event in made)  # empty lines are nothing
    messages = list(read_messages(_file(tmp_path, "e.jsonl", lines), None))
    assert [m.topic for m in messages if isinstance(m, Message)] == [
        topics.RESPONSES if "response" in event["type"] else topics.INTERACTIONS for event in made
    ]
    assert [m.key.decode() for m in messages if isinstance(m, Message)] == [e["data"]["customer_id"] for e in made]
    assert [json.loads(m.value) for m in messages if isinstance(m, Message)] == made


def test_an_envelope_is_sent_as_it_was_written(tmp_path: Path) -> None:
    data = b'{"response_id":1,"score":1.0,"ledger":1208925819614629174706176}'
    line = b'{"id":"1", "source":"s","type":"x.response.v1","data":' + data + b"}"
    (message,) = read_messages(_file(tmp_path, "e.jsonl", b"  " + line + b" \r\n"), None)
    assert isinstance(message, Message)
    assert message.value == line


def test_what_its_type_does_not_say_its_fields_do() -> None:
    event = {"id": "1", "source": "s", "type": "com.shop.event"}
    response = to_message(event | {"data": {"response_id": "r", "score": 1}}, 1)
    interaction = to_message(event | {"data": {"action": "paid"}}, 1)
    assert isinstance(response, Message)
    assert isinstance(interaction, Message)
    assert (response.topic, interaction.topic) == (topics.RESPONSES, topics.INTERACTIONS)
    assert (response.key, interaction.key) == (b"1", b"1")
    assert isinstance(to_message(event | {"data": {}}, 4), BadLine)


def test_bad_lines_stand_in_their_place_with_number_and_reason(tmp_path: Path) -> None:
    good = json.dumps({"id": "1", "source": "s", "type": "x.response.v1", "data": {"response_id": "r", "score": 1}})
    bad_score = good.replace('"score": 1', '"score": 11, "metric": "nps"')
    lines = [good, "{", "[1]", "", bad_score, '{"data": {}}', good.replace('"id": "1", ', "")]
    found = list(read_messages(_file(tmp_path, "e.jsonl", "\n".join(lines)), None))
    assert isinstance(found[0], Message)
    assert [(bad.number, bad.error.split(":")[0]) for bad in found if isinstance(bad, BadLine)] == [
        (2, "not JSON"),
        (3, "not a JSON object"),
        (5, "score_out_of_scale"),
        (6, "neither a response nor an interaction"),
        (7, "no_id"),
    ]


def test_every_valid_example_can_be_emitted_and_no_invalid_one() -> None:
    for sort, kind in (("valid", Message), ("invalid", BadLine)):
        for file in examples("responses", sort):
            if file.name.startswith("binary-mode") or ".binary-mode" in file.name:
                continue
            try:
                event = json.loads(file.read_bytes())
            except ValueError:
                continue
            if isinstance(event, dict):
                assert isinstance(to_message(event, 1, file.read_bytes()), kind), file.name


def test_a_mapped_csv_becomes_responses(tmp_path: Path) -> None:
    csv = 'text,stars,plan,when\n"Muito bom, 10!",5,plus,2026-03-02T10:00:00Z\n"duas\nlinhas",,basic,\n'
    mapping = Mapping.parse(
        ["text=comment", "stars=score", "plan=segments.plan", "when=occurred_at"], ["metric=stars", "tenant=aurora"]
    )
    first, second = (_data(m) for m in read_messages(_file(tmp_path, "reviews.csv", csv), mapping))
    assert first == {
        "response_id": "reviews:2",
        "metric": "stars",
        "tenant": "aurora",
        "comment": "Muito bom, 10!",
        "score": 5.0,
        "segments": {"plan": "plus"},
        "occurred_at": "2026-03-02T10:00:00Z",
    }
    assert second["comment"] == "duas\nlinhas"
    assert "score" not in second


@pytest.mark.parametrize("content", ["\ufefftext,stars\nbom,5\n", "text,stars\r\nbom,5\r\n"])
def test_a_byte_order_mark_and_windows_line_ends_are_no_content(tmp_path: Path, content: str) -> None:
    (message,) = read_messages(_file(tmp_path, "r.csv", content), COMMENT)
    assert _data(message)["comment"] == "bom"


def test_json_lines_of_comments_are_mapped_too(tmp_path: Path) -> None:
    mapping = Mapping.parse(["text=comment", "out=excluded", "who=customer_id"], ["source=import/2026"])
    (message,) = read_messages(_file(tmp_path, "c.jsonl", '{"text": "ok", "out": "yes", "who": 7}\n'), mapping)
    assert _data(message) | {"response_id": ""} == {
        "comment": "ok",
        "excluded": True,
        "customer_id": 7,
        "response_id": "",
    }
    assert isinstance(message, Message)
    assert message.key == b"7"
    assert json.loads(message.value)["source"] == "import/2026"


def test_the_same_row_is_the_same_event_each_time(tmp_path: Path) -> None:
    file = _file(tmp_path, "r.csv", "text\nbom\nruim\n")
    first, again = (list(read_messages(file, COMMENT)) for _ in range(2))
    assert first == again
    assert len({json.loads(m.value)["id"] for m in first if isinstance(m, Message)}) == 2


def test_bad_cells_are_told_with_their_line(tmp_path: Path) -> None:
    mapping = Mapping.parse(["text=comment", "stars=score"], ["metric=stars"])
    rows = b"text,stars\nbom,5\nruim,nine\nmau,6\n\xff\xfe,1\n,\n"
    found = list(read_messages(_file(tmp_path, "r.csv", rows), mapping))
    assert [(bad.number, bad.error.split(":")[0]) for bad in found if isinstance(bad, BadLine)] == [
        (3, "wrong_shape"),
        (4, "score_out_of_scale"),
        (5, "str is not valid UTF-8"),
        (6, "nothing_said"),
    ]


def test_an_id_that_is_not_utf8_is_a_bad_line(tmp_path: Path) -> None:
    mapping = Mapping.parse(["text=comment", "id=response_id"], [])
    (bad,) = read_messages(_file(tmp_path, "r.csv", b"text,id\nbom,\xff\n"), mapping)
    assert isinstance(bad, BadLine)


def test_a_cell_of_a_megabyte_is_read_and_what_no_record_can_hold_is_refused(tmp_path: Path) -> None:
    (message,) = read_messages(_file(tmp_path, "r.csv", "text\n" + "a" * 1_000_000), COMMENT)
    assert len(_data(message)["comment"]) == 1_000_000
    big = json.dumps({"text": "a" * 5_000_000})
    (bad,) = read_messages(_file(tmp_path, "r.jsonl", big), COMMENT)
    assert isinstance(bad, BadLine)
    assert "a record has at most" in bad.error


@pytest.mark.parametrize(
    ("columns", "constants", "error"),
    [
        (["text=comments"], [], "no field comments"),
        (["text"], [], "is not NAME=NAME"),
        (["=comment"], [], "is not NAME=NAME"),
        ([], ["colour=red"], "no field colour"),
    ],
)
def test_a_mapping_that_names_no_field_is_refused(columns: list[str], constants: list[str], error: str) -> None:
    with pytest.raises(BadMapping, match=error):
        Mapping.parse(columns, constants)


def test_a_csv_needs_a_mapping_and_its_columns(tmp_path: Path) -> None:
    file = _file(tmp_path, "r.csv", "comentario,nota\nbom,5\n")
    with pytest.raises(BadMapping, match="needs --map"):
        list(read_messages(file, None))
    with pytest.raises(BadMapping, match="has no column text; it has comentario, nota"):
        list(read_messages(file, COMMENT))


def test_standard_input_may_hold_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = b'\xef\xbb\xbf{"text": "bom"}\n\xff\xfe\n{"text": "ruim"}\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines), encoding="utf-8"))
    found = list(read_messages(Path("-"), COMMENT))
    assert [isinstance(m, Message) for m in found] == [True, False, True]
    assert isinstance(found[1], BadLine)
    assert found[1].number == 2
