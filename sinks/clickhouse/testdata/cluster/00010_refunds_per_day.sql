-- +goose NO TRANSACTION
-- +goose Up
CREATE VIEW IF NOT EXISTS refunds_per_day ON CLUSTER shop (
    day              Date                    COMMENT 'Day of the refunds'' event time, UTC',
    merchant_id      String                  COMMENT 'Empty: none given',
    currency         LowCardinality(String)  COMMENT 'ISO 4217 code',
    refunds          UInt64                  COMMENT 'Refunds, each once, however often it was decided',
    held             UInt64                  COMMENT 'Of these, by the first decision: reviewed',
    approved         UInt64                  COMMENT 'By what became of them: approved in the end',
    in_review        UInt64                  COMMENT 'Still in review',
    rejected         UInt64                  COMMENT 'Rejected in the end',
    amount           Decimal(38, 4)          COMMENT 'Money asked for',
    amount_approved  Decimal(38, 4)          COMMENT 'Money approved in the end',
    amount_rejected  Decimal(38, 4)          COMMENT 'Money rejected in the end'
) AS
SELECT toDate(occurred_at, 'UTC') AS day, merchant_id, currency, count() AS refunds, countIf(first_outcome = 'review') AS held,
    countIf(outcome = 'approve') AS approved, countIf(outcome = 'review') AS in_review, countIf(outcome = 'reject') AS rejected,
    sum(r.amount) AS amount, sumIf(r.amount, outcome = 'approve') AS amount_approved, sumIf(r.amount, outcome = 'reject') AS amount_rejected
FROM refunds AS r
GROUP BY day, merchant_id, currency
COMMENT 'Refunds by day: counted once each, outcomes and money by what became of them';
