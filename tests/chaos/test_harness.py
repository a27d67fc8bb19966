"""The harness itself: a short run of it, that a seed replays, and that it sees what is wrong."""

from __future__ import annotations

import json
import random
from contextlib import closing
from itertools import chain
from typing import Any

import pytest

from pipeline.chaos.compare import Comparison, compare, read_topics
from pipeline.chaos.expected import Expected, expect
from pipeline.chaos.faults import plan
from pipeline.chaos.play import play
from pipeline.chaos.stream import ZONES, Sent, as_received, records, tenants
from pipeline.chaos.views import CROSSED_METRICS, SCORES
from pipeline.chaos.watch import differences
from schemas import topics
from tests.integration.stream_fixture import ScoreStack, vocstream

PARTS = ["broker", "store", "scores-1", "scores-2", "collector"]


def test_a_seed_replays_its_faults_and_its_stream() -> None:
    assert plan(7, 20, 30.0, PARTS) == plan(7, 20, 30.0, PARTS)
    assert plan(7, 20, 30.0, PARTS) != plan(8, 20, 30.0, PARTS)
    assert list(records(7, "r", 500, 10**12)) == list(records(7, "r", 500, 10**12))


def test_the_stream_has_what_it_promises() -> None:
    sent = list(records(3, "run", 4_000, 1_770_000_000_000))
    values = [record.value for record in sent]
    state = expect(sent)
    assert len(set(values)) < len(values), "duplicates"
    assert len(state.responses) < 0.9 * sum(r.topic == topics.RESPONSES and not r.mark for r in sent), "edits"
    assert 0.03 < len(state.junk) / len(sent) < 0.07
    assert any(record.headers for record in sent)
    over_http = [record for record in sent if record.over_http]
    assert 0.25 < len(over_http) / len(sent) < 0.35
    assert {bool(record.headers) for record in over_http} == {False, True}
    assert any(record.mark for record in over_http)
    rows = state.responses.values()
    assert any(row["occurred_at"] == row["received_at"] for row in rows), "clocks ahead, clamped"
    assert any(row["received_at"] - row["occurred_at"] > 39 * 86_400_000 for row in rows), "late ones"
    assert any(row["excluded"] for row in rows)
    withdrawn = sum(b'"deleted": true' in value for value in values)
    assert withdrawn > 100
    identities = {(r["tenant"], r["source"], r["response_id"], r["question"]) for r in map(_identified, sent) if r}
    assert len(state.responses) < len(identities), "some stay withdrawn"


def _identified(sent: Sent) -> dict[str, Any] | None:
    """What identifies a response; None for all that is none."""
    if sent.topic != topics.RESPONSES or sent.mark:
        return None
    content = json.loads(sent.value)
    source = dict(sent.headers)["ce_source"].decode() if sent.headers else content["source"]
    return {"question": "", "source": source} | (content if sent.headers else content["data"])


@pytest.mark.parametrize("seed", range(5))
def test_the_state_does_not_depend_on_order_or_copies(seed: int) -> None:
    sent = list(records(seed, "run", 800, 1_770_000_000_000))
    shuffled = sent + random.Random(seed).sample(sent, 200)
    random.Random(seed).shuffle(shuffled)
    assert expect(shuffled) == expect(sent)


def test_a_short_run_ends_exact(tmp_path: Any) -> None:
    """`vocstream chaos` as people run it; `make chaos` runs it long."""
    run = vocstream(
        *("chaos", "--seed", "11", "--faults", "6", "--events", "2000", "--seconds", "10", "--json"),
        env={"TMPDIR": str(tmp_path)},
    )
    assert run.returncode == 0, run.stderr
    [outcome] = json.loads(run.stdout)
    assert (outcome["seed"], outcome["faults"], outcome["events"]) == (11, 6, 2000)
    assert (outcome["lost"], outcome["twice"], outcome["wrong"]) == (0, 0, 0)
    assert outcome["figures"] > 50_000
    assert outcome["looks"] > 0
    assert outcome["http"] > 400
    assert "seed" in run.stderr
    assert not list(tmp_path.glob("vocstream-chaos-*")), "the folder of a run that was right is removed"


def test_a_look_sees_what_is_served_wrong() -> None:
    """Of responses whose newest version did not change; what changed meanwhile may be either, but not twice."""
    one, two, gone, moving = (("t", "/s", name, "") for name in ("one", "two", "gone", "moving"))
    before = {one: ("1", True, ("nps", 9)), two: ("4", True, ("nps", 3)), gone: ("2", False, ("nps", 1))}
    before |= {moving: ("7", True, ("nps", 5))}
    after = before | {moving: ("8", True, ("nps", 6)), ("t", "/s", "new", ""): ("1", True, ("nps", 0))}
    right = [(one, ("nps", 9)), (two, ("nps", 3)), (moving, ("nps", 6))]
    assert differences(before, right, after) == []
    assert differences(before, [*right[:2], (moving, ("nps", 5))], after) == []
    assert [d.key for d in differences(before, [*right, (moving, ("nps", 5))], after)] == [moving]
    assert [d.key for d in differences(before, right[1:], after)] == [one]
    assert [d.key for d in differences(before, [*right, (gone, ("nps", 1))], after)] == [gone]
    assert [d.key for d in differences(before, [(one, ("nps", 8)), *right[1:]], after)] == [one]
    assert [d.found for d in differences(before, [*right, (("t", "/s", "none", ""), ("nps", 2))], after)] == [
        ("nps", 2)
    ]


def test_what_came_over_http_is_looked_for_in_the_topics() -> None:
    """By what it says: at the time that the topic has, every copy of it; and where there is none, it is missed."""
    made = [record._replace(over_http=False) for record in records(3, "run", 20, 10**12)]
    direct, twice, lost = made[0], made[1]._replace(over_http=True), made[2]._replace(over_http=True)
    copies = [twice._replace(timestamp=10**13 + n, over_http=False) for n in range(2)]
    received = as_received([direct, twice, lost], [direct, *copies])
    assert sorted(record.timestamp for record in received if record.value == twice.value) == [10**13, 10**13 + 1]
    assert [record for record in received if record.value != twice.value] == [direct, lost]


def test_it_sees_what_is_wrong(stream: ScoreStack) -> None:
    """Events that never came, a response too many and a score that is off by a millionth must all be found."""
    parts = stream.parts
    outcome = play(parts, 5, [], count=300, seconds=0.5)
    assert outcome.exact, outcome.differences[:5]
    zones = dict(zip(tenants(outcome.run), ZONES, strict=True))
    kept = read_topics(parts.kafka, outcome.run)
    sent = as_received(records(5, outcome.run, 300, outcome.start_ms), chain.from_iterable(kept.values()))
    right = expect(sent)

    with closing(parts.client()) as client:

        def found(wanted: Expected) -> Comparison:
            return compare(client, kept, outcome.run, wanted, sent, zones)

        gone = next(iter(right.responses))
        row = right.responses.pop(gone)
        surplus = found(right)
        assert (surplus.lost, surplus.twice) == (0, 1)

        right.responses[gone] = row
        right.responses[(gone[0], gone[1], "never-sent", "")] = row | {"comment": ""}
        missing = found(right)
        assert (missing.lost, missing.twice) == (1, 0)

        del right.responses[(gone[0], gone[1], "never-sent", "")]
        rows = right.responses.values()
        counted = next(r for r in rows if r["metric"] in CROSSED_METRICS and r["band"] and not r["excluded"])
        counted["score"] += 1e-6
        counted["segments"] = {"plan": "none such"}
        wrong = found(right)
        everywhere = {f"{view.name}.sum_score" for view in SCORES if view.name != "cross_tab"}
        assert {d.where for d in wrong.differences} >= {
            *everywhere,
            "enriched_responses.score",
            "customer_events.score",
            "enriched_responses.segments",
            "cross_tab",
        }
