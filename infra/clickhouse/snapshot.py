"""The snapshots that scores and customers are read from (migrations 0014 and 0015), made anew by hand.

They are made anew by themselves every half hour; by hand after changes that are no INSERT, and in tests.
"""

from __future__ import annotations

from clickhouse_connect.driver.client import Client

VIEWS = ("feedback.scored_snapshot_refresh", "feedback.customer_snapshot_refresh")


def begin(client: Client) -> None:
    """Begin to make the snapshots anew, and do not wait."""
    for view in VIEWS:
        client.command(f"SYSTEM REFRESH VIEW {view}")


def refresh(client: Client, times: int = 1) -> None:
    """Make the snapshots anew, and wait. After two times all that was there before is read from them."""
    for _ in range(times):
        begin(client)
        for view in VIEWS:
            client.command(f"SYSTEM WAIT VIEW {view}")
