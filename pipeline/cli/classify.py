"""`vocstream classify`: what the model says of one comment or of a file of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.console import Failure, out, table
from pipeline.files import BadLine, read_rows
from schemas.labels import Labels

_AT_ONCE = 512  # comments handed to the model together


class Format(StrEnum):
    """How `classify` prints."""

    TEXT = "text"
    JSONL = "jsonl"


def register(app: typer.Typer) -> None:
    app.command()(classify)


def classify(
    what: Annotated[
        str, typer.Argument(help='A comment in quotes, or a file of JSON Lines or CSV with a "comment" each.')
    ],
    output: Annotated[
        Format | None, typer.Option("--format", help="Default: text for a comment, jsonl for a file.")
    ] = None,
) -> None:
    """Label comments: sentiment, topics with a sentiment of their own, and language. Needs no broker and no store.

    [dim]vocstream classify "Produto ótimo, mas a entrega atrasou"[/dim]

    [dim]vocstream classify comments.jsonl --format jsonl > labels.jsonl[/dim]
    """
    file = Path(what)
    is_file = len(what) < 1024 and "\n" not in what and file.is_file()
    comments = _comments(file) if is_file else iter([what])
    form = output or (Format.JSONL if is_file else Format.TEXT)
    from models.labeler import Labeler
    from models.settings import ModelSettings
    from pipeline.models_at_hand import ensure_models

    ensure_models()
    labeler = Labeler.load(ModelSettings())
    while chunk := list(islice(comments, _AT_ONCE)):
        for comment, labels in zip(chunk, labeler.label(chunk), strict=True):
            if form is Format.JSONL:
                print(json.dumps(as_record(labels), ensure_ascii=False), flush=True)
            else:
                _print(comment, labels)


def as_record(labels: Labels) -> dict[str, Any]:
    """Labels as one flat record: the line that `classify --format jsonl` writes."""
    return {
        "sentiment": labels.sentiment.value,
        "sentiment_score": round(labels.sentiment_score, 4),
        "confidence": round(labels.confidence, 4),
        "topics": [mention.topic for mention in labels.topics],
        "topic_sentiments": {mention.topic: mention.sentiment.value for mention in labels.topics},
        "language": labels.language,
        "model_version": labels.model_version,
    }


def _comments(file: Path) -> Iterator[str]:
    for number, row in read_rows(file):
        if isinstance(row, BadLine):
            raise Failure(f'{file}, line {number}: expected {{"comment": "..."}}: {row.error}')
        if "comment" not in row and "text" not in row:
            there = ", ".join(map(str, row)) or "nothing"
            raise Failure(f"{file}, line {number}: expected `comment` (or `text`), it has {there}")
        comment = row["comment"] if "comment" in row else row["text"]
        yield comment if isinstance(comment, str) else ""


def _print(comment: str, labels: Labels) -> None:
    out.print(comment, style="italic", highlight=False, markup=False)
    out.print(
        f"[bold]{labels.sentiment.value}[/bold] ({labels.sentiment_score:+.2f}, confidence {labels.confidence:.2f}), "
        f"language {labels.language}, model {labels.model_version}",
        highlight=False,
    )
    if labels.topics:
        rows = [(m.topic, m.sentiment.value, f"{m.confidence:.2f}") for m in labels.topics]
        out.print(table("", ["topic", "sentiment", "confidence"], rows))
