-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS refunds_local ON CLUSTER shop (
    refund_id        String                                COMMENT 'Id of the request: of several with other bytes the service decides the first that came',
    amount           Decimal(18, 4)                        COMMENT 'What is asked for, exact, in currency',
    currency         LowCardinality(String)                COMMENT 'ISO 4217 code',
    customer_id      String                                COMMENT 'Who asks; empty: a guest',
    transaction_id   String                                COMMENT 'The payment that is refunded; empty: none given',
    merchant_id      String                                COMMENT 'Who was paid; empty: none given',
    reason           LowCardinality(String)                COMMENT 'Why; empty: not said',
    method           LowCardinality(String)                COMMENT 'How the money is to go back; empty: not said',
    instrument_id    String                                COMMENT 'Where the money is to go; empty: none given',
    requested_by     LowCardinality(String)                COMMENT 'On whose behalf: customer, agent, merchant or api; empty: not said',
    agent_id         String                                COMMENT 'The agent who entered it; empty: none given',
    mfa              Nullable(Bool)                        COMMENT 'It was confirmed by a second factor; NULL: not said',
    device_id        String                                COMMENT 'Device that it was made on; empty: none given',
    ip               String                                COMMENT 'Address that it was made from; empty: none given',
    country          LowCardinality(String)                COMMENT 'Country that it was made from; empty: none given',
    channel          LowCardinality(String)                COMMENT 'E.g. web, app or phone; empty: none given',
    custom           Map(LowCardinality(String), String)   COMMENT 'Fields of your own (streams.refunds.fields) by name, as text' CODEC(ZSTD(1)),
    occurred_at      DateTime64(3, 'UTC')                  COMMENT 'When it was asked for, as sent; outside 1900 to 2261 it is the nearest of these' CODEC(Delta, ZSTD(1)),
    received_at      DateTime64(3, 'UTC')                  COMMENT 'Kafka timestamp of the record' CODEC(Delta, ZSTD(1)),
    kafka_topic      LowCardinality(String)                COMMENT 'Topic of the record',
    kafka_partition  Int32                                 COMMENT 'Partition of the record',
    kafka_offset     Int64                                 COMMENT 'Offset of the record' CODEC(Delta, ZSTD(1)),
    stored_at        DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written' CODEC(Delta, ZSTD(1)),
    raw              String                                COMMENT 'The record, byte for byte' CODEC(ZSTD(1)),
    digest           UInt64 DEFAULT sipHash64(raw)         COMMENT 'Of raw: a repeat has it again, another request of the same id does not' CODEC(NONE),
    INDEX refund_id refund_id TYPE bloom_filter GRANULARITY 2,
    INDEX customer_id customer_id TYPE bloom_filter GRANULARITY 2,
    INDEX transaction_id transaction_id TYPE bloom_filter GRANULARITY 2,
    INDEX merchant_id merchant_id TYPE bloom_filter GRANULARITY 2,
    INDEX instrument_id instrument_id TYPE bloom_filter GRANULARITY 2,
    INDEX device_id device_id TYPE bloom_filter GRANULARITY 2
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/refundguard/refunds_local', '{replica}')
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (occurred_at, refund_id, digest)
SETTINGS replicated_deduplication_window_seconds = 31536000, replicated_deduplication_window = 1000
COMMENT 'One row per record of the stream refunds, as sent; those that can''t be read are in dead_letters';
CREATE TABLE IF NOT EXISTS refunds ON CLUSTER shop AS refunds_local
ENGINE = Distributed('shop', 'refundguard', 'refunds_local', cityHash64(refund_id))
COMMENT 'One row per record of the stream refunds, as sent; those that can''t be read are in dead_letters';
