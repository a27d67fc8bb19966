"""Labelled comments in one form: what labels are measured on (`models.evaluate`) and topics are fitted from.

Rows come from files of the user's (`pipeline.files` reads them) and from our own corpus. A row has `text` (or
`comment`) and at least one of

* `label`: negative, neutral or positive;
* `sentiment`: one of five levels or mixed;
* `topics`: what it speaks of, as a list of `{"topic", "sentiment"}`, of names (then `topic_sentiments` may tell the
  sentiments, as `vocstream classify` writes it), or in a CSV cell `delivery.delay:negative product.quality`;

(an empty one is not told), and, if known, `language` (or `lang`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.labels import Sentiment

THREE = ("negative", "neutral", "positive")
SIX = ("very_negative", "negative", "neutral", "positive", "very_positive", "mixed")
DIRECTION = {
    Sentiment.VERY_NEGATIVE: "negative", Sentiment.NEGATIVE: "negative", Sentiment.NEUTRAL: "neutral",
    Sentiment.POSITIVE: "positive", Sentiment.VERY_POSITIVE: "positive", Sentiment.MIXED: "mixed",
    Sentiment.UNKNOWN: "neutral",
}  # fmt: skip


class LabelError(ValueError):
    """A row that is not a labelled comment; says which field is wrong and what would be right."""


@dataclass(frozen=True)
class Labelled:
    """One comment with what is known of it; None where the row does not tell.

    `direction`: negative, neutral, positive, or mixed. `topics`: topic -> its sentiment, None where only the mention
    is told; an empty mapping says that there is no topic.
    """

    text: str
    language: str = ""
    direction: str | None = None
    sentiment: Sentiment | None = None
    topics: Mapping[str, Sentiment | None] | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Labelled:
        """A row in its one form. Raises LabelError."""
        text = row.get("text", row.get("comment"))
        if not isinstance(text, str):
            raise LabelError("no `text` (or `comment`)")
        label, feeling = row.get("label") or None, row.get("sentiment") or None
        if label is not None and label not in (*THREE, "mixed"):
            raise LabelError(f"`label` is {label!r}: expected {', '.join(THREE)} or mixed")
        sentiment = None if feeling is None else _sentiment(feeling)
        topics = _topics(row) if "topics" in row else None
        if not {"label", "sentiment", "topics"} & row.keys():
            raise LabelError(
                "no label: give `label` (negative, neutral, positive), `sentiment` (five levels or mixed) or `topics`"
            )
        direction = label if sentiment is None else DIRECTION[sentiment]
        language = str(row.get("language") or row.get("lang") or "")
        return cls(text, language, direction, sentiment, topics)


def _sentiment(word: Any) -> Sentiment:
    if word not in SIX:
        raise LabelError(f"`sentiment` is {word!r}: expected one of {', '.join(SIX)}")
    return Sentiment(word)


def _topics(row: Mapping[str, Any]) -> dict[str, Sentiment | None]:
    given, feelings = row["topics"], row.get("topic_sentiments") or {}
    if isinstance(given, str):
        given = _from_cell(given)
    if not isinstance(given, list) or not isinstance(feelings, Mapping):
        raise LabelError("`topics` is neither a list nor a cell such as delivery.delay:negative product.quality")
    found: dict[str, Sentiment | None] = {}
    for mention in given:
        if isinstance(mention, str):
            mention = {"topic": mention, "sentiment": feelings.get(mention)}
        if not isinstance(mention, Mapping) or not isinstance(mention.get("topic"), str):
            raise LabelError(f'a topic is {mention!r}: expected {{"topic": ..., "sentiment": ...}} or a name')
        told = mention.get("sentiment")
        found[mention["topic"]] = None if told in (None, "", "unknown") else _sentiment(told)
    found.pop("other", None)  # what the program says when nothing fits; no topic of a taxonomy
    return found


def _from_cell(cell: str) -> list[Any]:
    if cell.lstrip().startswith("["):
        try:
            content: list[Any] = json.loads(cell)
        except json.JSONDecodeError as error:
            raise LabelError(f"`topics` is not valid JSON: {error}") from error
        return content
    parts = [part.partition(":") for part in re.split(r"[\s,;|]+", cell) if part]
    return [{"topic": topic, "sentiment": feeling} for topic, _, feeling in parts]
