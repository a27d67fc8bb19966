"""The two lanes: what a batch of records becomes.

* Score lane: `feedback.responses` and `feedback.interactions` → rows, at once. A response with a comment goes on to
  `feedback.comments`. No model is near it: a burst of comments delays labels, never scores.
* Label lane: `feedback.comments` → the same rows again, with labels, as newer versions; and `feedback.enriched`.

Comes from `pipeline.transport` by way of the agents in `pipeline.worker`; goes to `pipeline.flush`. A lane is a
function from records to `Work`: it knows neither faust nor ClickHouse.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from pipeline.decoding import Record, dead_letter, decode_interaction, decode_response
from pipeline.flush import Work
from pipeline.producer import Message
from schemas import topics
from schemas.dead_letter import DeadLetter, Reason, Stage
from schemas.envelope import Envelope
from schemas.labels import Labels
from schemas.rows import EnrichedResponse, InteractionRow, ResponseRow, from_ms

LabelAll = Callable[[Sequence[str]], Awaitable[list[Labels]]]

SOURCE = "vocstream"
_EVENT_TYPES = {topic.name: topic.event_type for topic in topics.TOPICS}
_read_comment = TypeAdapter(topics.CommentEvent).validate_json

RowT = TypeVar("RowT", ResponseRow, InteractionRow)
DataT = TypeVar("DataT", bound=BaseModel)


def score_responses(records: Sequence[Record], work: Work, now_ms: int) -> None:
    """Responses to rows; those with a comment also to messages for the label lane."""
    for record in records:
        row = decode_response(record, now_ms)
        if isinstance(row, DeadLetter):
            work.letters.append(row)
            continue
        work.rows.append(row)
        work.origins.append(record)
        if row.comment and not row.deleted:
            work.messages.append(event(topics.COMMENTS, row.event_id, _key(row), EnrichedResponse.of(row), now_ms))


def store_interactions(records: Sequence[Record], work: Work, now_ms: int) -> None:
    """Interactions to rows."""
    for record in records:
        row = decode_interaction(record, now_ms)
        if isinstance(row, DeadLetter):
            work.letters.append(row)
        else:
            work.rows.append(row)
            work.origins.append(record)


async def label_comments(records: Sequence[Record], work: Work, label: LabelAll, clock: Callable[[], int]) -> None:
    """Comments to labelled rows and enriched responses.

    `label` takes the texts of the whole batch at once. Where it fails for the batch it is asked for one text at a
    time, so that one comment never takes the others with it.
    """
    rows: list[tuple[Record, ResponseRow]] = []
    for record in records:
        try:
            rows.append((record, _read_comment(record.value or b"").data.row()))
        except ValidationError as error:
            work.letters.append(dead_letter(record, clock(), Reason.WRONG_SHAPE, Stage.LABEL, str(error)))
    answers = await _answers([row.comment for _, row in rows], label)
    now_ms = clock()
    for (record, row), answer in zip(rows, answers, strict=True):
        if isinstance(answer, Exception):
            work.letters.append(dead_letter(record, now_ms, Reason.LABEL_FAILED, Stage.LABEL, repr(answer)))
            continue
        labelled = row.labelled(answer, now_ms)
        work.rows.append(labelled)
        work.origins.append(record)
        work.messages.append(event(topics.ENRICHED, row.event_id, _key(row), EnrichedResponse.of(labelled), now_ms))


async def _answers(texts: list[str], label: LabelAll) -> list[Labels | Exception]:
    if not texts:
        return []
    try:
        return list(await label(texts))
    except Exception as error:  # whatever a model can raise: the comment at fault is found and set aside
        if len(texts) == 1:
            return [error]
        return [answer for text in texts for answer in await _answers([text], label)]


def event(topic: str, event_id: str, key: str, data: BaseModel, now_ms: int) -> Message:
    """A message of ours for `topic`: `data` in a structured-mode envelope."""
    envelope = Envelope[BaseModel](
        id=event_id, source=SOURCE, type=_EVENT_TYPES[topic], time=from_ms(now_ms), data=data
    )
    # What is NULL in the row is null in the data: a response without a score is one, and its readers require the field.
    value = envelope.model_dump_json(exclude={"dataschema"}, serialize_as_any=True)
    return Message(topic, key.encode(), value.encode())


def _key(row: ResponseRow) -> str:
    return row.customer_id or row.event_id
