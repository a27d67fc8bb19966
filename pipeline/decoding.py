"""Bytes to rows: one Kafka record becomes the row of a table, or a dead letter that says why not.

Comes from `pipeline.transport` (records of `feedback.responses` and `feedback.interactions`); goes to the lanes.
Errors are values: nothing here raises for what a sender wrote. A row depends on its record alone (`received_at`
is the record's own timestamp), so that a replay of the topic makes the same rows, bit for bit. The exception is a
record without a timestamp of this life, or with one of the future: it is received now.

Accepted by rule, with a flag in the row:
* `clock_clamped`: a time more than five minutes after `received_at` becomes `received_at`;
* `comment_cut`: a comment over 20,000 characters is cut (its score still counts);
* `nul_removed`: NUL characters are taken out (tools that read C strings stop at them).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import orjson
from pydantic import ValidationError
from xxhash import xxh3_64_intdigest

from pipeline.redaction import is_clean, redact, redact_json
from schemas.dead_letter import DeadLetter, Reason, Stage
from schemas.envelope import Attributes, InteractionEvent, ResponseEvent, binary_attributes
from schemas.events import DEFAULT_TENANT, Interaction, Response, Segments
from schemas.rows import InteractionRow, ResponseRow, from_ms, to_ms
from schemas.scales import scale

MAX_COMMENT = 20_000  # characters; the longest real review is a tenth of it, and a model reads 512 tokens
MAX_PAYLOAD = 16_384  # characters of a dead letter's record that are kept
MAX_ERROR, MAX_PROBLEMS = 1_000, 5  # characters of its error, and faults named in it; a segment each could be faulty
CLOCK_TOLERANCE_MS = 5 * 60 * 1000  # docs/definitions.md, "Time"
# DateTime64(3) of ClickHouse ends with 2299, and versions count milliseconds from 1970.
EARLIEST_MS, LATEST_MS = 0, to_ms(from_ms(0).replace(year=2299))

_REASONS = {
    "json_invalid": Reason.NOT_JSON,
    "timezone_aware": Reason.NAIVE_TIMESTAMP,
    **{r.value: r for r in (Reason.NOTHING_SAID, Reason.UNKNOWN_SCALE, Reason.SCORE_OUT_OF_SCALE)},
    "unknown_schema_version": Reason.UNKNOWN_SCHEMA_VERSION,
    "string_too_long": Reason.TOO_LARGE,
}
_REASONS_BY_FIELD: dict[str | int | None, Reason] = {
    "id": Reason.NO_ID,
    "metric": Reason.UNKNOWN_METRIC,
    "specversion": Reason.UNKNOWN_SCHEMA_VERSION,
}

RowT = TypeVar("RowT", ResponseRow, InteractionRow)


class Record(Protocol):
    """What we read of a Kafka record; aiokafka's ConsumerRecord is one."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class _Refused(Exception):
    """Found unusable after the schema had accepted it."""

    def __init__(self, reason: Reason, error: str) -> None:
        super().__init__(error)
        self.reason = reason


def decode_response(record: Record, now_ms: int) -> ResponseRow | DeadLetter:
    """The row of `feedback.responses` that a record of `feedback.responses` is; `now_ms` is its `processed_at`."""
    return _decode(record, now_ms, _RESPONSE, _response_row)


def decode_interaction(record: Record, now_ms: int) -> InteractionRow | DeadLetter:
    """The row of `feedback.interactions` that a record of `feedback.interactions` is."""
    return _decode(record, now_ms, _INTERACTION, _interaction_row)


class _Codec:
    """Reads one kind of event in both modes of CloudEvents."""

    def __init__(self, event: type[Attributes], data: type[Response] | type[Interaction]) -> None:
        # The validators themselves: a TypeAdapter adds a microsecond of Python to each call.
        self.structured = event.__pydantic_validator__.validate_json
        # Headers are text, and a strict time is one too.
        self.attributes: Callable[[Any], Attributes] = Attributes.__pydantic_validator__.validate_strings
        self.data = data.__pydantic_validator__.validate_json

    def read(self, record: Record, value: bytes) -> tuple[Attributes, Any]:
        attributes = binary_attributes(record.headers) if record.headers else None
        if attributes is None:
            event = self.structured(value)
            return event, event.data
        return self.attributes(attributes), self.data(value)


_RESPONSE = _Codec(ResponseEvent, Response)
_INTERACTION = _Codec(InteractionEvent, Interaction)


def _decode(
    record: Record, now_ms: int, codec: _Codec, to_row: Callable[[Record, bytes, Attributes, Any, int], RowT]
) -> RowT | DeadLetter:
    value = record.value
    if not value:
        return dead_letter(record, now_ms, Reason.EMPTY, Stage.DECODE, "the record has no value")
    try:
        attributes, data = codec.read(record, value)
        row = to_row(record, value, attributes, data, now_ms)
    except ValidationError as error:
        return dead_letter(record, now_ms, *_explain(error))
    except _Refused as error:
        return dead_letter(record, now_ms, error.reason, Stage.DECODE, str(error))
    if b"\\u0000" in value or any(content and b"\0" in content for _, content in record.headers or ()):
        row = _without_nul(row)
        if not (row.event_id and row.source and row.tenant and row[2]):  # row[2]: its own id, in both tables
            return dead_letter(record, now_ms, Reason.NO_ID, Stage.DECODE, "an id of nothing but NUL characters")
    return row


def dead_letter(record: Record, now_ms: int, reason: Reason, stage: Stage, error: str) -> DeadLetter:
    """The dead letter of a record: its address, why, and its value as redacted text, cut to MAX_PAYLOAD."""
    # A margin behind the cut, so that what is cut through the middle is still recognised and redacted.
    text = (record.value or b"")[: 4 * MAX_PAYLOAD].decode("utf-8", "replace")[: MAX_PAYLOAD + 256]
    return DeadLetter(
        reason=reason,
        stage=stage,
        error=redact(error)[:MAX_ERROR],  # it may quote what the sender wrote, and a field's name is the sender's too
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        occurred_at=from_ms(_received(record, now_ms)),
        key=redact((record.key or b"").decode("utf-8", "replace")),
        payload=redact(text)[:MAX_PAYLOAD],
        failed_at=from_ms(now_ms),
    )


def _explain(error: ValidationError) -> tuple[Reason, Stage, str]:
    """The reason and a sentence a problem, out of what pydantic found."""
    problems = error.errors(include_url=False, include_input=False)
    first = problems[0]
    field = first["loc"][-1] if first["loc"] else None
    reason = _REASONS.get(first["type"]) or _REASONS_BY_FIELD.get(field, Reason.WRONG_SHAPE)
    named = [f"{'.'.join(map(str, p['loc']))}: {p['msg']}".lstrip(": ") for p in problems[:MAX_PROBLEMS]]
    more = [f"and {len(problems) - MAX_PROBLEMS} more"] if len(problems) > MAX_PROBLEMS else []
    return reason, Stage.DECODE, "; ".join(named + more)


def _received(record: Record, now_ms: int) -> int:
    """The record's timestamp. It is the sender's clock where the topic takes CreateTime, so it is held to now."""
    return record.timestamp if EARLIEST_MS < record.timestamp <= now_ms + CLOCK_TOLERANCE_MS else now_ms


def _times(attributes: Attributes, data: Any, received: int) -> tuple[int, int, bool]:
    """`occurred_at` and `updated_at` in milliseconds, and whether one of them was clamped.

    Defaults: occurred_at ← the envelope's time ← updated_at ← received; updated_at ← the envelope's time ← occurred_at.
    """
    updated = data.updated_at if isinstance(data, Response) else None  # an interaction may have an unknown field of it
    occurred = data.occurred_at or attributes.time or updated
    updated = updated or attributes.time or occurred
    occurred_ms = to_ms(occurred) if occurred else received
    updated_ms = to_ms(updated) if updated else received
    if occurred_ms < EARLIEST_MS or updated_ms < EARLIEST_MS:
        raise _Refused(Reason.TIMESTAMP_OUT_OF_RANGE, "a time before 1970")
    latest = received + CLOCK_TOLERANCE_MS
    if occurred_ms <= latest and updated_ms <= latest:
        return occurred_ms, updated_ms, False
    return (
        received if occurred_ms > latest else occurred_ms,
        received if updated_ms > latest else updated_ms,
        True,
    )


def _segments(segments: Segments) -> dict[str, str]:
    """The segments as text; one that is null is none. Redacted too: people put addresses anywhere."""
    texts = {k: v if type(v) is str else orjson.dumps(v).decode() for k, v in segments.items() if v is not None}
    if is_clean("\n".join((*texts, *texts.values()))):
        return texts
    return {redact(k): redact_json(v, k) for k, v in texts.items()}


def _json(content: dict[str, Any] | None) -> str:
    if not content:
        return ""
    try:
        text = orjson.dumps(content).decode()
        if is_clean(text):
            return text
    except TypeError:  # a whole number of more than 64 bits, which redact_json makes a text of
        pass
    return orjson.dumps(redact_json(content)).decode()


def _extra(attributes: Attributes, data: Any) -> str:
    unknown = data.model_extra
    extensions = attributes.model_extra
    return _json({**extensions, **unknown}) if extensions else _json(unknown)


def digest(value: bytes) -> int:
    """The hash of an event's bytes that breaks ties between versions, 0..2^64-1."""
    return xxh3_64_intdigest(value)


def _response_row(record: Record, value: bytes, attributes: Attributes, data: Response, now_ms: int) -> ResponseRow:
    received = _received(record, now_ms)
    occurred, updated, clamped = _times(attributes, data, received)
    flags = ["clock_clamped"] if clamped else []
    comment = data.comment or ""
    if comment:
        if len(comment) > MAX_COMMENT:
            comment = comment[:MAX_COMMENT]
            flags.append("comment_cut")
        comment = redact(comment)
    metric = data.metric or ""
    declared = scale(metric, data.scale or "") if metric else None
    counted = declared is not None and data.score is not None
    return ResponseRow(
        data.tenant or DEFAULT_TENANT,
        attributes.source,
        data.response_id,
        data.question or "",
        metric,
        declared.name if declared else data.scale or "",
        data.score,
        declared.bands[data.score].value if counted else "",  # type: ignore[union-attr, index]  # counted says so
        comment,
        data.language or "",
        data.customer_id or "",
        data.survey or "",
        data.touchpoint or "",
        data.channel or "",
        data.journey_stage or "",
        _segments(data.segments) if data.segments else {},
        int(data.excluded or False),
        flags,
        occurred,
        updated,
        received,
        now_ms,
        attributes.id,
        _extra(attributes, data),
        digest(value),
        int(data.deleted or False),
    )


def _interaction_row(
    record: Record, value: bytes, attributes: Attributes, data: Interaction, now_ms: int
) -> InteractionRow:
    received = _received(record, now_ms)
    occurred, _, clamped = _times(attributes, data, received)
    return InteractionRow(
        data.tenant or DEFAULT_TENANT,
        attributes.source,
        data.interaction_id or attributes.id,
        data.customer_id or "",
        data.action or "",
        data.touchpoint or "",
        data.channel or "",
        data.journey_stage or "",
        data.value,
        data.currency or "",
        _segments(data.segments) if data.segments else {},
        _json(data.properties),
        ["clock_clamped"] if clamped else [],
        occurred,
        received,
        now_ms,
        attributes.id,
        _extra(attributes, data),
        digest(value),
        int(data.deleted or False),
    )


def _without_nul(row: RowT) -> RowT:
    """The row with NUL characters taken out of every text, and the flag that says so."""
    clean: dict[str, Any] = {
        name: v.replace("\0", "") for name, v in row._asdict().items() if isinstance(v, str) and "\0" in v
    }
    segments = {k.replace("\0", ""): v.replace("\0", "") for k, v in row.segments.items()}
    if not clean and segments == row.segments:
        return row
    return row._replace(**clean, segments=segments, flags=[*row.flags, "nul_removed"])
