"""The sentinel as a process: event to webhook, kills at the worst moments, and a second sentinel that stands by.

The clock of most sentinels here is hurried (alerts_rig), so that a whole alert, from firing to resolved, is seen.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from tests.integration.alerts_rig import alert_store, hurried, keep, put, put_back, response, start_hurried
from tests.integration.stack import free_port
from tests.integration.store_stack import StoreHandle
from tests.integration.test_alerts_receivers import endpoint

_ROOT = Path(__file__).resolve().parents[2]
Stored = tuple[StoreHandle, Client]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    with alert_store(tmp_path_factory.mktemp("store")) as made:
        keep(made[1])
        yield made


@pytest.fixture
def stored(empty: Stored) -> Stored:
    put_back(empty[1])
    return empty


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Sentinels; all are ended."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait(20)


def start(handle: StoreHandle, folder: Path) -> subprocess.Popen[bytes]:
    """`vocstream sentinel`, by the real clock, without the topic."""
    with (folder / "sentinel.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline", "sentinel", "--data", str(folder), "--no-topic"],
            cwd=_ROOT,
            env={**os.environ, "VOC_CLICKHOUSE_URL": handle.url},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def configure(folder: Path, **urls: str) -> None:
    """An alerts.yaml with a webhook for each name; one called chat is Slack's."""
    lines = [
        f"  - {{name: {name}, type: {'slack' if name == 'chat' else 'webhook'}, url: '{url}'}}\n"
        for name, url in urls.items()
    ]
    (folder / "alerts.yaml").write_text("tick_seconds: 0.5\nreceivers:\n" + "".join(lines))


def complaints(client: Client, at: float, first: int) -> None:
    """Six complaints of a tenant that is new, before `at`."""
    put(client, [response(at - 1, first + one, tenant="new", sentiment="negative") for one in range(6)])


async def until(holds: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


def active(folder: Path) -> int:
    return (folder / "sentinel.log").read_text().count("active as")


def noted(client: Client, receiver: str, event: str) -> bool:
    found = client.query(
        "SELECT 1 FROM feedback.alert_notices WHERE receiver = {receiver:String} AND event = {event:String} "
        "AND status = 'sent'",
        parameters={"receiver": receiver, "event": event},
    )
    return bool(found.result_rows)


def states(client: Client) -> list[tuple[Any, ...]]:
    return list(client.query("SELECT tenant, status FROM feedback.alerts FINAL").result_rows)


async def test_one_firing_and_one_resolved_though_the_sentinel_is_killed_in_between(
    stored: Stored, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    handle, client = stored
    begin = time.time()
    async with endpoint() as (url, got), endpoint(503) as (down, tried):
        configure(tmp_path, down=down, cx=url)
        started.append(start_hurried(handle, tmp_path, begin))
        await until(lambda: active(tmp_path) == 1)
        started.append(start_hurried(handle, tmp_path, begin))  # stands by
        complaints(client, hurried(begin), 0)
        await until(lambda: got)
        await until(lambda: noted(client, "cx", "firing"))
        assert tried  # the receiver that is down has delayed nobody
        started[0].kill()
        await until(lambda: active(tmp_path) == 2)  # the second has taken over
        await until(lambda: states(client) == [("new", "resolved")])
        await until(lambda: noted(client, "cx", "resolved"))
        assert [one["status"] for one in got] == ["firing", "resolved"]
        assert len({one["vocstream"]["alert_id"] for one in got}) == 1


async def test_killed_between_sending_and_noting_it_says_that_it_says_it_again(
    stored: Stored, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    handle, client = stored
    begin = time.time()

    def kill_the_first() -> None:
        if len(started) == 1:
            started[0].kill()

    async with endpoint(on_notice=kill_the_first) as (url, got):
        configure(tmp_path, chat=url)
        started.append(start_hurried(handle, tmp_path, begin))
        await until(lambda: active(tmp_path) == 1)
        complaints(client, hurried(begin), 0)
        await until(lambda: got)
        started[0].wait(20)
        assert not noted(client, "chat", "firing")
        client.command("TRUNCATE TABLE feedback.sentinel_lease")  # as 20 seconds later
        started.append(start_hurried(handle, tmp_path, begin))
        await until(lambda: noted(client, "chat", "firing"))
        assert len(got) == 2
        assert "Sent again" not in got[0]["text"]
        assert "Sent again" in got[1]["text"]
        assert client.query("SELECT uniqExact(alert_id) FROM feedback.alerts").result_rows == [(1,)]


async def test_a_stopped_leader_that_wakes_up_tells_nothing(
    stored: Stored, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    handle, client = stored
    begin = time.time()
    async with endpoint() as (url, got):
        configure(tmp_path, cx=url)
        started.append(start_hurried(handle, tmp_path, begin))
        await until(lambda: active(tmp_path) == 1)
        started.append(start_hurried(handle, tmp_path, begin))
        started[0].send_signal(signal.SIGSTOP)
        complaints(client, hurried(begin), 0)
        client.command("TRUNCATE TABLE feedback.sentinel_lease")  # as 20 seconds later
        await until(lambda: active(tmp_path) == 2)
        complaints(client, hurried(begin), 100)
        await until(lambda: got)
        started[0].send_signal(signal.SIGCONT)
        await until(lambda: "lease is lost" in (tmp_path / "sentinel.log").read_text())
        await until(lambda: states(client) == [("new", "resolved")])
        await until(lambda: noted(client, "cx", "resolved"))
        assert [one["status"] for one in got] == ["firing", "resolved"]


async def test_the_command_tells_a_webhook_in_seconds_by_the_real_clock(
    stored: Stored, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    handle, client = stored
    async with endpoint() as (url, got):
        configure(tmp_path, cx=url)
        started.append(start(handle, tmp_path))
        await until(lambda: active(tmp_path) == 1)
        complaints(client, time.time(), 0)
        await until(lambda: got, 30)
        started[0].terminate()
        assert started[0].wait(20) == 0
        # It gave its lease back, so that the next need not wait for its end.
        assert client.query("SELECT count() FROM feedback.sentinel_lease").result_rows == [(0,)]


def test_a_bad_configuration_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_text("receivers:\n  - {name: a, type: slack, url: http://x/, colour: red}\n")
    found = subprocess.run(
        [sys.executable, "-m", "pipeline", "sentinel", "--data", str(tmp_path)],
        cwd=_ROOT,
        env={**os.environ, "VOC_HEALTH_PORT": str(free_port())},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert found.returncode == 2
    assert "alerts.yaml:2: receivers.0.colour: Extra inputs are not permitted" in "".join(found.stderr.split("\n"))
    assert "Traceback" not in found.stderr
