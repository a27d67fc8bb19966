"""The topics: who writes and reads each, what it carries, and how its schema may change.

Read by `infra.topics` (which creates them) and by `schemas.published` (which makes JSON Schemas and AsyncAPI of them).
Every topic carries JSON in UTF-8 inside CloudEvents 1.0; the key is the customer's id, or the event's id where
there is none, so that what one customer says stays in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from pydantic import BaseModel

from schemas.alerts import ALERT_TYPE, AlertEvent
from schemas.dead_letter import DeadLetter
from schemas.envelope import INTERACTION_TYPE, RESPONSE_TYPE, Envelope, InteractionEvent, ResponseEvent
from schemas.rows import EnrichedResponse

INTERACTIONS = "feedback.interactions"
RESPONSES = "feedback.responses"
COMMENTS = "feedback.comments"
ENRICHED = "feedback.enriched"
DEAD_LETTERS = "feedback.dead-letters"
ALERTS = "feedback.alerts"


def topic_of_type(kind: str) -> str | None:
    """The topic that takes events of the CloudEvents `type` `kind`, by the words in it; None where it names neither."""
    kind = kind.lower()
    if "interaction" in kind:
        return INTERACTIONS
    return RESPONSES if "response" in kind else None


class Compatibility(StrEnum):
    """What a new version of a schema must still be able to do (the schema registries' words)."""

    BACKWARD = "backward"  # readers of the new version read what was written with the old one
    FULL = "full"  # and readers of the old version read what is written with the new one


DataT = TypeVar("DataT", bound=BaseModel)


class CommentEvent(Envelope[EnrichedResponse]):
    """A scored response whose comment waits for its labels."""


class EnrichedEvent(Envelope[EnrichedResponse]):
    """A response with the labels of its comment."""


class DeadLetterEvent(Envelope[DeadLetter]):
    """A record that could not be used."""


@dataclass(frozen=True)
class Topic(Generic[DataT]):
    """One topic: its event model (`event`), its `type` attribute, and the processes at its two ends."""

    name: str
    event: type[BaseModel]
    event_type: str
    description: str
    written_by: str
    read_by: str
    compatibility: Compatibility


TOPICS: tuple[Topic[BaseModel], ...] = (
    Topic(
        INTERACTIONS,
        InteractionEvent,
        INTERACTION_TYPE,
        "What customers did.",
        "upstream apps, the collector, `vocstream emit`",
        "score lane",
        Compatibility.BACKWARD,
    ),
    Topic(
        RESPONSES,
        ResponseEvent,
        RESPONSE_TYPE,
        "What customers said: scores and comments.",
        "upstream apps, the collector, `vocstream emit`",
        "score lane",
        Compatibility.BACKWARD,
    ),
    Topic(
        COMMENTS,
        CommentEvent,
        "vocstream.comment.v1",
        "Scored responses whose comments wait for their labels.",
        "score lane",
        "label lane",
        Compatibility.FULL,
    ),
    Topic(
        ENRICHED,
        EnrichedEvent,
        "vocstream.enriched.v1",
        "Responses with sentiment, topics and language.",
        "label lane",
        "anyone",
        Compatibility.FULL,
    ),
    Topic(
        DEAD_LETTERS,
        DeadLetterEvent,
        "vocstream.dead-letter.v1",
        "Records that could not be used, with the reason.",
        "both lanes",
        "the engineer on call",
        Compatibility.FULL,
    ),
    Topic(
        ALERTS,
        AlertEvent,
        ALERT_TYPE,
        "Spikes, drifts and silences of feedback, as they fire and as they are resolved.",
        "the sentinel",
        "anyone",
        Compatibility.FULL,
    ),
)
