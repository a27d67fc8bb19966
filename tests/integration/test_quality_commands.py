"""`evaluate`, `compare` and `topics` as people call them, on the real model."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeline import cli
from pipeline.cli import console
from tests.integration.clickhouse_rig import insert_responses, random_response
from tests.integration.store_stack import store
from tests.integration.test_models_discover import DOGS, PLUGS

LABELLED = [
    ("Great phone, I love it!", "en", "very_positive"), ("Terrible service, never again.", "en", "very_negative"),
    ("Picked the parcel up on Tuesday.", "en", "neutral"), ("Péssimo, nunca mais compro", "pt", "very_negative"),
    ("Produto excelente, recomendo muito", "pt", "very_positive"), ("Muy buen producto", "es", "positive"),
    ("Una vergüenza, nadie me da una solución", "es", "very_negative"), ("Normal, ni bien ni mal", "es", "neutral"),
]  # fmt: skip
TAXONOMY = """\
version: 1
parents: {pets: {en: Pets}, cars: {en: Cars}}
topics:
- {id: pets.dogs, name: {en: Dogs}, description: {en: dogs at the hotel}}
- {id: cars.charger, name: {en: Charger}, description: {en: charging an electric car}}
"""


class Said(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def vocstream(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The program's own `main`, in this process: torch is imported once for all."""
    for where in (console.out, console.err):
        monkeypatch.setattr(where, "width", 200)

    def run(*arguments: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["vocstream", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Said(int(ended.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def taxonomy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text(TAXONOMY, encoding="utf-8")
    monkeypatch.setenv("VOC_MODEL_TAXONOMY", str(path))
    return path


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_evaluate_tells_figures_a_language_and_writes_a_report(tmp_path: Path, vocstream: Command) -> None:
    file = tmp_path / "mine.csv"
    rows = [f'"{text}",{language},{sentiment},test' for text, language, sentiment in LABELLED]
    file.write_text("\n".join(["comment,language,sentiment,split", *rows, "left out,en,mixed,train"]), encoding="utf-8")
    said = vocstream("evaluate", file, "--split", "test", "--html", tmp_path / "r.html", "--json")
    assert said.code == 0, said.err
    reports = json.loads(said.out)["reports"]
    assert [(report["language"], report["rows"]) for report in reports] == [("", 8), ("en", 3), ("es", 3), ("pt", 2)]
    assert reports[0]["macro_f1"] > 0.6
    assert sum(sum(row.values()) for row in reports[0]["six_confusion"].values()) == 8
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count("calibration curve") == 4


def test_compare_says_in_a_sentence_who_is_better(tmp_path: Path, vocstream: Command) -> None:
    file = lines(tmp_path / "f.jsonl", [{"text": t, "sentiment": s, "topics": []} for t, _, s in LABELLED])
    said = vocstream("compare", "default:fp32", "default:fp32", file)
    assert said.code == 0, said.err
    assert "No difference between default:fp32 and default:fp32 can be told" in " ".join(said.out.split())
    assert "100.0 %" in said.out


@pytest.mark.parametrize("command", [["evaluate"], ["compare", "default", "default"], ["topics", "fit"]])
def test_bad_lines_are_told_with_file_and_number(command: list[str], tmp_path: Path, vocstream: Command) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text('{"text": "ok", "label": "positive"}\n{"text": "x", "label": "good"}\nnonsense\n', encoding="utf-8")
    said = vocstream(*command, file)
    assert said.code == 2
    assert "f.jsonl, line 2: `label` is 'good': expected negative, neutral, positive" in " ".join(said.err.split())
    assert "line 3: not JSON" in said.err
    assert "2 of 3 rows" in said.err


def test_a_split_that_is_not_there_is_told_with_those_that_are(tmp_path: Path, vocstream: Command) -> None:
    file = lines(tmp_path / "f.jsonl", [{"text": "x", "label": "neutral", "split": "test"}])
    said = vocstream("evaluate", file, "--split", "tets")
    assert said.code == 2
    assert "its splits: test" in said.err


def test_a_model_that_cannot_be_loaded_is_named(
    tmp_path: Path, vocstream: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOC_MODEL_HEADS", str(tmp_path / "no-such-heads"))
    said = vocstream("classify", "bom")
    assert said.code == 2
    assert "no-such-heads" in said.err
    monkeypatch.delenv("VOC_MODEL_HEADS")
    monkeypatch.setenv("VOC_MODEL_FITTED_TOPICS", str(tmp_path / "none.safetensors"))
    assert "none.safetensors" in vocstream("classify", "bom").err


def test_topics_are_fitted_to_examples_and_then_found(
    tmp_path: Path, taxonomy: Path, vocstream: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"text": text, "topics": ["pets.dogs"]} for text in DOGS[:8]]
    rows += [{"text": text, "topics": ["cars.charger"]} for text in PLUGS[:8]]
    rows += [{"text": text, "topics": []} for text, _, _ in LABELLED]
    target = tmp_path / "t.safetensors"
    said = vocstream("topics", "fit", lines(tmp_path / "f.jsonl", rows), "--out", target, "--json")
    assert said.code == 0, said.err
    topics = json.loads(said.out)["topics"]
    assert [topic["examples"] for topic in topics] == [8, 8]
    assert all(topic["fitted"] > 0.6 for topic in topics)

    monkeypatch.setenv("VOC_MODEL_FITTED_TOPICS", str(target))
    listed = json.loads(vocstream("topics", "list", "--json").out)
    assert {row["found by"] for row in listed} == {"your examples"}
    asked = lines(
        tmp_path / "asked.jsonl",
        [{"text": DOGS[9]}, {"text": PLUGS[9]}, {"text": "Terrible service, I will not be back."}],
    )
    found = [json.loads(line)["topics"] for line in vocstream("classify", asked).out.splitlines()]
    assert found == [["pets.dogs"], ["cars.charger"], ["other"]]
    assert "+fitted-" in json.loads(vocstream("classify", asked).out.splitlines()[0])["model_version"]
    monkeypatch.setenv("VOC_MODEL_ENCODER", str(tmp_path / "another"))
    assert vocstream("topics", "fit", tmp_path / "f.jsonl").code == 2


def test_topics_that_are_missing_are_proposed_and_accepted(tmp_path: Path, taxonomy: Path, vocstream: Command) -> None:
    taxonomy.write_text(
        "version: 1\nparents:\n  tax: {en: Tax}\ntopics:\n"
        "- {id: tax.form, name: {en: Tax form}, description: {en: the annual income tax form}}\n",
        encoding="utf-8",
    )
    file = lines(tmp_path / "c.jsonl", [{"comment": text} for text in DOGS + PLUGS])
    said = vocstream("topics", "discover", file, "--smallest", "5", "--data", tmp_path / "d", "--json")
    assert said.code == 0, said.err
    assert len(json.loads(said.out)) >= 2
    said = vocstream("topics", "accept", "1", "--data", tmp_path / "d", "--id", "found.one", "--name", "The first")
    assert said.code == 0, said.err
    assert "found.one" in taxonomy.read_text(encoding="utf-8")
    listed = json.loads(vocstream("topics", "list", "--json").out)
    assert [row["topic"] for row in listed] == ["tax.form", "found.one"]
    assert {row["found by"] for row in listed} == {"description"}
    assert "there is no proposal 99" in vocstream("topics", "accept", "99", "--data", tmp_path / "d").err
    assert "topics discover first" in vocstream("topics", "accept", "1", "--data", tmp_path / "none").err


def test_an_nli_model_is_listed_as_what_finds_the_topics(
    taxonomy: Path, vocstream: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOC_MODEL_TOPICS", "some/nli")
    listed = json.loads(vocstream("topics", "list", "--json").out)
    assert {row["found by"] for row in listed} == {"some/nli"}


def test_comments_of_the_store_that_fit_no_topic_are_proposed(
    tmp_path: Path, taxonomy: Path, vocstream: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store(tmp_path / "store") as handle:
        monkeypatch.setenv("VOC_CLICKHOUSE_URL", handle.url)
        assert vocstream("migrate").code == 0
        generator = random.Random(1)
        told = {"topics": ["other"], "topic_sentiments": ["negative"], "sentiment": "negative"}
        rows = [random_response(generator, at)._replace(comment=text, **told) for at, text in enumerate(DOGS + PLUGS)]
        with closing(handle.client()) as client:
            insert_responses(client, [*rows, rows[0]._replace(response_id="known", topics=["pets.dogs"])])
        said = vocstream("topics", "discover", "--smallest", "5", "--data", tmp_path, "--json")
    assert said.code == 0, said.err
    proposals = json.loads(said.out)
    assert len(proposals) >= 2
    assert all(proposal["net_sentiment"] == -100 for proposal in proposals)
    assert "vocstream up" in vocstream("topics", "discover", "--data", tmp_path).err
