"""`vocstream up` as a whole: events in over Kafka, scores and labels out over HTTP, and the commands that look."""

from __future__ import annotations

import json
import math
import random
import signal
from collections.abc import Iterator
from datetime import date
from typing import Any

import psutil
import pytest

from schemas import topics
from schemas.scales import band
from schemas.scores import nps_interval, wilson_interval
from tests.integration.stream_fixture import (
    Address,
    Up,
    binary,
    eventually,
    read_topic,
    response,
    running_on,
    send,
    structured,
    vocstream,
)

DAY = date(2026, 3, 5)
COMMENTS = {
    "pt": "Produto excelente, chegou antes do prazo, adorei!",
    "es": "Pésimo servicio, el paquete llegó roto y nadie me contesta",
    "en": "Terrible quality, it broke after one day. I want my money back",
}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One running `vocstream up` for the tests of this file; its end is itself a test: within 10 s, nothing left."""
    started = Up(tmp_path_factory.mktemp("up") / "data")
    try:
        started.start()
        yield started
        started.stop(signal.SIGTERM)
    finally:
        started.close()


def scores(address: Address, tenant: str) -> dict[str, dict[str, Any]]:
    """The tenant's rows of scores_daily, by metric."""
    rows = address.rows("SELECT * FROM feedback.scores_daily WHERE tenant = {t:String}", t=tenant)
    assert len({row["metric"] for row in rows}) == len(rows)
    return {row["metric"]: row for row in rows}


def close(found: float, wanted: float) -> bool:
    return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-9)


def test_scores_are_exact_with_n_and_interval(up: Up, tenant: str) -> None:
    rng = random.Random(11)
    answers = {
        "nps": [float(rng.randrange(11)) for _ in range(120)],
        "csat": [float(rng.randrange(1, 6)) for _ in range(80)],
        "ces": [float(rng.randrange(1, 8)) for _ in range(60)],
    }
    events = [
        response(tenant, f"{metric}-{i}", metric=metric, score=score, survey="s", touchpoint="checkout", channel="app")
        for metric, given in answers.items()
        for i, score in enumerate(given)
    ]
    rng.shuffle(events)
    modes = (structured, binary)
    send(up.address.kafka, [modes[i % 2](event) for i, event in enumerate(events)])
    up.address.wait_for_responses(tenant, len(events))

    found = scores(up.address, tenant)
    assert found.keys() == answers.keys()
    for metric, given in answers.items():
        row, bands = found[metric], [band(metric, "", score) for score in given]
        assert (row["n"], row["bucket"]) == (len(given), DAY)
        assert (row["survey"], row["touchpoint"], row["channel"]) == ("s", "checkout", "app")
        if metric == "nps":
            promoters, detractors = bands.count("promoter"), bands.count("detractor")
            assert (row["promoters"], row["detractors"]) == (promoters, detractors)
            wanted, ends = 100 * (promoters - detractors) / len(given), nps_interval(promoters, detractors, len(given))
        else:
            satisfied = bands.count("satisfied")
            assert row["satisfied"] == satisfied
            share = wilson_interval(satisfied, len(given))
            assert share is not None
            wanted, ends = 100 * satisfied / len(given), (100 * share[0], 100 * share[1])
        assert ends is not None
        assert close(row["score"], wanted)
        assert close(row["ci_low"], ends[0])
        assert close(row["ci_high"], ends[1])


def test_duplicates_corrections_and_exclusions(up: Up, tenant: str) -> None:
    """The newest `updated_at` wins whatever the order; the same bytes again change nothing; excluded is not counted."""

    def at(hour: int, response_id: str, score: int, **more: Any) -> dict[str, Any]:
        moment = f"2026-03-05T{hour:02}:00:00Z"
        fixed = {"metric": "nps", "occurred_at": "2026-03-05T08:00:00Z"}
        return response(tenant, response_id, score=score, updated_at=moment, **fixed, **more)

    once = [structured(at(9, f"same-{i}", 10)) for i in range(5)]
    rising = [structured(at(hour, "rising", hour - 10)) for hour in (10, 11, 12)]  # ends as a 2
    falling = [structured(at(hour, "falling", hour - 3)) for hour in (12, 11, 10)]  # the first is the newest: a 9
    left_out = [structured(at(9, "left-out", 0, excluded=True))]
    records = once + once + rising + falling + left_out
    send(up.address.kafka, records)
    send(up.address.kafka, random.Random(3).sample(records, len(records)))
    up.address.wait_for_responses(tenant, 8)
    row = eventually(lambda: scores(up.address, tenant), lambda s: s["nps"]["n"] == 7)["nps"]
    counts = {name: row[name] for name in ("n", "promoters", "passives", "detractors", "sum_score")}
    assert counts == {"n": 7, "promoters": 6, "passives": 0, "detractors": 1, "sum_score": 5 * 10 + 9 + 2}


def test_labels_come_to_comments(up: Up, tenant: str) -> None:
    events = [
        response(tenant, language, metric="nps", score=5, comment=comment, language=language)
        for language, comment in COMMENTS.items()
    ]
    send(up.address.kafka, [structured(event) for event in events])
    up.address.wait_for_responses(tenant, len(COMMENTS))
    rows = eventually(
        lambda: up.address.rows("SELECT * FROM feedback.enriched_responses WHERE tenant = {t:String}", t=tenant),
        lambda rows: all(row["sentiment"] for row in rows),
    )
    by_language = {row["response_id"]: row for row in rows}
    assert "positive" in by_language["pt"]["sentiment"]
    assert "negative" in by_language["es"]["sentiment"]
    assert "negative" in by_language["en"]["sentiment"]
    for language, row in by_language.items():
        assert row["language"] == language
        assert row["model_version"]
        assert -1 <= row["sentiment_score"] <= 1
        assert len(row["topics"]) == len(row["topic_sentiments"])
    assert any(topic.startswith("delivery") for topic in by_language["pt"]["topics"])
    assert scores(up.address, tenant)["nps"]["n"] == 3, "labels must not count a response again"
    told = read_topic(
        up.address.kafka, topics.ENRICHED, lambda d: sum(e["tenant"] == tenant for e in d) >= len(COMMENTS)
    )
    assert {e["sentiment"] for e in told if e["tenant"] == tenant} == {row["sentiment"] for row in rows}


def test_the_newest_version_keeps_its_own_labels(up: Up, tenant: str) -> None:
    """A corrected comment is labelled anew: never the old words' labels on the new words."""
    old = response(tenant, "r", metric="nps", score=0, comment=COMMENTS["es"], updated_at="2026-03-05T09:00:00Z")
    new = response(tenant, "r", metric="nps", score=10, comment=COMMENTS["pt"], updated_at="2026-03-05T10:00:00Z")
    send(up.address.kafka, [structured(new), structured(old)])
    sql = "SELECT * FROM feedback.enriched_responses WHERE tenant = {t:String}"
    [row] = eventually(lambda: up.address.rows(sql, t=tenant), lambda rows: bool(rows) and bool(rows[0]["sentiment"]))
    assert (row["score"], row["comment"]) == (10, COMMENTS["pt"])
    assert "positive" in row["sentiment"]


def test_the_commands_that_look(up: Up, tenant: str) -> None:
    send(up.address.kafka, [structured(response(tenant, "r", metric="nps", score=9))])
    up.address.wait_for_responses(tenant, 1)
    data = ("--data", up.data)

    status = vocstream("status", "--json", *data)
    assert status.returncode == 0, status.stderr
    report = json.loads(status.stdout)
    assert {row["topic"] for row in report["partitions"]} == {topics.RESPONSES, topics.INTERACTIONS, topics.COMMENTS}
    assert {row["table"] for row in report["tables"]} >= {"responses", "interactions"}

    query = vocstream(
        "query", f"SELECT metric, n FROM feedback.scores_daily WHERE tenant = '{tenant}'", "--json", *data
    )
    assert json.loads(query.stdout) == [{"metric": "nps", "n": 1}], query.stderr
    wrong = vocstream("query", "SELECT nonsense", *data)
    assert wrong.returncode == 2
    assert "nonsense" in wrong.stderr
    assert "Traceback" not in wrong.stderr

    listed = vocstream("kafka-topics", "--json", *data)
    assert all(row["partitions"] for row in json.loads(listed.stdout)), listed.stderr

    dry = vocstream("migrate", "--dry-run", *data)
    assert dry.returncode == 0, dry.stderr
    assert "0 migrations" in dry.stdout

    doctor = vocstream("doctor", "--json", *data)
    assert doctor.returncode == 0, doctor.stderr
    assert all(finding["ok"] for finding in json.loads(doctor.stdout)), doctor.stdout


def test_a_second_up_on_the_same_folder_says_so(up: Up) -> None:
    """And takes nothing from the first: its addresses stay."""
    before = up.file.read_text("utf-8")
    second = vocstream("up", "--data", up.data, "--port-base", str(up.port_base + 50))
    assert second.returncode == 1
    assert "in use" in second.stderr, second.stderr
    assert "Traceback" not in second.stderr
    assert up.file.read_text("utf-8") == before
    assert not [p for p in running_on(up.data, up.port_base) if str(up.port_base + 50) in " ".join(p.cmdline())]


@pytest.mark.parametrize("part", ["worker scores", "store", "broker", "worker labels"])
def test_a_killed_part_is_started_again_and_the_stream_goes_on(up: Up, tenant: str, part: str) -> None:
    send(up.address.kafka, [structured(response(tenant, "before", metric="nps", score=9))])
    killed = up.parts()[part]
    killed.kill()
    again = eventually(lambda: up.parts().get(part), lambda p: p is not None and p.pid != killed.pid)
    assert isinstance(again, psutil.Process)
    assert again.pid != killed.pid
    comment = COMMENTS["en"] if part == "worker labels" else ""
    after = response(tenant, "after", metric="nps", score=0, **({"comment": comment} if comment else {}))
    eventually(lambda: _sent(up, after))
    up.address.wait_for_responses(tenant, 2, timeout=90)
    assert scores(up.address, tenant)["nps"]["score"] == 0
    if comment:
        sql = "SELECT count() FROM feedback.enriched_responses WHERE tenant = {t:String} AND sentiment != ''"
        assert eventually(lambda: up.address.count(sql, t=tenant), timeout=120) == 1


def _sent(up: Up, event: dict[str, Any]) -> bool:
    """Whether the broker, which may be starting, took the event."""
    from kafka.errors import KafkaError

    try:
        send(up.address.kafka, [structured(event)])
    except KafkaError:
        return False
    return True
