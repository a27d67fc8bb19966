"""Settings of the stream, from the environment (`VOC_...`); the table in docs/settings.md is made from these.

A name that starts with VOC_ and that no room knows stops the start: a misspelt setting must never be a silent default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "VOC_"


class UnknownSetting(ValueError):
    """A VOC_ name in the environment that no room knows."""


class StreamSettings(BaseSettings):
    """Where the broker is and how the lanes work."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    kafka_brokers: str = Field("127.0.0.1:9600", description="Kafka's bootstrap servers, host:port, by commas.")
    group: str = Field("vocstream", min_length=1, description="Consumer groups are called this, a dash, and the lane.")
    flush_rows: int = Field(20_000, ge=1, description="Rows of one insert at most.")
    flush_seconds: float = Field(0.2, gt=0, le=60, description="Oldest that a row may get before it is inserted.")
    batch_records: int = Field(2_000, ge=1, description="Records of one batch off a partition, score lane.")
    label_batch_records: int = Field(128, ge=1, description="The same, label lane: what one call of the model gets.")
    health_port: int = Field(0, ge=0, le=65535, description="Port of a worker's /healthz on 127.0.0.1; 0 is none.")
    stall_seconds: float = Field(
        120, gt=0, description="A worker that has work and commits none for so long ends itself, to be started again."
    )


def consumer_group(settings: StreamSettings, lane: str) -> str:
    """The consumer group that the workers of a lane share."""
    return f"{settings.group}-{lane}"


def refuse_unknown(environ: Mapping[str, str], rooms: Iterable[type[BaseSettings]]) -> None:
    """Raise UnknownSetting if `environ` holds a VOC_ name that none of the rooms' settings has."""
    known = {
        (str(room.model_config.get("env_prefix", "")) + name).upper() for room in rooms for name in room.model_fields
    }
    unknown = sorted(name for name in environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    if unknown:
        raise UnknownSetting(f"unknown setting {', '.join(unknown)}; known are {', '.join(sorted(known))}")
