-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS decisions_local ON CLUSTER shop (
    decision_id             String                                COMMENT 'Id of the decision, a function of the refund and of the decision''s ordinal: repeats have it again',
    refund_id               String                                COMMENT 'The refund that was decided',
    transaction_id          String                                COMMENT 'The transaction to be refunded; empty: none given',
    customer_id             String                                COMMENT 'Who asked; empty: a guest',
    merchant_id             String                                COMMENT 'Empty: none given',
    amount                  Decimal(18, 4)                        COMMENT 'Amount asked for, exact, in currency',
    currency                LowCardinality(String)                COMMENT 'ISO 4217 code',
    outcome                 LowCardinality(String)                COMMENT 'approve, review or reject',
    decided_by              LowCardinality(String)                COMMENT 'engine, analyst:NAME, customer or deadline',
    reason                  LowCardinality(String)                COMMENT 'Stable code, where the outcome has a reason of its own, e.g. EVENT_IN_FUTURE',
    score                   Int64                                 COMMENT 'Sum of the scores of the live rules that hit',
    rules                   Array(LowCardinality(String))         COMMENT 'Live rules that hit; table hits has one row for each',
    shadow_rules            Array(LowCardinality(String))         COMMENT 'Shadow rules that hit: they decided nothing',
    failed_rules            Array(LowCardinality(String))         COMMENT 'Rules that failed at run time; raw says why',
    skipped_rules           Array(LowCardinality(String))         COMMENT 'Rules that missed a value and say on_missing: skip',
    features                Map(LowCardinality(String), String)   COMMENT 'Past-events expressions by canonical text, and their values as text; nil is null' CODEC(ZSTD(1)),
    warming                 Array(LowCardinality(String))         COMMENT 'Expressions whose window reached back further than the topics do',
    degraded                Bool                                  COMMENT 'Decided while state was known to be incomplete',
    holdout                 Bool                                  COMMENT 'Let through on purpose, to measure the rules without bias',
    original_amount         Nullable(Decimal(18, 4))              COMMENT 'Amount of the refunded transaction; NULL: unknown',
    original_currency       LowCardinality(String)                COMMENT 'Its currency; empty: unknown',
    original_occurred_at    Nullable(DateTime64(3, 'UTC'))        COMMENT 'Its event time; NULL: unknown',
    original_instrument_id  String                                COMMENT 'Instrument that it was paid with; empty: unknown',
    ruleset                 LowCardinality(String)                COMMENT 'Version of the rule set',
    occurred_at             DateTime64(3, 'UTC')                  COMMENT 'Event time of the refund, as sent; outside 1900 to 2261 it is the nearest of these' CODEC(Delta, ZSTD(1)),
    received_at             DateTime64(3, 'UTC')                  COMMENT 'Kafka timestamp of the refund' CODEC(Delta, ZSTD(1)),
    decided_at              DateTime64(3, 'UTC')                  COMMENT 'When it was decided' CODEC(Delta, ZSTD(1)),
    source_topic            LowCardinality(String)                COMMENT 'Topic of the refund',
    source_partition        Int32                                 COMMENT 'Partition of the refund',
    source_offset           Int64                                 COMMENT 'Offset of the refund' CODEC(Delta, ZSTD(1)),
    kafka_topic             LowCardinality(String)                COMMENT 'Topic of the decision''s own record',
    kafka_partition         Int32                                 COMMENT 'Partition of the decision''s own record',
    kafka_offset            Int64                                 COMMENT 'Offset of the decision''s own record' CODEC(Delta, ZSTD(1)),
    stored_at               DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written' CODEC(Delta, ZSTD(1)),
    raw                     String                                COMMENT 'The record, byte for byte' CODEC(ZSTD(1)),
    INDEX decision_id decision_id TYPE bloom_filter GRANULARITY 2,
    INDEX refund_id refund_id TYPE bloom_filter GRANULARITY 2,
    INDEX transaction_id transaction_id TYPE bloom_filter GRANULARITY 2,
    INDEX customer_id customer_id TYPE bloom_filter GRANULARITY 2,
    INDEX merchant_id merchant_id TYPE bloom_filter GRANULARITY 2
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/refundguard/decisions_local', '{replica}')
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (occurred_at, decision_id)
SETTINGS replicated_deduplication_window_seconds = 31536000, replicated_deduplication_window = 1000
COMMENT 'One row per decision. Read it with FINAL, or count decision_id with uniqExact';
CREATE TABLE IF NOT EXISTS decisions ON CLUSTER shop AS decisions_local
ENGINE = Distributed('shop', 'refundguard', 'decisions_local', cityHash64(refund_id))
COMMENT 'One row per decision. Read it with FINAL, or count decision_id with uniqExact';
