"""Settings of the collector, read from the environment (`VOC_COLLECTOR_...`) or given by the command line."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from infra.settings import PartSettings
from pipeline.producer import MAX_REQUEST

# A record is the body of a request and its headers, so an event that is taken always fits in a record.
_ROOM_FOR_HEADERS = 64 * 1024


class CollectorSettings(PartSettings):
    """What the collector needs to know. Every field is also an environment variable."""

    model_config = SettingsConfigDict(env_prefix="VOC_COLLECTOR_", extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on. Beyond loopback, set a token too.")
    port: int = Field(9605, ge=1, le=65535, description="HTTP port.")
    token: SecretStr | None = Field(
        None, min_length=1, description="What senders must give as `Authorization: Bearer ...`; without it, nothing."
    )
    max_body_bytes: int = Field(
        4_000_000, ge=1, le=MAX_REQUEST - _ROOM_FOR_HEADERS, description="Largest body of a request, unpacked."
    )
    max_batch: int = Field(2_000, ge=1, description="Most events in one batch.")
    max_in_flight: int = Field(
        64, ge=1, le=1_000, description="Requests worked on at once; one more is answered with 503 and Retry-After."
    )
    read_seconds: float = Field(30.0, gt=0, description="How long a sender may take to send its body.")
    acknowledge_seconds: float = Field(
        10.0, ge=0.5, description="How long the broker may take to acknowledge before the sender is told 503."
    )
    shutdown_seconds: float = Field(
        3.0, ge=0, description="How long requests that were taken may finish after SIGTERM; `up` waits 3.5 s."
    )
