"""Files to rows, and rows to messages: what `vocstream emit` reads; `classify`, `evaluate` and others take the rows.

A line is a CloudEvents envelope, or (with a `Mapping`) a row of comments that becomes a response. Every line is
decoded here exactly as the worker will decode it, so that what is wrong is told with its line number before it is sent.
"""

from __future__ import annotations

import csv
import hashlib
import io
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import orjson

from pipeline.decoding import decode_interaction, decode_response
from pipeline.producer import MAX_REQUEST, Message
from schemas import topics
from schemas.dead_letter import DeadLetter
from schemas.envelope import RESPONSE_TYPE
from schemas.events import Response

_NUMBERS = {"score"}
_FLAGS = {"excluded", "deleted"}


class BadLine(NamedTuple):
    """A line that cannot be sent, and why."""

    number: int
    error: str


class BadMapping(ValueError):
    """A --map or --set that names no field, or is not NAME=NAME."""


@dataclass(frozen=True)
class Mapping:
    """How a row of comments becomes a response: columns to fields, and fields with one value for all."""

    columns: dict[str, str]
    constants: dict[str, str]

    @classmethod
    def parse(cls, columns: Iterable[str], constants: Iterable[str]) -> Mapping:
        """From `COLUMN=FIELD` and `FIELD=VALUE`; raises BadMapping where a field is not one of a response's."""
        pairs = [_pair(text) for text in columns]
        fixed = dict(_pair(text) for text in constants)
        known = {*Response.model_fields, "source"}
        for field in [field for _, field in pairs] + list(fixed):
            if field not in known and not field.startswith("segments."):
                raise BadMapping(f"a response has no field {field}; it has {', '.join(sorted(known))}, segments.NAME")
        return cls(dict(pairs), fixed)

    def envelope(self, row: dict[str, Any], name: str, number: int) -> dict[str, Any]:
        """The CloudEvents envelope of one row of file `name`."""
        data: dict[str, Any] = {"response_id": f"{name}:{number}"}
        values = list(self.constants.items())
        values += [(field, row[column]) for column, field in self.columns.items() if row.get(column) not in (None, "")]
        for field, value in values:
            if field.startswith("segments."):
                data.setdefault("segments", {})[field.removeprefix("segments.")] = value
            else:
                data[field] = _typed(field, value)
        source = data.pop("source", f"file/{name}")
        identity = "\0".join(str(part) for part in (source, data["response_id"], data.get("question", "")))
        digest = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()
        return {"specversion": "1.0", "id": digest[:32], "source": source, "type": RESPONSE_TYPE, "data": data}


def read_messages(file: Path, mapping: Mapping | None) -> Iterator[Message | BadLine]:
    """The messages of a file, in order; a BadLine stands where a line is not one. `-` is standard input."""
    if str(file) == "-":
        lines = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", errors="surrogateescape", newline="")
        yield from _read(lines, "stdin", mapping, is_csv=False)
        return
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        yield from _read(lines, file.stem, mapping, is_csv=file.suffix.lower() == ".csv")


def read_rows(file: Path) -> Iterator[tuple[int, dict[str, Any] | BadLine]]:
    """Line number and content of each row of a CSV or JSON Lines file; a BadLine stands where a line is not one."""
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        for number, row, _ in _rows(lines, file.suffix.lower() == ".csv"):
            yield number, row


def _read(lines: TextIO, name: str, mapping: Mapping | None, *, is_csv: bool) -> Iterator[Message | BadLine]:
    if is_csv and mapping is None:
        raise BadMapping("a CSV file needs --map COLUMN=FIELD to say which column is the comment or the score")
    for number, row, line in _rows(lines, is_csv):
        if isinstance(row, BadLine):
            yield row
            continue
        if mapping is not None:
            missing = [] if number > 2 else [column for column in mapping.columns if is_csv and column not in row]
            if missing:
                raise BadMapping(f"{name} has no column {', '.join(missing)}; it has {', '.join(map(str, row))}")
            row, line = mapping.envelope(row, name, number), None
        yield to_message(row, number, line)


def _rows(lines: TextIO, is_csv: bool) -> Iterator[tuple[int, dict[str, Any] | BadLine, bytes | None]]:
    """Number, content and (of JSON Lines) the bytes of each row."""
    if is_csv:
        csv.field_size_limit(MAX_REQUEST)  # a comment may be longer than csv's own 128 KiB; the decoder cuts it
        reader = csv.DictReader(lines)
        for row in reader:
            yield reader.line_num, row, None
        return
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        content = line.strip().encode("utf-8", "surrogateescape")
        try:
            row = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            yield number, BadLine(number, f"not JSON: {error}"), None
            continue
        yield number, row if isinstance(row, dict) else BadLine(number, "not a JSON object"), content


def to_message(envelope: dict[str, Any], number: int, written: bytes | None = None) -> Message | BadLine:
    """The message of an envelope, decoded once as the worker will.

    `written` is the envelope as its sender wrote it, which is then sent unchanged: reading and writing JSON again
    would round numbers of more than 64 bits.
    """
    topic = _topic(envelope)
    if topic is None:
        return BadLine(
            number, "neither a response nor an interaction: `type` should be vocstream.response.v1 or .interaction.v1"
        )
    try:
        value = written or orjson.dumps(envelope)
    except TypeError as error:
        return BadLine(number, str(error))
    if len(value) > MAX_REQUEST - 10_000:
        return BadLine(number, f"{len(value):,} bytes; a record has at most {MAX_REQUEST - 10_000:,}")
    record = LineRecord(topic, 0, number, int(time.time() * 1000), None, value, ())
    decoded = (decode_response if topic == topics.RESPONSES else decode_interaction)(record, record.timestamp)
    if isinstance(decoded, DeadLetter):
        return BadLine(number, f"{decoded.reason.value}: {decoded.error}")
    return Message(topic, (decoded.customer_id or decoded.event_id).encode(), value)


def _topic(envelope: dict[str, Any]) -> str | None:
    """By its type's words; where they say nothing, by the field that only one of them has."""
    if topic := topics.topic_of_type(str(envelope.get("type", ""))):
        return topic
    data = envelope.get("data")
    if isinstance(data, dict):
        if "response_id" in data:
            return topics.RESPONSES
        if "action" in data or "interaction_id" in data:
            return topics.INTERACTIONS
    return None


class LineRecord(NamedTuple):
    """A line in the form of a Kafka record, for the decoder."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def _typed(field: str, value: Any) -> Any:
    """A CSV cell or a --set value as the type that its field wants; anything else is left to the decoder."""
    if not isinstance(value, str):
        return value
    if field in _NUMBERS:
        try:
            return float(value)
        except ValueError:
            return value
    if field in _FLAGS:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(value.lower(), value)
    return value


def _pair(text: str) -> tuple[str, str]:
    left, separator, right = text.partition("=")
    if not separator or not left or not right:
        raise BadMapping(f"{text!r} is not NAME=NAME")
    return left, right
