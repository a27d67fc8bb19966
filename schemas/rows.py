"""What ClickHouse keeps: one row of each facts table, in the order of its insert columns.

Made by `pipeline.decoding` (and labelled by the label lane); written by `pipeline.writer`; the tables are
`infra/clickhouse/migrations`, and a test holds the two together. Times are milliseconds since 1970 in UTC, because
that is what a DateTime64(3) column is made of: a row is built forty thousand times a second.

`EnrichedResponse` is the same row for readers of the topics `feedback.comments` (not labelled yet) and
`feedback.enriched`: plain JSON, ISO 8601 times.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.dead_letter import DeadLetter
from schemas.labels import Labels

UNLABELLED, LABELLED = 0, 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = EPOCH.toordinal()
_MILLISECOND = timedelta(milliseconds=1)


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970 of a moment with a zone (floor).

    By its parts: four times faster than subtracting the epoch, and this runs three times an event.
    """
    seconds = moment.hour * 3600 + moment.minute * 60 + moment.second
    ms = (moment.toordinal() - _EPOCH_DAY) * 86_400_000 + seconds * 1000 + moment.microsecond // 1000
    offset = moment.utcoffset()
    return ms - offset // _MILLISECOND if offset else ms


def from_ms(ms: int) -> datetime:
    """The moment, in UTC, `ms` milliseconds after 1970."""
    return EPOCH + timedelta(milliseconds=ms)


class ResponseRow(NamedTuple):
    """One version of a response: `feedback.responses`."""

    tenant: str
    source: str
    response_id: str
    question: str
    metric: str
    scale: str
    score: float | None
    band: str
    comment: str
    language: str
    customer_id: str
    survey: str
    touchpoint: str
    channel: str
    journey_stage: str
    segments: dict[str, str]
    excluded: int
    flags: list[str]
    occurred_at: int
    updated_at: int
    received_at: int
    processed_at: int
    event_id: str
    extra: str
    digest: int
    deleted: int = 0
    sentiment: str = ""
    sentiment_score: float | None = None
    sentiment_confidence: float | None = None
    topics: list[str] = []  # noqa: RUF012 - a NamedTuple's default; rows are never changed in place
    topic_sentiments: list[str] = []  # noqa: RUF012
    model_version: str = ""
    labelled_at: int | None = None
    label_rank: int = UNLABELLED

    def labelled(self, labels: Labels, labelled_at: int) -> ResponseRow:
        """The same response with what the model says of its comment: a newer version of the same row."""
        return self._replace(
            language=labels.language,
            sentiment=labels.sentiment.value,
            sentiment_score=labels.sentiment_score,
            sentiment_confidence=labels.confidence,
            topics=[mention.topic for mention in labels.topics],
            topic_sentiments=[mention.sentiment.value for mention in labels.topics],
            model_version=labels.model_version,
            labelled_at=labelled_at,
            label_rank=LABELLED,
        )


class InteractionRow(NamedTuple):
    """One version of an interaction: `feedback.interactions`."""

    tenant: str
    source: str
    interaction_id: str
    customer_id: str
    action: str
    touchpoint: str
    channel: str
    journey_stage: str
    value: float | None
    currency: str
    segments: dict[str, str]
    properties: str
    flags: list[str]
    occurred_at: int
    received_at: int
    processed_at: int
    event_id: str
    extra: str
    digest: int
    deleted: int = 0


class DeadLetterRow(NamedTuple):
    """One dead letter: `feedback.dead_letters`."""

    reason: str
    stage: str
    error: str
    topic: str
    partition: int
    offset: int
    occurred_at: int
    key: str
    attempts: int
    payload: str
    failed_at: int

    @classmethod
    def of(cls, letter: DeadLetter) -> Self:
        fields: dict[str, Any] = letter.model_dump(mode="json")
        fields |= {"occurred_at": to_ms(letter.occurred_at), "failed_at": to_ms(letter.failed_at)}
        return cls(**fields)


class EnrichedResponse(BaseModel):
    """A response as topics carry it: `feedback.comments` before its labels, `feedback.enriched` with them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tenant: str
    source: str
    response_id: str
    question: str
    metric: str = Field(description="nps, csat, ces, stars, thumbs; empty where the score is not counted.")
    scale: str
    score: float | None
    band: str = Field(description="promoter, passive, detractor, satisfied, unsatisfied; empty without a score.")
    comment: str = Field(description="Redacted.")
    language: str
    customer_id: str
    survey: str
    touchpoint: str
    channel: str
    journey_stage: str
    segments: dict[str, str]
    excluded: bool
    deleted: bool = False
    flags: list[str] = Field(description="What was done to it by rule: clock_clamped, comment_cut, ...")
    occurred_at: AwareDatetime
    updated_at: AwareDatetime
    received_at: AwareDatetime
    processed_at: AwareDatetime
    event_id: str
    extra: str = Field(description="Fields that we do not know, as JSON.")
    digest: int = Field(ge=0, lt=2**64, description="Hash of the event's content; breaks ties between versions.")
    sentiment: str = Field("", description="Empty until the comment is labelled.")
    sentiment_score: float | None = None
    sentiment_confidence: float | None = None
    topics: list[str] = Field(default_factory=list)
    topic_sentiments: list[str] = Field(default_factory=list, description="One for each of `topics`.")
    model_version: str = ""
    labelled_at: AwareDatetime | None = None
    label_rank: int = UNLABELLED

    @classmethod
    def of(cls, row: ResponseRow) -> Self:
        times = {name: from_ms(ms) for name in _TIMES if (ms := getattr(row, name)) is not None}
        return cls(**(row._asdict() | times))

    def row(self) -> ResponseRow:
        """The row that this was made of."""
        fields = {name: getattr(self, name) for name in ResponseRow._fields}
        fields |= {name: to_ms(at) for name in _TIMES if (at := getattr(self, name)) is not None}
        return ResponseRow(**(fields | {"excluded": int(self.excluded), "deleted": int(self.deleted)}))


_TIMES = ("occurred_at", "updated_at", "received_at", "processed_at", "labelled_at")
