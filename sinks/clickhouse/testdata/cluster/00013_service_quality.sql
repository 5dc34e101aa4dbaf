-- +goose NO TRANSACTION
-- +goose Up
CREATE VIEW IF NOT EXISTS service_quality ON CLUSTER shop AS
WITH greatest(0, date_diff('millisecond', occurred_at, executed_at)) / 1000 AS seconds
SELECT merchant_id, method, request_reason, count() AS refunds, countIf(executed_at IS NOT NULL) AS executed,
    if(executed = 0, NULL, quantileExactIf(0.5)(ifNull(seconds, 0), executed_at IS NOT NULL)) AS executed_p50_seconds,
    if(executed = 0, NULL, quantileExactIf(0.95)(ifNull(seconds, 0), executed_at IS NOT NULL)) AS executed_p95_seconds,
    countIf(c.satisfied IS NOT NULL) AS answers, countIf(ifNull(c.satisfied, false)) AS satisfied_answers, if(answers = 0, NULL, satisfied_answers / answers) AS satisfied_share
FROM cases AS c FINAL
WHERE occurred_at >= {from:DateTime64(3, 'UTC')} AND occurred_at < {to:DateTime64(3, 'UTC')}
GROUP BY merchant_id, method, request_reason
COMMENT 'How well refunds that were asked for in a time were served: service_quality(from = …, to = …). Columns are explained in README.md';
