-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS ledger_results (
    result_id        String                                COMMENT 'Id of the result: of several with other bytes the service believes the first that came',
    refund_id        String                                COMMENT 'The refund that was executed, or not',
    status           LowCardinality(String)                COMMENT 'executed or failed',
    amount           Nullable(Decimal(18, 4))              COMMENT 'What was paid out, exact; NULL: not said',
    currency         LowCardinality(String)                COMMENT 'ISO 4217 code; empty: not said',
    error            String                                COMMENT 'Why it failed; empty: not said' CODEC(ZSTD(1)),
    custom           Map(LowCardinality(String), String)   COMMENT 'Fields of your own (streams.ledger_results.fields) by name, as text' CODEC(ZSTD(1)),
    occurred_at      DateTime64(3, 'UTC')                  COMMENT 'When it was executed, or failed, as sent; outside 1900 to 2261 it is the nearest of these' CODEC(Delta, ZSTD(1)),
    received_at      DateTime64(3, 'UTC')                  COMMENT 'Kafka timestamp of the record' CODEC(Delta, ZSTD(1)),
    kafka_topic      LowCardinality(String)                COMMENT 'Topic of the record',
    kafka_partition  Int32                                 COMMENT 'Partition of the record',
    kafka_offset     Int64                                 COMMENT 'Offset of the record' CODEC(Delta, ZSTD(1)),
    stored_at        DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written' CODEC(Delta, ZSTD(1)),
    raw              String                                COMMENT 'The record, byte for byte' CODEC(ZSTD(1)),
    digest           UInt64 DEFAULT sipHash64(raw)         COMMENT 'Of raw: a repeat has it again, another result of the same id does not' CODEC(NONE),
    INDEX result_id result_id TYPE bloom_filter GRANULARITY 2,
    INDEX refund_id refund_id TYPE bloom_filter GRANULARITY 2
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (occurred_at, refund_id, result_id, digest)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One row per result that the ledger has sent: what it did with an approved refund';
