"""`vocstream emit` on a running stream: envelopes, CSV and JSON Lines of comments, bad lines, and real files."""

from __future__ import annotations

import csv
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pipeline.generator import events
from tests.integration.stream_fixture import ROOT, Run, ScoreStack, response, vocstream

SHARED = ROOT.parent / "shared" / "data"
REVIEWS = [
    {"text": 'Chegou rápido, "adorei"', "rating": "5", "plan": "gold", "id": "a1"},
    {"text": "Mala calidad;\nno lo compren", "rating": "1", "plan": "", "id": "a2"},
    {"text": "", "rating": "3", "plan": "basic", "id": "a3"},
]


def emit(stream: ScoreStack, *arguments: str | Path, stdin: str | None = None) -> Run:
    return vocstream("emit", *arguments, "--data", stream.address.data, stdin=stdin)


def acknowledged(run: Run) -> dict[str, Any]:
    """What `emit --json` reports."""
    assert run.returncode == 0, run.stderr
    report: dict[str, Any] = json.loads(run.stdout)
    return report


def totals(stream: ScoreStack, tenant: str) -> dict[str, Any]:
    """Distinct responses, scored ones and the mean score of a tenant."""
    [row] = stream.address.rows(
        "SELECT sum(n) AS scored, sum(sum_score) / sum(n) AS mean FROM feedback.scores_daily WHERE tenant = {t:String}",
        t=tenant,
    )
    return {"responses": stream.address.responses(tenant)} | row


def test_envelopes_go_through_and_again_changes_nothing(stream: ScoreStack, tenant: str, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    made = [event | {"data": event["data"] | {"tenant": tenant}} for event in events(300, 5, source=tenant)]
    file.write_text("\n".join(map(json.dumps, made)), "utf-8")
    identities = {e["data"]["response_id"] for e in made if "response_id" in e["data"]}
    actions = {e["data"]["interaction_id"] for e in made if "interaction_id" in e["data"]}

    assert acknowledged(emit(stream, file, "--json")) == {"acknowledged": len(made), "bad": []}
    stream.address.wait_for_responses(tenant, len(identities))
    before = totals(stream, tenant)
    assert before["scored"] == len(identities)
    sql = "SELECT count() FROM feedback.interactions FINAL WHERE tenant = {t:String}"
    assert stream.address.count(sql, t=tenant) == len(actions)

    acknowledged(emit(stream, file, "--json"))
    last = f"{tenant}-last"  # once this is there, so is what was sent before it to every partition
    _flush(stream, last)
    assert totals(stream, tenant) == before


def _flush(stream: ScoreStack, tenant: str) -> None:
    """Send enough other responses to reach every partition, and wait for them."""
    made = [response(tenant, f"r{i}", metric="nps", score=1, customer_id=f"c{i}") for i in range(64)]
    assert emit(stream, "-", stdin="\n".join(map(json.dumps, made))).returncode == 0
    stream.address.wait_for_responses(tenant, 64)


def test_csv_with_a_map(stream: ScoreStack, tenant: str, tmp_path: Path) -> None:
    file = tmp_path / "reviews.csv"
    with file.open("w", encoding="utf-8-sig", newline="") as out:
        writer = csv.DictWriter(out, list(REVIEWS[0]))
        writer.writeheader()
        writer.writerows(REVIEWS)
    maps = ("--map", "text=comment", "--map", "rating=score", "--map", "plan=segments.plan", "--map", "id=response_id")
    run = emit(stream, file, *maps, "--set", "metric=stars", "--set", f"tenant={tenant}", "--json")
    assert acknowledged(run)["acknowledged"] == 3
    stream.address.wait_for_responses(tenant, 3)
    rows = stream.address.rows(
        "SELECT * FROM feedback.enriched_responses WHERE tenant = {t:String} ORDER BY response_id", t=tenant
    )
    assert [(row["response_id"], row["comment"], row["score"]) for row in rows] == [
        (review["id"], review["text"], float(review["rating"])) for review in REVIEWS
    ]
    assert [json.loads(row["segments"]) for row in rows] == [{"plan": "gold"}, {}, {"plan": "basic"}]


def test_a_bad_line_is_told_with_its_number_and_skipped_only_when_asked(
    stream: ScoreStack, tenant: str, tmp_path: Path
) -> None:
    file = tmp_path / "events.jsonl"
    good = [json.dumps(response(tenant, f"r{i}", metric="nps", score=9)) for i in range(4)]
    bad = json.dumps(response(tenant, "bad", metric="nps", score=99))
    file.write_text("\n".join([good[0], "", good[1], bad, good[2], "{not json", good[3]]), "utf-8")

    stopped = emit(stream, file)
    assert stopped.returncode == 2
    assert "line 4" in stopped.stderr
    assert "score_out_of_scale" in stopped.stderr
    assert "2 events" in " ".join(stopped.stderr.split())
    stream.address.wait_for_responses(tenant, 2)

    skipped = acknowledged(emit(stream, file, "--skip-bad", "--json"))
    assert skipped["acknowledged"] == 4
    assert [line["number"] for line in skipped["bad"]] == [4, 6]
    stream.address.wait_for_responses(tenant, 4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-file.jsonl"], "no file"),
        (["pyproject.toml", "--map", "text"], "NAME=NAME"),
        (["pyproject.toml", "--map", "text=komment"], "komment"),
    ],
)
def test_a_wrong_call_is_told_in_a_sentence(stream: ScoreStack, arguments: list[str], said: str) -> None:
    run = emit(stream, *arguments)
    assert run.returncode == 2
    assert said in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("name", ["olist_pt", "restmex_es", "uci_sentences"])
@pytest.mark.parametrize("limit", [400, pytest.param(None, marks=pytest.mark.slow)])
def test_real_files_come_out_as_they_went_in(
    stream: ScoreStack, tenant: str, tmp_path: Path, name: str, limit: int | None
) -> None:
    """Rows, distinct responses and mean star equal what a few lines of Python say of the file."""
    original = SHARED / f"{name}.jsonl"
    if not original.exists():
        pytest.skip(f"{original.name} is not on this machine")
    with original.open(encoding="utf-8") as lines:
        chosen = list(islice(lines, limit))
    file = tmp_path / original.name
    file.write_text("".join(chosen), "utf-8")
    stars = [row["star"] for row in map(json.loads, chosen) if row.get("star") is not None]

    maps = ["--map", "text=comment", "--map", "lang=language", "--set", f"tenant={tenant}"]
    if stars:
        maps += ["--map", "star=score", "--set", "metric=stars"]
    assert acknowledged(emit(stream, file, *maps, "--json")) == {"acknowledged": len(chosen), "bad": []}
    stream.address.wait_for_responses(tenant, len(chosen))
    found = totals(stream, tenant)
    assert found["scored"] == len(stars)
    if stars:
        assert found["mean"] == pytest.approx(sum(stars) / len(stars), rel=1e-12)
