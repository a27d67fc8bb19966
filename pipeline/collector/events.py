"""A request's body and headers to messages: CloudEvents 1.0 over HTTP, in structured, batched and binary mode.

Comes from `server`; the messages go to Kafka. An event is the bytes that its sender wrote: those of a batch are cut out
of it, never written anew, which would round long numbers. Binary mode becomes Kafka's binary mode: header `ce-id` is
header `ce_id` of the record. All that is read of an event is what names its topic and its key; errors are values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import unquote

from pipeline.producer import Message
from schemas.envelope import INTERACTION_TYPE, RESPONSE_TYPE, binary_attributes
from schemas.topics import topic_of_type

STRUCTURED, BATCH, PLAIN = "application/cloudevents+json", "application/cloudevents-batch+json", "application/json"
ACCEPTED = f"{STRUCTURED}, {BATCH}, or {PLAIN} (with ce-* headers: the data alone)"
TYPES = f"{RESPONSE_TYPE} (what a customer said) or {INTERACTION_TYPE} (what a customer did)"

_SHOWN = 100  # characters of what a sender wrote that an error shows
_SPACE, _ESCAPED = re.compile(r"[ \t\n\r]*"), re.compile(r"\\(.)")
# Numbers are left as they are written: only texts are looked at, and a long one must not cost.
_decode = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str).raw_decode


class Mode(Enum):
    """How a request carries its events; the value is what its body must be."""

    STRUCTURED = (dict,)
    BATCH = (list,)
    EITHER = (dict, list)
    BINARY = ()


_BODIES = {
    Mode.STRUCTURED: "one event, a JSON object",
    Mode.BATCH: "a JSON array of events",
    Mode.EITHER: "an event, a JSON object, or a JSON array of events",
}


@dataclass(frozen=True)
class Refused:
    """An event that cannot be routed: its place in the request, what is wrong, and what would be right."""

    index: int
    id: str | None
    error: str
    expected: str


class Unreadable(ValueError):
    """The request as a whole cannot be taken: the HTTP status, what is wrong, and what would be right."""

    def __init__(self, status: int, error: str, expected: str) -> None:
        super().__init__(error)
        self.status, self.error, self.expected = status, error, expected


def mode_of(media_type: str, charset: str | None, headers: Iterable[tuple[str, str]]) -> Mode:
    """The mode by Content-Type and headers; raises Unreadable (415) where the body is not JSON in UTF-8."""
    if charset is not None and charset.lower() not in ("utf-8", "utf8", "us-ascii"):
        raise Unreadable(415, f"charset {charset[:_SHOWN]} is not taken", "utf-8")
    if media_type == STRUCTURED:
        return Mode.STRUCTURED
    if media_type == BATCH:
        return Mode.BATCH
    is_json = media_type == PLAIN or media_type.endswith("+json")
    if is_json and not media_type.startswith("application/cloudevents"):
        if any(name.lower().startswith("ce-") for name, _ in headers):
            return Mode.BINARY
        if media_type == PLAIN:
            return Mode.EITHER
    raise Unreadable(415, f"Content-Type {media_type[:_SHOWN]} is not taken", ACCEPTED)


def read(mode: Mode, media_type: str, headers: Iterable[tuple[str, str]], body: bytes) -> list[Message | Refused]:
    """The events of a request in order, as messages, or refused; one refusal and nothing else where it is not JSON."""
    if mode is Mode.BINARY:
        return [_binary(media_type, headers, body)]
    found: list[Message | Refused] = []
    try:
        text = body.decode()
        first = _after_space(text, 0)
        topmost = list if text[first : first + 1] == "[" else dict
        if topmost not in mode.value:
            return [Refused(0, None, "the body is not what Content-Type says", _BODIES[mode])]
        for event, written in _elements(text, first) if topmost is list else _only(text, first):
            found.append(_structured(len(found), event, written))
    except (ValueError, RecursionError) as error:
        return [Refused(len(found), None, f"not JSON in UTF-8: {str(error)[:_SHOWN]}", _BODIES[mode])]
    return found


def _only(text: str, at: int) -> Iterator[tuple[Any, str]]:
    """The value that begins at `at` and must be all there is, and its text."""
    value, end = _decode(text, at)
    _nothing_after(text, end)
    yield value, text[at:end]


def _elements(text: str, at: int) -> Iterator[tuple[Any, str]]:
    """The elements of the array that begins at `at` and must be all there is, each with its text."""
    at = _after_space(text, at + 1)
    if text[at : at + 1] == "]":
        return _nothing_after(text, at + 1)
    while True:
        value, end = _decode(text, at)
        yield value, text[at:end]
        at = _after_space(text, end)
        if text[at : at + 1] == "]":
            return _nothing_after(text, at + 1)
        if text[at : at + 1] != ",":
            raise json.JSONDecodeError("expecting , or ] after an event", text, at)
        at = _after_space(text, at + 1)


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None, "no space is space"
    return match.end()


def _nothing_after(text: str, at: int) -> None:
    if _after_space(text, at) < len(text):
        raise json.JSONDecodeError("something after the end", text, at)


def _structured(index: int, event: Any, text: str) -> Message | Refused:
    if not isinstance(event, dict):
        return Refused(index, None, f"an event is a JSON object, not {text[:_SHOWN]}", "a JSON object")
    return _route(index, event, event.get("data"), text.encode(), ())


def _binary(media_type: str, headers: Iterable[tuple[str, str]], body: bytes) -> Message | Refused:
    carried = [
        (f"ce_{name[3:].lower()}", _plain(value).encode("utf-8", "surrogateescape"))
        for name, value in headers
        if name.lower().startswith("ce-")
    ]
    try:
        text = body.decode()
        data, _ = _decode(text, _after_space(text, 0))
    except (ValueError, RecursionError):
        data = None  # the attributes name the topic; what the data is, is for the stream to say
    attributes = binary_attributes(carried) or {}
    return _route(0, attributes, data, body, (("content-type", media_type.encode()), *carried))


def _plain(value: str) -> str:
    """A header's value as Kafka has it; in HTTP it may be quoted, and is percent-encoded (HTTP binding, 3.1.3.2)."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = _ESCAPED.sub(r"\1", value[1:-1])
    return unquote(value)


def _route(
    index: int, attributes: Mapping[str, Any], data: Any, value: bytes, headers: tuple[tuple[str, bytes], ...]
) -> Message | Refused:
    """Topic by the type; key by the customer, or by the event where there is none (`schemas.topics`)."""
    identity, kind = _text(attributes.get("id")), _text(attributes.get("type"))
    topic = topic_of_type(kind)
    if topic is None:
        error = f"type {kind[:_SHOWN]} is neither a response nor an interaction" if kind else "type is missing"
        return Refused(index, identity[:_SHOWN] or None, error, f"type {TYPES}")
    customer = _text(data.get("customer_id")) if isinstance(data, dict) else ""
    return Message(topic, (customer or identity).encode("utf-8", "replace"), value, headers)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
