-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS hits_local ON CLUSTER shop (
    rule             LowCardinality(String)                COMMENT 'Id of the rule that hit',
    mode             LowCardinality(String)                COMMENT 'live, or shadow: then it decided nothing',
    action           LowCardinality(String)                COMMENT 'approve, review, reject or alert; empty: the rule has a score only',
    score            Int64                                 COMMENT 'What the rule added to the score',
    severity         LowCardinality(String)                COMMENT 'low, medium, high or critical',
    reason           LowCardinality(String)                COMMENT 'The rule''s stable code',
    message          String                                COMMENT 'The rule''s message with its values' CODEC(ZSTD(1)),
    decision_id      String                                COMMENT 'The decision that the hit belongs to',
    refund_id        String                                COMMENT 'The refund that was decided',
    transaction_id   String                                COMMENT 'The transaction to be refunded; empty: none given',
    customer_id      String                                COMMENT 'Who asked; empty: a guest',
    merchant_id      String                                COMMENT 'Empty: none given',
    amount           Decimal(18, 4)                        COMMENT 'Amount asked for, exact, in currency',
    currency         LowCardinality(String)                COMMENT 'ISO 4217 code',
    outcome          LowCardinality(String)                COMMENT 'What the decision came to: approve, review or reject',
    decided_by       LowCardinality(String)                COMMENT 'engine, analyst:NAME, customer or deadline',
    ruleset          LowCardinality(String)                COMMENT 'Version of the rule set',
    occurred_at      DateTime64(3, 'UTC')                  COMMENT 'Event time of the refund, as in decisions' CODEC(Delta, ZSTD(1)),
    decided_at       DateTime64(3, 'UTC')                  COMMENT 'When it was decided' CODEC(Delta, ZSTD(1)),
    kafka_topic      LowCardinality(String)                COMMENT 'Topic of the decision''s record',
    kafka_partition  Int32                                 COMMENT 'Partition of the decision''s record',
    kafka_offset     Int64                                 COMMENT 'Offset of the decision''s record' CODEC(Delta, ZSTD(1)),
    stored_at        DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written' CODEC(Delta, ZSTD(1)),
    INDEX refund_id refund_id TYPE bloom_filter GRANULARITY 2,
    INDEX customer_id customer_id TYPE bloom_filter GRANULARITY 2
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/refundguard/hits_local', '{replica}')
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (rule, occurred_at, decision_id)
SETTINGS replicated_deduplication_window_seconds = 31536000, replicated_deduplication_window = 1000
COMMENT 'One row per rule that hit in a decision';
CREATE TABLE IF NOT EXISTS hits ON CLUSTER shop AS hits_local
ENGINE = Distributed('shop', 'refundguard', 'hits_local', cityHash64(refund_id))
COMMENT 'One row per rule that hit in a decision';
