-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS dead_letters_local ON CLUSTER shop (
    code              LowCardinality(String)                COMMENT 'Why the record was refused, e.g. MISSING_FIELD',
    field             LowCardinality(String)                COMMENT 'The field that it is about; empty: none',
    message           String                                COMMENT 'Why, in words' CODEC(ZSTD(1)),
    source_topic      LowCardinality(String)                COMMENT 'Topic of the refused record',
    source_partition  Int32                                 COMMENT 'Partition of the refused record',
    source_offset     Int64                                 COMMENT 'Offset of the refused record' CODEC(Delta, ZSTD(1)),
    received_at       DateTime64(3, 'UTC')                  COMMENT 'Kafka timestamp of the refused record' CODEC(Delta, ZSTD(1)),
    refused_at        DateTime64(3, 'UTC')                  COMMENT 'Kafka timestamp of the dead letter' CODEC(Delta, ZSTD(1)),
    key               String                                COMMENT 'Key of the refused record' CODEC(ZSTD(1)),
    value             String                                COMMENT 'The refused record, byte for byte' CODEC(ZSTD(1)),
    headers           Map(String, String)                   COMMENT 'All headers of the dead letter; of one that comes twice, the last' CODEC(ZSTD(1)),
    kafka_topic       LowCardinality(String)                COMMENT 'Topic of the dead letter',
    kafka_partition   Int32                                 COMMENT 'Partition of the dead letter',
    kafka_offset      Int64                                 COMMENT 'Offset of the dead letter' CODEC(Delta, ZSTD(1)),
    stored_at         DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/refundguard/dead_letters_local', '{replica}')
PARTITION BY toYYYYMM(refused_at)
ORDER BY (refused_at, code, kafka_topic, kafka_partition, kafka_offset)
SETTINGS replicated_deduplication_window_seconds = 31536000, replicated_deduplication_window = 1000
COMMENT 'One row per refused record';
CREATE TABLE IF NOT EXISTS dead_letters ON CLUSTER shop AS dead_letters_local
ENGINE = Distributed('shop', 'refundguard', 'dead_letters_local', cityHash64(kafka_partition, kafka_offset))
COMMENT 'One row per refused record';
