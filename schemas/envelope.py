"""The CloudEvents 1.0 envelope around an event, in structured and in binary mode.

Structured: the Kafka record's value is `{"specversion", "id", "source", "type", "time", "data": {...}}`.
Binary: the value is the data alone and the attributes are headers `ce_id`, `ce_source`, `ce_type`, ...
The same `source` and `id` are the same event (CloudEvents 1.0, "id").

The version of an event's schema is the `.vN` at the end of its `type` (or of its `dataschema`); without one it is v1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from schemas.events import Identifier, Interaction, Moment, Name, Response

SCHEMA_VERSION = 1
RESPONSE_TYPE = f"vocstream.response.v{SCHEMA_VERSION}"
INTERACTION_TYPE = f"vocstream.interaction.v{SCHEMA_VERSION}"

_VERSION_SUFFIX = re.compile(r"[./-]v(\d+)(?:\.json)?$")

DataT = TypeVar("DataT")


@lru_cache(maxsize=1024)  # a stream has a handful of types, and this runs for every event
def _version(name: str) -> int:
    found = _VERSION_SUFFIX.search(name)
    return int(found[1]) if found else SCHEMA_VERSION


class Attributes(BaseModel):
    """CloudEvents context attributes. Extension attributes are kept."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True, hide_input_in_errors=True)

    specversion: Literal["1.0"] = "1.0"
    id: Identifier
    source: Identifier = Field(description="Which app emitted it, as a URI reference.")
    type: Identifier
    time: Moment | None = None
    dataschema: Name | None = None

    @field_validator("type", "dataschema")
    @classmethod
    def _schema_version_is_ours(cls, value: str | None) -> str | None:
        version = _version(value) if value else SCHEMA_VERSION
        if version != SCHEMA_VERSION:
            raise PydanticCustomError(
                "unknown_schema_version",
                "schema version {got} is not {ours}",
                {"got": version, "ours": SCHEMA_VERSION},
            )
        return value


class Envelope(Attributes, Generic[DataT]):
    """A structured-mode event: the attributes and the data in one JSON object."""

    data: DataT


class ResponseEvent(Envelope[Response]):
    """A response event, topic `feedback.responses`."""


class InteractionEvent(Envelope[Interaction]):
    """An interaction event, topic `feedback.interactions`."""


def binary_attributes(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str] | None:
    """The attributes that `ce_` headers carry; None where there are none, so the record is in structured mode."""
    found = {
        name[3:].lower(): value.decode("utf-8", "replace")
        for name, value in headers
        if value is not None and name[:3].lower() == "ce_"
    }
    return found or None
