"""Settings of the embedded broker, read from the environment (`VOC_BROKER_...`) or given by the command line.

One broker is one data directory and one port of the loopback interface. An unknown `VOC_BROKER_` name is
refused: a misspelt retention that is silently ignored would fill a disk.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from infra.settings import PartSettings


class BrokerSettings(PartSettings):
    """What the embedded broker needs to know. Every field is also an environment variable."""

    model_config = SettingsConfigDict(env_prefix="VOC_BROKER_", extra="forbid", frozen=True)

    data: Path = Field(
        default=Path("data/broker"), description="Directory of the records, the log of the child and the lock."
    )
    port: int = Field(default=9092, ge=1, le=65535, description="Kafka port on 127.0.0.1.")
    retention_hours: float = Field(
        default=168.0, ge=0, description="Batches older than this are deleted; 0 keeps them for ever."
    )
    retention_bytes: int = Field(
        default=0, ge=0, description="Oldest batches of a partition beyond this size are deleted; 0 is no limit."
    )
    retention_interval_seconds: float = Field(
        default=60.0, gt=0, description="Pause between two runs of the retention."
    )
    synchronous: Literal["NORMAL", "FULL"] = Field(
        default="NORMAL",
        description=(
            "SQLite durability. Either loses nothing when a process is killed. At a power cut NORMAL may lose the"
            " newest acknowledged records (the log stays consistent: only a tail is lost); FULL syncs each write"
            " and loses none, at the speed of the disk's sync."
        ),
    )
    hole_hold_seconds: float = Field(
        default=5.0,
        gt=0,
        description="How long records behind a not yet stored batch are hidden before the hole is closed for good.",
    )
