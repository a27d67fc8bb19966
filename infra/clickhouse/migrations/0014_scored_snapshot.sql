-- Fast scores that stay exact: a snapshot of the responses that count, narrow, free of older versions and ordered by time,
-- made anew every half hour. What was written since is taken from the facts, whenever a score is read. So
-- feedback.scored_responses (and every score above it) says at any instant what the facts say, and its cost is that of the
-- days asked for and of the responses touched in the last hour. Why not sums by day: docs/decisions/0006.
--
-- * A response is *touched* if any of its rows is in a block newer than the snapshot is known to hold. ClickHouse numbers
--   the blocks of a table in the order in which they become visible, and a merge keeps the number of each row. No clock
--   takes part. What is touched is served from the facts, whether it is new, corrected, withdrawn, or has moved to another
--   day or tenant: identity decides, and identity never changes. To be touched without need costs time and no exactness.
-- * A refresh replaces the whole snapshot at once (EXCHANGE), so a kill leaves the old one or the new one.
-- * A query may meet that exchange and read marks of the new and rows of the old. So `since` is the newest block of the
--   snapshot *before*: right for both. Hence nothing is fast before the second refresh.
-- * A tenant whose time zone was changed is served from the facts until the next refresh.
-- * Whoever changes feedback.responses by other means than INSERT (TRUNCATE, DELETE, CLEANUP) must refresh after it:
--   SYSTEM REFRESH VIEW feedback.scored_snapshot_refresh.
-- * Blocks of a replicated or sharded table have no such order: there the views stay as they were, over FINAL.
{{one_node}} ALTER TABLE feedback.responses MODIFY SETTING enable_block_number_column = 1;

{{one_node}} ALTER TABLE feedback.responses
    ADD COLUMN IF NOT EXISTS id UInt64 MATERIALIZED cityHash64(tenant, source, response_id, question)
    COMMENT 'Short name of the identity, the same for all its versions (two identities may share one)';

{{one_node}} ALTER TABLE feedback.responses MATERIALIZE COLUMN id SETTINGS mutations_sync = 0;

{{one_node}} CREATE TABLE IF NOT EXISTS feedback.scored_snapshot
(
    tenant LowCardinality(String) COMMENT 'Who the feedback belongs to',
    source LowCardinality(String) COMMENT 'The system that sent the response',
    response_id String COMMENT 'The source''s id of the response' CODEC(ZSTD(1)),
    question LowCardinality(String) COMMENT 'Which question of the response',
    metric LowCardinality(String) COMMENT 'nps, csat, ces, stars or thumbs',
    scale LowCardinality(String) COMMENT 'Lowest and highest answer, as 0-10',
    score Float64 COMMENT 'The answer on its scale' CODEC(ZSTD(1)),
    band LowCardinality(String) COMMENT 'promoter, passive, detractor, satisfied or unsatisfied',
    language LowCardinality(String) COMMENT 'ISO 639-1 code of the comment',
    sentiment LowCardinality(String) COMMENT 'Sentiment of the comment; empty = not labelled yet',
    topics Array(LowCardinality(String)) COMMENT 'Taxonomy ids that the comment mentions',
    topic_sentiments Array(LowCardinality(String)) COMMENT 'Sentiment towards each of topics, in the same order',
    model_version LowCardinality(String) COMMENT 'Model that set the labels',
    customer_id String COMMENT 'Who answered; empty when unknown' CODEC(ZSTD(1)),
    survey LowCardinality(String) COMMENT 'The survey the question was part of',
    touchpoint LowCardinality(String) COMMENT 'Where the customer met the company',
    channel LowCardinality(String) COMMENT 'How the answer came',
    journey_stage LowCardinality(String) COMMENT 'Stage of the customer''s journey',
    segments Map(LowCardinality(String), String) COMMENT 'Segments of the customer by key' CODEC(ZSTD(1)),
    occurred_at DateTime64(3, 'UTC') COMMENT 'When the customer answered' CODEC(Delta, ZSTD(1)),
    occurred_on Date COMMENT 'The same as a day in timezone' CODEC(ZSTD(1)),
    timezone LowCardinality(String) COMMENT 'Zone of the tenant at the refresh; empty = none was set',
    id UInt64 COMMENT 'feedback.responses.id' CODEC(ZSTD(1)),
    block UInt64 COMMENT 'Block of feedback.responses that the row came with' CODEC(ZSTD(1)),
    since UInt64 COMMENT 'Newest block of the snapshot before: all up to it are in this one too' CODEC(ZSTD(1)),
    PROJECTION marks (SELECT tenant, timezone, max(block), max(since) GROUP BY tenant, timezone)
)
ENGINE = MergeTree
ORDER BY (tenant, metric, occurred_on, id)
COMMENT 'Responses that counted at the last refresh. Read feedback.scored_responses, which adds what came since';

{{one_node}} CREATE MATERIALIZED VIEW IF NOT EXISTS feedback.scored_snapshot_refresh
REFRESH AFTER 30 MINUTE TO feedback.scored_snapshot EMPTY
AS SELECT
    r.tenant AS tenant, r.source AS source, r.response_id AS response_id, r.question AS question, r.metric AS metric,
    r.scale AS scale, assumeNotNull(r.score) AS score, r.band AS band, r.language AS language, r.sentiment AS sentiment,
    r.topics AS topics, r.topic_sentiments AS topic_sentiments, r.model_version AS model_version,
    r.customer_id AS customer_id, r.survey AS survey, r.touchpoint AS touchpoint, r.channel AS channel,
    r.journey_stage AS journey_stage, r.segments AS segments, r.occurred_at AS occurred_at,
    localDay(r.occurred_at, z.timezone) AS occurred_on, z.timezone AS timezone, r.id AS id, r._block_number AS block,
    (SELECT max(block) FROM feedback.scored_snapshot) AS since
FROM feedback.responses AS r FINAL
LEFT JOIN feedback.tenant_zones AS z ON z.tenant = r.tenant
WHERE r.excluded = 0 AND r.metric != '' AND r.score IS NOT NULL
SETTINGS max_threads = 1;

-- Ids with a row that the snapshot may not hold. Parts without such a row are left out by their name, unread.
{{one_node}} CREATE OR REPLACE VIEW feedback.touched_responses
(
    id UInt64 COMMENT 'feedback.responses.id'
)
AS SELECT id
FROM feedback.responses
WHERE _block_number > (SELECT max(since) FROM feedback.scored_snapshot)
    AND toUInt64(splitByChar('_', _part)[3]) > (SELECT max(since) FROM feedback.scored_snapshot);

-- Tenants whose days the snapshot cuts in another zone than theirs.
{{one_node}} CREATE OR REPLACE VIEW feedback.rezoned_tenants
(
    tenant String COMMENT 'Id of the tenant'
)
AS SELECT s.tenant AS tenant
FROM (SELECT tenant, timezone FROM feedback.scored_snapshot GROUP BY tenant, timezone) AS s
LEFT JOIN feedback.tenant_zones AS z ON z.tenant = s.tenant
WHERE s.timezone != z.timezone;

-- PREWHERE is done before FINAL. Right here, and only here, because all versions of a response have one id and tenant.
{{one_node}} CREATE OR REPLACE VIEW feedback.scored_responses
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
    s.tenant AS tenant, s.source AS source, s.response_id AS response_id, s.question AS question, s.metric AS metric,
    s.scale AS scale, s.score AS score, s.band AS band, s.language AS language, s.sentiment AS sentiment,
    s.topics AS topics, s.topic_sentiments AS topic_sentiments, s.model_version AS model_version,
    s.customer_id AS customer_id, s.survey AS survey, s.touchpoint AS touchpoint, s.channel AS channel,
    s.journey_stage AS journey_stage, toJSONString(s.segments) AS segments,
    mapKeys(s.segments) AS segment_names, mapValues(s.segments) AS segment_values, s.occurred_at AS occurred_at,
    s.occurred_on AS occurred_on
FROM feedback.scored_snapshot AS s
WHERE (SELECT max(since) FROM feedback.scored_snapshot) > 0
    AND s.id NOT IN (SELECT id FROM feedback.touched_responses)
    AND s.tenant NOT IN (SELECT tenant FROM feedback.rezoned_tenants)
UNION ALL
SELECT
    r.tenant AS tenant, r.source AS source, r.response_id AS response_id, r.question AS question, r.metric AS metric,
    r.scale AS scale, assumeNotNull(r.score) AS score, r.band AS band, r.language AS language, r.sentiment AS sentiment,
    r.topics AS topics, r.topic_sentiments AS topic_sentiments, r.model_version AS model_version,
    r.customer_id AS customer_id, r.survey AS survey, r.touchpoint AS touchpoint, r.channel AS channel,
    r.journey_stage AS journey_stage, toJSONString(r.segments) AS segments,
    mapKeys(r.segments) AS segment_names, mapValues(r.segments) AS segment_values, r.occurred_at AS occurred_at,
    localDay(r.occurred_at, z.timezone) AS occurred_on
FROM
(
    SELECT * FROM feedback.responses FINAL
    PREWHERE (SELECT max(since) FROM feedback.scored_snapshot) = 0
        OR id IN (SELECT id FROM feedback.touched_responses)
        OR tenant IN (SELECT tenant FROM feedback.rezoned_tenants)
) AS r
LEFT JOIN feedback.tenant_zones AS z ON z.tenant = r.tenant
WHERE r.excluded = 0 AND r.metric != '' AND r.score IS NOT NULL;

-- down
{{one_node}} CREATE OR REPLACE VIEW feedback.scored_responses
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

{{one_node}} DROP VIEW IF EXISTS feedback.rezoned_tenants;
{{one_node}} DROP VIEW IF EXISTS feedback.touched_responses;
{{one_node}} DROP VIEW IF EXISTS feedback.scored_snapshot_refresh SYNC;
{{one_node}} DROP TABLE IF EXISTS feedback.scored_snapshot SYNC;
{{one_node}} ALTER TABLE feedback.responses DROP COLUMN IF EXISTS id;
{{one_node}} ALTER TABLE feedback.responses RESET SETTING enable_block_number_column;
