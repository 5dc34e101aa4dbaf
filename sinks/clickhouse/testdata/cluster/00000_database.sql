CREATE DATABASE IF NOT EXISTS refundguard ON CLUSTER shop;
CREATE TABLE IF NOT EXISTS schema_version ON CLUSTER shop (
    version_id Int64,
    is_applied UInt8,
    date Date DEFAULT now(),
    tstamp DateTime DEFAULT now()
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/refundguard/schema_version', '{shard}-{replica}')
ORDER BY version_id;
