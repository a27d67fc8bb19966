"""What senders write: the `data` of interaction and response events.

Comes from upstream apps (Kafka, or files through `vocstream emit`), inside a CloudEvents envelope
(`schemas.envelope`); goes to `pipeline.decoding`, which turns it into rows. Unknown fields are kept, not refused.

Types are strict where a guess could change a number: a score must be a JSON number, a time must carry its zone.
They are lenient where nothing is lost: an id may be a number, a segment may be true or 3, and null is as good as
nothing wherever a field may be left out.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.scales import SCALES, Metric, scale

Name = Annotated[str, Field(max_length=512)]
Identifier = Annotated[str, Field(min_length=1, max_length=512)]
Moment = Annotated[AwareDatetime, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Segments = dict[Name, Annotated[str | bool | int | float | None, Field(union_mode="left_to_right")]]

DEFAULT_TENANT = "default"

_SCALE_NAMES = {str(m): [s.name for s in SCALES if s.metric == m] for m in Metric}


class _Data(BaseModel):
    model_config = ConfigDict(
        extra="allow", coerce_numbers_to_str=True, hide_input_in_errors=True, use_enum_values=True
    )

    tenant: Identifier | None = Field(DEFAULT_TENANT, description="Whose customer this is.")
    customer_id: Name | None = Field("", description="The customer, by an id that is not personal data itself.")
    touchpoint: Name | None = Field("", description="Where in the relationship: `checkout`, `delivery`, `support`.")
    channel: Name | None = Field("", description="How it reached us: `email`, `app`, `web`, `whatsapp`.")
    journey_stage: Name | None = Field("", description="`discover`, `buy`, `receive`, `use`, `renew`; any words.")
    segments: Segments | None = Field(default_factory=dict, description="Any key and value to cut by: plan, region.")
    occurred_at: Moment | None = Field(
        None, description="When the customer acted, with a zone. Default: the envelope's `time`."
    )
    deleted: bool | None = Field(
        False, description="The sender has withdrawn it: it counts nowhere until a newer version brings it back."
    )


class Response(_Data):
    """What a customer said: a score, a comment, or both.

    Known by (tenant, source, response_id, question). The newest `updated_at` wins.
    """

    response_id: Identifier
    question: Name | None = Field("", description="Which question of the survey, where a response answers several.")
    metric: Metric | None = Field(None, description="What the score answers. Without it a score is not counted.")
    scale: Name | None = Field(
        "", description="Range of the score, where it is not the metric's usual one: CES 1.0 is `1-5`."
    )
    score: Number | None = None
    comment: str | None = None
    language: Name | None = Field("", description="Sender's hint, ISO 639-1; the comment's own language is identified.")
    survey: Name | None = ""
    updated_at: Moment | None = Field(
        None, description="When the sender last changed it. Default: the envelope's `time`, then `occurred_at`."
    )
    excluded: bool | None = Field(False, description="The sender leaves it out of calculations: stored, not counted.")

    @model_validator(mode="after")
    def _says_something_on_its_scale(self) -> Response:
        if self.score is None:
            if not self.comment and not self.deleted:
                raise PydanticCustomError("nothing_said", "neither score nor comment: one of them is required")
            return self
        if self.metric is None:
            return self
        declared = scale(self.metric, self.scale or "")
        if declared is None:
            raise PydanticCustomError(
                "unknown_scale",
                "{metric} has no scale {scale}; it has {known}",
                {"metric": self.metric, "scale": self.scale, "known": ", ".join(_SCALE_NAMES[self.metric])},
            )
        if self.score not in declared.bands:
            raise PydanticCustomError(
                "score_out_of_scale",
                "score {score} is not a whole number in {scale}, the scale of {metric}",
                {"score": self.score, "scale": declared.name, "metric": self.metric},
            )
        return self


class Interaction(_Data):
    """What a customer did: ordered, paid, called, was sent a survey.

    Known by (tenant, source, interaction_id); the envelope's id where there is no interaction_id.
    """

    interaction_id: Name | None = ""
    action: Name | None = Field(
        "", description="`order_placed`, `survey_sent`, `ticket_opened`, `cancelled`; any words."
    )
    value: Number | None = Field(None, description="Money or amount of the action, in `currency`.")
    currency: Name | None = Field("", description="ISO 4217.")
    properties: dict[str, Any] | None = Field(default_factory=dict, description="Anything else, kept as JSON.")
