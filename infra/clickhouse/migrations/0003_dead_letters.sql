-- What could not be used, at any step, with the reason. A record is known by its place in Kafka, so a record that
-- fails again after a restart replaces its first row: the latest failure stays.
CREATE TABLE IF NOT EXISTS feedback.dead_letters{{local}} {{on_cluster}}
(
    reason LowCardinality(String) COMMENT 'Code of what is wrong, e.g. not_json, score_out_of_scale',
    stage LowCardinality(String) COMMENT 'Step that refused it: decode, validate, classify, write, ...',
    error String COMMENT 'The message for people' CODEC(ZSTD(3)),
    topic LowCardinality(String) COMMENT 'Kafka topic of the record',
    partition Int32 COMMENT 'Kafka partition of the record',
    offset Int64 COMMENT 'Kafka offset of the record' CODEC(Delta, ZSTD(1)),
    occurred_at DateTime64(3, 'UTC') COMMENT 'Timestamp of the Kafka record' CODEC(Delta, ZSTD(1)),
    key String COMMENT 'Key of the record, redacted' CODEC(ZSTD(1)),
    attempts UInt32 COMMENT 'How often it was tried',
    payload String COMMENT 'The record, redacted and cut to a limit' CODEC(ZSTD(3)),
    failed_at DateTime64(3, 'UTC') COMMENT 'When it was given up' CODEC(Delta, ZSTD(1))
)
ENGINE = {{engine ReplacingMergeTree(failed_at)}}
ORDER BY (topic, partition, offset)
COMMENT 'Records that could not be used, with reason and redacted payload. Read with FINAL';

{{distributed dead_letters by cityHash64(topic, partition, offset)}};

-- down
{{drop_distributed dead_letters}};

DROP TABLE IF EXISTS feedback.dead_letters{{local}} {{on_cluster}} SYNC;
