"""The snapshot that scores are read from (migration 0014), made anew by hand: after changes that are no INSERT."""

from __future__ import annotations

from clickhouse_connect.driver.client import Client

REFRESH = "SYSTEM REFRESH VIEW feedback.scored_snapshot_refresh"
_WAIT = "SYSTEM WAIT VIEW feedback.scored_snapshot_refresh"


def refresh(client: Client, times: int = 1) -> None:
    """Make the snapshot anew, and wait. After the second time all that was there before the first is read from it."""
    for _ in range(times):
        client.command(REFRESH)
        client.command(_WAIT)
