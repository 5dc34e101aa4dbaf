-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS statuses (
    refund_id         String                                COMMENT 'The refund that the customer is told of',
    customer_id       String                                COMMENT 'Who asked; empty: a guest',
    status            LowCardinality(String)                COMMENT 'received, in_review, approved, rejected, executed, failed or overdue',
    reason            LowCardinality(String)                COMMENT 'Stable code; empty: none',
    customer_message  String                                COMMENT 'What the customer may be told; empty: nothing more' CODEC(ZSTD(1)),
    customer_next     String                                COMMENT 'What the customer can do next; empty: nothing' CODEC(ZSTD(1)),
    eta               Nullable(DateTime64(3, 'UTC'))        COMMENT 'When the money should be there; NULL: not said',
    at                DateTime64(3, 'UTC')                  COMMENT 'When it came to be so' CODEC(Delta, ZSTD(1)),
    kafka_topic       LowCardinality(String)                COMMENT 'Topic of the status''s record',
    kafka_partition   Int32                                 COMMENT 'Partition of the status''s record',
    kafka_offset      Int64                                 COMMENT 'Offset of the status''s record' CODEC(Delta, ZSTD(1)),
    stored_at         DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written' CODEC(Delta, ZSTD(1)),
    raw               String                                COMMENT 'The record, byte for byte' CODEC(ZSTD(1)),
    digest            UInt64 DEFAULT sipHash64(raw)         COMMENT 'Of raw: a repeat has it again' CODEC(NONE),
    INDEX refund_id refund_id TYPE bloom_filter GRANULARITY 2,
    INDEX customer_id customer_id TYPE bloom_filter GRANULARITY 2
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (at, refund_id, digest)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One row per change that a customer may be told of';
