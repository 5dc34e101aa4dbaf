-- +goose NO TRANSACTION
-- +goose Up
CREATE VIEW IF NOT EXISTS rule_quality ON CLUSTER shop AS
WITH 1.959963984540054 AS z,
    (k, n) -> if(n = 0, NULL, k / n) AS share,
    (k, n) -> if(n = 0, NULL, if(k = 0, 0., greatest(0., (k / n + z * z / (2 * n) - z * sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n))) / (1 + z * z / n)))) AS low,
    (k, n) -> if(n = 0, NULL, if(k = n, 1., least(1., (k / n + z * z / (2 * n) + z * sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n))) / (1 + z * z / n)))) AS high,
    measured AS (
        SELECT *, first_decided_at > now64(3) - toIntervalDay({maturity_days:UInt32}) AS young, label != '' AND NOT young AS judged, label = 'fraud' AS fraud
        FROM refunds
        WHERE first_outcome != '' AND first_decided_at >= {from:DateTime64(3, 'UTC')} AND first_decided_at < {to:DateTime64(3, 'UTC')}
            AND startsWith(replaceRegexpOne(toString(ruleset), '^sha256:', ''), replaceRegexpOne({ruleset:String}, '^sha256:', ''))
    ),
    hit AS (
        SELECT occurred_at, refund_id, decided_at, toString(rule) AS rule, toString(mode) AS mode, max(mode = 'live' AND (action IN ('review', 'reject') OR score > 0)) AS holds
        FROM hits WHERE decided_by = 'engine'
        GROUP BY occurred_at, refund_id, decided_at, rule, mode
    )
SELECT h.rule AS rule, h.mode AS mode, count() AS hits, countIf(young) AS hits_too_young, countIf(judged) AS hits_labelled, countIf(holdout AND NOT young) AS hits_holdout,
    countIf(judged AND fraud) AS hits_fraud, share(hits_fraud, hits_labelled) AS precision_biased,
    low(hits_fraud, hits_labelled) AS precision_biased_low, high(hits_fraud, hits_labelled) AS precision_biased_high,
    countIf(judged AND holdout) AS holdout_labelled, countIf(judged AND holdout AND fraud) AS holdout_fraud, share(holdout_fraud, holdout_labelled) AS precision_unbiased,
    low(holdout_fraud, holdout_labelled) AS precision_unbiased_low, high(holdout_fraud, holdout_labelled) AS precision_unbiased_high,
    (SELECT countIf(judged AND fraud) FROM measured) AS frauds, share(hits_fraud, frauds) AS recall, low(hits_fraud, frauds) AS recall_low, high(hits_fraud, frauds) AS recall_high,
    countIf(holds AND first_outcome != 'approve' AND fraud AND outcome != 'approve') AS caught_refunds,
    sumMapIf(map(toString(currency), toDecimal128(amount, 4)), holds AND first_outcome != 'approve' AND fraud AND outcome != 'approve') AS caught,
    countIf(holds AND first_outcome != 'approve' AND label = 'legit') AS wrongly_held_refunds,
    sumMapIf(map(toString(currency), toDecimal128(amount, 4)), holds AND first_outcome != 'approve' AND label = 'legit') AS wrongly_held,
    countIf(holds AND first_outcome = 'review' AND decided_by_analyst) AS cases
FROM measured AS m
INNER JOIN hit AS h ON h.refund_id = m.refund_id AND h.occurred_at = m.occurred_at AND h.decided_at = m.first_decided_at
GROUP BY rule, mode
SETTINGS join_use_nulls = 0
COMMENT 'How good each rule was, as refundguard rules stats measures it: rule_quality(from = …, to = …, ruleset = …, maturity_days = …). Columns are explained in README.md';
