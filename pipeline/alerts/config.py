"""Receivers and rules of one's own: one YAML file, checked whole before anything starts.

    receivers:
      - {name: ops, type: alertmanager, url: http://127.0.0.1:9093}
      - {name: cx, type: slack, url: env:SLACK_WEBHOOK, tenants: [acme]}
    rules:
      - {name: checkout NPS, tenant: acme, measure: nps, dimension: touchpoint, value: checkout,
         below: 20, minutes: 30, least_n: 50}

Unknown keys are refused; an error names the file, the line and the key. `env:NAME` stands for the environment
variable NAME, so that no secret need be in the file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, ValidationError, model_validator

from schemas.alerts import Measure


class ConfigError(ValueError):
    """The file cannot be used; each line of the message is `file:line: key: what is wrong`."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Receiver(_Part):
    name: str = Field(min_length=1, description="What `alerts test NAME` and the notices call it.")
    tenants: tuple[str, ...] = Field((), description="Only alerts of these tenants; all when empty.")


class AlertmanagerReceiver(_Receiver):
    """Prometheus Alertmanager, API v2."""

    type: Literal["alertmanager"]
    url: HttpUrl


class WebhookReceiver(_Receiver):
    """Any HTTP endpoint that takes Alertmanager's webhook, version 4."""

    type: Literal["webhook"]
    url: HttpUrl
    bearer: SecretStr | None = Field(None, description="Sent as Authorization: Bearer.")


class SlackReceiver(_Receiver):
    """A Slack incoming webhook; Block Kit."""

    type: Literal["slack"]
    url: HttpUrl


class PagerDutyReceiver(_Receiver):
    """PagerDuty Events API v2."""

    type: Literal["pagerduty"]
    routing_key: SecretStr
    url: HttpUrl = HttpUrl("https://events.pagerduty.com/v2/enqueue")


class EmailReceiver(_Receiver):
    """Mail by SMTP."""

    type: Literal["email"]
    host: str
    port: int = Field(587, ge=1, le=65535)
    sender: str
    to: tuple[str, ...] = Field(min_length=1)
    user: str = ""
    password: SecretStr = SecretStr("")
    starttls: bool = True


ReceiverConfig = Annotated[
    AlertmanagerReceiver | WebhookReceiver | SlackReceiver | PagerDutyReceiver | EmailReceiver,
    Field(discriminator="type"),
]


class Rule(_Part):
    """A limit of one's own: fires while the measure, over the last `minutes`, is beyond it."""

    name: str = Field(min_length=1)
    tenant: str
    measure: Measure
    dimension: Literal["all", "survey", "touchpoint", "channel", "language", "topic", "segment"] = "all"
    value: str = Field("", description="Which of the dimension; a segment as plan=pro.")
    below: float | None = Field(None, description="NPS, net sentiment: -100..100; CSAT, CES, negative: per cent.")
    above: float | None = None
    minutes: int = Field(30, ge=1, le=1440)
    least_n: int = Field(20, ge=1)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if (self.below is None) == (self.above is None):
            raise ValueError("give either `below` or `above`")
        if (self.dimension == "all") != (self.value == ""):
            raise ValueError("`value` goes with every dimension but `all`")
        if self.dimension == "topic" and self.measure is not Measure.NEGATIVE:
            raise ValueError("a topic has only the measure `negative`")
        if self.measure is Measure.VOLUME and self.dimension != "all":
            raise ValueError("`volume` is counted over all answers only")
        return self

    @property
    def limit(self) -> float:
        """The limit, whichever side it is on."""
        return self.below if self.below is not None else self.above or 0.0

    def broken(self, value: float) -> bool:
        """Whether `value` is beyond the limit."""
        return value < self.below if self.below is not None else value > self.limit


class AlertConfig(_Part):
    """The whole file. All of it may be left out."""

    receivers: tuple[ReceiverConfig, ...] = ()
    rules: tuple[Rule, ...] = ()
    tick_seconds: float = Field(10.0, ge=0.2, le=300, description="How often all series are looked at.")
    ignore: tuple[str, ...] = Field((), description="Series not to watch: `dimension` or `dimension:value`.")
    history_days: int = Field(28, ge=0, le=366, description="How much of the past a first start learns from.")
    dashboard_url: str = Field("", description="Where a link in an alert goes; empty for none.")
    attempts: int = Field(8, ge=1, le=50, description="How often a notice is tried before it is a dead letter.")


def load_config(path: Path | None, environ: Mapping[str, str] = os.environ) -> AlertConfig:
    """Read and check the file; the defaults where `path` is None. Raises ConfigError."""
    if path is None:
        return AlertConfig()
    try:
        text = path.read_text("utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not YAML: {getattr(error, 'problem', error)}") from error
    try:
        config = AlertConfig.model_validate(_from_environment(content or {}, environ))
    except _Missing as missing:
        raise ConfigError(
            f"{path}:{_line(node, missing.where)}: {'.'.join(map(str, missing.where))}: "
            f"environment variable {missing.name} is not set"
        ) from missing
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_url=False, include_input=False):
            # A discriminated union puts the type's name into the location; the file has no such key.
            where = [part for part in problem["loc"] if part not in _TYPES]
            lines.append(
                f"{path}:{_line(node, where)}: {'.'.join(map(str, where)) or 'file'}: "
                f"{problem['msg'].removeprefix('Value error, ')}"
            )
        raise ConfigError("\n".join(lines)) from error
    for what, parts in (("receivers", config.receivers), ("rules", config.rules)):
        names = [part.name for part in parts]
        for place, name in enumerate(names):
            if name in names[:place]:
                here = _line(node, [what, place, "name"])
                raise ConfigError(f"{path}:{here}: {what}.{place}.name: another of the {what} is called {name}")
    return config


_TYPES = frozenset({"alertmanager", "webhook", "slack", "pagerduty", "email"})


class _Missing(LookupError):
    def __init__(self, name: str, where: list[Any]) -> None:
        super().__init__(name)
        self.name, self.where = name, where


def _from_environment(value: Any, environ: Mapping[str, str], where: tuple[Any, ...] = ()) -> Any:
    if isinstance(value, dict):
        return {name: _from_environment(one, environ, (*where, name)) for name, one in value.items()}
    if isinstance(value, list):
        return [_from_environment(one, environ, (*where, place)) for place, one in enumerate(value)]
    if isinstance(value, str) and value.startswith("env:"):
        name = value[4:]
        if name not in environ:
            raise _Missing(name, list(where))
        return environ[name]
    return value


def _line(node: yaml.Node | None, where: list[Any]) -> int:
    """The line of the key at `where`, or of the nearest part of the file above it."""
    line = 1
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
            if found is None:
                return line
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line
