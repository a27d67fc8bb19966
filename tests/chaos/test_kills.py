"""kill -9 and hangs under load: every event once in the scores, memory flat, and the stream catches up."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.chaos.parts import Parts
from pipeline.chaos.sender import Sender
from pipeline.chaos.stream import Sent
from schemas import topics
from tests.integration.stream_fixture import Address, eventually, free_ports, response, structured

MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """One broker, store and score worker for the tests of this file."""
    made = Parts(tmp_path_factory.mktemp("kills") / "data", free_ports())
    try:
        made.start()
        yield made
    finally:
        made.stop()


def address(parts: Parts) -> Address:
    return Address(parts.data, parts.kafka, parts.clickhouse.url.get_secret_value())


def load(parts: Parts, tenant: str, count: int, seconds: float) -> Sender:
    """`count` distinct responses, an NPS of 0 to 10 each, sent evenly over `seconds`; started."""
    now = time.time_ns() // 1_000_000
    records = [
        Sent(
            topics.RESPONSES,
            f"c{number}".encode(),
            structured(response(tenant, f"r{number}", metric="nps", score=number % 11)).value or b"",
            (),
            now + number,
        )
        for number in range(count)
    ]
    sender = Sender(parts.kafka, records, seconds)
    sender.start()
    return sender


def assert_each_once(parts: Parts, tenant: str, count: int, timeout: float = 90.0) -> None:
    """Every acknowledged event once in the scores, none twice, none else."""
    stream = address(parts)
    stream.wait_for_responses(tenant, count, timeout)
    [row] = stream.rows(
        "SELECT sum(n) AS scored, sum(promoters) AS ups, sum(detractors) AS downs, sum(sum_score) AS total "
        "FROM feedback.scores_daily WHERE tenant = {t:String}",
        t=tenant,
    )
    given = [number % 11 for number in range(count)]
    wanted = {"scored": count, "ups": sum(s >= 9 for s in given), "downs": sum(s <= 6 for s in given)}
    assert row == wanted | {"total": sum(given)}
    assert stream.count("SELECT count() FROM feedback.dead_letters FINAL") == 0


def finish(sender: Sender) -> None:
    """Until every event is acknowledged."""
    sender.join(90)
    assert not sender.is_alive()
    assert sender.failure is None


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_kills_of_the_score_worker_under_load(parts: Parts, tenant: str, kills: int) -> None:
    """Each time while it writes: the next one gets its partitions when the session of the killed one has ended."""
    worker = parts.workers["scores-1"]
    sender = load(parts, tenant, 200_000, seconds=800)
    seen = 0
    for _ in range(kills):
        before = seen
        seen = eventually(lambda: address(parts).responses(tenant), lambda n: n > before)  # noqa: B023
        assert seen > before, "the worker does not go on after a kill"
        worker.kill()
        worker.start()
    sender.enough.set()
    finish(sender)
    assert_each_once(parts, tenant, sender.taken)


@contextlib.contextmanager
def outage(parts: Parts, how: str) -> Iterator[None]:
    """The store away inside the `with`: killed, or hanging with its connections open."""
    store = parts.store
    store.kill() if how == "killed" else store.pause()
    try:
        yield
    finally:
        store.resume()
        store.start()


@pytest.mark.parametrize("how", ["killed", "hanging"])
def test_the_store_away_for_a_while(parts: Parts, tenant: str, how: str) -> None:
    """The worker waits with its memory flat (back-pressure, not a growing buffer), then catches up."""
    parts.wait_for_workers()
    _memory_flat_while(parts, tenant, how, seconds=8, count=12_000)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("how", ["killed", "hanging"])
def test_the_store_away_for_ten_minutes(
    parts: Parts, tenant: str, how: str, record_property: Callable[[str, object], None]
) -> None:
    """Its figures (`pytest -rP`, or `--junitxml`): memory before and at most, live rate, rate of catching up."""
    parts.wait_for_workers()
    for name, figure in _memory_flat_while(parts, tenant, how, seconds=600, count=300_000).items():
        record_property(name, figure)
        print(f"{name}: {figure:.1f}")


def _memory_flat_while(parts: Parts, tenant: str, how: str, seconds: float, count: int) -> dict[str, float]:
    resident = _resident(parts)
    first = min(count // 2, 60_000)
    with outage(parts, "hanging"):  # what full buffers cost is then in the figure before the outage
        finish(load(parts, tenant, first, seconds=first / 3_000))
    address(parts).wait_for_responses(tenant, first, timeout=300)
    before = resident()
    with outage(parts, how):
        began = time.monotonic()
        sender = load(parts, tenant, count, seconds=seconds)
        deadline = time.monotonic() + seconds + 2
        peak = before
        while time.monotonic() < deadline:
            peak = max(peak, resident())
            time.sleep(0.2)
        finish(sender)
        live = count / (time.monotonic() - began)
        assert parts.workers["scores-1"].alive, "the worker gave up waiting"
    back = time.monotonic()
    address(parts).wait_for_responses(tenant, count, timeout=600)  # the newest of every partition is new
    caught_up = count / (time.monotonic() - back)
    assert_each_once(parts, tenant, count)
    assert parts.workers["scores-1"].alive
    assert peak - before < max(0.1 * before, 24 * MEBIBYTE), f"{before / MEBIBYTE:.0f} to {peak / MEBIBYTE:.0f} MiB"
    return {
        "MiB before": before / MEBIBYTE,
        "MiB at most": peak / MEBIBYTE,
        "records a second live": live,
        "records a second catching up": caught_up,
    }


def _resident(parts: Parts) -> Callable[[], int]:
    """Memory of the worker, bytes."""
    process = psutil.Process(parts.workers["scores-1"].pid)
    return lambda: int(process.memory_info().rss)


@pytest.mark.parametrize("victim", ["store", "broker"])
def test_kill_nine_of_store_and_broker_under_load(parts: Parts, tenant: str, victim: str) -> None:
    sender = load(parts, tenant, 4_000, seconds=6)
    for pause in (1.0, 2.0):
        time.sleep(pause)  # at work, and again while it may still be starting
        parts[victim].kill()
        parts[victim].start()
    finish(sender)
    for worker in parts.workers.values():
        worker.start()  # where it gave up, as `up` would
    assert_each_once(parts, tenant, 4_000)


def test_what_is_in_the_store_outlives_a_restart_of_everything(tmp_path: Path, parts: Parts, tenant: str) -> None:
    finish(load(parts, tenant, 500, seconds=0.5))
    address(parts).wait_for_responses(tenant, 500)
    for part in parts.all():
        part.kill()
    parts.heal()
    parts.wait_for_workers()
    finish(load(parts, tenant, 700, seconds=0.5))  # the same again, and some more
    assert_each_once(parts, tenant, 700)
