-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS transactions (
    transaction_id   String                                COMMENT 'Id of the payment: a later record of it with other bytes is a change of its status, and a row of its own',
    amount           Decimal(18, 4)                        COMMENT 'What was paid, exact, in currency',
    currency         LowCardinality(String)                COMMENT 'ISO 4217 code',
    customer_id      String                                COMMENT 'Who paid; empty: a guest',
    merchant_id      String                                COMMENT 'Who was paid; empty: none given',
    status           LowCardinality(String)                COMMENT 'State of the payment; empty: not said',
    method           LowCardinality(String)                COMMENT 'How it was paid; empty: not said',
    instrument_id    String                                COMMENT 'The card, wallet or account that paid; empty: none given',
    device_id        String                                COMMENT 'Device that it was made on; empty: none given',
    ip               String                                COMMENT 'Address that it was made from; empty: none given',
    country          LowCardinality(String)                COMMENT 'Country that it was made from; empty: none given',
    channel          LowCardinality(String)                COMMENT 'E.g. web, app or pos; empty: none given',
    custom           Map(LowCardinality(String), String)   COMMENT 'Fields of your own (streams.transactions.fields) by name, as text' CODEC(ZSTD(1)),
    occurred_at      DateTime64(3, 'UTC')                  COMMENT 'When it was paid, or its status changed, as sent; outside 1900 to 2261 it is the nearest of these' CODEC(Delta, ZSTD(1)),
    received_at      DateTime64(3, 'UTC')                  COMMENT 'Kafka timestamp of the record' CODEC(Delta, ZSTD(1)),
    kafka_topic      LowCardinality(String)                COMMENT 'Topic of the record',
    kafka_partition  Int32                                 COMMENT 'Partition of the record',
    kafka_offset     Int64                                 COMMENT 'Offset of the record' CODEC(Delta, ZSTD(1)),
    stored_at        DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written' CODEC(Delta, ZSTD(1)),
    raw              String                                COMMENT 'The record, byte for byte' CODEC(ZSTD(1)),
    digest           UInt64 DEFAULT sipHash64(raw)         COMMENT 'Of raw: a repeat has it again, a change of the payment''s status does not' CODEC(NONE),
    INDEX transaction_id transaction_id TYPE bloom_filter GRANULARITY 2,
    INDEX customer_id customer_id TYPE bloom_filter GRANULARITY 2,
    INDEX merchant_id merchant_id TYPE bloom_filter GRANULARITY 2,
    INDEX instrument_id instrument_id TYPE bloom_filter GRANULARITY 2,
    INDEX device_id device_id TYPE bloom_filter GRANULARITY 2
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (occurred_at, transaction_id, digest)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One row per record of the stream transactions, as sent; those that can''t be read are in dead_letters';
