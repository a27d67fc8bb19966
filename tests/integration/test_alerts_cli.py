"""`vocstream alerts ...` as people use it, on a store with eight ordinary days."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from clickhouse_connect.driver.client import Client

from pipeline.alerts.example import example, resolved
from pipeline.alerts.store import AlertStore
from pipeline.cli import main
from pipeline.cli.console import err, out
from tests.integration.alerts_rig import HOUR, NOW, late_parcels, ordinary, put, put_back, response, taught_store
from tests.integration.test_alerts_receivers import endpoint


class Said(NamedTuple):
    """What a command printed, and its exit status."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Client]]:
    with taught_store(tmp_path_factory.mktemp("store")) as (handle, client, _):
        yield handle.url, client


@pytest.fixture
def client(kept: tuple[str, Client]) -> Client:
    put_back(kept[1])
    return kept[1]


@pytest.fixture
def run(
    kept: tuple[str, Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run `vocstream alerts ARGUMENTS`, without a process of its own."""
    monkeypatch.setenv("VOC_CLICKHOUSE_URL", kept[0])
    for console in (out, err):
        monkeypatch.setattr(console, "width", 1000)  # no line ends in the middle of sentences

    def call(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["vocstream", "alerts", *arguments, "--data", str(tmp_path)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return call


def test_list_ack_and_snooze(client: Client, run: Run) -> None:
    store = AlertStore(client)
    now = datetime.now(UTC)
    store.save(example(now, alert_id="3f9a11"))
    store.save(example(now, alert_id="3f9b22"))
    store.save(resolved(example(now, alert_id="aa00"), now))
    listed = json.loads(run("list", "--json").out)
    assert {alert["alert_id"] for alert in listed} == {"3f9a11", "3f9b22"}
    assert len(json.loads(run("list", "--all", "--json").out)) == 3
    assert "late delivery" in run("list").out

    assert run("ack", "3f9a", "--by", "duty").code == 0
    (one,) = (alert for alert in store.open() if alert.alert_id == "3f9a11")
    assert (one.status, one.acknowledged_by) == ("acknowledged", "duty")
    assert run("snooze", "3f9b", "--minutes", "30").code == 0
    (two,) = (alert for alert in store.open() if alert.alert_id == "3f9b22")
    assert two.status == "snoozed"
    assert two.snoozed_until is not None
    assert timedelta(minutes=29) < two.snoozed_until - datetime.now(UTC) <= timedelta(minutes=30)


@pytest.mark.parametrize(("beginning", "why"), [("3f9", "2 open alerts begin"), ("zz", "no open alert begins")])
def test_which_alert_is_meant_must_be_clear(client: Client, run: Run, beginning: str, why: str) -> None:
    for alert_id in ("3f9a11", "3f9b22"):
        AlertStore(client).save(example(datetime.now(UTC), alert_id=alert_id))
    found = run("ack", beginning)
    assert found.code == 1
    assert why in found.err


def test_check_shows_what_would_be_watched(client: Client, run: Run, tmp_path: Path) -> None:
    now = datetime.now(UTC).timestamp()
    put(client, [response(now - 60, place, tenant="new", sentiment="negative") for place in range(4)])
    (tmp_path / "alerts.yaml").write_text(
        "ignore: [channel]\nreceivers:\n  - {name: ops, type: webhook, url: 'http://127.0.0.1:1/'}\n"
    )
    shown: dict[str, Any] = json.loads(run("check", "--json").out)
    watched = {(one["tenant"], one["dimension"], one["measure"]): one["series"] for one in shown["watched"]}
    assert watched["new", "all", "negative"] == 1
    assert watched["new", "segment", "negative"] == 2
    assert ("new", "channel", "negative") not in watched
    assert shown["receivers"] == [{"receiver": "ops", "type": "webhook", "tenants": "all"}]
    (tmp_path / "alerts.yaml").write_text("receivers:\n  - {name: ops, type: webhook, url: 'http://x/', tenant: a}\n")
    wrong = run("check")
    assert wrong.code == 2
    assert "alerts.yaml:2: receivers.0.tenant: Extra inputs" in wrong.err


async def test_a_receiver_is_tried_out(run: Run, tmp_path: Path) -> None:
    async with endpoint() as (url, got), endpoint(404) as (wrong, _):
        (tmp_path / "alerts.yaml").write_text(
            "receivers:\n"
            f"  - {{name: cx, type: slack, url: '{url}'}}\n"
            f"  - {{name: bad, type: webhook, url: '{wrong}'}}\n"
        )
        took = await asyncio.to_thread(run, "test", "cx")
        refused = await asyncio.to_thread(run, "test", "bad")
        unknown = await asyncio.to_thread(run, "test", "nobody")
    assert took.code == 0
    assert ["RESOLVED" in one["text"] or "✅" in one["text"] for one in got] == [False, True]
    assert (refused.code, unknown.code) == (1, 2)
    assert "404" in refused.err
    assert "there are: cx, bad" in unknown.err


def test_replay_shows_a_spike_of_the_past_and_writes_nothing(client: Client, run: Run, tmp_path: Path) -> None:
    put(client, ordinary(NOW, NOW + 2 * HOUR, every=120, seed=4))
    put(client, late_parcels(NOW, NOW + 900))
    client.command("TRUNCATE TABLE feedback.sentinel_rows")
    picture = tmp_path / "replay.png"
    pytest.importorskip("matplotlib", reason="pip install matplotlib")
    begin, end = (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S}" for at in (NOW - 900, NOW + 1.6 * HOUR))
    found = run("replay", "--from", begin, "--to", end, "--plot", str(picture), "--json")
    assert found.code == 0, found.err
    shown = [(one["series"]["value"], one["status"]) for one in json.loads(found.out)]
    assert shown == [("delivery.delay", "resolved")]
    assert picture.stat().st_size > 5_000
    for table in ("alerts", "sentinel_rows"):
        assert client.query(f"SELECT count() FROM feedback.{table}").result_rows == [(0,)]
