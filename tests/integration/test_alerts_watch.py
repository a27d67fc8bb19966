"""The watch over the real store: it finds a spike, explains it, tells it once, and forgets nothing at a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from pipeline.alerts.config import AlertConfig
from pipeline.alerts.store import AlertStore
from pipeline.alerts.watch import Watch
from schemas.alerts import Kind, Measure, Status
from tests.integration.alerts_rig import HOUR, NOW, alert_store, late_parcels, ordinary, put, response


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with alert_store(tmp_path / "store") as (_, made):
        yield made


def taught(client: Client, now: float = NOW, config: AlertConfig | None = None) -> Watch:
    """A watch that has learnt two ordinary weeks."""
    watch = Watch(AlertStore(client), config or AlertConfig())
    watch.begin(now)
    return watch


def test_a_spike_is_one_alert_that_says_what_and_why(client: Client) -> None:
    put(client, ordinary(NOW - 14 * 86400, NOW + 2 * HOUR))
    put(client, late_parcels(NOW, NOW + 900))
    watch = taught(client)
    events = [event for tick in range(1, 16) for event in watch.tick(NOW + 60 * tick)]
    assert [event.name for event in events] == ["firing"]
    alert = events[0].alert
    assert (alert.kind, alert.series.dimension, alert.series.value) == (Kind.SPIKE, "topic", "delivery.delay")
    assert alert.share is not None
    assert alert.usual is not None
    assert alert.share > 3 * alert.usual
    assert alert.change_low is not None
    assert alert.change_low > 0
    assert "reclamações sobre" in alert.summary
    assert {(driver.dimension, driver.value) for driver in alert.drivers} >= {("touchpoint", "delivery")}
    assert len(alert.comments) == 3
    assert all("late" in comment for comment in alert.comments)
    assert client.query(alert.sql).row_count >= alert.unhappy * 0.9
    later = [event for tick in range(1, 19) for event in watch.tick(NOW + 900 + 300 * tick)]
    assert [event.name for event in later] == ["resolved"]
    assert AlertStore(client).open() == []
    assert AlertStore(client).alerts()[0].status is Status.RESOLVED


def test_a_restart_in_the_middle_tells_nothing_twice(client: Client) -> None:
    put(client, ordinary(NOW - 14 * 86400, NOW + 2 * HOUR))
    put(client, late_parcels(NOW, NOW + 900))
    names = []
    watch = taught(client)
    for tick in range(1, 31):
        if tick % 4 == 0:  # killed and started again, with nothing but the store
            watch = taught(client, NOW + 180 * tick)
        names += [event.name for event in watch.tick(NOW + 180 * tick)]
    assert names == ["firing", "resolved"]


def test_without_history_four_unhappy_of_four_are_told(client: Client) -> None:
    watch = taught(client)
    put(client, [response(NOW + place, place, sentiment="negative", tenant="new") for place in range(4)])
    events = watch.tick(NOW + 10)
    assert [(event.name, event.alert.series.dimension) for event in events] == [("firing", "all")]
    assert events[0].alert.language == "en"


def test_ordinary_days_are_quiet(client: Client) -> None:
    put(client, ordinary(NOW - 14 * 86400, NOW + 6 * HOUR))
    watch = taught(client)
    assert [event for tick in range(36) for event in watch.tick(NOW + 300 * tick)] == []


def test_silence_is_told_and_ended(client: Client) -> None:
    put(client, ordinary(NOW - 14 * 86400, NOW))
    watch = taught(client)
    events = [event for tick in range(15) for event in watch.tick(NOW + 300 * tick)]
    assert [(event.name, event.alert.kind) for event in events] == [("firing", Kind.SILENCE)]
    put(client, ordinary(NOW + 75 * 60, NOW + 85 * 60, seed=8))
    assert [event.name for event in watch.tick(NOW + 80 * 60)] == ["resolved"]


def test_a_rule_of_ones_own(client: Client) -> None:
    rule = {"name": "checkout", "tenant": "acme", "measure": "nps", "dimension": "touchpoint", "value": "checkout",
            "below": 20, "minutes": 30, "least_n": 50}  # fmt: skip
    config = AlertConfig.model_validate({"rules": [rule]})
    rows = [
        response(NOW - 1800 + 30 * place, place, touchpoint="checkout", score=place % 11, sentiment="neutral")
        for place in range(60)
    ]
    watch = taught(client, config=config)
    put(client, rows[:40])
    assert watch.tick(NOW - 300) == []
    put(client, rows[40:])
    (event,) = watch.tick(NOW)
    assert (event.alert.kind, event.alert.rule, event.alert.n) == (Kind.RULE, "checkout", 60)
    assert watch.tick(NOW + 60) == []
    ended = [event for tick in range(1, 6) for event in watch.tick(NOW + 600 * tick)]
    assert [event.name for event in ended] == ["resolved"]


def test_people_snooze_and_it_speaks_again(client: Client) -> None:
    put(client, ordinary(NOW - 14 * 86400, NOW + 2 * HOUR))
    put(client, late_parcels(NOW, NOW + HOUR))
    watch = taught(client)
    store = AlertStore(client)
    fired = [event for tick in range(1, 4) for event in watch.tick(NOW + 180 * tick)]
    alert = fired[0].alert
    until = alert.fired_at.replace(minute=30)
    newest = store.open()[0]
    snoozed = {"revision": newest.revision + 1, "status": Status.SNOOZED, "snoozed_until": until}
    store.save(newest.model_copy(update=snoozed))
    events = [event for tick in range(4, 14) for event in watch.tick(NOW + 180 * tick)]
    assert [event.name for event in events] == [f"firing@{until.isoformat()}"]
    assert events[0].alert.alert_id == alert.alert_id


def test_one_holder_of_the_lease(client: Client) -> None:
    store = AlertStore(client)
    assert store.claim("one", 30)
    assert not store.claim("two", 30)
    assert store.claim("one", 30)
    store.release("one")
    assert store.claim("two", 0.2)


def test_baselines_survive(client: Client) -> None:
    put(client, ordinary(NOW - 3 * 86400, NOW))
    first = taught(client)
    second = taught(client)
    assert second.learnt_until == first.learnt_until
    for key, row in first.rows.number.items():
        other = second.rows.number[key]
        assert (first.detector.baseline.slot_k[row] == second.detector.baseline.slot_k[other]).all(), key
    assert any(key.measure is Measure.VOLUME for key in first.rows.keys)
