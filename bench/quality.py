"""Sentiment on corpora that nobody here trained on: ours beside VADER, tf-idf and the frozen encoder.

    python -m bench.quality FOLDER [--rows 320] [--train 4000]

FOLDER holds the corpora (JSON Lines; not shipped, their licences do not allow it). The two learnt baselines are
logistic regressions trained on the same comments as ours: our own corpus, UCI and GoEmotions; on tf-idf of words and
of characters, and on mean-pooled vectors of the same encoder, untouched. To keep this to minutes, they learn from at
most `--train` rows (ours has seen all of them) and at most `--rows` of each corpus are judged, always the same ones.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from bench.report import markdown, save
from models import convert
from models.encoder import Encoder, embed
from models.errors import ModelError
from models.evaluate import calibration_error, macro_f1, three_classes
from models.labeler import Labeler
from models.labelled import DIRECTION, THREE
from models.settings import ModelSettings
from models.text import clean
from models.training import data as corpora

UNSEEN = {
    "xlmt_en_val": ("tweets", "en"), "xlmt_pt_val": ("tweets", "pt"), "xlmt_es_val": ("tweets", "es"),
    "olist_pt": ("shop reviews", "pt"), "restmex_es": ("tourism reviews", "es"), "sst2_train": ("film sentences", "en"),
}  # fmt: skip
Answers = NDArray[np.float64]  # of each comment, how likely negative, neutral and positive are


def main() -> None:
    """Run and save."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder with the corpora, NAME.jsonl")
    parser.add_argument("--rows", type=int, default=320, help="most rows of a corpus that are judged")
    parser.add_argument("--train", type=int, default=4000, help="most rows that the two baselines learn from")
    parser.add_argument("--heads", type=Path, default=None, help="heads of ours; default: the shipped ones")
    options = parser.parse_args()
    there = {name: told for name, told in UNSEEN.items() if (options.folder / f"{name}.jsonl").is_file()}
    if not there:
        sys.exit(
            f"{options.folder} holds none of {', '.join(f'{name}.jsonl' for name in UNSEEN)}: nothing to measure on"
        )
    judged = {name: _rows(options.folder / f"{name}.jsonl", options.rows) for name in there}
    try:
        train = _training(options.folder, options.train)
    except (OSError, ModelError) as error:
        sys.exit(f"the training corpora are not all there: {error}")
    settings = ModelSettings(heads=options.heads)
    labeler = Labeler.load(settings)
    systems: dict[str, Callable[[list[str]], Answers]] = {"VADER": _vader()}
    systems["tf-idf + LR"] = _tfidf(train)
    systems["frozen encoder + LR"] = _frozen(train, settings)
    table = []
    for name, rows in judged.items():
        texts, truth = [row["text"] for row in rows], [row["label"] for row in rows]
        print(f"{name}: {len(rows)} comments", file=sys.stderr, flush=True)
        two = set(truth) <= {"negative", "positive"}
        kind, language = there[name]
        for system, ask in systems.items():
            table.append([kind, language, len(rows), system, *_figures(truth, ask(texts), two, system != "VADER")])
        table.append([kind, language, len(rows), "**ours**", *_ours(labeler, texts, truth, two)])
    columns = [
        "corpus",
        "language",
        "rows",
        "system",
        "macro-F1, 3 classes",
        "macro-F1, 2 classes",
        "calibration error",
    ]
    save(
        "quality",
        "Sentiment on corpora never trained on",
        f"In %. Ours: {labeler.model_version}. VADER knows English only, and gives no probabilities. The learnt "
        f"baselines: logistic regression on {len(train[0])} rows of the corpora that ours learnt from. Two classes: "
        "neutral rows left out, the likelier of negative and positive. Calibration error: ten bins, over three classes "
        "(ours: over negative, neutral, positive and mixed).\n\n" + markdown(columns, table),
    )


def _rows(path: Path, most: int) -> list[dict[str, str]]:
    rows = [row for row in corpora.read_lines(path) if row.get("label") in THREE]
    return corpora.shuffled(rows)[:most]


def _training(folder: Path, most: int) -> tuple[list[str], list[str]]:
    """Texts and classes: our own comments and the public ones in equal parts; mixed ones are no class of three."""
    own = [*corpora.own_corpus("train")]
    public = [*corpora.uci(folder), *corpora.balanced(corpora.goemotions(folder), 6000, 3)]
    chosen = [*corpora.sample(own, most // 2, 3), *corpora.sample(public, most // 2, 3)]
    names = {frozenset({0}): 0, frozenset({1}): 0, frozenset({0, 1}): 0, frozenset({2}): 1,
             frozenset({3}): 2, frozenset({4}): 2, frozenset({3, 4}): 2}  # fmt: skip
    pairs = [(example.text, THREE[names[example.classes]]) for example in chosen if example.classes in names]
    return [text for text, _ in pairs], [name for _, name in pairs]


def _vader() -> Callable[[list[str]], Answers]:
    """Its compound score, -1..1; neutral below 0.05 on either side, as its author says. No probabilities."""
    analyzer = SentimentIntensityAnalyzer()

    def ask(texts: list[str]) -> Answers:
        scores = np.array([analyzer.polarity_scores(text)["compound"] for text in texts])
        return np.stack([-scores, np.full(len(scores), 0.05), scores], 1)

    return ask


def _tfidf(train: tuple[list[str], list[str]]) -> Callable[[list[str]], Answers]:
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=3, sublinear_tf=True, max_features=100_000)
    model = make_pipeline(make_union(words, letters), LogisticRegression(C=4, max_iter=1000, class_weight="balanced"))
    model.fit(*train)
    return lambda texts: np.asarray(model.predict_proba([clean(text) for text in texts]))


def _frozen(train: tuple[list[str], list[str]], settings: ModelSettings) -> Callable[[list[str]], Answers]:
    encoder = Encoder.load(convert.ensure_default_model(settings.dir), threads=settings.threads)
    print(f"reading {len(train[0])} training rows with the frozen encoder", file=sys.stderr, flush=True)
    model = LogisticRegression(C=10, max_iter=2000, class_weight="balanced").fit(embed(encoder, train[0]), train[1])
    return lambda texts: np.asarray(model.predict_proba(embed(encoder, [clean(text) for text in texts])))


def _figures(truth: Sequence[str], answers: Answers, two: bool, calibrated: bool) -> list[str]:
    said = [THREE[at] for at in answers.argmax(1)]
    right = np.array([t == s for t, s in zip(truth, said, strict=True)])
    signs = ["positive" if row[2] > row[0] else "negative" for row in answers]
    calibration = _percent(calibration_error(answers.max(1), right)) if calibrated else "–"
    return ["–" if two else _percent(macro_f1(truth, said, THREE)), _binary(truth, signs), calibration]


def _ours(labeler: Labeler, texts: list[str], truth: Sequence[str], two: bool) -> list[str]:
    answers = labeler.label(texts)
    said = [three_classes(answer) for answer in answers]
    right = np.array([DIRECTION[answer.sentiment] == t for answer, t in zip(answers, truth, strict=True)])
    signs = ["positive" if answer.sentiment_score > 0 else "negative" for answer in answers]
    calibration = calibration_error(np.array([answer.confidence for answer in answers]), right)
    return ["–" if two else _percent(macro_f1(truth, said, THREE)), _binary(truth, signs), _percent(calibration)]


def _binary(truth: Sequence[str], signs: Sequence[str]) -> str:
    pairs = [(t, s) for t, s in zip(truth, signs, strict=True) if t != "neutral"]
    return _percent(macro_f1([t for t, _ in pairs], [s for _, s in pairs], ("negative", "positive")))


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


if __name__ == "__main__":
    main()
