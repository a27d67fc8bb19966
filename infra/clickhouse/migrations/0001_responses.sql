-- What customers said: one wide row a response, its labels included.
--
-- The table is written many times for the same response (duplicates, corrections, labels that come later) and read
-- with FINAL, which keeps the row of the greatest `version`. So nothing depends on the order of arrival.
--
-- * ORDER BY is the identity and nothing else: ReplacingMergeTree replaces rows that are equal in it.
-- * There is no PARTITION BY. Merges never cross partitions, and a correction may move `occurred_at` to another
--   month: cut by time, the two versions would both live on, and whether FINAL sees both depends on a setting of
--   the reader. One partition makes "newest wins" hold for everyone, always.
-- * `version` is computed by the store, so no writer can get it wrong. Four words of 64 bits, compared in this order:
--   updated_at (the newest word of the source wins), digest (a hash of the content: equal times end the same in every
--   replay), received_at upside down (of equal content the first seen stays), the labels (labelled beats unlabelled, newer
--   labels beat older ones; of two models in the same millisecond always the same one wins).
--   bitNot and not `2^64 - 1 - x`: a subtraction is signed in ClickHouse and would smear ones over the upper words.
-- * `deleted` hides a row from FINAL (a tombstone); a later correction brings the response back.
CREATE TABLE IF NOT EXISTS feedback.responses{{local}} {{on_cluster}}
(
    tenant LowCardinality(String) COMMENT 'Who the feedback belongs to',
    source LowCardinality(String) COMMENT 'The system that sent the response (CloudEvents source)',
    response_id String COMMENT 'The source''s id of the response' CODEC(ZSTD(1)),
    question LowCardinality(String) COMMENT 'Which question of the response; empty when it has only one',
    metric LowCardinality(String) COMMENT 'Declared metric: nps, csat, ces, stars, thumbs; empty = none',
    scale LowCardinality(String) COMMENT 'Lowest and highest answer, as 0-10; empty = none',
    score Nullable(Float64) COMMENT 'The answer on its scale; NULL when not scored' CODEC(ZSTD(1)),
    band LowCardinality(String) COMMENT 'promoter, passive, detractor, satisfied, unsatisfied or empty; set at ingestion',
    comment String COMMENT 'What the customer wrote, personal data redacted' CODEC(ZSTD(3)),
    language LowCardinality(String) COMMENT 'ISO 639-1 code of the comment; und = cannot be told',
    customer_id String COMMENT 'Who answered; empty when unknown' CODEC(ZSTD(1)),
    survey LowCardinality(String) COMMENT 'The survey the question was part of',
    touchpoint LowCardinality(String) COMMENT 'Where the customer met the company',
    channel LowCardinality(String) COMMENT 'How the answer came: email, web, app, ...',
    journey_stage LowCardinality(String) COMMENT 'Stage of the customer''s journey',
    segments Map(LowCardinality(String), String) COMMENT 'Segments of the customer by key' CODEC(ZSTD(1)),
    excluded UInt8 COMMENT '1 = the source keeps it out of calculations: stored, never counted',
    flags Array(LowCardinality(String)) COMMENT 'What was odd on the way in, such as a clamped clock',
    sentiment LowCardinality(String) COMMENT 'very_negative .. very_positive, mixed, unknown; empty = not labelled yet',
    sentiment_score Nullable(Float32) COMMENT 'Feeling in -1..1' CODEC(ZSTD(1)),
    sentiment_confidence Nullable(Float32) COMMENT 'Confidence of the model in the sentiment, 0..1' CODEC(ZSTD(1)),
    topics Array(LowCardinality(String)) COMMENT 'Taxonomy ids that the comment mentions',
    topic_sentiments Array(LowCardinality(String)) COMMENT 'Sentiment towards each of topics, in the same order',
    model_version LowCardinality(String) COMMENT 'Model that set the labels; empty = not labelled yet',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When the customer answered' CODEC(Delta, ZSTD(1)),
    updated_at DateTime64(3, 'UTC') COMMENT 'When the source last changed the response' CODEC(Delta, ZSTD(1)),
    received_at DateTime64(3, 'UTC') COMMENT 'When the pipeline first saw this event' CODEC(Delta, ZSTD(1)),
    processed_at DateTime64(3, 'UTC') COMMENT 'When the score lane took it up' CODEC(Delta, ZSTD(1)),
    labelled_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When its comment was labelled; NULL = not yet' CODEC(ZSTD(1)),
    event_id String COMMENT 'CloudEvents id of the event this row comes from' CODEC(ZSTD(1)),
    extra String COMMENT 'Fields that the schema does not know, as JSON; empty when there are none' CODEC(ZSTD(3)),
    digest UInt64 COMMENT 'Hash of the content as sent, labels left out: breaks ties of updated_at',
    label_rank UInt8 COMMENT '0 = without labels, 1 = with labels',
    deleted UInt8 DEFAULT 0 COMMENT '1 = the response was withdrawn by its source',
    version UInt256 MATERIALIZED
        bitShiftLeft(toUInt256(toUInt64(toUnixTimestamp64Milli(updated_at))), 192)
        + bitShiftLeft(toUInt256(digest), 128)
        + bitShiftLeft(toUInt256(bitNot(toUInt64(toUnixTimestamp64Milli(received_at)))), 64)
        + toUInt256(if(label_rank = 0, 0, 1 + bitAnd(cityHash64(model_version), 1048575)
            + bitShiftLeft(toUInt64(ifNull(toUnixTimestamp64Milli(labelled_at), 0)), 21)))
        COMMENT 'The greatest version of a response is the one that counts' CODEC(ZSTD(1))
)
ENGINE = {{engine ReplacingMergeTree(version, deleted)}}
ORDER BY (tenant, source, response_id, question)
COMMENT 'Responses: facts and labels. Read with FINAL, or through feedback.enriched_responses';

{{distributed responses by cityHash64(tenant, source, response_id, question)}};

-- down
{{drop_distributed responses}};

DROP TABLE IF EXISTS feedback.responses{{local}} {{on_cluster}} SYNC;
