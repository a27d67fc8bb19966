"""Alerts: what the sentinel says of a spike, a drift or a silence, and where it stands.

Made by `pipeline.alerts`; goes to table `feedback.alerts`, topic `feedback.alerts` and to receivers. One alert is
one row at its newest revision: firing, perhaps acknowledged or snoozed by a person, resolved.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.envelope import Envelope

ALERT_TYPE = "vocstream.alert.v1"


class Measure(StrEnum):
    """What is watched. All are turned so that up is worse: see `pipeline.alerts.series`."""

    NEGATIVE = "negative"  # share of comments that are negative; of a topic: of all comments, those that complain of it
    NET = "net"  # net sentiment
    NPS = "nps"
    CSAT = "csat"
    CES = "ces"
    VOLUME = "volume"


class Kind(StrEnum):
    """What was found."""

    SPIKE = "spike"
    DRIFT = "drift"
    SILENCE = "silence"
    RULE = "rule"


class Status(StrEnum):
    """Where an alert stands."""

    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"


class Series(BaseModel):
    """One series of one tenant: `all`, a survey, touchpoint, channel, language, topic, or segment (`plan=pro`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: str
    dimension: str = "all"
    value: str = ""
    measure: Measure


class Driver(BaseModel):
    """A part of the tenant's answers, and how much of the change it accounts for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimension: str
    value: str
    contribution: float = Field(description="Its excess of unhappy answers over the tenant's excess, in per cent.")
    unhappy: float
    n: float
    usual: float = Field(description="Its usual unhappy share, in per cent.")


class Alert(BaseModel):
    """One alert at one revision."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alert_id: str = Field(description="Also the deduplication key at every receiver.")
    revision: int = Field(ge=1, description="Grows with every change; the greatest counts.")
    status: Status
    kind: Kind
    rule: str = Field("", description="Name of the rule of one's own that fired; empty for the automatic ones.")
    series: Series = Field(description="The series that explains the others.")
    members: tuple[Series, ...] = Field((), description="All series grouped under this alert.")
    summary: str = Field(description="One sentence for people, in the tenant's language.")
    language: str = "en"
    started_at: AwareDatetime = Field(description="Since when: the start of the window that showed it.")
    fired_at: AwareDatetime
    resolved_at: AwareDatetime | None = None
    updated_at: AwareDatetime
    calm_since: AwareDatetime | None = Field(None, description="Since when it has been back in line; not over yet.")
    window_seconds: int = 0
    unhappy: float = Field(0, description="Unhappy answers in the window; halves where a passive counts half.")
    n: float = Field(0, description="Answers in the window.")
    share: float | None = Field(None, description="Unhappy share in the window, in per cent.")
    usual: float | None = Field(None, description="Usual share at this hour of the week, in per cent.")
    change_low: float | None = Field(None, description="Lower end of the 95 % interval of share - usual, in points.")
    change_high: float | None = None
    p_value: float | None = Field(None, description="Chance of a window as far out, or further, when nothing is wrong.")
    q_value: float | None = Field(None, description="The same, corrected for all series looked at in that tick.")
    drivers: tuple[Driver, ...] = ()
    comments: tuple[str, ...] = Field((), description="Up to three typical comments, redacted.")
    sql: str = Field("", description="A query that shows the answers of the alert.")
    dashboard_url: str = ""
    acknowledged_by: str = ""
    snoozed_until: AwareDatetime | None = None


class AlertEvent(Envelope[Alert]):
    """An alert on topic `feedback.alerts`."""
