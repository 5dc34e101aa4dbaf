-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS cases_local ON CLUSTER shop (
    refund_id        String                                COMMENT 'The refund whose case it is',
    transaction_id   String                                COMMENT 'The transaction to be refunded; empty: none given',
    customer_id      String                                COMMENT 'Who asked; empty: a guest',
    merchant_id      String                                COMMENT 'Empty: none given',
    method           LowCardinality(String)                COMMENT 'Where the money was to go; empty: not said',
    request_reason   LowCardinality(String)                COMMENT 'Why the refund was asked for; empty: not said',
    amount           Decimal(18, 4)                        COMMENT 'Amount asked for, exact, in currency',
    currency         LowCardinality(String)                COMMENT 'ISO 4217 code',
    state            LowCardinality(String)                COMMENT 'in_review, approved, rejected, executed, failed or overdue',
    severity         LowCardinality(String)                COMMENT 'Of the review; empty: there never was one',
    reason           LowCardinality(String)                COMMENT 'Of the last decision; empty: none',
    decided_by       LowCardinality(String)                COMMENT 'Who made the last decision: engine, analyst:NAME, customer or deadline',
    decision_id      String                                COMMENT 'Id of the last decision',
    first_by         LowCardinality(String)                COMMENT 'The analyst who approved it, while a second one must; empty: nobody',
    denied           Bool                                  COMMENT 'The customer said that it isn''t theirs',
    satisfied        Nullable(Bool)                        COMMENT 'The customer is content, by the last answer that says so; NULL: none does',
    occurred_at      DateTime64(3, 'UTC')                  COMMENT 'Event time of the refund, as in decisions' CODEC(Delta, ZSTD(1)),
    received_at      DateTime64(3, 'UTC')                  COMMENT 'Kafka timestamp of the refund' CODEC(Delta, ZSTD(1)),
    opened_at        DateTime64(3, 'UTC')                  COMMENT 'When it was decided first' CODEC(Delta, ZSTD(1)),
    since            DateTime64(3, 'UTC')                  COMMENT 'When it came to this state' CODEC(Delta, ZSTD(1)),
    due_at           Nullable(DateTime64(3, 'UTC'))        COMMENT 'In review the deadline, approved or overdue the ETA; NULL: nothing is waited for',
    executed_at      Nullable(DateTime64(3, 'UTC'))        COMMENT 'Event time of the ledger''s result; NULL: not executed',
    changed_at       DateTime64(3, 'UTC')                  COMMENT 'When it changed: the latest row of a refund counts' CODEC(Delta, ZSTD(1)),
    kafka_topic      LowCardinality(String)                COMMENT 'Topic of the case''s record',
    kafka_partition  Int32                                 COMMENT 'Partition of the case''s record',
    kafka_offset     Int64                                 COMMENT 'Offset of the case''s record' CODEC(Delta, ZSTD(1)),
    stored_at        DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written' CODEC(Delta, ZSTD(1)),
    raw              String                                COMMENT 'What the record''s header says of the case, byte for byte. What is held isn''t there' CODEC(ZSTD(1)),
    INDEX merchant_id merchant_id TYPE bloom_filter GRANULARITY 2,
    INDEX customer_id customer_id TYPE bloom_filter GRANULARITY 2
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/refundguard/cases_local', '{replica}', changed_at)
PARTITION BY toYYYYMM(occurred_at)
ORDER BY refund_id
SETTINGS replicated_deduplication_window_seconds = 31536000, replicated_deduplication_window = 1000
COMMENT 'One row per refund: its case as it is now. Read it with FINAL: until parts are merged, earlier states are there too';
CREATE TABLE IF NOT EXISTS cases ON CLUSTER shop AS cases_local
ENGINE = Distributed('shop', 'refundguard', 'cases_local', cityHash64(refund_id))
COMMENT 'One row per refund: its case as it is now. Read it with FINAL: until parts are merged, earlier states are there too';
