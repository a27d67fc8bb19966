-- What is set once a tenant. A tenant without a row, or with a zone that ClickHouse does not know, is in UTC.
CREATE TABLE IF NOT EXISTS feedback.tenants {{on_cluster}}
(
    tenant String COMMENT 'Id, as in the events',
    name String DEFAULT '' COMMENT 'Name for people',
    timezone String DEFAULT 'UTC' COMMENT 'IANA name, e.g. America/Sao_Paulo: days, weeks and months are cut in it',
    language LowCardinality(String) DEFAULT '' COMMENT 'ISO 639-1 code of the tenant''s reports; empty = English',
    updated_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'The newest row of a tenant counts'
)
ENGINE = {{engine everywhere ReplacingMergeTree(updated_at)}}
ORDER BY tenant
COMMENT 'Settings of each tenant. Read with FINAL';

-- down
DROP TABLE IF EXISTS feedback.tenants {{on_cluster}} SYNC;
