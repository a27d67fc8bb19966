"""The published schemas are what the models say, and a breaking change needs a new version."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import schemas.published as published
from schemas.compatibility import breaking_changes
from schemas.published import FOLDER, asyncapi, documents, json_schema, stale
from schemas.topics import RESPONSES, TOPICS, Compatibility

TOPIC = {topic.name: topic for topic in TOPICS}


def _with(schema: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of the schema with what is at `path` changed; None takes it away."""
    changed = copy.deepcopy(schema)
    *parents, last = path.split("/")
    place = changed
    for parent in parents:
        place = place[int(parent)] if isinstance(place, list) else place[parent]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return changed


def test_what_is_committed_is_not_stale() -> None:
    assert stale() == [], "run python -m schemas.published"


def test_nothing_is_committed_that_is_no_longer_made() -> None:
    made = documents()
    # Schemas of older versions stay, for those who still read them.
    current = {file.name for file in FOLDER.iterdir()} - {f"{t.name}.v{v}.json" for t in TOPICS for v in range(1, 100)}
    assert current == {name for name in made if name == published.ASYNCAPI}


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_each_schema_is_a_json_schema(topic: Any) -> None:
    Draft202012Validator.check_schema(json_schema(topic))


@pytest.mark.parametrize(
    ("path", "value", "change"),
    [
        ("$defs/Response/properties/survey", None, "data.survey: was removed"),
        ("$defs/Response/required", ["response_id", "tenant"], "data.tenant: is now required"),
        ("$defs/Response/properties/response_id/type", "string", "data.response_id: no longer takes number"),
        ("$defs/Response/properties/response_id/maxLength", 64, "data.response_id: has a tighter maxLength: 64"),
        ("$defs/Response/properties/comment", {"type": ["string", "number"]}, "data.comment: no longer takes null"),
        ("$defs/Response/properties/score/anyOf/0/type", "integer", "data.score: no longer takes number"),
        ("$defs/Response/properties/score/anyOf/0/maximum", 10, "data.score: has a new maximum of 10"),
        ("$defs/Metric/enum", ["nps", "csat", "ces", "stars"], 'data.metric: no longer takes "thumbs"'),
        ("$defs/Response/additionalProperties", False, "data: no longer takes unknown fields"),
        ("$defs/Response/x-scales/ces/1-5", [1, 2, 3, 4], "data.score: ces on the scale 1-5 no longer takes 5"),
        ("properties/source", None, "source: was removed"),
        ("required", ["id", "source", "type", "data", "time"], "time: is now required"),
    ],
)
def test_a_breaking_change_is_told_with_its_field(path: str, value: Any, change: str) -> None:
    old = json_schema(TOPIC[RESPONSES])
    found = breaking_changes(old, _with(old, path, value), Compatibility.BACKWARD)
    assert len(found) == 1
    assert found[0].startswith(change)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$defs/Response/properties/agent", {"type": "string"}),
        ("$defs/Response/required", []),
        ("$defs/Response/properties/response_id/maxLength", 4096),
        ("$defs/Metric/enum", ["nps", "csat", "ces", "stars", "thumbs", "hearts"]),
        ("$defs/Response/x-scales/nps/1-10", [1, 2, 3]),
        ("$defs/Response/properties/survey/description", "Another word for it."),
    ],
)
def test_what_takes_more_breaks_no_sender(path: str, value: Any) -> None:
    old = json_schema(TOPIC[RESPONSES])
    assert breaking_changes(old, _with(old, path, value), Compatibility.BACKWARD) == []


def test_what_may_be_left_out_breaks_readers_in_full_mode_alone() -> None:
    old = json_schema(TOPIC["feedback.enriched"])
    required = [name for name in old["$defs"]["EnrichedResponse"]["required"] if name != "band"]
    new = _with(old, "$defs/EnrichedResponse/required", required)
    assert breaking_changes(old, new, Compatibility.BACKWARD) == []
    assert [c.split(",")[0] for c in breaking_changes(old, new, Compatibility.FULL)] == [
        "data.band: may now be left out"
    ]


@pytest.mark.parametrize("mode", list(Compatibility))
@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_schema_is_compatible_with_itself(topic: Any, mode: Compatibility) -> None:
    assert breaking_changes(json_schema(topic), json_schema(topic), mode) == []


def test_a_breaking_change_against_a_published_schema_names_topic_and_field(tmp_path: Path) -> None:
    for name, text in documents().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    before = json_schema(TOPIC[RESPONSES])
    before["$defs"]["Response"]["properties"]["mood"] = {"type": "string"}
    (tmp_path / "feedback.responses.v1.json").write_text(json.dumps(before))
    assert published.breaking(tmp_path) == [
        "feedback.responses: data.mood: was removed; raise the version of vocstream.response.v1 in schemas/topics.py"
    ]
    # Under a new version there is nothing to break.
    (tmp_path / "feedback.responses.v1.json").rename(tmp_path / "feedback.responses.v0.json")
    assert published.breaking(tmp_path) == []


def test_nothing_is_written_over_a_breaking_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert published.main([], tmp_path) == 0
    assert published.main(["--check"], tmp_path) == 0
    file = tmp_path / "feedback.interactions.v1.json"
    before = json.loads(file.read_text("utf-8"))
    before["properties"]["mood"] = {"type": "string"}
    file.write_text(json.dumps(before))
    assert published.main([], tmp_path) == 1
    assert "mood" in file.read_text("utf-8")
    assert "feedback.interactions: mood: was removed" in capsys.readouterr().err
    assert published.main(["--check"], tmp_path) == 1


def test_asyncapi_has_all_topics_and_every_reference_leads_somewhere() -> None:
    document = asyncapi()
    assert document["asyncapi"] == "3.0.0"
    assert set(document["channels"]) == set(TOPIC)
    for name, channel in document["channels"].items():
        topic = TOPIC[name]
        assert channel["address"] == name
        assert channel["x-written-by"] == topic.written_by
        assert channel["x-read-by"] == topic.read_by
        assert channel["x-compatibility"] == topic.compatibility
        assert channel["x-schema-version"] == 1
        assert channel["messages"]
    for reference in _references(document):
        file, _, pointer = reference.partition("#")
        place: Any = json.loads((FOLDER / file).read_text("utf-8")) if file else document
        for part in pointer.split("/")[1:]:
            place = place[part]
    assert {operation["action"] for operation in document["operations"].values()} == {"send", "receive"}


def test_asyncapi_tells_keys_and_headers_of_binary_mode() -> None:
    messages = asyncapi()["components"]["messages"]
    assert set(messages["response-binary"]["headers"]["required"]) == {"ce_id", "ce_source", "ce_type"}
    assert all("key" in message["bindings"]["kafka"] for message in messages.values())
    assert all(message.get("examples") for name, message in messages.items() if not name.endswith("-binary"))


def _references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [found for item in node for found in _references(item)]
    if not isinstance(node, dict):
        return []
    return [v for k, v in node.items() if k == "$ref"] + [found for v in node.values() for found in _references(v)]


def test_a_condition_that_can_be_met_in_more_ways_is_not_breaking() -> None:
    narrow = {"type": "object", "allOf": [{"anyOf": [{"required": ["score"]}]}]}
    wide = {"type": "object", "allOf": [{"anyOf": [{"required": ["score"]}, {"required": ["deleted"]}]}]}
    assert not breaking_changes(narrow, wide, Compatibility.BACKWARD)
    assert breaking_changes(wide, narrow, Compatibility.BACKWARD)
