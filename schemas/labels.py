"""What the label lane says of one comment: sentiment, topics and language, and which model said it.

Made by `models` (text in, labels out); written by `pipeline` to `feedback.responses` and `feedback.enriched`.
The words and their meaning: docs/definitions.md.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

UnitInterval = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
SignedUnit = Annotated[float, Field(ge=-1.0, le=1.0, allow_inf_nan=False)]


class Sentiment(StrEnum):
    """Five levels, `mixed` (praise and complaint in one comment), and `unknown` (nothing to read)."""

    VERY_NEGATIVE = "very_negative"
    NEGATIVE = "negative"
    NEUTRAL = "neutral"
    POSITIVE = "positive"
    VERY_POSITIVE = "very_positive"
    MIXED = "mixed"
    UNKNOWN = "unknown"


class TopicMention(BaseModel):
    """One topic that a comment speaks of, with the feeling towards that topic alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: str = Field(description="Taxonomy id, e.g. `delivery.delay`; `other` when nothing fits.")
    sentiment: Sentiment
    sentiment_score: SignedUnit
    confidence: UnitInterval = Field(description="How sure the model is that the topic is mentioned.")


class Labels(BaseModel):
    """All that a model says of one comment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    language: str = Field(description="ISO 639-1 code; `und` where it cannot be told.")
    sentiment: Sentiment
    sentiment_score: SignedUnit = Field(description="Agrees with `sentiment`: negative below 0, positive above.")
    confidence: UnitInterval = Field(description="The model's confidence in `sentiment`.")
    topics: tuple[TopicMention, ...] = ()
    model_version: str = Field(description="Name, revision and heads of the model; never empty.")
