"""Two years of feedback made inside ClickHouse, for benchmarks of reading: 20 tenants of very different size.

`INSERT ... SELECT ... FROM numbers()`: nothing crosses the wire, and everything follows from the number of the row, so
that two runs have the same rows. Ids are random (no help to FINAL), 5 % of the responses are corrected a day later, six
of ten have a comment with labels.
"""

from __future__ import annotations

from collections.abc import Iterator

from clickhouse_connect.driver.client import Client

FIRST_DAY, LAST_DAY = "2024-01-01", "2026-01-01"
TENANTS = [f"t{number:02}" for number in range(1, 21)]
"""The first has 23 % of the rows, the last 1.6 %."""
BLOCK = 500_000  # rows an INSERT: what bounds its memory

_RESPONSES = """
INSERT INTO feedback.responses (tenant, source, response_id, metric, scale, score, band, comment, language, customer_id,
    survey, touchpoint, channel, journey_stage, segments, occurred_at, updated_at, received_at, processed_at, event_id,
    digest, sentiment, sentiment_score, topics, topic_sentiments, model_version, label_rank)
WITH
    (salt, n) -> cityHash64(number, salt) % n AS pick,
    cityHash64(number) AS h,
    ['nps', 'nps', 'nps', 'csat', 'stars'][1 + pick(2, 5)] AS metric_,
    toFloat64(if(metric_ = 'nps', least(10, pick(3, 14)), least(5, 1 + pick(3, 7)))) AS first_score,
    if({edited:UInt8}, greatest(1, first_score - 1), first_score) AS score_,
    pick(4, 10) < 6 AS commented,
    toDateTime64({first_day:String}, 3, 'UTC') + toIntervalSecond(intDiv(number * 63072000, {total:UInt64})) AS at,
    at + toIntervalDay({edited:UInt8}) AS updated,
    if(commented, arrayDistinct(arrayMap(n -> 'topic.' || toString(n), [pick(15, 15), pick(16, 40)])), []) AS topics_
SELECT
    't' || leftPad(toString(toUInt8(exp(pick(1, 1000000) / 1000000 * log(21)))), 2, '0'), '/shop', lower(hex(h)),
    metric_, if(metric_ = 'nps', '0-10', '1-5'), score_,
    if(metric_ = 'nps', multiIf(score_ >= 9, 'promoter', score_ >= 7, 'passive', 'detractor'),
        if(score_ >= 4, 'satisfied', 'unsatisfied')),
    if(commented, 'order ' || hex(cityHash64(h)) || ' came late and nobody answered', ''),
    if(commented, ['en', 'pt', 'es'][1 + pick(6, 3)], ''), 'c' || toString(pick(7, intDiv({total:UInt64}, 5) + 1)),
    'survey-' || toString(pick(8, 8)), 'touchpoint-' || toString(pick(9, 8)),
    ['email', 'app', 'web', 'sms'][1 + pick(10, 4)], ['discover', 'buy', 'use', 'renew', 'leave'][1 + pick(11, 5)],
    map('plan', ['free', 'pro', 'team'][1 + pick(12, 3)], 'country', ['br', 'mx', 'us', 'in'][1 + pick(13, 4)]),
    at, updated, updated, updated, lower(hex(h + {edited:UInt8})), h + {edited:UInt8},
    if(commented, ['very_negative', 'negative', 'neutral', 'positive', 'very_positive'][1 + pick(14, 5)], ''),
    if(commented, pick(14, 5) / 2 - 1, NULL), topics_,
    arrayMap(t -> if(cityHash64(h, t) % 2, 'negative', 'positive'), topics_),
    if(commented, 'm1', ''), commented
FROM numbers({first:UInt64}, {rows:UInt64})
WHERE {edited:UInt8} = 0 OR pick(20, 20) = 0
SETTINGS max_threads = 2, max_insert_threads = 1
"""

_INTERACTIONS = """
INSERT INTO feedback.interactions (tenant, source, interaction_id, customer_id, action, touchpoint, channel, value,
    currency, occurred_at, received_at, processed_at, event_id, digest)
WITH (salt, n) -> cityHash64(number, salt) % n AS pick,
    toDateTime64({first_day:String}, 3, 'UTC') + toIntervalSecond(intDiv(number * 63072000, {total:UInt64})) AS at
SELECT
    't' || leftPad(toString(toUInt8(exp(pick(1, 1000000) / 1000000 * log(21)))), 2, '0'), '/shop',
    lower(hex(cityHash64(number))), 'c' || toString(pick(7, intDiv({total:UInt64}, 5) + 1)),
    ['order_placed', 'visited', 'ticket_opened', 'cancelled'][1 + pick(2, 4)], 'touchpoint-' || toString(pick(9, 8)),
    'web', if(pick(2, 4) = 0, 10 + pick(3, 90), NULL), if(pick(2, 4) = 0, 'USD', ''),
    at, at, at, '', cityHash64(number)
FROM numbers({first:UInt64}, {rows:UInt64}) WHERE pick(21, 4) = 0
SETTINGS max_threads = 2, max_insert_threads = 1
"""


def fill(client: Client, total: int, first: int = 0, rows: int | None = None) -> Iterator[int]:
    """Write responses `first` to `first + rows` of a story of `total`, and an interaction for each fourth.

    Yields how many are written after each block.
    """
    end = total if rows is None else first + rows
    for start in range(first, end, BLOCK):
        count = min(BLOCK, end - start)
        place = {"total": total, "first": start, "rows": count, "first_day": FIRST_DAY}
        for edited in (0, 1):
            client.command(_RESPONSES, parameters=place | {"edited": edited})
        client.command(_INTERACTIONS, parameters=place)
        yield start + count - first
