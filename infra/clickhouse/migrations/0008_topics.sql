-- What comments speak of. Net sentiment is %positive - %negative, so it has the form of an NPS and its interval.
-- The model is part of the grouping: labels of two models are never mixed silently. mixed and neutral are neither
-- positive nor negative; unknown (nothing to read) is not counted. Excluded responses are left out here too.

CREATE OR REPLACE VIEW feedback.topic_mentions {{on_cluster}}
(
    tenant String COMMENT 'Who the feedback belongs to',
    source String COMMENT 'The system that sent the response',
    response_id String COMMENT 'The source''s id of the response',
    question String COMMENT 'Which question of the response',
    topic String COMMENT 'Taxonomy id, e.g. delivery.delay',
    parent String COMMENT 'The part before the dot, e.g. delivery',
    sentiment String COMMENT 'Sentiment towards this topic alone',
    metric String COMMENT 'Metric of the response; empty = none',
    score Nullable(Float64) COMMENT 'Answer of the response',
    band String COMMENT 'Band of the answer',
    language String COMMENT 'ISO 639-1 code of the comment',
    model_version String COMMENT 'Model that set the labels',
    customer_id String COMMENT 'Who answered',
    survey String COMMENT 'The survey the question was part of',
    touchpoint String COMMENT 'Where the customer met the company',
    channel String COMMENT 'How the answer came',
    journey_stage String COMMENT 'Stage of the customer''s journey',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When the customer answered',
    occurred_on Date COMMENT 'The same as a day in the tenant''s time zone'
)
AS SELECT
    r.tenant AS tenant, source, response_id, question, topic, splitByChar('.', topic)[1] AS parent,
    topic_sentiment AS sentiment, metric, score, band, language, model_version, customer_id, survey, touchpoint,
    channel, journey_stage, occurred_at, localDay(occurred_at, z.timezone) AS occurred_on
FROM
(
    SELECT * EXCEPT (sentiment), mention.1 AS topic, mention.2 AS topic_sentiment
    FROM feedback.enriched_responses
    ARRAY JOIN arrayZip(topics, arrayResize(topic_sentiments, length(topics), 'unknown')) AS mention
    WHERE excluded = 0
) AS r
LEFT JOIN feedback.tenant_zones AS z ON z.tenant = r.tenant;

CREATE OR REPLACE VIEW feedback.topics {{on_cluster}}
(
    tenant String COMMENT 'Who the feedback belongs to',
    topic String COMMENT 'Taxonomy id, e.g. delivery.delay',
    parent String COMMENT 'The part before the dot, e.g. delivery',
    model_version String COMMENT 'Model that set the labels',
    n UInt64 COMMENT 'Mentions with a sentiment',
    positive UInt64 COMMENT 'Of them positive or very positive',
    negative UInt64 COMMENT 'Of them negative or very negative',
    score Nullable(Float64) COMMENT 'Net sentiment, -100..100',
    ci_low Nullable(Float64) COMMENT 'Lower end of its 95 % interval',
    ci_high Nullable(Float64) COMMENT 'Upper end of its 95 % interval'
)
AS SELECT
    tenant, topic, parent, model_version, n, positive, negative,
    npsScore(positive, negative, n) AS score, npsLow(positive, negative, n) AS ci_low,
    npsHigh(positive, negative, n) AS ci_high
FROM
(
    SELECT tenant, topic, parent, model_version, count() AS n,
        countIf(sentiment IN ('positive', 'very_positive')) AS positive,
        countIf(sentiment IN ('negative', 'very_negative')) AS negative
    FROM feedback.topic_mentions
    WHERE sentiment NOT IN ('', 'unknown')
    GROUP BY tenant, topic, parent, model_version
);

CREATE OR REPLACE VIEW feedback.sentiment_by_touchpoint {{on_cluster}}
(
    tenant String COMMENT 'Who the feedback belongs to',
    touchpoint String COMMENT 'Where the customer met the company',
    model_version String COMMENT 'Model that set the labels',
    n UInt64 COMMENT 'Comments with a sentiment',
    positive UInt64 COMMENT 'Of them positive or very positive',
    negative UInt64 COMMENT 'Of them negative or very negative',
    mixed UInt64 COMMENT 'Of them with praise and complaint',
    score Nullable(Float64) COMMENT 'Net sentiment, -100..100',
    ci_low Nullable(Float64) COMMENT 'Lower end of its 95 % interval',
    ci_high Nullable(Float64) COMMENT 'Upper end of its 95 % interval',
    mean_sentiment Nullable(Float64) COMMENT 'Mean sentiment score, -1..1'
)
AS SELECT
    tenant, touchpoint, model_version, n, positive, negative, mixed,
    npsScore(positive, negative, n) AS score, npsLow(positive, negative, n) AS ci_low,
    npsHigh(positive, negative, n) AS ci_high, mean_sentiment
FROM
(
    SELECT tenant, touchpoint, model_version, count() AS n,
        countIf(sentiment IN ('positive', 'very_positive')) AS positive,
        countIf(sentiment IN ('negative', 'very_negative')) AS negative,
        countIf(sentiment = 'mixed') AS mixed, avg(sentiment_score) AS mean_sentiment
    FROM feedback.enriched_responses
    WHERE excluded = 0 AND sentiment NOT IN ('', 'unknown')
    GROUP BY tenant, touchpoint, model_version
);

CREATE OR REPLACE VIEW feedback.segments {{on_cluster}}
(
    tenant String COMMENT 'Who the feedback belongs to',
    source String COMMENT 'The system that sent the response',
    response_id String COMMENT 'The source''s id of the response',
    question String COMMENT 'Which question of the response',
    segment String COMMENT 'Name of the segment, e.g. plan',
    value String COMMENT 'Value of the customer in it, e.g. pro'
)
AS SELECT tenant, source, response_id, question, pair.1 AS segment, pair.2 AS value
FROM feedback.responses FINAL
ARRAY JOIN CAST(segments, 'Array(Tuple(String, String))') AS pair;

-- down
DROP VIEW IF EXISTS feedback.segments {{on_cluster}};
DROP VIEW IF EXISTS feedback.sentiment_by_touchpoint {{on_cluster}};
DROP VIEW IF EXISTS feedback.topics {{on_cluster}};
DROP VIEW IF EXISTS feedback.topic_mentions {{on_cluster}};
