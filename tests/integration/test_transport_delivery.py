"""The batch transport against a real broker: what is delivered, what is committed, what happens when it is stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.stack import BrokerHandle, broker
from tests.integration.transport_rig import Rig, committed, create_topic, produce, rig, wait_until


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerHandle]:
    with broker(tmp_path_factory.mktemp("broker") / "data") as handle:
        yield handle


@pytest.fixture
def group(kafka: BrokerHandle, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    name = request.node.name.replace("_", "-").replace("[", "-").replace("]", "")
    with rig(kafka.address, tmp_path, name) as made:
        yield made


def test_each_record_is_delivered_once_and_all_is_committed(group: Rig) -> None:
    create_topic(group.address, "t.exact", 3)
    produce(group.address, "t.exact", 3, 9000)
    worker = group.start("t.exact", batching={"max_records": 500, "max_bytes": 4000})
    group.wait_count(9000)
    assert group.numbers() == list(range(9000))
    wait_until(lambda: group.committed() == 9000, 10, "the last commit")
    stats = worker.stats()
    assert stats["lag"] == 0
    assert stats["inflight"] == 0
    # 20 bytes a record: 200 of them reach the bound of 4000 bytes before 500 are counted.
    assert group.db.execute("SELECT max(batch) FROM seen").fetchone()[0] == 199
    assert worker.stop() < 6


def test_a_restarted_worker_goes_on_where_the_commit_stands(group: Rig) -> None:
    create_topic(group.address, "t.restart", 2)
    produce(group.address, "t.restart", 2, 1000)
    first = group.start("t.restart", batching={"max_records": 100})
    group.wait_count(1000)
    first.stop()
    assert group.committed() == 1000
    produce(group.address, "t.restart", 2, 1000, first=1000)
    group.start("t.restart", batching={"max_records": 100})
    group.wait_count(2000)
    assert group.numbers() == list(range(2000))  # the first record after the commit among them


def test_sigterm_in_the_middle_is_quick_and_commits_what_was_acknowledged(group: Rig) -> None:
    create_topic(group.address, "t.term", 1)
    produce(group.address, "t.term", 1, 1000)
    worker = group.start("t.term", batching={"max_records": 100}, pause=1.0)
    wait_until(lambda: worker.stats().get("acked", 0) >= 2, 30, "two acknowledged batches")
    took = worker.stop()
    assert took < 6, f"SIGTERM took {took:.1f} s"
    offset = committed(group.address, group.group)[("t.term", 0)]
    assert 200 <= offset < 1000
    assert offset % 100 == 0
    assert group.count() >= offset


def test_kill_in_mid_batch_loses_nothing(group: Rig) -> None:
    create_topic(group.address, "t.kill", 2)
    produce(group.address, "t.kill", 2, 2000)
    stored = 0
    for _ in range(2):
        worker = group.start("t.kill", batching={"max_records": 100}, pause=0.3)
        wait_until(lambda at_least=stored + 200: group.count() >= at_least, 40, "some batches")
        worker.kill()
        group.check_commits()
        stored = group.count()
    assert stored < 2000
    group.start("t.kill", batching={"max_records": 100})
    group.wait_count(2000)
    wait_until(lambda: group.committed() == 2000, 10, "the last commit")
    group.check_commits()
    assert group.overtaken == []
    assert sorted(set(group.numbers())) == list(range(2000))


def test_seek_delivers_again_and_later_commits_follow_it(group: Rig) -> None:
    create_topic(group.address, "t.seek", 1)
    produce(group.address, "t.seek", 1, 1000)
    worker = group.start("t.seek", batching={"max_records": 100})
    group.wait_count(1000)
    wait_until(lambda: group.committed() == 1000, 10, "the first pass")
    worker.ask(seek=["t.seek", 0, 0])
    wait_until(lambda: group.count(distinct=False) == 2000, 20, "the second pass")
    assert group.numbers() == sorted(list(range(1000)) * 2)
    worker.ask(seek=["t.seek", 0, 990])
    wait_until(lambda: group.count(distinct=False) == 2010, 20, "the last ten again")
    wait_until(lambda: group.committed() == 1000, 10, "the commit")


def test_without_acknowledgement_little_is_handed_out_and_it_goes_on_afterwards(group: Rig) -> None:
    create_topic(group.address, "t.press", 2)
    produce(group.address, "t.press", 2, 100_000, size=100)
    worker = group.start(
        "t.press",
        hold=True,
        batching={"max_records": 200, "max_inflight_batches": 3, "partition_fetch_bytes": 200_000},
        # Fewer places than batches: the buffer of the stream is full before the ledger is.
        options={"stream_buffer_maxsize": 2, "broker_max_poll_interval": 5.0},
    )
    wait_until(lambda: worker.stats().get("inflight", 0) >= 2, 30, "the first batches")
    rebalances = worker.stats()["rebalances"]
    before = worker.stats()["rss"]
    seen = []
    wait_until(lambda: seen.append(worker.stats()) or len(seen) > 120, 30, "some seconds")
    assert max(stats["inflight"] for stats in seen) <= 6
    assert max(stats["inflight_bytes"] for stats in seen) <= 6 * 200 * 100
    assert max(stats["rss"] for stats in seen) - before < 30e6
    assert group.committed() == 0
    assert seen[-1]["rebalances"] == rebalances, "held agents must not cost the membership"
    assert seen[-1]["stalled"] > 5, seen[-1]
    assert "acknowledge" in seen[-1]["waits_for"]
    worker.ask(hold=False)
    group.wait_count(100_000)
    assert group.count(distinct=False) == 100_000
    wait_until(lambda: group.committed() == 100_000, 10, "the commit")
    assert worker.stats()["stalled"] < 5


def test_a_topic_of_two_agents_is_committed_when_both_have_acknowledged(group: Rig) -> None:
    create_topic(group.address, "t.two", 2)
    create_topic(group.address, "t.other", 1)
    produce(group.address, "t.two", 2, 400)
    produce(group.address, "t.other", 1, 100)
    agents = [["t.two", "t.other"], ["t.two"]]
    worker = group.start(agents=agents, mute=[1], batching={"max_records": 50})
    wait_until(lambda: committed(group.address, group.group).get(("t.other", 0)) == 100, 30, "the other topic")
    assert ("t.two", 0) not in committed(group.address, group.group)
    worker.kill()
    group.start(agents=agents, batching={"max_records": 50})
    wait_until(lambda: group.committed() == 500, 40, "both topics")
    assert sorted(set(group.numbers(agent=1))) == list(range(400))


def test_a_flow_that_was_stopped_and_resumed_leaves_no_hole(group: Rig) -> None:
    create_topic(group.address, "t.flow", 2)
    produce(group.address, "t.flow", 2, 5000)
    worker = group.start(
        "t.flow", hold=True, batching={"max_records": 20}, pause=0.01, options={"stream_buffer_maxsize": 2}
    )
    wait_until(lambda: worker.stats().get("inflight", 0) >= 2, 30, "the first batches")
    for n in range(5):
        worker.ask(flow=False)
        worker.ask(flow=True)
        worker.ask(hold=False)  # the first stop is before anything was committed
        group.wait_count(200 * (n + 1))
    group.wait_count(5000)
    wait_until(lambda: group.committed() == 5000, 10, "the commit")
    group.check_commits()
    assert group.overtaken == []


def test_an_agent_that_raises_stalls_its_partition_and_loses_nothing(group: Rig) -> None:
    create_topic(group.address, "t.raise", 2)
    produce(group.address, "t.raise", 2, 2000)
    settings = {"max_records": 100, "max_inflight_batches": 3}
    worker = group.start("t.raise", batching=settings, fail_at=502)
    wait_until(lambda: worker.stats().get("stalled", 0) > 3, 40, "the stall to be seen")
    assert committed(group.address, group.group)[("t.raise", 0)] == 200  # record 502 is the 251st of its partition
    assert committed(group.address, group.group)[("t.raise", 1)] == 1000
    worker.stop()
    group.start("t.raise", batching=settings)
    group.wait_count(2000)
    wait_until(lambda: group.committed() == 2000, 10, "the commit")


@pytest.mark.parametrize(("wrong", "says"), [("auto", "stream.noack().events()"), ("typed", "without value_type")])
def test_what_would_lose_batches_is_refused_with_a_reason(group: Rig, wrong: str, says: str) -> None:
    create_topic(group.address, f"t.{wrong}", 1)
    produce(group.address, f"t.{wrong}", 1, 100)
    worker = group.start(f"t.{wrong}", batching={"max_records": 10}, **{wrong: True})
    wait_until(lambda: says in worker.log.read_text(), 30, "the reason in the log")
    worker.stop()
    assert group.committed() == 0


def test_sigterm_is_quick_while_an_agent_hangs_and_buffers_are_full(group: Rig) -> None:
    create_topic(group.address, "t.hang", 2)
    produce(group.address, "t.hang", 2, 2000)
    worker = group.start("t.hang", hold=True, batching={"max_records": 10}, options={"stream_buffer_maxsize": 2})
    wait_until(lambda: worker.stats().get("inflight", 0) >= 3, 30, "full buffers")
    assert worker.stop() < 6
    assert group.committed() == 0
