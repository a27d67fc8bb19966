"""kill -9 while several producers write to one partition and a consumer follows: what was acknowledged stays.

Killed are Tansu alone, and the process that holds the storage (Tansu dies with it).
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.broker_fixture import Following, Producing, create_topic, read_all
from tests.integration.stack import BrokerHandle, broker

KILLS = 3


def kill_tansu(kafka: BrokerHandle) -> None:
    os.kill(kafka.tansu_pid, signal.SIGKILL)


def kill_all(kafka: BrokerHandle) -> None:
    kafka.restart()


@pytest.mark.parametrize("idempotent", [True, False], ids=["idempotent", "plain"])
@pytest.mark.parametrize("kill", [kill_tansu, kill_all])
def test_kills_lose_nothing_acknowledged(
    tmp_path: Path, kill: Callable[[BrokerHandle], None], idempotent: bool
) -> None:
    pause = random.Random(7)
    with broker(tmp_path / "broker") as kafka:
        create_topic(kafka.address)
        producers = [Producing(kafka.address, f"p{number}", idempotent=idempotent) for number in range(3)]
        follower = Following(kafka.address)
        for thread in (*producers, follower):
            thread.start()
        for _ in range(KILLS):
            time.sleep(pause.uniform(0.7, 1.3))
            kill(kafka)
        time.sleep(0.7)
        for producer in producers:
            producer.enough.set()
        for producer in producers:
            producer.join(30)
            assert not producer.is_alive()
        stored = read_all(kafka.address)
        follower.wait_for(stored[-1])

    acknowledged = [record for producer in producers for record in producer.acknowledged]
    assert len(acknowledged) > 300, [producer.failed for producer in producers]
    values = [value for _, value in stored]
    assert {value for _, value in acknowledged} <= set(values)
    # ... at the offset that was told; -1 is told for a repetition that had been stored the first time.
    assert {record for record in acknowledged if record[0] >= 0} <= set(stored)
    assert len(set(values)) == len(values)  # and nothing twice, although clients sent again
    for producer in producers:
        own = [value for value in values if value.startswith(producer.name.encode())]
        assert own == sorted(own)
    assert follower.seen == stored  # the live consumer skipped nothing, saw nothing that was taken back
