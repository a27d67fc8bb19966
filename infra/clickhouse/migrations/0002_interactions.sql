-- What customers did: one row an interaction. Same rules as feedback.responses (see 0001): read with FINAL; identity
-- in ORDER BY; no partitions; an explicit version. An interaction has no updated_at, so occurred_at leads its version.
CREATE TABLE IF NOT EXISTS feedback.interactions{{local}} {{on_cluster}}
(
    tenant LowCardinality(String) COMMENT 'Who the interaction belongs to',
    source LowCardinality(String) COMMENT 'The system that sent it (CloudEvents source)',
    interaction_id String COMMENT 'The source''s id of the interaction' CODEC(ZSTD(1)),
    customer_id String COMMENT 'Who acted; empty when unknown' CODEC(ZSTD(1)),
    action LowCardinality(String) COMMENT 'What was done: order, survey_sent, subscription_started, ...',
    touchpoint LowCardinality(String) COMMENT 'Where the customer met the company',
    channel LowCardinality(String) COMMENT 'How: web, app, shop, phone, ...',
    journey_stage LowCardinality(String) COMMENT 'Stage of the customer''s journey',
    value Nullable(Float64) COMMENT 'Worth of the interaction in currency, e.g. of an order' CODEC(ZSTD(1)),
    currency LowCardinality(String) COMMENT 'ISO 4217 code; empty when value is NULL',
    segments Map(LowCardinality(String), String) COMMENT 'Segments of the customer by key' CODEC(ZSTD(1)),
    properties String COMMENT 'What else the source said, as JSON' CODEC(ZSTD(3)),
    flags Array(LowCardinality(String)) COMMENT 'What was odd on the way in, such as a clamped clock',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When the customer acted' CODEC(Delta, ZSTD(1)),
    received_at DateTime64(3, 'UTC') COMMENT 'When the pipeline first saw this event' CODEC(Delta, ZSTD(1)),
    processed_at DateTime64(3, 'UTC') COMMENT 'When the score lane took it up' CODEC(Delta, ZSTD(1)),
    event_id String COMMENT 'CloudEvents id of the event this row comes from' CODEC(ZSTD(1)),
    extra String COMMENT 'Fields that the schema does not know, as JSON; empty when there are none' CODEC(ZSTD(3)),
    digest UInt64 COMMENT 'Hash of the content as sent: breaks ties of occurred_at',
    deleted UInt8 DEFAULT 0 COMMENT '1 = the interaction was withdrawn by its source',
    version UInt256 MATERIALIZED
        bitShiftLeft(toUInt256(toUInt64(toUnixTimestamp64Milli(occurred_at))), 192)
        + bitShiftLeft(toUInt256(digest), 128)
        + bitShiftLeft(toUInt256(bitNot(toUInt64(toUnixTimestamp64Milli(received_at)))), 64)
        COMMENT 'The greatest version of an interaction is the one that counts' CODEC(ZSTD(1))
)
ENGINE = {{engine ReplacingMergeTree(version, deleted)}}
ORDER BY (tenant, source, interaction_id)
COMMENT 'Interactions of customers. Read with FINAL';

{{distributed interactions by cityHash64(tenant, source, interaction_id)}};

-- down
{{drop_distributed interactions}};

DROP TABLE IF EXISTS feedback.interactions{{local}} {{on_cluster}} SYNC;
