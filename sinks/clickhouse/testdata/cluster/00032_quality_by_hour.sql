-- +goose NO TRANSACTION
-- +goose Up
-- Quality is summed from the rollups where a whole hour of decisions counts, and read row by row of the hours in which
-- from, to, or the age of maturity lie, and of those whose rollups don't count.
DROP VIEW IF EXISTS v_rule_quality ON CLUSTER shop;
DROP VIEW IF EXISTS v_ruleset_quality ON CLUSTER shop;
CREATE VIEW IF NOT EXISTS v_rule_quality ON CLUSTER shop AS
WITH 1.959963984540054 AS z,
    (k, n) -> if(n = 0, NULL, k / n) AS share,
    (k, n) -> if(n = 0, NULL, if(k = 0, 0., greatest(0., (k / n + z * z / (2 * n) - z * sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n))) / (1 + z * z / n)))) AS low,
    (k, n) -> if(n = 0, NULL, if(k = n, 1., least(1., (k / n + z * z / (2 * n) + z * sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n))) / (1 + z * z / n)))) AS high,
    now64(3) - toIntervalDay({maturity_days:UInt32}) AS mature_until,
    [dateTrunc('hour', {from:DateTime64(3, 'UTC')}), dateTrunc('hour', {to:DateTime64(3, 'UTC')}), dateTrunc('hour', mature_until)] AS edges,
    (SELECT (groupArrayIf(run, clean), groupArrayIf(hour, NOT clean)) FROM rollup_state) AS state,
    (SELECT groupUniqArray(hour) FROM refunds_hourly WHERE run IN state.1 AND decided_hour IN edges) AS edge_hours,
    arrayConcat(state.2, edge_hours) AS hours,
    hit AS (
        SELECT toString(rule) AS rule, toString(mode) AS mode, toString(currency) AS currency, first_outcome, outcome, label, holdout, holds, decided_by_analyst,
            decided_hour > mature_until AS young, sum(h.hits) AS n, sum(h.amount) AS money
        FROM rule_hits_hourly AS h
        WHERE run IN state.1 AND decided_hour NOT IN edges AND first_outcome != '' AND decided_hour >= {from:DateTime64(3, 'UTC')} AND decided_hour < {to:DateTime64(3, 'UTC')}
            AND startsWith(replaceRegexpOne(toString(ruleset), '^sha256:', ''), replaceRegexpOne({ruleset:String}, '^sha256:', ''))
        GROUP BY rule, mode, currency, first_outcome, outcome, label, holdout, holds, decided_by_analyst, young
        UNION ALL
        SELECT x.rule AS rule, x.mode AS mode, toString(r.currency) AS currency, r.first_outcome AS first_outcome, r.outcome AS outcome, r.label AS label, r.holdout AS holdout,
            toBool(x.holds = 1) AS holds, r.decided_by_analyst AS decided_by_analyst, r.first_decided_at > mature_until AS young, count() AS n, sum(toDecimal128(r.amount, 4)) AS money
        FROM (SELECT *, dateTrunc('hour', occurred_at) AS hour FROM v_refunds WHERE dateTrunc('hour', occurred_at) IN hours) AS r
        INNER JOIN (
            SELECT occurred_at, refund_id, decided_at, toString(rule) AS rule, toString(mode) AS mode, max(mode = 'live' AND (action IN ('review', 'reject') OR score > 0)) AS holds
            FROM hits WHERE decided_by = 'engine' AND dateTrunc('hour', occurred_at) IN hours
            GROUP BY occurred_at, refund_id, decided_at, rule, mode
        ) AS x ON x.refund_id = r.refund_id AND x.occurred_at = r.occurred_at AND x.decided_at = r.first_decided_at
        WHERE r.first_outcome != '' AND r.first_decided_at >= {from:DateTime64(3, 'UTC')} AND r.first_decided_at < {to:DateTime64(3, 'UTC')}
            AND (r.hour IN state.2 OR dateTrunc('hour', r.first_decided_at) IN edges)
            AND startsWith(replaceRegexpOne(toString(r.ruleset), '^sha256:', ''), replaceRegexpOne({ruleset:String}, '^sha256:', ''))
        GROUP BY rule, mode, currency, first_outcome, outcome, label, holdout, holds, decided_by_analyst, young
    ),
    (
        SELECT sum(n) FROM (
            SELECT sum(h.refunds) AS n FROM refunds_hourly AS h
            WHERE run IN state.1 AND decided_hour NOT IN edges AND first_outcome != '' AND label = 'fraud' AND NOT (decided_hour > mature_until)
                AND decided_hour >= {from:DateTime64(3, 'UTC')} AND decided_hour < {to:DateTime64(3, 'UTC')}
                AND startsWith(replaceRegexpOne(toString(ruleset), '^sha256:', ''), replaceRegexpOne({ruleset:String}, '^sha256:', ''))
            UNION ALL
            SELECT count() AS n FROM (SELECT *, dateTrunc('hour', occurred_at) AS hour FROM v_refunds WHERE dateTrunc('hour', occurred_at) IN hours) AS r
            WHERE first_outcome != '' AND label = 'fraud' AND NOT (first_decided_at > mature_until)
                AND first_decided_at >= {from:DateTime64(3, 'UTC')} AND first_decided_at < {to:DateTime64(3, 'UTC')} AND (hour IN state.2 OR dateTrunc('hour', first_decided_at) IN edges)
                AND startsWith(replaceRegexpOne(toString(ruleset), '^sha256:', ''), replaceRegexpOne({ruleset:String}, '^sha256:', ''))
        )
    ) AS all_frauds,
    label != '' AND NOT young AS judged, label = 'fraud' AS fraud
SELECT rule, mode, sum(n) AS hits, sumIf(n, young) AS hits_too_young, sumIf(n, judged) AS hits_labelled, sumIf(n, holdout AND NOT young) AS hits_holdout,
    sumIf(n, judged AND fraud) AS hits_fraud, share(hits_fraud, hits_labelled) AS precision_biased,
    low(hits_fraud, hits_labelled) AS precision_biased_low, high(hits_fraud, hits_labelled) AS precision_biased_high,
    sumIf(n, judged AND holdout) AS holdout_labelled, sumIf(n, judged AND holdout AND fraud) AS holdout_fraud, share(holdout_fraud, holdout_labelled) AS precision_unbiased,
    low(holdout_fraud, holdout_labelled) AS precision_unbiased_low, high(holdout_fraud, holdout_labelled) AS precision_unbiased_high,
    all_frauds AS frauds, share(hits_fraud, frauds) AS recall, low(hits_fraud, frauds) AS recall_low, high(hits_fraud, frauds) AS recall_high,
    sumIf(n, holds AND first_outcome != 'approve' AND fraud AND outcome != 'approve') AS caught_refunds,
    sumMapIf(map(currency, money), holds AND first_outcome != 'approve' AND fraud AND outcome != 'approve') AS caught,
    sumIf(n, holds AND first_outcome != 'approve' AND label = 'legit') AS wrongly_held_refunds,
    sumMapIf(map(currency, money), holds AND first_outcome != 'approve' AND label = 'legit') AS wrongly_held,
    sumIf(n, holds AND first_outcome = 'review' AND decided_by_analyst) AS cases
FROM hit
GROUP BY rule, mode
SETTINGS join_use_nulls = 0
COMMENT 'How good each rule was, as refundguard rules stats measures it: v_rule_quality(from = …, to = …, ruleset = …, maturity_days = …). Columns are explained in README.md';
CREATE VIEW IF NOT EXISTS v_ruleset_quality ON CLUSTER shop AS
WITH 1.959963984540054 AS z,
    (k, n) -> if(n = 0, NULL, k / n) AS share,
    (k, n) -> if(n = 0, NULL, if(k = 0, 0., greatest(0., (k / n + z * z / (2 * n) - z * sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n))) / (1 + z * z / n)))) AS low,
    (k, n) -> if(n = 0, NULL, if(k = n, 1., least(1., (k / n + z * z / (2 * n) + z * sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n))) / (1 + z * z / n)))) AS high,
    now64(3) - toIntervalDay({maturity_days:UInt32}) AS mature_until,
    [dateTrunc('hour', {from:DateTime64(3, 'UTC')}), dateTrunc('hour', {to:DateTime64(3, 'UTC')}), dateTrunc('hour', mature_until)] AS edges,
    (SELECT (groupArrayIf(run, clean), groupArrayIf(hour, NOT clean)) FROM rollup_state) AS state,
    (SELECT groupUniqArray(hour) FROM refunds_hourly WHERE run IN state.1 AND decided_hour IN edges) AS edge_hours,
    arrayConcat(state.2, edge_hours) AS hours,
    measured AS (
        SELECT toString(ruleset) AS ruleset, toString(currency) AS currency, first_outcome, outcome, label, holdout, decided_by_analyst,
            held_by_rules AND (first_outcome != 'approve' OR holdout) AS hit, decided_hour > mature_until AS young, min(h.since) AS since, sum(h.refunds) AS n, sum(h.amount) AS money
        FROM refunds_hourly AS h
        WHERE run IN state.1 AND decided_hour NOT IN edges AND first_outcome != '' AND decided_hour >= {from:DateTime64(3, 'UTC')} AND decided_hour < {to:DateTime64(3, 'UTC')}
            AND startsWith(replaceRegexpOne(toString(ruleset), '^sha256:', ''), replaceRegexpOne({ruleset:String}, '^sha256:', ''))
        GROUP BY ruleset, currency, first_outcome, outcome, label, holdout, decided_by_analyst, hit, young
        UNION ALL
        SELECT toString(r.ruleset) AS ruleset, toString(r.currency) AS currency, r.first_outcome AS first_outcome, r.outcome AS outcome, r.label AS label, r.holdout AS holdout,
            r.decided_by_analyst AS decided_by_analyst, x.holds = 1 AND (r.first_outcome != 'approve' OR r.holdout) AS hit, r.first_decided_at > mature_until AS young,
            min(r.first_decided_at) AS since, count() AS n, sum(toDecimal128(r.amount, 4)) AS money
        FROM (SELECT *, dateTrunc('hour', occurred_at) AS hour FROM v_refunds WHERE dateTrunc('hour', occurred_at) IN hours) AS r
        LEFT JOIN (
            SELECT occurred_at, refund_id, decided_at, 1 AS holds
            FROM hits WHERE decided_by = 'engine' AND mode = 'live' AND (action IN ('review', 'reject') OR score > 0) AND dateTrunc('hour', occurred_at) IN hours
            GROUP BY occurred_at, refund_id, decided_at
        ) AS x ON x.refund_id = r.refund_id AND x.occurred_at = r.occurred_at AND x.decided_at = r.first_decided_at
        WHERE r.first_outcome != '' AND r.first_decided_at >= {from:DateTime64(3, 'UTC')} AND r.first_decided_at < {to:DateTime64(3, 'UTC')}
            AND (r.hour IN state.2 OR dateTrunc('hour', r.first_decided_at) IN edges)
            AND startsWith(replaceRegexpOne(toString(r.ruleset), '^sha256:', ''), replaceRegexpOne({ruleset:String}, '^sha256:', ''))
        GROUP BY ruleset, currency, first_outcome, outcome, label, holdout, decided_by_analyst, hit, young
    ),
    label != '' AND NOT young AS judged, label = 'fraud' AS fraud
SELECT ruleset, min(m.since) AS since, sum(n) AS refunds, sumIf(n, judged) AS labelled_refunds,
    sumIf(n, hit) AS hits, sumIf(n, hit AND young) AS hits_too_young, sumIf(n, hit AND judged) AS hits_labelled, sumIf(n, hit AND holdout AND NOT young) AS hits_holdout,
    sumIf(n, hit AND judged AND fraud) AS hits_fraud, share(hits_fraud, hits_labelled) AS precision_biased,
    low(hits_fraud, hits_labelled) AS precision_biased_low, high(hits_fraud, hits_labelled) AS precision_biased_high,
    sumIf(n, hit AND judged AND holdout) AS holdout_labelled, sumIf(n, hit AND judged AND holdout AND fraud) AS holdout_fraud, share(holdout_fraud, holdout_labelled) AS precision_unbiased,
    low(holdout_fraud, holdout_labelled) AS precision_unbiased_low, high(holdout_fraud, holdout_labelled) AS precision_unbiased_high,
    sumIf(n, judged AND fraud) AS frauds, share(hits_fraud, frauds) AS recall, low(hits_fraud, frauds) AS recall_low, high(hits_fraud, frauds) AS recall_high,
    sumIf(n, hit AND first_outcome != 'approve' AND fraud AND outcome != 'approve') AS caught_refunds,
    sumMapIf(map(currency, money), hit AND first_outcome != 'approve' AND fraud AND outcome != 'approve') AS caught,
    sumIf(n, hit AND first_outcome != 'approve' AND label = 'legit') AS wrongly_held_refunds,
    sumMapIf(map(currency, money), hit AND first_outcome != 'approve' AND label = 'legit') AS wrongly_held,
    sumIf(n, hit AND first_outcome = 'review' AND decided_by_analyst) AS cases
FROM measured AS m
GROUP BY ruleset
SETTINGS join_use_nulls = 0
COMMENT 'How good each rule set was, as refundguard rules stats measures it: v_ruleset_quality(from = …, to = …, ruleset = …, maturity_days = …). Columns are explained in README.md';
