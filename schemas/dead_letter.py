"""What could not be used: a record that no table can take, with the reason, where it came from and what it held.

Made at any step of `pipeline`; goes to topic `feedback.dead-letters` and table `feedback.dead_letters`, known by
(topic, partition, offset), so that a record refused twice is one dead letter.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Stage(StrEnum):
    """The step that refused the record."""

    DECODE = "decode"
    LABEL = "label"
    WRITE = "write"


class Reason(StrEnum):
    """Why a record cannot be used; one word a cause, so that they can be counted."""

    NOT_JSON = "not_json"
    WRONG_SHAPE = "wrong_shape"
    NO_ID = "no_id"
    NOTHING_SAID = "nothing_said"
    UNKNOWN_METRIC = "unknown_metric"
    UNKNOWN_SCALE = "unknown_scale"
    SCORE_OUT_OF_SCALE = "score_out_of_scale"
    NAIVE_TIMESTAMP = "naive_timestamp"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    UNKNOWN_SCHEMA_VERSION = "unknown_schema_version"
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    LABEL_FAILED = "label_failed"
    STORE_REFUSED = "store_refused"


class DeadLetter(BaseModel):
    """One record that could not be used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: Reason
    stage: Stage
    error: str = Field(description="What was wrong and where, for a person.")
    topic: str = Field(description="Topic the record was read from.")
    partition: int
    offset: int
    occurred_at: AwareDatetime = Field(description="Timestamp of the record.")
    key: str = Field("", description="Key of the record, as UTF-8.")
    attempts: int = Field(1, ge=1)
    payload: str = Field("", description="The record's value as text, redacted and cut.")
    failed_at: AwareDatetime
