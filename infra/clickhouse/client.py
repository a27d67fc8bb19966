"""Connections to ClickHouse over HTTP, the same for the embedded store, one server and a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from infra.clickhouse.settings import ClickHouseSettings

NO_ACCESS = ("AUTHENTICATION_FAILED", "REQUIRED_PASSWORD", "WRONG_PASSWORD")
"""Names that ClickHouse gives to a wrong user or password: waiting does not mend them."""


class ClickHouseAway(ConnectionError):
    """ClickHouse did not answer in time."""


def connect(settings: ClickHouseSettings) -> Client:
    """A client of the store. No session is kept, so one client may serve several threads.

    Raises clickhouse_connect's OperationalError where nothing answers, DatabaseError where the password is wrong.
    """
    parts = urlsplit(settings.url.get_secret_value())
    secure = parts.scheme == "https"
    return clickhouse_connect.get_client(
        host=parts.hostname,
        port=parts.port or (8443 if secure else 8123),
        username=unquote(parts.username) if parts.username else "default",
        password=unquote(parts.password or ""),
        interface=parts.scheme,
        connect_timeout=settings.connect_timeout,
        send_receive_timeout=settings.query_timeout,
        autogenerate_session_id=False,
        client_name="vocstream",
    )


def wait_for_clickhouse(
    settings: ClickHouseSettings,
    timeout: float = 60.0,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Client:
    """Connect, trying again for `timeout` seconds. Raises ClickHouseAway; a refused password is raised at once."""
    deadline = clock() + timeout
    pause = 0.05
    while True:
        try:
            return connect(settings)
        except (ClickHouseError, OSError) as error:
            if isinstance(error, DatabaseError) and any(name in str(error) for name in NO_ACCESS):
                raise
            if clock() + pause > deadline:
                raise ClickHouseAway(
                    f"ClickHouse at {settings.address} did not answer within {timeout:g} s ({type(error).__name__}). "
                    "Is it running, and is VOC_CLICKHOUSE_URL right?"
                ) from error
        sleep(pause)
        pause = min(1.0, pause * 1.5)
