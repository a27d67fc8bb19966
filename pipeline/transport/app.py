"""A faust app with the settings that the batch transport was tested with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faust

from pipeline.transport.driver import SCHEME, register
from pipeline.transport.settings import BatchSettings


class BatchApp(faust.App):
    """A faust app that carries the bounds of its batch consumer."""

    batching: BatchSettings = BatchSettings()


def make_app(
    name: str,
    brokers: str,
    *,
    datadir: Path | str,
    batching: BatchSettings | None = None,
    commit_interval: float = 1.0,
    session_timeout: float = 6.0,
    heartbeat_interval: float = 1.0,
    rebalance_timeout: float = 30.0,
    request_timeout: float = 30.0,
    **options: Any,
) -> BatchApp:
    """Return an app that reads batches from `brokers` ("host:port,host:port") as the consumer group `name`.

    Times are in seconds. `datadir` is where faust keeps its files; it is made with its parents. `options` go to
    `faust.App` and win over the settings here.

    Raises:
        ValueError: `brokers` is empty.
    """
    hosts = [host.strip() for host in brokers.split(",") if host.strip()]
    if not hosts:
        raise ValueError("No broker given: expected 'host:port' or several, separated by commas")
    register()
    Path(datadir).mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {
        "broker": ";".join(f"{SCHEME}://{host}" for host in hosts),
        "datadir": str(datadir),
        "key_serializer": "raw",
        "value_serializer": "raw",
        "web_enabled": False,
        "topic_disable_leader": True,
        # Waiting for unacknowledged events would hang every rebalance and stop; they are delivered again instead.
        "stream_wait_empty": False,
        # Where a group has committed nothing, "latest" would pass over all that was out and unacknowledged.
        "consumer_auto_offset_reset": "earliest",
        "broker_commit_interval": commit_interval,
        "broker_session_timeout": session_timeout,
        "broker_heartbeat_interval": heartbeat_interval,
        "broker_rebalance_timeout": rebalance_timeout,
        "broker_request_timeout": request_timeout,
    }
    app = BatchApp(name, **{**settings, **options})
    app.batching = batching or BatchSettings()
    return app


def batch_topic(app: faust.App, *names: str) -> Any:
    """Return the channel of one or more topics whose events carry a `Batch`; the topics must exist."""
    return app.topic(*names, key_type=None, value_type=None, key_serializer="raw", value_serializer="raw")
