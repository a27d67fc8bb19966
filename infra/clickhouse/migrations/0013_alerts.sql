-- What the sentinel has found, and what it needs to go on after a restart. Rows are few (alerts) or few and wide
-- (baselines), so every node holds a whole copy.
CREATE TABLE IF NOT EXISTS feedback.alerts {{on_cluster}}
(
    tenant String COMMENT 'Who the feedback belongs to',
    alert_id String COMMENT 'Id, and the deduplication key at every receiver',
    revision UInt64 COMMENT 'The greatest revision of an alert is the one that counts',
    status LowCardinality(String) COMMENT 'firing, acknowledged, snoozed or resolved',
    kind LowCardinality(String) COMMENT 'spike, drift, silence or rule',
    dimension LowCardinality(String) COMMENT 'all, survey, touchpoint, channel, language, topic or segment',
    value String COMMENT 'Which of them, e.g. delivery.delay, or plan=pro',
    measure LowCardinality(String) COMMENT 'negative, net, nps, csat, ces or volume',
    summary String COMMENT 'One sentence in the language of the tenant',
    share Nullable(Float64) COMMENT 'Unhappy share in the window, per cent',
    usual Nullable(Float64) COMMENT 'Usual unhappy share at that hour of the week, per cent',
    n Float64 COMMENT 'Answers in the window',
    started_at DateTime64(3, 'UTC') COMMENT 'Since when',
    fired_at DateTime64(3, 'UTC') COMMENT 'When it was found',
    resolved_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was over; NULL = it is not',
    updated_at DateTime64(3, 'UTC') COMMENT 'When this revision was made',
    alert String COMMENT 'The whole alert as JSON (schemas.alerts.Alert)' CODEC(ZSTD(3))
)
ENGINE = {{engine everywhere ReplacingMergeTree(revision)}}
ORDER BY (tenant, alert_id)
COMMENT 'Alerts. Read with FINAL';

CREATE TABLE IF NOT EXISTS feedback.alert_notices {{on_cluster}}
(
    alert_id String COMMENT 'The alert',
    event LowCardinality(String) COMMENT 'firing or resolved, and for a second firing after a snooze its time',
    receiver LowCardinality(String) COMMENT 'Name of the receiver',
    status LowCardinality(String) COMMENT 'sent, or dead when it was given up',
    attempts UInt32 COMMENT 'How often it was tried',
    error String COMMENT 'What the last failure was; empty when sent',
    notice String COMMENT 'The alert as JSON where it was given up, so that it can be sent by hand' CODEC(ZSTD(3)),
    at DateTime64(3, 'UTC') COMMENT 'When it was sent or given up'
)
ENGINE = {{engine everywhere ReplacingMergeTree(at)}}
ORDER BY (alert_id, event, receiver)
COMMENT 'Notices that are done with: sent, or dead letters. Read with FINAL';

CREATE TABLE IF NOT EXISTS feedback.sentinel_rows {{on_cluster}}
(
    tenant String COMMENT 'Who the feedback belongs to',
    dimension LowCardinality(String) COMMENT 'As in feedback.alerts',
    value String COMMENT 'As in feedback.alerts',
    measure LowCardinality(String) COMMENT 'As in feedback.alerts',
    learnt_until DateTime64(3, 'UTC') COMMENT 'The end of the last hour that was learnt',
    slot_k Array(Float32) COMMENT 'Unhappy answers by hour of the week, older weeks faded' CODEC(ZSTD(1)),
    slot_n Array(Float32) COMMENT 'Answers by hour of the week, older weeks faded' CODEC(ZSTD(1)),
    slot_hours Array(Float32) COMMENT 'Hours learnt by hour of the week, older weeks faded' CODEC(ZSTD(1)),
    state Array(Float64) COMMENT 'What else the detector holds of the row, in its own order' CODEC(ZSTD(1)),
    saved_at DateTime64(3, 'UTC') COMMENT 'The newest counts'
)
ENGINE = {{engine everywhere ReplacingMergeTree(saved_at)}}
ORDER BY (tenant, dimension, value, measure)
COMMENT 'Baselines of the sentinel. Read with FINAL';

CREATE TABLE IF NOT EXISTS feedback.sentinel_lease {{on_cluster}}
(
    holder String COMMENT 'Which process holds it',
    claimed_at DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'When, by the clock of the store',
    until DateTime64(6, 'UTC') COMMENT 'When it ends if it is not renewed'
)
ENGINE = {{engine everywhere MergeTree}}
ORDER BY claimed_at
TTL toDateTime(until) + INTERVAL 1 HOUR
COMMENT 'One sentinel at a time: the oldest claim among those that have not ended holds';

-- down
DROP TABLE IF EXISTS feedback.sentinel_lease {{on_cluster}} SYNC;
DROP TABLE IF EXISTS feedback.sentinel_rows {{on_cluster}} SYNC;
DROP TABLE IF EXISTS feedback.alert_notices {{on_cluster}} SYNC;
DROP TABLE IF EXISTS feedback.alerts {{on_cluster}} SYNC;
