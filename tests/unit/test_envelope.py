"""The CloudEvents envelope: both modes, schema versions, and what is kept of attributes that we do not know."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from schemas.envelope import Attributes, InteractionEvent, ResponseEvent, binary_attributes
from tests.unit.records import envelope

DATA = {"response_id": "r-1", "score": 1}


def test_structured_mode_holds_attributes_and_data() -> None:
    event = ResponseEvent.model_validate_json(envelope(DATA, time="2026-03-02T14:05:09.250-03:00", traceparent="00-7f"))
    assert (event.id, event.source, event.data.response_id) == ("e-1", "/shop", "r-1")
    assert event.time is not None
    assert event.time.isoformat() == "2026-03-02T14:05:09.250000-03:00"
    assert event.model_extra == {"traceparent": "00-7f"}


def test_headers_with_ce_are_attributes_whatever_their_case() -> None:
    headers = [("ce_id", b"1"), ("CE_Source", b"/app"), ("content-type", b"application/json"), ("ce_none", None)]
    assert binary_attributes(headers) == {"id": "1", "source": "/app"}


@pytest.mark.parametrize("headers", [[], [("content-type", b"application/cloudevents+json")], [("traceparent", b"00")]])
def test_without_ce_headers_the_record_is_in_structured_mode(headers: list[tuple[str, bytes]]) -> None:
    assert binary_attributes(headers) is None


def test_a_header_that_is_not_utf8_does_not_raise() -> None:
    assert binary_attributes([("ce_id", b"\xff1")]) == {"id": "\ufffd1"}


@pytest.mark.parametrize(
    "name",
    ["vocstream.response.v1", "com.shop.survey/v1", "anything", "v2", "response.v1.beta", "survey-v1", "revised.nov2"],
)
def test_types_of_version_one_or_none(name: str) -> None:
    assert Attributes(id="1", source="s", type=name).type == name


@pytest.mark.parametrize("name", ["vocstream.response.v2", "com.shop.survey/v10", "survey-v0"])
def test_types_of_other_versions_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="is not 1"):
        Attributes(id="1", source="s", type=name)


def test_the_version_may_be_in_dataschema() -> None:
    assert Attributes(id="1", source="s", type="t", dataschema="https://example.com/response/v1.json")
    with pytest.raises(ValidationError, match="schema version 2 is not 1"):
        Attributes(id="1", source="s", type="t", dataschema="https://example.com/response/v2.json")


@pytest.mark.parametrize("missing", ["id", "source", "type"])
def test_what_an_envelope_must_have(missing: str) -> None:
    attributes = {"id": "1", "source": "s", "type": "t"}
    del attributes[missing]
    with pytest.raises(ValidationError, match=missing):
        Attributes.model_validate(attributes)


def test_an_error_does_not_quote_what_the_sender_wrote() -> None:
    with pytest.raises(ValidationError) as raised:
        ResponseEvent.model_validate_json(envelope(DATA | {"score": "call me on 612345678"}))
    assert "612345678" not in str(raised.value)


def test_an_interaction_needs_nothing_but_its_envelope() -> None:
    event = InteractionEvent.model_validate_json(envelope({}))
    assert event.data.interaction_id == ""
