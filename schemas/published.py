"""The published schemas: one JSON Schema (draft 2020-12) a topic and version, and one AsyncAPI 3.0 document of all.

Made from `schemas.topics` and the models it names; kept in `schemas/published`, where readers without Python find them.

    python -m schemas.published           write them; refuses a breaking change under an old version
    python -m schemas.published --check   say what is stale or breaking, and exit with 1 if anything is

What a model checks in code is told here as conditions, so that a sender can check an event before it is sent: that a
response says something, and the scores of each scale (out of `schemas.scales`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from schemas.compatibility import breaking_changes
from schemas.events import Response
from schemas.scales import SCALES, Metric
from schemas.topics import INTERACTIONS, RESPONSES, TOPICS, Topic

FOLDER = Path(__file__).parent / "published"
EXAMPLES = Path(__file__).parent / "examples"
ASYNCAPI = "asyncapi.json"

Document = dict[str, Any]


class _Generator(GenerateJsonSchema):
    """Says of a text that takes numbers (an id, a segment) that it takes them."""

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        made = super().str_schema(schema)
        return made | {"type": ["string", "number"]} if self._config.coerce_numbers_to_str else made


def version(topic: Topic[BaseModel]) -> int:
    """The version of the topic's schema: the N of `.vN` at the end of its type."""
    return int(topic.event_type.rpartition(".v")[2])


def file_name(topic: Topic[BaseModel]) -> str:
    """The file in `schemas/published` of the topic's schema."""
    return f"{topic.name}.v{version(topic)}.json"


def json_schema(topic: Topic[BaseModel]) -> Document:
    """The JSON Schema of a record's value on `topic`, in structured mode."""
    schema = topic.event.model_json_schema(schema_generator=_Generator)
    if topic.name == RESPONSES:
        schema["$defs"][Response.__name__] |= {
            "allOf": [_SAYS_SOMETHING, *_scores()],
            "x-scales": {str(m): {s.name: sorted(map(int, s.bands)) for s in SCALES if s.metric is m} for m in Metric},
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:vocstream:{topic.name}:v{version(topic)}",
        **schema,
    }


_SAYS_SOMETHING = {
    "anyOf": [
        {"required": ["score"], "properties": {"score": {"type": "number"}}},
        {"required": ["deleted"], "properties": {"deleted": {"const": True}}},
        {"required": ["comment"], "properties": {"comment": {"type": ["string", "number"], "minLength": 1}}},
    ]
}


def _scores() -> Iterator[Document]:
    """A condition a metric (its scales) and a condition a scale (its scores)."""
    for metric in Metric:
        scales = [scale for scale in SCALES if scale.metric is metric]
        of_metric = {"required": ["metric", "score"], "properties": {"metric": {"const": metric.value}}}
        scored = of_metric["properties"] | {"score": {"type": "number"}}  # type: ignore[operator]  # both are dicts
        names = ["", None, *(scale.name for scale in scales)]
        yield {"if": of_metric | {"properties": scored}, "then": {"properties": {"scale": {"enum": names}}}}
        for scale in scales:
            asked: list[str | None] = [scale.name]
            required = ["metric", "scale"]
            if scale is scales[0]:  # the metric's own scale: meant where none is named
                asked, required = [*asked, "", None], ["metric"]
            yield {
                "if": {
                    "required": required,
                    "properties": {"metric": {"const": metric.value}, "scale": {"enum": asked}},
                },
                "then": {"properties": {"score": {"enum": [None, *sorted(map(int, scale.bands))]}}},
            }


def asyncapi() -> Document:
    """The AsyncAPI 3.0 document: topics as channels, with keys, headers, both modes, and who is at their ends."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "vocstream",
            "version": "1.0.0",
            "description": "Customer feedback as a stream. Every record is JSON in UTF-8 inside CloudEvents 1.0, in "
            "structured mode, or in binary mode with `ce_` headers. The same source and id are the same event. Unknown "
            "fields are kept.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": dict(operation for topic in TOPICS for operation in _operations(topic)),
        "components": {"messages": {name: message for topic in TOPICS for name, message in _messages(topic).items()}},
    }


def _channel(topic: Topic[BaseModel]) -> Document:
    return {
        "address": topic.name,
        "title": topic.name,
        "description": topic.description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _messages(topic)},
        "bindings": {"kafka": {"topic": topic.name, "bindingVersion": "0.5.0"}},
        "x-written-by": topic.written_by,
        "x-read-by": topic.read_by,
        "x-schema-version": version(topic),
        "x-compatibility": topic.compatibility.value,
    }


_PROCESSES = ("lane", "sentinel")  # ours, by a word of `written_by` and `read_by`


def _operations(topic: Topic[BaseModel]) -> Iterator[tuple[str, Document]]:
    """What vocstream does with the topic: it receives what others send, and what one lane hands to the next."""
    short = topic.name.removeprefix("feedback.")
    channel = {"$ref": f"#/channels/{topic.name}"}
    if any(process in topic.read_by for process in _PROCESSES):
        yield f"read-{short}", {"action": "receive", "channel": channel, "summary": f"Read by: {topic.read_by}."}
    if any(process in topic.written_by for process in _PROCESSES):
        yield f"write-{short}", {"action": "send", "channel": channel, "summary": f"Written by: {topic.written_by}."}


def _messages(topic: Topic[BaseModel]) -> dict[str, Document]:
    """The structured-mode message of a topic; for topics that others write, the binary-mode one too."""
    name = topic.event_type.removeprefix("vocstream.").rpartition(".v")[0]
    key = {"type": "string", "description": "Customer's id; the event's id where there is no customer."}
    structured = {
        "name": topic.event_type,
        "title": f"{name}, structured mode",
        "summary": topic.description,
        "contentType": "application/cloudevents+json",
        "payload": {"$ref": f"./{file_name(topic)}"},
        "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}},
        "examples": [{"name": file.stem, "payload": json.loads(file.read_text("utf-8"))} for file in _examples(topic)],
    }
    if topic.name not in (RESPONSES, INTERACTIONS):
        return {name: structured}
    data = f"./{file_name(topic)}#/$defs/{topic.event.model_fields['data'].annotation.__name__}"  # type: ignore[union-attr]  # a class
    binary = structured | {
        "title": f"{name}, binary mode",
        "contentType": "application/json",
        "headers": _BINARY_HEADERS,
        "payload": {"$ref": data},
    }
    del binary["examples"]
    return {name: structured, f"{name}-binary": binary}


_BINARY_HEADERS: Document = {
    "type": "object",
    "description": "CloudEvents attributes, as UTF-8 text. Any other `ce_` header is kept as an extension.",
    "required": ["ce_id", "ce_source", "ce_type"],
    "properties": {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": {"type": "string", "minLength": 1, "maxLength": 512},
        "ce_source": {"type": "string", "minLength": 1, "maxLength": 512},
        "ce_type": {"type": "string", "minLength": 1, "maxLength": 512},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_dataschema": {"type": "string", "maxLength": 512},
    },
}


def _examples(topic: Topic[BaseModel]) -> list[Path]:
    """The first example of the topic: the one with every field."""
    folder = EXAMPLES / topic.name.removeprefix("feedback.") / "valid"
    files = sorted(file for file in folder.glob("*.json") if not file.name.startswith("binary-mode"))
    return [file for file in files if file.stem == "every-field"] or files[:1]


def documents() -> dict[str, str]:
    """Every published file by name, as text."""
    made = {file_name(topic): json_schema(topic) for topic in TOPICS} | {ASYNCAPI: asyncapi()}
    return {name: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for name, content in made.items()}


def stale(folder: Path = FOLDER) -> list[str]:
    """The files in `folder` that are not what the models say."""
    return [name for name, text in documents().items() if not _holds(folder / name, text)]


def breaking(folder: Path = FOLDER) -> list[str]:
    """What the models now say that breaks the schemas published in `folder` under the same version."""
    found = []
    for topic in TOPICS:
        published = folder / file_name(topic)
        if not published.exists():  # a new topic, or a new version
            continue
        old = json.loads(published.read_text("utf-8"))
        for change in breaking_changes(old, json_schema(topic), topic.compatibility):
            found.append(f"{topic.name}: {change}; raise the version of {topic.event_type} in schemas/topics.py")
    return found


def _holds(file: Path, text: str) -> bool:
    return file.exists() and file.read_text("utf-8") == text


def main(arguments: Sequence[str], folder: Path = FOLDER) -> int:
    """The command line; 0 where all is well."""
    problems = breaking(folder)
    if "--check" in arguments:
        problems += [f"{name} is stale: run python -m schemas.published" for name in stale(folder)]
    elif not problems:
        folder.mkdir(exist_ok=True)
        for name, text in documents().items():
            (folder / name).write_text(text, encoding="utf-8")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
