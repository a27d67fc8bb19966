"""Measures a labeler on labelled comments: accuracy, macro-F1 (three classes and two), confusion, calibration, topics.

Rows (`models.labelled` says of what form) go in, numbers come out: nothing is learnt here. Each figure is over the
rows that tell what it needs, so a file of three classes has no figure of topics. `vocstream evaluate` shows the
numbers, `models.report` draws them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.labelled import DIRECTION, SIX, THREE, Labelled
from schemas.labels import Labels, Sentiment

SCALE = {
    Sentiment.VERY_NEGATIVE: -2, Sentiment.NEGATIVE: -1, Sentiment.NEUTRAL: 0, Sentiment.MIXED: 0,
    Sentiment.UNKNOWN: 0, Sentiment.POSITIVE: 1, Sentiment.VERY_POSITIVE: 2,
}  # fmt: skip
BINS = 10
WORST = 20  # mistakes that are shown
_AT_ONCE = 256  # comments between two steps of a progress bar

Confusion = dict[str, dict[str, int]]


class Asked(Protocol):
    """What is measured: `models.labeler.Labeler`, or anything that labels as it does."""

    def label(self, texts: Sequence[str]) -> list[Labels]: ...


@dataclass(frozen=True)
class TopicFigures:
    """How well one topic is found. `sentiment`: share of the found mentions whose direction is right."""

    topic: str
    mentions: int
    precision: float | None
    recall: float | None
    f1: float
    sentiment: float | None


@dataclass
class Report:
    """Figures of one file, or of one language of it; None where it has no labels for them. Shares are 0..1."""

    file: str
    rows: int
    language: str = ""
    accuracy: float | None = None
    macro_f1: float | None = None
    binary_macro_f1: float | None = None
    calibration_error: float | None = None
    confusion: Confusion = field(default_factory=dict)
    six_accuracy: float | None = None
    within_one_level: float | None = None
    six_confusion: Confusion = field(default_factory=dict)
    topics_macro_f1: float | None = None
    topics_micro_f1: float | None = None
    topic_sentiment_accuracy: float | None = None
    topics: list[TopicFigures] = field(default_factory=list)
    curve: list[tuple[float, float, int]] = field(default_factory=list)
    mistakes: list[dict[str, Any]] = field(default_factory=list)


def evaluate(
    labeler: Asked,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    advance: Callable[[int], object] = lambda count: None,
) -> list[Report]:
    """Figures of all `rows`, then of each language where there are several; `advance` is told how many are done.

    Raises LabelError on a row that is not a labelled comment.
    """
    comments = [Labelled.of(row) for row in rows]
    answers = labelled_by(labeler, comments, advance)
    reports = [measure(name, comments, answers)]
    languages = sorted({comment.language for comment in comments} - {""})
    for language in languages if len(languages) > 1 else []:
        part = [at for at, comment in enumerate(comments) if comment.language == language]
        report = measure(f"{name} {language}", [comments[at] for at in part], [answers[at] for at in part])
        report.language = language
        reports.append(report)
    return reports


def labelled_by(
    labeler: Asked, comments: Sequence[Labelled], advance: Callable[[int], object] = lambda count: None
) -> list[Labels]:
    """The labeler's answers, in order."""
    answers: list[Labels] = []
    for start in range(0, len(comments), _AT_ONCE):
        chunk = comments[start : start + _AT_ONCE]
        answers += labeler.label([comment.text for comment in chunk])
        advance(len(chunk))
    return answers


def measure(name: str, comments: Sequence[Labelled], answers: Sequence[Labels]) -> Report:
    """Figures for labelled `comments` and the `answers` to them, in the same order."""
    report = Report(name, len(comments))
    pairs = list(zip(comments, answers, strict=True))
    _sentiment(report, [(c, a) for c, a in pairs if c.direction in THREE])
    _calibration(report, [(c, a) for c, a in pairs if c.direction is not None])
    _levels(report, [(c.sentiment, a) for c, a in pairs if c.sentiment is not None])
    _topics(report, [(c.topics, a) for c, a in pairs if c.topics is not None])
    return report


def three_classes(labels: Labels) -> str:
    """Negative, neutral or positive; `mixed` goes where its score leans, else to neutral."""
    direction = DIRECTION[labels.sentiment]
    if direction != "mixed":
        return direction
    return "neutral" if abs(labels.sentiment_score) < 0.1 else THREE[1 + int(np.sign(labels.sentiment_score))]


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


def _sentiment(report: Report, pairs: Sequence[tuple[Labelled, Labels]]) -> None:
    """Three classes; and two, by the sign of the score, where neutral rows are left out."""
    if not pairs:
        return
    truth = [str(comment.direction) for comment, _ in pairs]
    said = [three_classes(answer) for _, answer in pairs]
    report.accuracy = float(np.mean([t == s for t, s in zip(truth, said, strict=True)]))
    report.macro_f1 = macro_f1(truth, said, THREE)
    report.confusion = _confusion(truth, said, THREE)
    signs = [("positive" if answer.sentiment_score > 0 else "negative", comment.direction)
             for comment, answer in pairs if comment.direction != "neutral"]  # fmt: skip
    if signs:
        report.binary_macro_f1 = macro_f1([str(t) for _, t in signs], [s for s, _ in signs], ("negative", "positive"))


def _calibration(report: Report, pairs: Sequence[tuple[Labelled, Labels]]) -> None:
    """The confidence is that of the direction (`models.sentiment`), and so is what counts as right."""
    if not pairs:
        return
    right = np.array([DIRECTION[answer.sentiment] == comment.direction for comment, answer in pairs])
    confidence = np.array([answer.confidence for _, answer in pairs])
    report.calibration_error = calibration_error(confidence, right)
    report.curve = calibration_curve(confidence, right)
    wrong = [
        {"text": c.text, "label": str(c.sentiment or c.direction), "said": str(a.sentiment), "confidence": a.confidence}
        for (c, a), is_right in zip(pairs, right, strict=True)
        if not is_right
    ]
    report.mistakes = sorted(wrong, key=lambda mistake: -float(str(mistake["confidence"])))[:WORST]


def _levels(report: Report, pairs: Sequence[tuple[Sentiment, Labels]]) -> None:
    """Five levels and mixed; within one level counts neighbours as right, and mixed only as itself."""
    if not pairs:
        return
    truth, said = [str(t) for t, _ in pairs], [str(a.sentiment) for _, a in pairs]
    report.six_accuracy = float(np.mean([t == s for t, s in zip(truth, said, strict=True)]))
    near = [t == a.sentiment or ("mixed" not in (t, a.sentiment) and abs(SCALE[t] - SCALE[a.sentiment]) <= 1)
            for t, a in pairs]  # fmt: skip
    report.within_one_level = float(np.mean(near))
    report.six_confusion = _confusion(truth, said, SIX)


def _topics(report: Report, pairs: Sequence[tuple[Mapping[str, Sentiment | None], Labels]]) -> None:
    """Over the topics that the file mentions; a comment's `other` is no topic."""
    if not pairs:
        return
    true = [told for told, _ in pairs]
    said = [{m.topic: m.sentiment for m in answer.topics if m.topic != "other"} for _, answer in pairs]
    hits = total = 0
    agreed: list[bool] = []
    for name in sorted({topic for told in true for topic in told}):
        there, found = sum(name in t for t in true), sum(name in s for s in said)
        both = [(t[name], s[name]) for t, s in zip(true, said, strict=True) if name in t and name in s]
        same = [DIRECTION[told] == DIRECTION[feeling] for told, feeling in both if told is not None]
        f1 = 2 * len(both) / (there + found)
        precision = len(both) / found if found else None
        sentiment = float(np.mean(same)) if same else None
        report.topics.append(TopicFigures(name, there, precision, len(both) / there, f1, sentiment))
        hits, total = hits + 2 * len(both), total + there + found
        agreed += same
    if report.topics:
        report.topics_macro_f1 = float(np.mean([topic.f1 for topic in report.topics]))
        report.topics_micro_f1 = hits / total
        report.topic_sentiment_accuracy = float(np.mean(agreed)) if agreed else None


def _confusion(truth: Sequence[str], said: Sequence[str], classes: Sequence[str]) -> Confusion:
    pairs = list(zip(truth, said, strict=True))
    return {t: {s: pairs.count((t, s)) for s in classes} for t in classes}
