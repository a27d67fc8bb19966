"""`vocstream classify FILE`: one line of labels for each comment, in order, without broker or store."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.stream_fixture import vocstream

COMMENTS = ["Adorei, entrega rápida!", "", "El paquete llegó roto, pésimo", "works as described, very happy with it"]


def test_a_file_is_labelled_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "comments.jsonl"
    file.write_text("\n".join(json.dumps({"comment": comment}) for comment in COMMENTS), "utf-8")
    run = vocstream("classify", file, "--format", "jsonl")
    assert run.returncode == 0, run.stderr
    labels = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(labels) == len(COMMENTS)
    assert all({"sentiment", "sentiment_score", "topics", "language"} <= line.keys() for line in labels)
    assert "positive" in labels[0]["sentiment"]
    assert labels[1]["sentiment"] == "unknown"
    assert "negative" in labels[2]["sentiment"]
    assert "positive" in labels[3]["sentiment"]
    assert [labels[place]["language"] for place in (0, 2, 3)] == ["pt", "es", "en"]


def test_a_line_that_is_no_comment_is_told_with_its_number(tmp_path: Path) -> None:
    file = tmp_path / "comments.jsonl"
    file.write_text('{"comment": "bom"}\n{"remark": "bad"}\n', "utf-8")
    run = vocstream("classify", file)
    assert run.returncode == 2
    assert "line 2" in run.stderr
    assert "Traceback" not in run.stderr
