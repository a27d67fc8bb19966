"""Where ClickHouse is and what it is made of: one process, one server or a cluster.

Read from the environment (prefix `VOC_CLICKHOUSE_`). An unknown name with this prefix is refused: a misspelt setting
must not pass for a default.
"""

from __future__ import annotations

from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from infra.settings import PartSettings

PREFIX = "VOC_CLICKHOUSE_"


class ClickHouseSettings(PartSettings):
    """Address, shape and patience of the store."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    url: SecretStr = Field(
        default=SecretStr("http://127.0.0.1:8123"),
        description="http(s)://user:password@host:port of ClickHouse's HTTP interface.",
    )
    cluster: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_.{}-]*$",
        description="Name of the cluster for ON CLUSTER; empty for a single server or the embedded store.",
    )
    replicated: bool = Field(
        default=False, description="Use Replicated* engines (needs Keeper and the macros {shard}, {replica})."
    )
    sharded: bool = Field(
        default=False,
        description="Keep rows in *_local tables and read and write them through Distributed tables; needs `cluster`.",
    )
    connect_timeout: int = Field(default=5, ge=1, description="Whole seconds to wait for a connection.")
    query_timeout: int = Field(default=60, ge=1, description="Whole seconds to wait for the answer to a query.")

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("write it as http://user:password@host:port (or https://)")
        return value

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.sharded and not self.cluster:
            raise ValueError(f"{PREFIX}SHARDED needs {PREFIX}CLUSTER, the name of the cluster to spread rows over")
        return self

    @property
    def address(self) -> str:
        """The address without user and password, fit for logs and messages."""
        parts = urlsplit(self.url.get_secret_value())
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}"
