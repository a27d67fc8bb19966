-- One row a response at its newest version. What people and tools read instead of feedback.responses: FINAL is already
-- in it, withdrawn responses are gone, and the types are plain (segments as JSON text, feedback.segments as rows).
CREATE OR REPLACE VIEW feedback.enriched_responses {{on_cluster}}
(
    tenant String COMMENT 'Who the feedback belongs to',
    source String COMMENT 'The system that sent the response',
    response_id String COMMENT 'The source''s id of the response',
    question String COMMENT 'Which question of the response; empty when it has only one',
    metric String COMMENT 'Declared metric: nps, csat, ces, stars, thumbs; empty = none',
    scale String COMMENT 'Lowest and highest answer, as 0-10; empty = none',
    score Nullable(Float64) COMMENT 'The answer on its scale; NULL when not scored',
    band String COMMENT 'promoter, passive, detractor, satisfied, unsatisfied or empty',
    comment String COMMENT 'What the customer wrote, personal data redacted',
    language String COMMENT 'ISO 639-1 code of the comment; und = cannot be told',
    sentiment String COMMENT 'very_negative .. very_positive, mixed, unknown; empty = not labelled yet',
    sentiment_score Nullable(Float32) COMMENT 'Feeling in -1..1',
    sentiment_confidence Nullable(Float32) COMMENT 'Confidence of the model in the sentiment, 0..1',
    topics Array(String) COMMENT 'Taxonomy ids that the comment mentions',
    topic_sentiments Array(String) COMMENT 'Sentiment towards each of topics, in the same order',
    model_version String COMMENT 'Model that set the labels; empty = not labelled yet',
    customer_id String COMMENT 'Who answered; empty when unknown',
    survey String COMMENT 'The survey the question was part of',
    touchpoint String COMMENT 'Where the customer met the company',
    channel String COMMENT 'How the answer came: email, web, app, ...',
    journey_stage String COMMENT 'Stage of the customer''s journey',
    segments String COMMENT 'Segments of the customer as JSON: JSONExtractString(segments, ''plan'')',
    excluded UInt8 COMMENT '1 = the source keeps it out of calculations: stored, never counted',
    flags Array(String) COMMENT 'What was odd on the way in, such as a clamped clock',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When the customer answered',
    updated_at DateTime64(3, 'UTC') COMMENT 'When the source last changed the response',
    received_at DateTime64(3, 'UTC') COMMENT 'When the pipeline first saw this version',
    processed_at DateTime64(3, 'UTC') COMMENT 'When the score lane took it up',
    labelled_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When its comment was labelled; NULL = not yet',
    event_id String COMMENT 'CloudEvents id of the event the row comes from',
    extra String COMMENT 'Fields that the schema does not know, as JSON; empty when there are none'
)
AS SELECT
    tenant, source, response_id, question, metric, scale, score, band, comment, language,
    sentiment, sentiment_score, sentiment_confidence, topics, topic_sentiments, model_version,
    customer_id, survey, touchpoint, channel, journey_stage, toJSONString(r.segments) AS segments, excluded, flags,
    occurred_at, updated_at, received_at, processed_at, labelled_at, event_id, extra
FROM feedback.responses AS r FINAL;

-- Time zones by tenant, only those that ClickHouse knows: an unknown name would fail every query that uses it.
CREATE OR REPLACE VIEW feedback.tenant_zones {{on_cluster}}
(
    tenant String COMMENT 'Id of the tenant',
    timezone String COMMENT 'IANA name of its time zone'
)
AS SELECT tenant, timezone
FROM feedback.tenants FINAL
WHERE timezone IN (SELECT time_zone FROM system.time_zones);

-- The day on which something happened for the tenant. Most functions take only a constant time zone; formatDateTime
-- takes one a row (and is the fastest of those that do).
CREATE OR REPLACE FUNCTION localDay {{on_cluster}} AS (at, timezone) ->
    toDate(formatDateTime(at, '%F', ifNull(nullIf(timezone, ''), 'UTC')));

-- The responses that count in a score, each on its day.
CREATE OR REPLACE VIEW feedback.scored_responses {{on_cluster}}
(
    tenant String COMMENT 'Who the feedback belongs to',
    source String COMMENT 'The system that sent the response',
    response_id String COMMENT 'The source''s id of the response',
    question String COMMENT 'Which question of the response',
    metric String COMMENT 'nps, csat, ces, stars or thumbs',
    scale String COMMENT 'Lowest and highest answer, as 0-10',
    score Float64 COMMENT 'The answer on its scale',
    band String COMMENT 'promoter, passive, detractor, satisfied or unsatisfied',
    language String COMMENT 'ISO 639-1 code of the comment',
    sentiment String COMMENT 'Sentiment of the comment; empty = not labelled yet',
    topics Array(String) COMMENT 'Taxonomy ids that the comment mentions',
    topic_sentiments Array(String) COMMENT 'Sentiment towards each of topics, in the same order',
    model_version String COMMENT 'Model that set the labels',
    customer_id String COMMENT 'Who answered; empty when unknown',
    survey String COMMENT 'The survey the question was part of',
    touchpoint String COMMENT 'Where the customer met the company',
    channel String COMMENT 'How the answer came',
    journey_stage String COMMENT 'Stage of the customer''s journey',
    segments String COMMENT 'Segments of the customer as JSON',
    segment_names Array(String) COMMENT 'Keys of the segments: fast to search, where the JSON is not',
    segment_values Array(String) COMMENT 'Values of the segments, in the order of segment_names',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When the customer answered',
    occurred_on Date COMMENT 'The same as a day in the tenant''s time zone'
)
AS SELECT
    r.tenant AS tenant, r.source AS source, r.response_id AS response_id, r.question AS question, r.metric AS metric,
    r.scale AS scale, assumeNotNull(r.score) AS score, r.band AS band, r.language AS language, r.sentiment AS sentiment,
    r.topics AS topics, r.topic_sentiments AS topic_sentiments, r.model_version AS model_version,
    r.customer_id AS customer_id, r.survey AS survey, r.touchpoint AS touchpoint, r.channel AS channel,
    r.journey_stage AS journey_stage, toJSONString(r.segments) AS segments,
    mapKeys(r.segments) AS segment_names, mapValues(r.segments) AS segment_values, r.occurred_at AS occurred_at,
    localDay(r.occurred_at, z.timezone) AS occurred_on
FROM feedback.responses AS r FINAL
LEFT JOIN feedback.tenant_zones AS z ON z.tenant = r.tenant
WHERE r.excluded = 0 AND r.metric != '' AND r.score IS NOT NULL;

-- down
DROP VIEW IF EXISTS feedback.scored_responses {{on_cluster}};
DROP FUNCTION IF EXISTS localDay {{on_cluster}};
DROP VIEW IF EXISTS feedback.tenant_zones {{on_cluster}};
DROP VIEW IF EXISTS feedback.enriched_responses {{on_cluster}};
