"""Settings of the embedded store, read from the environment (`VOC_STORE_...`) or given by the command line.

One store is one data directory and one port. An unknown `VOC_STORE_` name is refused: a misspelt limit that is silently
ignored is worse than a store that does not start.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from infra.settings import PartSettings
from infra.store.users import User


class StoreSettings(PartSettings):
    """What the embedded store needs to know. Every field is also an environment variable."""

    model_config = SettingsConfigDict(env_prefix="VOC_STORE_", extra="forbid", frozen=True)

    data: Path = Field(default=Path("data/store"), description="Directory of the tables, the credentials and the lock.")
    host: str = Field(
        default="127.0.0.1", description="Address to listen on. Anything else than loopback shows the store to others."
    )
    port: int = Field(default=8123, ge=1, le=65535, description="HTTP port.")
    users: dict[str, User] | None = Field(
        default=None,
        description='Users as JSON, {"name": {"password": "...", "readonly": false}}; without it, credentials.json.',
    )
    max_queries: int = Field(
        default=64,
        ge=1,
        description="Queries that run at once; one more is refused with TOO_MANY_SIMULTANEOUS_QUERIES.",
    )
    session_timeout_seconds: float = Field(
        default=60.0, gt=0, description="How long an idle session lives when its request names no session_timeout."
    )
    session_timeout_max_seconds: float = Field(default=3600.0, gt=0, description="Longest session_timeout granted.")
    external_sources: bool = Field(
        default=False,
        description="Whether users who write may use file(), url(), s3() and other functions that leave the store.",
    )
    shutdown_seconds: float = Field(
        default=3.0,
        ge=0,
        le=4,
        description="How long running queries may finish after SIGTERM before they are cancelled.",
    )
