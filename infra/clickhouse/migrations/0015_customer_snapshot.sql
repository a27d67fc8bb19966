-- One customer in milliseconds, however many there are: a snapshot of what known customers did and said, ordered by customer,
-- made anew every half hour, and from the facts what was touched since. The same way, and for the same reasons exact at any
-- instant, as the snapshot of the scores: 0014 and docs/decisions/0006 say how. Here two tables are read, so there are two
-- newest blocks. A refresh reads the two one after the other; what comes in between is touched, so it does no harm.
--
-- Whoever changes the facts by other means than INSERT must refresh after it: SYSTEM REFRESH VIEW
-- feedback.customer_snapshot_refresh.
{{one_node}} ALTER TABLE feedback.interactions MODIFY SETTING enable_block_number_column = 1;

{{one_node}} ALTER TABLE feedback.interactions
    ADD COLUMN IF NOT EXISTS id UInt64 MATERIALIZED cityHash64(tenant, source, interaction_id)
    COMMENT 'Short name of the identity, the same for all its versions (two identities may share one)';

{{one_node}} ALTER TABLE feedback.interactions MATERIALIZE COLUMN id SETTINGS mutations_sync = 0;

{{one_node}} CREATE TABLE IF NOT EXISTS feedback.customer_snapshot
(
    tenant LowCardinality(String) COMMENT 'Whose customer',
    customer_id String COMMENT 'Id of the customer' CODEC(ZSTD(1)),
    kind LowCardinality(String) COMMENT 'act or response',
    at DateTime64(3, 'UTC') COMMENT 'When the customer acted or answered' CODEC(Delta, ZSTD(1)),
    source LowCardinality(String) COMMENT 'The system that sent it',
    source_id String COMMENT 'The source''s id of the act or response' CODEC(ZSTD(1)),
    question LowCardinality(String) COMMENT 'Which question of the response',
    role LowCardinality(String) COMMENT 'Acts: order, lost, case_opened, case_closed or other',
    currency LowCardinality(String) COMMENT 'Acts: currency of value',
    value Nullable(Float64) COMMENT 'Acts: worth' CODEC(ZSTD(1)),
    metric LowCardinality(String) COMMENT 'Responses: metric of an answer that counts; empty = none',
    score Nullable(Float64) COMMENT 'Responses: the answer' CODEC(ZSTD(1)),
    band LowCardinality(String) COMMENT 'Responses: band of the answer',
    sentiment LowCardinality(String) COMMENT 'Responses: sentiment of the comment; empty = not labelled yet',
    sentiment_score Nullable(Float32) COMMENT 'Responses: feeling in -1..1' CODEC(ZSTD(1)),
    id UInt64 COMMENT 'id of the fact' CODEC(ZSTD(1)),
    act_block UInt64 COMMENT 'Block of feedback.interactions that an act came with' CODEC(ZSTD(1)),
    response_block UInt64 COMMENT 'Block of feedback.responses that a response came with' CODEC(ZSTD(1)),
    acts_since UInt64 COMMENT 'Newest act_block of the snapshot before' CODEC(ZSTD(1)),
    responses_since UInt64 COMMENT 'Newest response_block of the snapshot before' CODEC(ZSTD(1)),
    PROJECTION marks
    (
        SELECT kind, max(act_block), max(response_block), max(acts_since), max(responses_since) GROUP BY kind
    )
)
ENGINE = MergeTree
ORDER BY (tenant, customer_id, at)
COMMENT 'What known customers had done and said at the last refresh. Read feedback.customer_events, which adds what came since';

{{one_node}} CREATE MATERIALIZED VIEW IF NOT EXISTS feedback.customer_snapshot_refresh
REFRESH AFTER 30 MINUTE TO feedback.customer_snapshot EMPTY
AS SELECT
    i.tenant AS tenant, i.customer_id AS customer_id, 'act' AS kind, i.occurred_at AS at, i.source AS source,
    i.interaction_id AS source_id, '' AS question, actionRole(i.action) AS role, i.currency AS currency, i.value AS value,
    '' AS metric, CAST(NULL, 'Nullable(Float64)') AS score, '' AS band, '' AS sentiment,
    CAST(NULL, 'Nullable(Float32)') AS sentiment_score, i.id AS id, i._block_number AS act_block, 0 AS response_block,
    (SELECT max(act_block) FROM feedback.customer_snapshot) AS acts_since,
    (SELECT max(response_block) FROM feedback.customer_snapshot) AS responses_since
FROM feedback.interactions AS i FINAL
WHERE actionRole(i.action) != 'survey' AND i.customer_id != ''
UNION ALL
SELECT
    r.tenant AS tenant, r.customer_id AS customer_id, 'response' AS kind, r.occurred_at AS at, r.source AS source,
    r.response_id AS source_id, r.question AS question, '' AS role, '' AS currency, NULL AS value,
    if(r.excluded = 0 AND r.score IS NOT NULL, r.metric, '') AS metric, r.score AS score, r.band AS band,
    r.sentiment AS sentiment, r.sentiment_score AS sentiment_score, r.id AS id, 0 AS act_block,
    r._block_number AS response_block,
    (SELECT max(act_block) FROM feedback.customer_snapshot) AS acts_since,
    (SELECT max(response_block) FROM feedback.customer_snapshot) AS responses_since
FROM feedback.responses AS r FINAL
WHERE r.customer_id != ''
SETTINGS max_threads = 1;

-- Ids of acts, and of responses, with a row that the snapshot may not hold. Parts without such a row are left out unread.
{{one_node}} CREATE OR REPLACE VIEW feedback.touched_interactions
(
    id UInt64 COMMENT 'feedback.interactions.id'
)
AS SELECT id
FROM feedback.interactions
WHERE _block_number > (SELECT max(acts_since) FROM feedback.customer_snapshot)
    AND toUInt64(splitByChar('_', _part)[3]) > (SELECT max(acts_since) FROM feedback.customer_snapshot);

{{one_node}} CREATE OR REPLACE VIEW feedback.touched_customer_responses
(
    id UInt64 COMMENT 'feedback.responses.id'
)
AS SELECT id
FROM feedback.responses
WHERE _block_number > (SELECT max(responses_since) FROM feedback.customer_snapshot)
    AND toUInt64(splitByChar('_', _part)[3]) > (SELECT max(responses_since) FROM feedback.customer_snapshot);

-- PREWHERE is done before FINAL: right here because all versions of a fact have one id.
{{one_node}} CREATE OR REPLACE VIEW feedback.customer_events
(
    tenant String COMMENT 'Whose customer',
    customer_id String COMMENT 'Id of the customer',
    kind String COMMENT 'act or response',
    at DateTime64(3, 'UTC') COMMENT 'When the customer acted or answered',
    source String COMMENT 'The system that sent it',
    source_id String COMMENT 'The source''s id of the act or response',
    question String COMMENT 'Responses: which question',
    role String COMMENT 'Acts: order, lost, case_opened, case_closed or other',
    currency String COMMENT 'Acts: currency of value',
    value Nullable(Float64) COMMENT 'Acts: worth',
    metric String COMMENT 'Responses: metric of an answer that counts; empty = none',
    score Nullable(Float64) COMMENT 'Responses: the answer',
    band String COMMENT 'Responses: band of the answer',
    sentiment String COMMENT 'Responses: sentiment of the comment; empty = not labelled yet',
    sentiment_score Nullable(Float32) COMMENT 'Responses: feeling in -1..1'
)
AS SELECT
    tenant, customer_id, kind, at, source, source_id, question, role, currency, value, metric, score, band, sentiment,
    sentiment_score
FROM feedback.customer_snapshot
WHERE if(kind = 'act', (SELECT max(acts_since) FROM feedback.customer_snapshot) > 0
        AND id NOT IN (SELECT id FROM feedback.touched_interactions),
    (SELECT max(responses_since) FROM feedback.customer_snapshot) > 0
        AND id NOT IN (SELECT id FROM feedback.touched_customer_responses))
UNION ALL
SELECT
    tenant, customer_id, 'act' AS kind, occurred_at AS at, source, interaction_id AS source_id, '' AS question,
    actionRole(action) AS role, currency, value, '' AS metric, CAST(NULL, 'Nullable(Float64)') AS score, '' AS band,
    '' AS sentiment, CAST(NULL, 'Nullable(Float32)') AS sentiment_score
FROM
(
    SELECT * FROM feedback.interactions FINAL
    PREWHERE (SELECT max(acts_since) FROM feedback.customer_snapshot) = 0
        OR id IN (SELECT id FROM feedback.touched_interactions)
)
WHERE role != 'survey' AND customer_id != ''
UNION ALL
SELECT
    tenant, customer_id, 'response' AS kind, occurred_at AS at, source, response_id AS source_id, question,
    '' AS role, '' AS currency, NULL AS value, if(excluded = 0 AND score IS NOT NULL, metric, '') AS metric, score, band,
    sentiment, sentiment_score
FROM
(
    SELECT * FROM feedback.responses FINAL
    PREWHERE (SELECT max(responses_since) FROM feedback.customer_snapshot) = 0
        OR id IN (SELECT id FROM feedback.touched_customer_responses)
)
WHERE customer_id != '';

-- down
{{one_node}} CREATE OR REPLACE VIEW feedback.customer_events
(
    tenant String COMMENT 'Whose customer',
    customer_id String COMMENT 'Id of the customer',
    kind String COMMENT 'act or response',
    at DateTime64(3, 'UTC') COMMENT 'When the customer acted or answered',
    source String COMMENT 'The system that sent it',
    source_id String COMMENT 'The source''s id of the act or response',
    question String COMMENT 'Responses: which question',
    role String COMMENT 'Acts: order, lost, case_opened, case_closed or other',
    currency String COMMENT 'Acts: currency of value',
    value Nullable(Float64) COMMENT 'Acts: worth',
    metric String COMMENT 'Responses: metric of an answer that counts; empty = none',
    score Nullable(Float64) COMMENT 'Responses: the answer',
    band String COMMENT 'Responses: band of the answer',
    sentiment String COMMENT 'Responses: sentiment of the comment; empty = not labelled yet',
    sentiment_score Nullable(Float32) COMMENT 'Responses: feeling in -1..1'
)
AS SELECT
    tenant, customer_id, 'act' AS kind, occurred_at AS at, source, interaction_id AS source_id, '' AS question,
    role, currency, value, '' AS metric, CAST(NULL, 'Nullable(Float64)') AS score, '' AS band, '' AS sentiment,
    CAST(NULL, 'Nullable(Float32)') AS sentiment_score
FROM feedback.enriched_interactions
WHERE role != 'survey' AND customer_id != ''
UNION ALL
SELECT
    tenant, customer_id, 'response' AS kind, occurred_at AS at, source, response_id AS source_id, question,
    '' AS role, '' AS currency, NULL AS value, if(excluded = 0 AND score IS NOT NULL, metric, '') AS metric, score, band,
    sentiment, sentiment_score
FROM feedback.enriched_responses
WHERE customer_id != '';

{{one_node}} DROP VIEW IF EXISTS feedback.touched_customer_responses;
{{one_node}} DROP VIEW IF EXISTS feedback.touched_interactions;
{{one_node}} DROP VIEW IF EXISTS feedback.customer_snapshot_refresh SYNC;
{{one_node}} DROP TABLE IF EXISTS feedback.customer_snapshot SYNC;
{{one_node}} ALTER TABLE feedback.interactions DROP COLUMN IF EXISTS id;
{{one_node}} ALTER TABLE feedback.interactions RESET SETTING enable_block_number_column;
