"""Measures a labeler on labelled comments: accuracy, macro-F1 (three classes and two), confusion, calibration.

    python -m models.evaluate FILE.jsonl ...

Each line holds `text`, `label` (negative, neutral, positive) and `lang`; files of our own corpus (`sentiment`,
`topics`) are measured on six classes, topics and the sentiment of each topic as well. Rows go in, numbers come out:
nothing is learnt here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.labeler import Labeler
from models.settings import ModelSettings
from models.training.data import read_lines
from schemas.labels import Labels, Sentiment

THREE = ("negative", "neutral", "positive")
DIRECTION = {
    Sentiment.VERY_NEGATIVE: "negative", Sentiment.NEGATIVE: "negative", Sentiment.NEUTRAL: "neutral",
    Sentiment.POSITIVE: "positive", Sentiment.VERY_POSITIVE: "positive", Sentiment.MIXED: "mixed",
    Sentiment.UNKNOWN: "neutral",
}  # fmt: skip
SCALE = {
    Sentiment.VERY_NEGATIVE: -2, Sentiment.NEGATIVE: -1, Sentiment.NEUTRAL: 0, Sentiment.MIXED: 0,
    Sentiment.UNKNOWN: 0, Sentiment.POSITIVE: 1, Sentiment.VERY_POSITIVE: 2,
}  # fmt: skip
BINS = 10
WORST = 20  # mistakes that are shown


@dataclass
class Report:
    """Figures of one file; None where it has no labels for them. Shares are 0..1."""

    file: str
    rows: int
    accuracy: float | None = None
    macro_f1: float | None = None
    binary_macro_f1: float | None = None
    calibration_error: float | None = None
    confusion: dict[str, dict[str, int]] = field(default_factory=dict)
    six_accuracy: float | None = None
    within_one_level: float | None = None
    topics_macro_f1: float | None = None
    topics_micro_f1: float | None = None
    topic_sentiment_accuracy: float | None = None
    curve: list[tuple[float, float, int]] = field(default_factory=list)
    mistakes: list[dict[str, Any]] = field(default_factory=list)


def macro_f1(truth: Sequence[str], said: Sequence[str], classes: Sequence[str]) -> float:
    """Mean over `classes` of F1; a class that is neither there nor said is left out."""
    scores = []
    for name in classes:
        right = sum(t == s == name for t, s in zip(truth, said, strict=True))
        total = sum(t == name for t in truth) + sum(s == name for s in said)
        if total:
            scores.append(2 * right / total)
    return float(np.mean(scores)) if scores else 0.0


def calibration_curve(
    confidence: NDArray[Any], right: NDArray[Any], bins: int = BINS
) -> list[tuple[float, float, int]]:
    """Mean confidence, accuracy and size of each equal-width bin that holds anything."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    inside = [place == at for at in range(bins) if (place == at).any()]
    return [(float(confidence[i].mean()), float(right[i].mean()), int(i.sum())) for i in inside]


def calibration_error(confidence: NDArray[Any], right: NDArray[Any], bins: int = BINS) -> float:
    """Expected calibration error: |mean confidence - accuracy| over the bins, weighted by their size."""
    curve = calibration_curve(confidence, right, bins)
    return sum(abs(sure - share) * count for sure, share, count in curve) / max(len(confidence), 1)


def three_classes(labels: Labels) -> str:
    """Negative, neutral or positive; `mixed` goes where its score leans, else to neutral."""
    direction = DIRECTION[labels.sentiment]
    if direction != "mixed":
        return direction
    return "neutral" if abs(labels.sentiment_score) < 0.1 else THREE[1 + int(np.sign(labels.sentiment_score))]


def measure(name: str, rows: Sequence[dict[str, Any]], answers: Sequence[Labels]) -> Report:
    """Figures for labelled `rows` and the `answers` to them, in the same order."""
    report = Report(name, len(rows))
    truth, said, confidence, right = [], [], [], []
    for row, answer in zip(rows, answers, strict=True):
        if row.get("label") in THREE:
            truth.append(row["label"])
            said.append(three_classes(answer))
            confidence.append(answer.confidence)
            right.append(DIRECTION[answer.sentiment] == row["label"])
    if truth:
        pairs = list(zip(truth, said, strict=True))
        report.accuracy = float(np.mean([t == s for t, s in pairs]))
        report.macro_f1 = macro_f1(truth, said, THREE)
        report.confusion = {t: {s: pairs.count((t, s)) for s in THREE} for t in THREE}
        report.calibration_error = calibration_error(np.array(confidence), np.array(right))
        report.curve = calibration_curve(np.array(confidence), np.array(right))
        report.mistakes = _mistakes(rows, answers)
        _binary(report, rows, answers)
    if any("sentiment" in row for row in rows):
        _own(report, rows, answers)
    return report


def _mistakes(rows: Sequence[dict[str, Any]], answers: Sequence[Labels]) -> list[dict[str, Any]]:
    """The wrong answers that were given with most confidence."""
    wrong = [
        {"text": row["text"], "label": row["label"], "said": answer.sentiment, "confidence": answer.confidence}
        for row, answer in zip(rows, answers, strict=True)
        if row.get("label") in THREE and DIRECTION[answer.sentiment] != row["label"]
    ]
    return sorted(wrong, key=lambda mistake: -mistake["confidence"])[:WORST]


def evaluate(labeler: Labeler, name: str, rows: Sequence[dict[str, Any]]) -> list[Report]:
    """Figures of all `rows` (`text` and labels, see the module), then of each language where there are several."""
    answers = labeler.label([row["text"] for row in rows])
    reports = [measure(name, rows, answers)]
    languages = sorted({str(row.get("lang") or row.get("language") or "") for row in rows})
    if len(languages) > 1:
        for language in languages:
            part = [at for at, row in enumerate(rows) if (row.get("lang") or row.get("language") or "") == language]
            reports.append(measure(f"{name} {language}", [rows[at] for at in part], [answers[at] for at in part]))
    return reports


def _binary(report: Report, rows: Sequence[dict[str, Any]], answers: Sequence[Labels]) -> None:
    """Neutral rows are left out; the sign of the score decides."""
    pairs = [
        (row["label"], "positive" if answer.sentiment_score > 0 else "negative")
        for row, answer in zip(rows, answers, strict=True)
        if row.get("label") in ("negative", "positive")
    ]
    if pairs:
        report.binary_macro_f1 = macro_f1([t for t, _ in pairs], [s for _, s in pairs], ("negative", "positive"))


def _own(report: Report, rows: Sequence[dict[str, Any]], answers: Sequence[Labels]) -> None:
    report.six_accuracy = float(
        np.mean([row["sentiment"] == a.sentiment for row, a in zip(rows, answers, strict=True)])
    )
    near = [
        row["sentiment"] == a.sentiment
        or ("mixed" not in (row["sentiment"], a.sentiment) and
            abs(SCALE[Sentiment(row["sentiment"])] - SCALE[a.sentiment]) <= 1)
        for row, a in zip(rows, answers, strict=True)
    ]  # fmt: skip
    report.within_one_level = float(np.mean(near))
    true = [{m["topic"]: m["sentiment"] for m in row["topics"]} for row in rows]
    said = [{m.topic: m.sentiment for m in a.topics if m.topic != "other"} for a in answers]
    names = sorted({topic for mentions in true for topic in mentions})
    f1, hits, total = [], 0, 0
    for name in names:
        both = sum(name in t and name in s for t, s in zip(true, said, strict=True))
        sizes = sum(name in t for t in true) + sum(name in s for s in said)
        f1.append(2 * both / sizes)
        hits, total = hits + 2 * both, total + sizes
    report.topics_macro_f1 = float(np.mean(f1)) if f1 else None
    report.topics_micro_f1 = hits / total if total else None
    same = [
        DIRECTION[Sentiment(t[name])] == DIRECTION[s[name]]
        for t, s in zip(true, said, strict=True) for name in t if name in s
    ]  # fmt: skip
    report.topic_sentiment_accuracy = float(np.mean(same)) if same else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--heads", type=Path, default=None)
    parser.add_argument("--split", default=None, help="only rows of this split (our own corpus)")
    parser.add_argument("--html", type=Path, default=None, help="write a report with plots here")
    parser.add_argument("--limit", type=int, default=None, help="at most this many rows of a file")
    options = parser.parse_args(arguments)
    from models.report import render  # it needs the classes of this module

    labeler = Labeler.load(ModelSettings(heads=options.heads), progress=True)
    reports: list[Report] = []
    for path in options.files:
        rows = [row for row in read_lines(path) if options.split in (None, row.get("split"))][: options.limit]
        found = evaluate(labeler, path.name, rows)
        reports += found
        for report in found:
            print(json.dumps({k: v for k, v in asdict(report).items() if k not in ("curve", "mistakes")}), flush=True)
    if options.html:
        options.html.write_text(render(reports, labeler.model_version), encoding="utf-8")


if __name__ == "__main__":
    main()
