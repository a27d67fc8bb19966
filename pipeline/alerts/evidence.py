"""The answers behind an alert: the SQL that shows them, the comments that are typical of them, and what they share.

Reads `feedback.enriched_responses`; used by `pipeline.alerts.sentinel` when something fires, which is rare.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from clickhouse_connect.driver.client import Client

from pipeline.alerts.rows import Key
from pipeline.redaction import redact
from schemas.alerts import Measure

TYPICAL = 3
LONGEST = 400  # characters of a comment in an alert
_READ = 500  # comments that the typical ones are chosen from

_UNHAPPY = {
    Measure.NEGATIVE: "sentiment IN ('negative', 'very_negative')",
    Measure.NET: "sentiment IN ('negative', 'very_negative', 'neutral', 'mixed')",
    Measure.NPS: "metric = 'nps' AND band = 'detractor'",
    Measure.CSAT: "metric = 'csat' AND band = 'unsatisfied'",
    Measure.CES: "metric = 'ces' AND band = 'unsatisfied'",
    Measure.VOLUME: "1",
}


def quoted(text: str) -> str:
    """`text` as a string literal of ClickHouse."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def condition(key: Key) -> str:
    """Which unhappy answers belong to `key`, as SQL over feedback.enriched_responses (tenant left out)."""
    unhappy = _UNHAPPY[key.measure]
    if key.dimension == "all":
        return unhappy
    if key.dimension == "topic":
        return (
            f"arrayExists((t, s) -> t = {quoted(key.value)} AND s IN ('negative', 'very_negative'), "
            "topics, topic_sentiments)"
        )
    if key.dimension == "segment":
        name, _, value = key.value.partition("=")
        return f"{unhappy} AND JSONExtractString(segments, {quoted(name)}) = {quoted(value)}"
    return f"{unhappy} AND {key.dimension} = {quoted(key.value)}"


def span(begin: float, end: float) -> str:
    """A stretch of time, seconds since 1970, as SQL."""
    return (
        f"occurred_at >= fromUnixTimestamp64Milli({round(begin * 1000)}) "
        f"AND occurred_at < fromUnixTimestamp64Milli({round(end * 1000)})"
    )


def shown_by(key: Key, begin: float, end: float) -> str:
    """The query for a person: the unhappy answers of `key` in that time."""
    return (
        "SELECT occurred_at, metric, score, sentiment, topics, touchpoint, channel, comment\n"
        f"FROM feedback.enriched_responses\nWHERE tenant = {quoted(key.tenant)} AND excluded = 0\n"
        f"  AND {span(begin, end)}\n  AND {condition(key)}\nORDER BY occurred_at"
    )


def overlap(client: Client, one: Key, other: Key, begin: float, end: float) -> float:
    """Share of the unhappy answers of `one` in that time that belong to `other` too; 0 where there are none."""
    (found,) = client.query(
        f"SELECT countIf(({condition(one)}) AND ({condition(other)})), countIf({condition(one)}) "
        f"FROM feedback.enriched_responses WHERE tenant = {quoted(one.tenant)} AND {span(begin, end)}"
    ).result_rows
    return float(found[0]) / float(found[1]) if found[1] else 0.0


def typical_comments(client: Client, key: Key, begin: float, end: float) -> tuple[str, ...]:
    """Up to three comments of the unhappy answers of `key` that are most like all the others, redacted."""
    rows = client.query(
        f"SELECT comment FROM feedback.enriched_responses WHERE tenant = {quoted(key.tenant)} AND comment != '' "
        f"AND {span(begin, end)} AND {condition(key)} ORDER BY occurred_at DESC LIMIT {_READ}"
    ).result_rows
    return tuple(redact(text)[:LONGEST] for text in central([row[0] for row in rows]))


def central(comments: Sequence[str], count: int = TYPICAL) -> list[str]:
    """The `count` texts nearest to the mean of all (cosine of tf-idf over letters, so in any language).

    No two of them alike: each chosen text pushes away those that resemble it (maximal marginal relevance).
    """
    texts = list(dict.fromkeys(text.strip() for text in comments if text.strip()))
    if len(texts) <= count:
        return texts
    from sklearn.feature_extraction.text import TfidfVectorizer  # a second to import, and few commands need it

    vectors = np.asarray(TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4)).fit_transform(texts).todense())
    middle = vectors.mean(0)
    nearness = vectors @ middle / max(float(np.linalg.norm(middle)), 1e-12)
    chosen: list[int] = []
    likeness = np.zeros(len(texts))
    for _ in range(count):
        worth = nearness - 0.5 * likeness
        worth[chosen] = -np.inf
        best = int(worth.argmax())
        chosen.append(best)
        likeness = np.maximum(likeness, vectors @ vectors[best])
    return [texts[place] for place in chosen]
