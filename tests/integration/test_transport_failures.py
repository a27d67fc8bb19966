"""The batch transport while workers come and go and the broker dies: nothing lost, no commit ahead of the store."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.integration.stack import broker
from tests.integration.transport_rig import create_topic, produce, rig, wait_until


def test_workers_that_join_leave_and_die_under_load_lose_nothing(tmp_path: Path) -> None:
    with broker(tmp_path / "broker") as kafka, rig(kafka.address, tmp_path, "crowd") as group:
        create_topic(kafka.address, "f.crowd", 4)
        load = threading.Thread(
            target=lambda: [produce(kafka.address, "f.crowd", 4, 2000, first=n * 2000) for n in range(10)]
        )
        load.start()
        settings = {"batching": {"max_records": 100}, "pause": 0.05}
        first = group.start("f.crowd", **settings)
        group.wait_count(500)
        second = group.start("f.crowd", **settings)
        second.wait_assigned(2)
        group.check_commits()
        first.kill()
        group.check_commits()
        second.wait_assigned(4)
        group.check_commits()
        third = group.start("f.crowd", **settings)
        third.wait_assigned(2)
        assert second.stop() < 6
        group.check_commits()
        load.join()
        group.wait_count(20_000, 90)
        wait_until(lambda: group.committed() == 20_000, 20, "the last commit")
        group.check_commits()
        assert group.overtaken == []
        assert sorted(set(group.numbers())) == list(range(20_000))


def test_a_broker_that_is_killed_and_comes_back_is_read_on(tmp_path: Path) -> None:
    with broker(tmp_path / "broker") as kafka, rig(kafka.address, tmp_path, "outage") as group:
        create_topic(kafka.address, "f.outage", 2)
        produce(kafka.address, "f.outage", 2, 3000)
        worker = group.start("f.outage", batching={"max_records": 100}, pause=0.1)
        group.wait_count(500)
        kafka.kill()
        threading.Event().wait(3)
        kafka.start()
        group.wait_count(3000)
        produce(kafka.address, "f.outage", 2, 1000, first=3000)
        group.wait_count(4000)
        wait_until(lambda: group.committed() == 4000, 30, "the last commit")
        group.check_commits()
        assert group.overtaken == []
        assert sorted(set(group.numbers())) == list(range(4000))
        assert worker.process.poll() is None, "an outage must not end the worker"
        assert worker.stop() < 6


def test_a_slow_agent_costs_no_rebalance(tmp_path: Path) -> None:
    with broker(tmp_path / "broker") as kafka, rig(kafka.address, tmp_path, "slow") as group:
        create_topic(kafka.address, "f.slow", 1)
        produce(kafka.address, "f.slow", 1, 20)
        worker = group.start("f.slow", batching={"max_records": 10}, pause=11.0)
        group.wait_count(10)
        rebalances = worker.stats()["rebalances"]
        wait_until(lambda: group.committed() == 20, 40, "both batches")
        assert worker.stats()["rebalances"] == rebalances
        assert group.count(distinct=False) == 20


def test_sigterm_is_quick_while_the_broker_is_away(tmp_path: Path) -> None:
    with broker(tmp_path / "broker") as kafka, rig(kafka.address, tmp_path, "away") as group:
        create_topic(kafka.address, "f.away", 1)
        produce(kafka.address, "f.away", 1, 1000)
        worker = group.start("f.away", batching={"max_records": 10}, pause=0.2)
        group.wait_count(50)
        kafka.kill()
        try:
            assert worker.stop() < 15
        finally:
            kafka.start()
