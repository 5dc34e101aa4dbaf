-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS unreadable_local ON CLUSTER shop (
    kafka_topic      LowCardinality(String)                COMMENT 'Topic of the record',
    kafka_partition  Int32                                 COMMENT 'Partition of the record',
    kafka_offset     Int64                                 COMMENT 'Offset of the record' CODEC(Delta, ZSTD(1)),
    written_at       DateTime64(3, 'UTC')                  COMMENT 'Kafka timestamp of the record' CODEC(Delta, ZSTD(1)),
    error            String                                COMMENT 'Why the sink could not read it' CODEC(ZSTD(1)),
    key              String                                COMMENT 'Key of the record' CODEC(ZSTD(1)),
    value            String                                COMMENT 'The record, byte for byte' CODEC(ZSTD(1)),
    headers          Map(String, String)                   COMMENT 'Its headers; of one that comes twice, the last' CODEC(ZSTD(1)),
    stored_at        DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/refundguard/unreadable_local', '{replica}')
PARTITION BY toYYYYMM(written_at)
ORDER BY (written_at, kafka_topic, kafka_partition, kafka_offset)
SETTINGS replicated_deduplication_window_seconds = 31536000, replicated_deduplication_window = 1000
COMMENT 'Records of our own topics that the sink could not read: kept, so that nothing is lost. Empty, unless somebody else writes there';
CREATE TABLE IF NOT EXISTS unreadable ON CLUSTER shop AS unreadable_local
ENGINE = Distributed('shop', 'refundguard', 'unreadable_local', cityHash64(kafka_partition, kafka_offset))
COMMENT 'Records of our own topics that the sink could not read: kept, so that nothing is lost. Empty, unless somebody else writes there';
