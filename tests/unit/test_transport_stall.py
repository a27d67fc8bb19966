"""What counts as getting nowhere, by a clock that is passed in; and the app that carries the settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from faust.transport.drivers import by_url

from pipeline.transport import BatchSettings, Transport, batch_topic, make_app, register
from pipeline.transport.ledger import Ledger
from pipeline.transport.stall import Look, find_stall

TP0, TP1 = ("t", 0), ("t", 1)


def quiet(_: object) -> Look:
    """A broker that answered just now and has nothing new."""
    return Look(end_offset=0, heard_at=100.0, has_unread=False)


@pytest.fixture
def ledger() -> Ledger:
    made = Ledger(max_batches=2, max_bytes=100)
    for tp in (TP0, TP1):
        made.started(tp, made.open(tp, now=0.0).session, 0, now=0.0)
    return made


def session(ledger: Ledger, tp: tuple[str, int]) -> int:
    track = ledger.get(tp)
    assert track is not None
    return track.session


def test_nothing_to_do_is_no_stall(ledger: Ledger) -> None:
    assert find_stall(ledger, quiet, now=100.0).seconds == 0.0
    assert find_stall(Ledger(max_batches=1, max_bytes=1), quiet, now=1e6).seconds == 0.0


def test_an_agent_that_holds_batches_stalls_from_the_last_acknowledgement_in_its_topic(ledger: Ledger) -> None:
    ledger.add(TP0, session(ledger, TP0), 0, 10, 1, now=10.0)
    other = ledger.add(TP1, session(ledger, TP1), 0, 10, 1, now=10.0)
    stall = find_stall(ledger, quiet, now=100.0)
    assert (stall.seconds, stall.what) == (90.0, "an agent to acknowledge t[0]")
    assert other is not None
    ledger.ack(other, now=70.0)
    ledger.committed(ledger.committable(), now=71.0)
    assert find_stall(ledger, quiet, now=100.0).seconds == 30.0


def test_a_commit_that_never_arrives_is_a_stall(ledger: Ledger) -> None:
    ticket = ledger.add(TP0, session(ledger, TP0), 0, 10, 1, now=10.0)
    assert ticket is not None
    ledger.ack(ticket, now=20.0)
    stall = find_stall(ledger, quiet, now=100.0)
    assert (stall.seconds, stall.what) == (80.0, "t[0] to be committed")
    ledger.committed(ledger.committable(), now=100.0)
    assert find_stall(ledger, quiet, now=100.0).seconds == 0.0


def test_records_that_nobody_reads_are_a_stall(ledger: Ledger) -> None:
    def look(_: object) -> Look:
        return Look(end_offset=5, heard_at=100.0, has_unread=False)

    assert find_stall(ledger, look, now=100.0).seconds == 100.0


def test_a_broker_that_does_not_answer_is_a_stall(ledger: Ledger) -> None:
    stall = find_stall(ledger, quiet, now=160.0)
    assert (stall.seconds, stall.what) == (60.0, "the broker to answer for t[0]")


def test_a_partition_without_a_position_is_a_stall(ledger: Ledger) -> None:
    ledger.open(TP0, now=40.0)
    stall = find_stall(ledger, quiet, now=100.0)
    assert (stall.seconds, stall.what) == (60.0, "t[0] to find its position")


def test_make_app_uses_the_scheme_for_every_broker(tmp_path: Path) -> None:
    app = make_app("g", "a:1, b:2", datadir=tmp_path / "deep" / "er", batching=BatchSettings(max_records=7))
    assert [str(url) for url in app.conf.broker] == ["batch://a:1", "batch://b:2"]
    assert by_url(app.conf.broker[0]) is Transport
    assert app.batching.max_records == 7
    assert app.conf.stream_wait_empty is False
    assert (tmp_path / "deep" / "er").is_dir()
    assert batch_topic(app, "x").value_type is None


def test_no_broker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="host:port"):
        make_app("g", " , ", datadir=tmp_path)


def test_register_can_be_called_again() -> None:
    register()
    register()
    assert by_url("batch://h:1") is Transport


@pytest.mark.parametrize("name", ["max_records", "max_bytes", "max_inflight_batches", "max_inflight_bytes"])
def test_bounds_that_deliver_nothing_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        BatchSettings(**{name: 0})
