"""The series that are watched, and the one query that counts them all.

Reads `feedback.responses`; feeds `pipeline.alerts.watch`. A series is a tenant and all of its answers, or those of a
survey, touchpoint, channel, language, segment value, or those that complain of a topic. Series are found by
themselves: what has answers in a window is a series from then on.

Every measure is counted as unhappy answers of answers, so that up is worse: negative comments of labelled ones; net
sentiment and NPS with half an unhappy answer for each neutral or passive one (share = (1 - score / 100) / 2);
unsatisfied answers for CSAT and CES. For a topic: comments that complain of it, of all labelled comments of the tenant,
because among those that mention a delay nearly all are unhappy on the best of days.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from clickhouse_connect.driver.client import Client

from pipeline.alerts.rows import ALL, TOPIC, Rows
from pipeline.alerts.stats import Floats
from schemas.alerts import Measure
from schemas.rows import from_ms

# Not FINAL, which would merge the whole table every tick: PREWHERE reads two narrow columns of it, and the others of
# that time's answers alone. Whatever corrects or withdraws one of them was processed after it occurred, so the newest
# version is among the rows read, wherever it has moved the answer to. A labelled response is a newer version too.
NEWEST = """
    SELECT tenant, survey, touchpoint, channel, language, segments, metric, band, sentiment, topics, topic_sentiments,
        occurred_at, sentiment IN ('negative', 'very_negative') AS negative,
        sentiment NOT IN ('', 'unknown') AS labelled
    FROM
    (
        SELECT tenant, survey, touchpoint, channel, language, segments, metric, band, sentiment, topics,
            topic_sentiments, occurred_at, excluded, deleted,
            row_number() OVER (PARTITION BY tenant, source, response_id, question ORDER BY version DESC) AS age
        FROM feedback.responses
        PREWHERE (occurred_at >= fromUnixTimestamp64Milli({begin:Int64})
                AND occurred_at < fromUnixTimestamp64Milli({end:Int64}))
            OR (processed_at >= fromUnixTimestamp64Milli({begin:Int64})
                AND processed_at < fromUnixTimestamp64Milli({end:Int64}))
    )
    WHERE age = 1 AND excluded = 0 AND deleted = 0
        AND occurred_at >= fromUnixTimestamp64Milli({begin:Int64})
        AND occurred_at < fromUnixTimestamp64Milli({end:Int64})"""

DIMENSIONS = (ALL, "survey", "touchpoint", "channel", "language", "segment", TOPIC)
"""By their numbers in the query, which counts faster by numbers than by names."""

PAIRS = """arrayConcat([(toUInt8(0), '')], arrayFilter(pair -> pair.2 != '', arrayConcat(
        [(toUInt8(1), toString(survey)), (toUInt8(2), toString(touchpoint)), (toUInt8(3), toString(channel)),
            (toUInt8(4), if(language = 'und', '', toString(language)))],
        arrayMap((name, value) -> (toUInt8(5), concat(name, '=', value)), mapKeys(segments), mapValues(segments)),
        arrayMap((topic, feeling) -> (toUInt8(6), if(feeling IN ('negative', 'very_negative'), toString(topic), '')),
            topics, arrayResize(topic_sentiments, length(topics), '')))))"""

# What a pair needs is worked out before the ARRAY JOIN, which copies every column that goes through it.
COUNTS = f"""
SELECT tenant, pair.1 AS dimension, pair.2 AS value, place,
    sum(labelled) AS n_label, sum(labelled AND negative) AS k_negative, sumIf(net, labelled) AS k_net,
    sum(nps) AS n_nps, sumIf(worse, nps) AS k_nps, sum(csat) AS n_csat, sumIf(worse, csat) AS k_csat,
    sum(ces) AS n_ces, sumIf(worse, ces) AS k_ces, count() AS volume
FROM
(
    SELECT tenant, toUInt16(%(place)s) AS place, labelled, negative, {PAIRS} AS pairs,
        toFloat32(multiIf(negative, 1, sentiment IN ('positive', 'very_positive'), 0, 0.5)) AS net,
        toFloat32(multiIf(band IN ('detractor', 'unsatisfied'), 1, band = 'passive', 0.5, 0)) AS worse,
        metric = 'nps' AND band != '' AS nps, metric = 'csat' AND band != '' AS csat,
        metric = 'ces' AND band != '' AS ces
    FROM ({NEWEST})
)
ARRAY JOIN pairs AS pair
GROUP BY tenant, dimension, value, place"""


def count(client: Client, rows: Rows, begin: float, end: float, edges: Sequence[float]) -> tuple[Floats, Floats]:
    """Unhappy answers and answers of all rows between `begin` and `end`, (rows, len(edges) - 1): one query.

    `edges` cut that time into pieces, from `begin` to `end`, in seconds since 1970. New series are added to `rows`.
    """
    inner = ", ".join(str(round(edge * 1000)) for edge in edges[1:-1])
    place = f"arrayCount(edge -> toUnixTimestamp64Milli(occurred_at) >= edge, [{inner}]::Array(Int64))"
    columns = client.query(
        COUNTS.replace("%(place)s", place), parameters={"begin": round(begin * 1000), "end": round(end * 1000)}
    ).result_columns
    pieces = len(edges) - 1
    if not columns:
        return np.zeros((len(rows.keys), pieces)), np.zeros((len(rows.keys), pieces))
    tenants, dimensions, values = columns[:3]
    named = [(t, DIMENSIONS[d], v) for t, d, v in zip(tenants, dimensions, values, strict=True)]
    counts = [np.asarray(column, dtype=np.float64) for column in columns[3:]]
    at, n_label, k_negative, k_net, n_nps, k_nps, n_csat, k_csat, n_ces, k_ces, volume = counts
    topic = np.array(dimensions) == DIMENSIONS.index(TOPIC)
    root = np.array(dimensions) == DIMENSIONS.index(ALL)
    watched = np.array([not rows.ignores(dimension, value) for _, dimension, value in named])
    # Of a topic only the complaints are in the query; its answers are the tenant's, put in below.
    k_negative = np.where(topic, volume, k_negative)
    cells = (
        (Measure.NEGATIVE, k_negative, np.where(topic, 0.0, n_label), watched & (topic | (n_label > 0))),
        (Measure.NET, k_net, n_label, watched & ~topic & (n_label > 0)),
        (Measure.NPS, k_nps, n_nps, watched & ~topic & (n_nps > 0)),
        (Measure.CSAT, k_csat, n_csat, watched & ~topic & (n_csat > 0)),
        (Measure.CES, k_ces, n_ces, watched & ~topic & (n_ces > 0)),
        (Measure.VOLUME, np.zeros_like(volume), volume, root),
    )
    used = [(measure, k, n, np.flatnonzero(use)) for measure, k, n, use in cells]
    rows.add(dict.fromkeys((named[line], measure) for measure, _, _, lines in used for line in lines))
    k_all, n_all = np.zeros((len(rows.keys), pieces)), np.zeros((len(rows.keys), pieces))
    for measure, k, n, lines in used:
        numbers = np.array([rows.place[(named[line], measure)] for line in lines], dtype=np.int64)
        piece = at[lines].astype(np.int64)
        k_all[numbers, piece], n_all[numbers, piece] = k[lines], n[lines]
    of_all = rows.detector.baseline.of_all
    n_all[of_all] = n_all[rows.detector.baseline.parent[of_all]]
    return k_all, n_all


def windows_of(client: Client, rows: Rows, at: float) -> tuple[Floats, Floats]:
    """Counts of the sliding windows that end at `at`, (rows, windows)."""
    lengths = rows.detector.settings.baseline.windows
    edges = [at - length for length in reversed(lengths)] + [at]
    k, n = count(client, rows, edges[0], at, edges)
    return k[:, ::-1].cumsum(1), n[:, ::-1].cumsum(1)


def moment(at: float) -> datetime:
    """Seconds since 1970 as a time."""
    return from_ms(round(at * 1000))
