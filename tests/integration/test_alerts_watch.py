"""The watch over the real store: it finds a spike, explains it, tells it once, and forgets nothing at a restart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client

from pipeline.alerts.config import AlertConfig
from pipeline.alerts.detector import Detector
from pipeline.alerts.example import example
from pipeline.alerts.rows import ALL, Key, Rows
from pipeline.alerts.series import moment, windows_of
from pipeline.alerts.store import AlertStore, LeaseLost
from pipeline.alerts.watch import Watch
from schemas.alerts import Kind, Measure, Status
from tests.integration.alerts_rig import HOUR, NOW, late_parcels, ordinary, put, put_back, response, taught_store


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Watch]]:
    with taught_store(tmp_path_factory.mktemp("store")) as (_, client, watch):
        yield client, watch


@pytest.fixture
def client(learnt: tuple[Client, Watch]) -> Client:
    """A store that holds eight ordinary days until NOW, and what the sentinel has learnt of them."""
    put_back(learnt[0])
    return learnt[0]


def taught(client: Client, now: float = NOW, config: AlertConfig | None = None) -> Watch:
    """A watch that has learnt eight ordinary days."""
    watch = Watch(AlertStore(client), config or AlertConfig())
    watch.begin(now)
    return watch


def test_a_spike_is_one_alert_that_says_what_and_why(client: Client) -> None:
    put(client, ordinary(NOW, NOW + 2 * HOUR, every=120, seed=4))
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
    put(client, ordinary(NOW, NOW + 2 * HOUR, every=120, seed=4))
    put(client, late_parcels(NOW, NOW + 900))
    names = []
    watch = taught(client)
    for tick in range(1, 31):
        if tick in (1, 3, 6, 9, 15):  # killed and started again, with nothing but the store
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
    put(client, ordinary(NOW, NOW + 2 * HOUR, every=120, seed=4))
    watch = taught(client)
    assert [event for tick in range(24) for event in watch.tick(NOW + 300 * tick)] == []


def test_silence_is_told_and_ended(client: Client) -> None:
    watch = taught(client)
    events = [event for tick in range(15) for event in watch.tick(NOW + 300 * tick)]
    assert [(event.name, event.alert.kind) for event in events] == [("firing", Kind.SILENCE)]
    put(client, ordinary(NOW + 75 * 60, NOW + 85 * 60, every=120, seed=8))
    assert [event.name for event in watch.tick(NOW + 80 * 60)] == ["resolved"]


def test_a_rule_of_ones_own(client: Client) -> None:
    rule = {"name": "checkout", "tenant": "new", "measure": "nps", "dimension": "touchpoint", "value": "checkout",
            "below": 20, "minutes": 30, "least_n": 50}  # fmt: skip
    config = AlertConfig.model_validate({"rules": [rule]})
    rows = [
        response(NOW - 1800 + 30 * place, place, tenant="new", touchpoint="checkout", score=place % 11, sentiment="")
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
    put(client, ordinary(NOW, NOW + 2 * HOUR, every=120, seed=4))
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


def test_one_holder_of_the_lease_and_only_it_writes(client: Client) -> None:
    one, two = AlertStore(client, "one"), AlertStore(client, "two")
    assert one.claim("one", 30)
    assert not two.claim("two", 30)
    assert one.claim("one", 30)
    nasty = example(moment(NOW), alert_id="first").model_copy(update={"summary": "it's \\ 100 % {x:String}\n"})
    one.save(nasty)
    assert one.newest(nasty.model_copy(update={"summary": ""})) == nasty
    one.release("one")
    assert two.claim("two", 30)
    with pytest.raises(LeaseLost):  # it was stopped, say, and wakes up in the middle of a tick
        one.save(example(moment(NOW), alert_id="second"))
    assert [alert.alert_id for alert in two.alerts()] == ["first"]


def test_an_acknowledgement_in_the_middle_of_a_tick_is_kept(client: Client) -> None:
    put(client, late_parcels(NOW, NOW + 900))
    watch = taught(client)
    (event,) = [event for tick in range(1, 6) for event in watch.tick(NOW + 60 * tick)]
    people = AlertStore(client)
    newest = people.newest(event.alert)
    changes = {"revision": newest.revision + 1, "status": Status.ACKNOWLEDGED, "acknowledged_by": "duty"}
    people.save(newest.model_copy(update=changes))
    (incident,) = watch.incidents.values()
    watch._revise(incident, NOW + 360, calm_since=moment(NOW + 360))  # what a tick under way would write
    assert people.open()[0].acknowledged_by == "duty"
    assert people.open()[0].status is Status.ACKNOWLEDGED


def test_baselines_survive(learnt: tuple[Client, Watch]) -> None:
    put_back(learnt[0])
    first, second = learnt[1], taught(learnt[0])
    assert second.learnt_until == first.learnt_until
    for key, row in first.rows.number.items():
        other = second.rows.number[key]
        assert (first.detector.baseline.slot_k[row] == second.detector.baseline.slot_k[other]).all(), key
        assert (first.detector.baseline.stray[row] == second.detector.baseline.stray[other]).all(), key
    assert any(key.measure is Measure.VOLUME for key in first.rows.keys)


def test_each_answer_counts_once_at_its_newest_version_wherever_that_has_moved_it(client: Client) -> None:
    plain = response(NOW - 100, 1, tenant="new", sentiment="negative")
    moved = response(NOW - 200, 2, tenant="new", sentiment="negative")
    gone = response(NOW - 300, 3, tenant="new", sentiment="negative")
    better = response(NOW - 400, 4, tenant="new", sentiment="negative")
    later = round((NOW - 50) * 1000)
    put(client, [plain, moved, gone, better])
    put(client, [
        plain,
        moved._replace(occurred_at=round((NOW - 86_400) * 1000), updated_at=later, processed_at=later),
        better._replace(sentiment="positive", updated_at=later, processed_at=later),
    ])  # fmt: skip
    put(client, [gone._replace(occurred_at=later - 7_200_000, updated_at=later, processed_at=later, deleted=1)])
    rows = Rows(Detector())
    k, n = windows_of(client, rows, NOW)
    row = rows.number[Key("new", ALL, "", Measure.NEGATIVE)]
    assert (k[row].tolist(), n[row].tolist()) == ([1, 1, 1], [1, 2, 2])
