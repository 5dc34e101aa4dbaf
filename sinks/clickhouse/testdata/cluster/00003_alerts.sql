-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS alerts_local ON CLUSTER shop (
    alert_id         String                                COMMENT 'Id of the alert: repeats have it again',
    rule             LowCardinality(String)                COMMENT 'Rule, or what else alerted, e.g. dead-letter:INVALID_JSON',
    severity         LowCardinality(String)                COMMENT 'low, medium, high or critical',
    refund_id        String                                COMMENT 'The refund that it is about; empty: none',
    transaction_id   String                                COMMENT 'Empty: none',
    customer_id      String                                COMMENT 'Empty: none',
    merchant_id      String                                COMMENT 'Empty: none',
    device_id        String                                COMMENT 'Empty: none',
    instrument_id    String                                COMMENT 'Empty: none',
    outcome          LowCardinality(String)                COMMENT 'Outcome of the decision; empty: the alert is not about one',
    amount           Nullable(Decimal(18, 4))              COMMENT 'Amount of the refund, exact; NULL: none',
    currency         LowCardinality(String)                COMMENT 'ISO 4217 code; empty: none',
    message          String                                COMMENT 'What happened, in words' CODEC(ZSTD(1)),
    at               DateTime64(3, 'UTC')                  COMMENT 'When it was raised' CODEC(Delta, ZSTD(1)),
    kafka_topic      LowCardinality(String)                COMMENT 'Topic of the alert''s record',
    kafka_partition  Int32                                 COMMENT 'Partition of the alert''s record',
    kafka_offset     Int64                                 COMMENT 'Offset of the alert''s record' CODEC(Delta, ZSTD(1)),
    stored_at        DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written' CODEC(Delta, ZSTD(1)),
    raw              String                                COMMENT 'The record, byte for byte' CODEC(ZSTD(1)),
    INDEX alert_id alert_id TYPE bloom_filter GRANULARITY 2,
    INDEX refund_id refund_id TYPE bloom_filter GRANULARITY 2,
    INDEX customer_id customer_id TYPE bloom_filter GRANULARITY 2
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/refundguard/alerts_local', '{replica}')
PARTITION BY toYYYYMM(at)
ORDER BY (at, alert_id)
SETTINGS replicated_deduplication_window_seconds = 31536000, replicated_deduplication_window = 1000
COMMENT 'One row per alert';
CREATE TABLE IF NOT EXISTS alerts ON CLUSTER shop AS alerts_local
ENGINE = Distributed('shop', 'refundguard', 'alerts_local', cityHash64(alert_id))
COMMENT 'One row per alert';
