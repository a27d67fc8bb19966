"""Measures freshly made weights and writes the model card beside them.

Always on our own test split; and, where `data` holds them, on corpora that are never trained on. The figures come
from `models.evaluate`, through the same labeler that the product uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from models import convert, evaluate, heads
from models.encoder import Encoder
from models.labeler import Labeler
from models.settings import ModelSettings
from models.training import data as corpora
from models.training.learn import Targets, Tell

CARD = "card.md"
# Measured and never trained on; research and non-commercial licences among them.
UNSEEN = ("olist_pt", "xlmt_pt_val", "xlmt_es_val", "xlmt_en_val", "restmex_es", "sst2_train")


def write(out: Path, data: Path | None, most: int, tell: Tell) -> None:
    """Measures the weights in `out` on at most `most` rows of a part or file, and writes `card.md` there."""
    card = heads.load(out)[1]
    labeler = Labeler.load(ModelSettings(heads=out))
    own = [row for path in sorted(corpora.CORPUS.glob("*.jsonl")) for row in corpora.read_lines(path)
           if row["split"] == "test"]  # fmt: skip
    lines = [
        f"# Model card: {card.name}",
        "",
        f"Labels customer comments: sentiment, {len(card.topics)} topics, the sentiment of each.",
        f"Encoder: {card.encoder}. Version: `{labeler.model_version}`.",
        "",
        "Made with: " + ", ".join(f"{name} {value:g}" for name, value in card.training.items()) + ".",
        "",
        "All figures in %. Macro-F1 over negative, neutral, positive (3) and negative, positive (2).",
        "",
        "| our own test split | rows | exact class of six | within one level | topics macro-F1 | their sentiment |",
        "|---|---|---|---|---|---|",
    ]
    for name, part in _parts(own):
        rows = corpora.shuffled(part)[:most]
        tell(f"measuring {len(rows)} comments: {name}")
        report = evaluate.evaluate(labeler, name, rows)[0]
        figures = (
            report.six_accuracy,
            report.within_one_level,
            report.topics_macro_f1,
            report.topic_sentiment_accuracy,
        )
        lines.append(f"| {name} | {len(rows)} | " + " | ".join(map(_percent, figures)) + " |")
    if data:
        lines += [
            "",
            "| never trained on | rows | macro-F1 (3) | macro-F1 (2) | calibration error |",
            "|---|---|---|---|---|",
        ]
        for name in UNSEEN:
            if (data / f"{name}.jsonl").is_file():
                rows = corpora.shuffled(list(corpora.read_lines(data / f"{name}.jsonl")))[:most]
                tell(f"measuring {len(rows)} comments: {name}")
                report = evaluate.evaluate(labeler, name, rows)[0]
                three = None if {row["label"] for row in rows} <= {"negative", "positive"} else report.macro_f1
                lines.append(_row(name, rows, three, report.binary_macro_f1, report.calibration_error))
        lines += ["", f"Sentiment of restaurant aspects (MAMS, validation part): {_percent(aspects(out, data))}."]
    (out / CARD).write_text("\n".join(lines) + "\n", encoding="utf-8")


def aspects(folder: Path, data: Path) -> float:
    """Share of the told aspects of MAMS whose direction the topic heads of `folder` read rightly."""
    found, card = heads.load(folder)
    encoder = Encoder.load(convert.ensure_default_model())
    heads.apply_to_encoder(folder, encoder.model)
    examples = [example for example in corpora.mams(data, "val") if example.mentions]
    levels = Targets.of(examples, card.topics).levels
    right = total = 0
    for batch in encoder.forward([example.text for example in examples]):
        with torch.inference_mode():
            said = found(batch.hidden, batch.mask).topic_sentiment.softmax(-1)
        directions = torch.stack([said[..., :2].sum(-1), said[..., 2], said[..., 3:].sum(-1)], -1).argmax(-1)
        allowed = levels[batch.rows]
        for direction, level in ((0, 0), (1, 2), (2, 4)):
            told = allowed[..., level] > 0
            right += int((directions[told] == direction).sum())
            total += int(told.sum())
    return right / max(total, 1)


def _parts(rows: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for language in sorted({row["language"] for row in rows}):
        for everyday in (False, True):
            part = [row for row in rows
                    if row["language"] == language and (row["trade"] == corpora.EVERYDAY) == everyday]  # fmt: skip
            if part:
                yield f"{language}, {'everyday' if everyday else 'customers'}", part


def _row(name: str, rows: list[dict[str, Any]], *figures: float | None) -> str:
    return f"| {name} | {len(rows)} | " + " | ".join(map(_percent, figures)) + " |"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
