"""Events are cut out of a batch as they were written, whatever is in them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.collector.events import BATCH, PLAIN, Mode, read
from pipeline.producer import Message
from schemas.envelope import RESPONSE_TYPE
from schemas.topics import RESPONSES

_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
_spaces = st.text(" \t\n\r", max_size=3)


@given(st.lists(_anything, max_size=5), st.booleans(), st.sampled_from([None, 0, 2]), st.data())
def test_each_event_is_the_text_that_its_sender_wrote(
    datas: list[Any], is_ascii: bool, indent: int | None, draw: st.DataObject
) -> None:
    events = [{"id": str(n), "type": RESPONSE_TYPE, "data": data} for n, data in enumerate(datas)]
    written = [json.dumps(event, ensure_ascii=is_ascii, indent=indent).encode("utf-8", "replace") for event in events]
    spaced = [draw.draw(_spaces).encode() + text + draw.draw(_spaces).encode() for text in written]
    body = draw.draw(_spaces).encode() + b"[" + b",".join(spaced) + b"]" + draw.draw(_spaces).encode()
    found = read(Mode.BATCH, BATCH, [], body)
    assert [message.value for message in found if isinstance(message, Message)] == written
    assert read(Mode.EITHER, PLAIN, [], body) == found


@given(st.binary(), st.lists(st.tuples(st.sampled_from(["ce-id", "ce-source", "X"]), st.text()), max_size=3))
def test_binary_mode_takes_any_data(body: bytes, headers: list[tuple[str, str]]) -> None:
    """What it is, is for the stream to say: the attributes name the topic."""
    [message] = read(Mode.BINARY, PLAIN, [*headers, ("Ce-Type", RESPONSE_TYPE)], body)
    assert isinstance(message, Message)
    assert (message.topic, message.value) == (RESPONSES, body)
    assert ("ce_type", RESPONSE_TYPE.encode()) in message.headers
