-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS labels_local ON CLUSTER shop (
    label_id         String                                COMMENT 'Id of the label, a function of its source and what it comes from',
    refund_id        String                                COMMENT 'The refund that is labelled; empty: all refunds of the transaction are',
    transaction_id   String                                COMMENT 'The transaction whose refunds are labelled, where refund_id is empty',
    label            LowCardinality(String)                COMMENT 'fraud or legit',
    source           LowCardinality(String)                COMMENT 'chargeback, import, customer or analyst',
    weight           Int64                                 COMMENT 'Trust: of several labels of a refund the heaviest counts, then the latest, then that of the smallest label_id',
    by               String                                COMMENT 'Who says so, e.g. the analyst; empty: nobody says',
    reason           LowCardinality(String)                COMMENT 'Stable code; empty: none',
    note             String                                COMMENT 'In words' CODEC(ZSTD(1)),
    at               DateTime64(3, 'UTC')                  COMMENT 'When it was known' CODEC(Delta, ZSTD(1)),
    kafka_topic      LowCardinality(String)                COMMENT 'Topic of the label''s record',
    kafka_partition  Int32                                 COMMENT 'Partition of the label''s record',
    kafka_offset     Int64                                 COMMENT 'Offset of the label''s record' CODEC(Delta, ZSTD(1)),
    stored_at        DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this row was written' CODEC(Delta, ZSTD(1)),
    raw              String                                COMMENT 'The record, byte for byte' CODEC(ZSTD(1)),
    INDEX refund_id refund_id TYPE bloom_filter GRANULARITY 2,
    INDEX transaction_id transaction_id TYPE bloom_filter GRANULARITY 2
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/refundguard/labels_local', '{replica}')
PARTITION BY toYYYYMM(at)
ORDER BY (at, label_id, refund_id, transaction_id, label, weight)
SETTINGS replicated_deduplication_window_seconds = 31536000, replicated_deduplication_window = 1000
COMMENT 'One row per label: somebody knows what a refund was. View refunds has the one that counts';
CREATE TABLE IF NOT EXISTS labels ON CLUSTER shop AS labels_local
ENGINE = Distributed('shop', 'refundguard', 'labels_local', cityHash64(refund_id, transaction_id))
COMMENT 'One row per label: somebody knows what a refund was. View refunds has the one that counts';
