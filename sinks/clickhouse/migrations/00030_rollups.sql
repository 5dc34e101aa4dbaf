-- +goose NO TRANSACTION
-- +goose Up
-- Rollups are a function of the deduplicated tables, hour by hour of event time, computed anew when something of the
-- hour was written: nothing is ever added to a count, so that what is sent again can't change it. README.md says how.
DROP VIEW IF EXISTS v_refunds;
CREATE VIEW IF NOT EXISTS v_refunds (
    refund_id           String                         COMMENT 'The refund',
    transaction_id      String                         COMMENT 'The transaction to be refunded; empty: none given',
    customer_id         String                         COMMENT 'Who asked; empty: a guest',
    merchant_id         String                         COMMENT 'Empty: none given',
    amount              Decimal(18, 4)                 COMMENT 'Amount asked for, exact, in currency',
    currency            LowCardinality(String)         COMMENT 'ISO 4217 code',
    occurred_at         DateTime64(3, 'UTC')           COMMENT 'Event time of the refund: filter by it, and other months aren''t read',
    received_at         DateTime64(3, 'UTC')           COMMENT 'Kafka timestamp of the refund',
    first_outcome       LowCardinality(String)         COMMENT 'What the engine decided: approve, review or reject; empty: that decision isn''t here any more',
    first_decided_at    DateTime64(3, 'UTC')           COMMENT 'When it did; 1970: likewise',
    ruleset             LowCardinality(String)         COMMENT 'Version of the rule set by which it did',
    holdout             Bool                           COMMENT 'Let through on purpose, to measure the rules without bias',
    degraded            Bool                           COMMENT 'The engine decided it while state was known to be incomplete',
    controls            Array(LowCardinality(String))  COMMENT 'Snoozes and holds that changed what it decided',
    outcome             LowCardinality(String)         COMMENT 'What became of it: the last decision, by whomever',
    decided_by          LowCardinality(String)         COMMENT 'Who made the last decision: engine, analyst:NAME, customer or deadline',
    decided_at          DateTime64(3, 'UTC')           COMMENT 'When it was made',
    decided_by_analyst  Bool                           COMMENT 'An analyst approved or rejected it',
    label               LowCardinality(String)         COMMENT 'What it turned out to be, by the label that counts: fraud or legit; empty: nobody says',
    label_source        LowCardinality(String)         COMMENT 'Source of that label; empty: none',
    labelled_at         Nullable(DateTime64(3, 'UTC')) COMMENT 'When that was known; NULL: no label'
) AS
-- The heaviest, then the latest, then that of the smallest id. No label is (0, …), and real ones are below it.
WITH if(r.best <= t.best, r.best, t.best) AS best
SELECT d.refund_id AS refund_id, d.transaction_id AS transaction_id, customer_id, merchant_id, amount, currency, occurred_at, received_at,
    first.1 AS first_outcome, first.2 AS first_decided_at, first.3 AS ruleset, first.4 AS holdout, first.5 AS degraded, first.6 AS controls,
    if(last.1 != '', last.1, first.1) AS outcome, if(last.1 != '', last.2, if(first.1 != '', 'engine', '')) AS decided_by, if(last.1 != '', last.3, first.2) AS decided_at,
    decided_by_analyst,
    best.4 AS label, best.5 AS label_source, if(best.1 = 0, NULL, fromUnixTimestamp64Milli(-best.2, 'UTC')) AS labelled_at
FROM (
    -- What comes twice changes none of these. All decisions of a refund have its ids: they are keys, so that a filter
    -- by one of them finds its rows by the table's indexes.
    SELECT occurred_at, refund_id, transaction_id, customer_id, merchant_id, max(amount) AS amount, max(currency) AS currency, max(received_at) AS received_at,
        argMinIf((outcome, decided_at, ruleset, holdout, degraded, controls), decided_at, decided_by = 'engine') AS first,
        -- A decision that ends a review is later than one that doesn't, whatever clocks say.
        argMaxIf((outcome, decided_by, decided_at), (outcome != 'review', decided_at, indexOf(['approve', 'review', 'reject'], outcome)), decided_by != 'engine') AS last,
        toBool(countIf(startsWith(decided_by, 'analyst:') AND outcome != 'review') > 0) AS decided_by_analyst
    FROM decisions
    GROUP BY occurred_at, refund_id, transaction_id, customer_id, merchant_id
) AS d
LEFT JOIN (
    SELECT refund_id, min((-weight, -toUnixTimestamp64Milli(at), label_id, toString(label), toString(source))) AS best
    FROM labels WHERE refund_id != '' GROUP BY refund_id
) AS r ON r.refund_id = d.refund_id
LEFT JOIN (
    SELECT transaction_id, min((-weight, -toUnixTimestamp64Milli(at), label_id, toString(label), toString(source))) AS best
    FROM labels WHERE refund_id = '' GROUP BY transaction_id
) AS t ON t.transaction_id = d.transaction_id
SETTINGS join_use_nulls = 0
COMMENT 'One row per refund: what was decided first, what became of it, and what it turned out to be';
CREATE TABLE IF NOT EXISTS hour_touched (
    hour     DateTime64(0, 'UTC')  COMMENT 'Hour of event time, UTC, of which something was written',
    touches  UInt64                COMMENT 'A random number for each time, summed: another sum means that something was written since'
)
ENGINE = SummingMergeTree(touches)
ORDER BY hour
COMMENT 'Which hours of the rollups were written to. It has no deduplication window: a repeat does no harm';
CREATE TABLE IF NOT EXISTS rollup_hours (
    hour          DateTime64(0, 'UTC')  COMMENT 'Hour of event time, UTC',
    run           UInt64                COMMENT 'Rows of the rollups with this run are the hour''s',
    touches       UInt64                COMMENT 'Sum of hour_touched before they were computed',
    kept          Bool                  COMMENT 'The hour''s own rows may have been deleted for their age: it is never computed again',
    committed_at  DateTime64(3, 'UTC')  COMMENT 'When they were complete: the latest row of an hour counts'
)
ENGINE = ReplacingMergeTree(committed_at)
ORDER BY hour
COMMENT 'Which rows of the rollups count';
CREATE TABLE IF NOT EXISTS refunds_hourly (
    hour                DateTime64(0, 'UTC')    COMMENT 'Hour of the refunds'' event time, UTC',
    currency            LowCardinality(String)  COMMENT 'ISO 4217 code',
    first_outcome       LowCardinality(String)  COMMENT 'What the engine decided: approve, review or reject; empty: that decision isn''t here any more',
    outcome             LowCardinality(String)  COMMENT 'What became of it: approve, review (it is still held) or reject',
    decided_by          LowCardinality(String)  COMMENT 'Who made the last decision: engine, analyst, customer or deadline',
    label               LowCardinality(String)  COMMENT 'What it turned out to be: fraud or legit; empty: nobody says',
    holdout             Bool                    COMMENT 'Let through on purpose, to measure the rules without bias',
    degraded            Bool                    COMMENT 'The engine decided it while state was known to be incomplete',
    ruleset             LowCardinality(String)  COMMENT 'Version of the rule set by which the engine decided',
    held_by_rules       Bool                    COMMENT 'A live rule that can hold refunds hit',
    decided_by_analyst  Bool                    COMMENT 'An analyst approved or rejected it',
    decided_hour        DateTime64(0, 'UTC')    COMMENT 'Hour of the engine''s decision, UTC; 1970: it isn''t here any more',
    refunds             UInt64                  COMMENT 'Refunds, each once, however often it was decided',
    amount              Decimal(38, 4)          COMMENT 'Money that they ask for, in currency',
    since               DateTime64(3, 'UTC')    COMMENT 'When the first of them was decided by the engine',
    run          UInt64                COMMENT 'Which computation of the hour the row is of: see rollup_hours',
    computed_at  DateTime64(3, 'UTC')  COMMENT 'When'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, run, currency)
COMMENT 'Refunds by hour: view v_refunds_hourly has those that count';
CREATE TABLE IF NOT EXISTS merchants_hourly (
    hour           DateTime64(0, 'UTC')    COMMENT 'Hour of the refunds'' event time, UTC',
    merchant_id    String                  COMMENT 'Empty: none given',
    currency       LowCardinality(String)  COMMENT 'ISO 4217 code',
    first_outcome  LowCardinality(String)  COMMENT 'What the engine decided: approve, review or reject; empty: that decision isn''t here any more',
    outcome        LowCardinality(String)  COMMENT 'What became of it: approve, review (it is still held) or reject',
    label          LowCardinality(String)  COMMENT 'What it turned out to be: fraud or legit; empty: nobody says',
    refunds        UInt64                  COMMENT 'Refunds, each once, however often it was decided',
    amount         Decimal(38, 4)          COMMENT 'Money that they ask for, in currency',
    run          UInt64                COMMENT 'Which computation of the hour the row is of: see rollup_hours',
    computed_at  DateTime64(3, 'UTC')  COMMENT 'When'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, run, merchant_id)
COMMENT 'Refunds by hour and merchant: view v_refunds_daily has those that count';
CREATE TABLE IF NOT EXISTS rule_hits_hourly (
    hour                DateTime64(0, 'UTC')    COMMENT 'Hour of the refunds'' event time, UTC',
    rule                LowCardinality(String)  COMMENT 'Id of the rule that hit',
    mode                LowCardinality(String)  COMMENT 'live; or shadow (by its file, or its breaker is tripped), or snoozed: then it decided nothing',
    action              LowCardinality(String)  COMMENT 'approve, review, reject or alert; empty: the rule has a score only',
    severity            LowCardinality(String)  COMMENT 'low, medium, high or critical',
    currency            LowCardinality(String)  COMMENT 'ISO 4217 code',
    first_outcome       LowCardinality(String)  COMMENT 'What the engine decided: approve, review or reject; empty: that decision isn''t here any more',
    outcome             LowCardinality(String)  COMMENT 'What became of it: approve, review (it is still held) or reject',
    label               LowCardinality(String)  COMMENT 'What it turned out to be: fraud or legit; empty: nobody says',
    holdout             Bool                    COMMENT 'Let through on purpose, to measure the rules without bias',
    ruleset             LowCardinality(String)  COMMENT 'Version of the rule set by which the engine decided',
    holds               Bool                    COMMENT 'The rule is live, and its action or score can hold a refund',
    decided_by_analyst  Bool                    COMMENT 'An analyst approved or rejected it',
    decided_hour        DateTime64(0, 'UTC')    COMMENT 'Hour of the engine''s decision, UTC; 1970: it isn''t here any more',
    hits                UInt64                  COMMENT 'Refunds in whose first decision, by the engine, the rule hit',
    amount              Decimal(38, 4)          COMMENT 'Money that they ask for, in currency',
    run          UInt64                COMMENT 'Which computation of the hour the row is of: see rollup_hours',
    computed_at  DateTime64(3, 'UTC')  COMMENT 'When'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, run, rule)
COMMENT 'Hits of rules by hour: view v_rule_stats has those that count';
CREATE MATERIALIZED VIEW IF NOT EXISTS hour_touched_by_decisions TO hour_touched (
    hour     DateTime64(0, 'UTC')  COMMENT 'Hour of event time, UTC',
    touches  UInt64                COMMENT 'A random number'
) AS
SELECT dateTrunc('hour', occurred_at) AS hour, rand64() AS touches FROM decisions GROUP BY hour
COMMENT 'Decisions that are written touch their hours';
CREATE MATERIALIZED VIEW IF NOT EXISTS hour_touched_by_hits TO hour_touched (
    hour     DateTime64(0, 'UTC')  COMMENT 'Hour of event time, UTC',
    touches  UInt64                COMMENT 'A random number'
) AS
SELECT dateTrunc('hour', occurred_at) AS hour, rand64() AS touches FROM hits GROUP BY hour
COMMENT 'Hits that are written touch their hours';
-- What was there before.
INSERT INTO hour_touched SELECT dateTrunc('hour', occurred_at) AS hour, rand64() AS touches FROM decisions GROUP BY hour;
INSERT INTO hour_touched SELECT dateTrunc('hour', occurred_at) AS hour, rand64() AS touches FROM hits GROUP BY hour;
CREATE VIEW IF NOT EXISTS rollup_state (
    hour     DateTime64(0, 'UTC')  COMMENT 'Hour of event time, UTC',
    run      UInt64                COMMENT 'Rows of the rollups with this run are the hour''s; 0: there are none',
    clean    Bool                  COMMENT 'Nothing of the hour was written since: they count. Else the hour is computed when it is asked for',
    kept     Bool                  COMMENT 'Its own rows may have been deleted for their age',
    touches  UInt64                COMMENT 'Sum of hour_touched',
    stale    Bool                  COMMENT 'It is to be computed anew'
) AS
-- A query sees tables at slightly different moments: so rows count two seconds after they are complete.
SELECT t.hour AS hour, r.run AS run, toBool(r.run != 0 AND (r.kept OR t.touches = r.touches) AND r.at <= now64(3) - toIntervalSecond(2)) AS clean,
    r.kept AS kept, t.touches AS touches, toBool(r.run = 0 OR NOT r.kept AND t.touches != r.touches) AS stale
FROM (SELECT hour, sum(touches) AS touches FROM hour_touched GROUP BY hour) AS t
LEFT JOIN (
    SELECT hour, argMax(run, committed_at) AS run, argMax(touches, committed_at) AS touches, argMax(kept, committed_at) AS kept, max(committed_at) AS at
    FROM rollup_hours GROUP BY hour
) AS r ON r.hour = t.hour
SETTINGS join_use_nulls = 0
COMMENT 'Which hours'' rollups count';
CREATE VIEW IF NOT EXISTS refunds_hourly_now (
    hour                DateTime64(0, 'UTC')    COMMENT 'Hour of the refunds'' event time, UTC',
    currency            LowCardinality(String)  COMMENT 'ISO 4217 code',
    first_outcome       LowCardinality(String)  COMMENT 'What the engine decided: approve, review or reject; empty: that decision isn''t here any more',
    outcome             LowCardinality(String)  COMMENT 'What became of it: approve, review (it is still held) or reject',
    decided_by          LowCardinality(String)  COMMENT 'Who made the last decision: engine, analyst, customer or deadline',
    label               LowCardinality(String)  COMMENT 'What it turned out to be: fraud or legit; empty: nobody says',
    holdout             Bool                    COMMENT 'Let through on purpose, to measure the rules without bias',
    degraded            Bool                    COMMENT 'The engine decided it while state was known to be incomplete',
    ruleset             LowCardinality(String)  COMMENT 'Version of the rule set by which the engine decided',
    held_by_rules       Bool                    COMMENT 'A live rule that can hold refunds hit',
    decided_by_analyst  Bool                    COMMENT 'An analyst approved or rejected it',
    decided_hour        DateTime64(0, 'UTC')    COMMENT 'Hour of the engine''s decision, UTC; 1970: it isn''t here any more',
    refunds             UInt64                  COMMENT 'Refunds, each once, however often it was decided',
    amount              Decimal(38, 4)          COMMENT 'Money that they ask for, in currency',
    since               DateTime64(3, 'UTC')    COMMENT 'When the first of them was decided by the engine'
) AS
SELECT hour, currency, first_outcome, outcome, toLowCardinality(if(startsWith(r.decided_by, 'analyst:'), 'analyst', r.decided_by)) AS decided_by, label, holdout, degraded, ruleset,
    toBool(h.holds = 1) AS held_by_rules, decided_by_analyst, dateTrunc('hour', first_decided_at) AS decided_hour,
    count() AS refunds, sum(r.amount) AS amount, min(first_decided_at) AS since
FROM (SELECT *, dateTrunc('hour', occurred_at) AS hour FROM v_refunds) AS r
LEFT JOIN (
    SELECT dateTrunc('hour', occurred_at) AS hour, occurred_at, refund_id, decided_at, 1 AS holds
    FROM hits WHERE decided_by = 'engine' AND mode = 'live' AND (action IN ('review', 'reject') OR score > 0)
    GROUP BY occurred_at, refund_id, decided_at
) AS h ON h.hour = r.hour AND h.refund_id = r.refund_id AND h.occurred_at = r.occurred_at AND h.decided_at = r.first_decided_at
GROUP BY hour, currency, first_outcome, outcome, decided_by, label, holdout, degraded, ruleset, held_by_rules, decided_by_analyst, decided_hour
SETTINGS join_use_nulls = 0
COMMENT 'What refunds_hourly is to be: computed from the tables. Filter it by hour';
CREATE VIEW IF NOT EXISTS merchants_hourly_now (
    hour           DateTime64(0, 'UTC')    COMMENT 'Hour of the refunds'' event time, UTC',
    merchant_id    String                  COMMENT 'Empty: none given',
    currency       LowCardinality(String)  COMMENT 'ISO 4217 code',
    first_outcome  LowCardinality(String)  COMMENT 'What the engine decided: approve, review or reject; empty: that decision isn''t here any more',
    outcome        LowCardinality(String)  COMMENT 'What became of it: approve, review (it is still held) or reject',
    label          LowCardinality(String)  COMMENT 'What it turned out to be: fraud or legit; empty: nobody says',
    refunds        UInt64                  COMMENT 'Refunds, each once, however often it was decided',
    amount         Decimal(38, 4)          COMMENT 'Money that they ask for, in currency'
) AS
SELECT hour, merchant_id, currency, first_outcome, outcome, label, count() AS refunds, sum(r.amount) AS amount
FROM (SELECT *, dateTrunc('hour', occurred_at) AS hour FROM v_refunds) AS r
GROUP BY hour, merchant_id, currency, first_outcome, outcome, label
COMMENT 'What merchants_hourly is to be: computed from the tables. Filter it by hour';
CREATE VIEW IF NOT EXISTS rule_hits_hourly_now (
    hour                DateTime64(0, 'UTC')    COMMENT 'Hour of the refunds'' event time, UTC',
    rule                LowCardinality(String)  COMMENT 'Id of the rule that hit',
    mode                LowCardinality(String)  COMMENT 'live; or shadow (by its file, or its breaker is tripped), or snoozed: then it decided nothing',
    action              LowCardinality(String)  COMMENT 'approve, review, reject or alert; empty: the rule has a score only',
    severity            LowCardinality(String)  COMMENT 'low, medium, high or critical',
    currency            LowCardinality(String)  COMMENT 'ISO 4217 code',
    first_outcome       LowCardinality(String)  COMMENT 'What the engine decided: approve, review or reject; empty: that decision isn''t here any more',
    outcome             LowCardinality(String)  COMMENT 'What became of it: approve, review (it is still held) or reject',
    label               LowCardinality(String)  COMMENT 'What it turned out to be: fraud or legit; empty: nobody says',
    holdout             Bool                    COMMENT 'Let through on purpose, to measure the rules without bias',
    ruleset             LowCardinality(String)  COMMENT 'Version of the rule set by which the engine decided',
    holds               Bool                    COMMENT 'The rule is live, and its action or score can hold a refund',
    decided_by_analyst  Bool                    COMMENT 'An analyst approved or rejected it',
    decided_hour        DateTime64(0, 'UTC')    COMMENT 'Hour of the engine''s decision, UTC; 1970: it isn''t here any more',
    hits                UInt64                  COMMENT 'Refunds in whose first decision, by the engine, the rule hit',
    amount              Decimal(38, 4)          COMMENT 'Money that they ask for, in currency'
) AS
SELECT hour, rule, mode, action, severity, currency, first_outcome, outcome, label, holdout, ruleset, toBool(h.holds = 1) AS holds, decided_by_analyst,
    dateTrunc('hour', first_decided_at) AS decided_hour, count() AS hits, sum(r.amount) AS amount
FROM (SELECT *, dateTrunc('hour', occurred_at) AS hour FROM v_refunds) AS r
INNER JOIN (
    SELECT dateTrunc('hour', occurred_at) AS hour, occurred_at, refund_id, decided_at, rule, mode, max(x.action) AS action, max(x.severity) AS severity,
        max(x.mode = 'live' AND (x.action IN ('review', 'reject') OR x.score > 0)) AS holds
    FROM hits AS x WHERE decided_by = 'engine'
    GROUP BY occurred_at, refund_id, decided_at, rule, mode
) AS h ON h.hour = r.hour AND h.refund_id = r.refund_id AND h.occurred_at = r.occurred_at AND h.decided_at = r.first_decided_at
GROUP BY hour, rule, mode, action, severity, currency, first_outcome, outcome, label, holdout, ruleset, holds, decided_by_analyst, decided_hour
COMMENT 'What rule_hits_hourly is to be: computed from the tables. Filter it by hour';
CREATE VIEW IF NOT EXISTS v_refunds_hourly (
    hour           DateTime64(0, 'UTC')    COMMENT 'Hour of the refunds'' event time, UTC',
    currency       LowCardinality(String)  COMMENT 'ISO 4217 code',
    first_outcome  LowCardinality(String)  COMMENT 'What the engine decided: approve, review or reject; empty: that decision isn''t here any more',
    outcome        LowCardinality(String)  COMMENT 'What became of it: approve, review (it is still held) or reject',
    decided_by     LowCardinality(String)  COMMENT 'Who made the last decision: engine, analyst, customer or deadline',
    label          LowCardinality(String)  COMMENT 'What it turned out to be: fraud or legit; empty: nobody says',
    holdout        Bool                    COMMENT 'Let through on purpose, to measure the rules without bias',
    degraded       Bool                    COMMENT 'The engine decided it while state was known to be incomplete',
    ruleset        LowCardinality(String)  COMMENT 'Version of the rule set by which the engine decided',
    refunds        UInt64                  COMMENT 'Refunds, each once, however often it was decided',
    amount         Decimal(38, 4)          COMMENT 'Money that they ask for, in currency'
) AS
-- Once for both halves, so that no hour is in neither or in both.
WITH (SELECT (groupArrayIf(run, clean), groupArrayIf(hour, NOT clean)) FROM rollup_state) AS state
SELECT hour, currency, first_outcome, outcome, decided_by, label, holdout, degraded, ruleset, sum(r.refunds) AS refunds, sum(r.amount) AS amount FROM refunds_hourly AS r WHERE run IN state.1 GROUP BY hour, currency, first_outcome, outcome, decided_by, label, holdout, degraded, ruleset
UNION ALL
SELECT hour, currency, first_outcome, outcome, decided_by, label, holdout, degraded, ruleset, sum(r.refunds) AS refunds, sum(r.amount) AS amount FROM refunds_hourly_now AS r WHERE hour IN state.2 GROUP BY hour, currency, first_outcome, outcome, decided_by, label, holdout, degraded, ruleset
COMMENT 'Refunds by hour, each counted once, by what was decided first, what became of it, and what it turned out to be';
CREATE VIEW IF NOT EXISTS v_refunds_daily (
    day            Date32                  COMMENT 'Day of the refunds'' event time, UTC',
    merchant_id    String                  COMMENT 'Empty: none given',
    currency       LowCardinality(String)  COMMENT 'ISO 4217 code',
    first_outcome  LowCardinality(String)  COMMENT 'What the engine decided: approve, review or reject; empty: that decision isn''t here any more',
    outcome        LowCardinality(String)  COMMENT 'What became of it: approve, review (it is still held) or reject',
    label          LowCardinality(String)  COMMENT 'What it turned out to be: fraud or legit; empty: nobody says',
    refunds        UInt64                  COMMENT 'Refunds, each once, however often it was decided',
    amount         Decimal(38, 4)          COMMENT 'Money that they ask for, in currency'
) AS
-- Once for both halves, so that no hour is in neither or in both.
WITH (SELECT (groupArrayIf(run, clean), groupArrayIf(hour, NOT clean)) FROM rollup_state) AS state
SELECT day, merchant_id, currency, first_outcome, outcome, label, sum(r.refunds) AS refunds, sum(r.amount) AS amount
FROM (
    SELECT toDate32(hour, 'UTC') AS day, merchant_id, currency, first_outcome, outcome, label, refunds, amount FROM merchants_hourly WHERE run IN state.1
    UNION ALL
    SELECT toDate32(hour, 'UTC') AS day, merchant_id, currency, first_outcome, outcome, label, refunds, amount FROM merchants_hourly_now WHERE hour IN state.2
) AS r
GROUP BY day, merchant_id, currency, first_outcome, outcome, label
COMMENT 'Refunds by day and merchant, each counted once, by what was decided first, what became of it, and what it turned out to be';
CREATE VIEW IF NOT EXISTS v_rule_stats (
    hour           DateTime64(0, 'UTC')    COMMENT 'Hour of the refunds'' event time, UTC',
    rule           LowCardinality(String)  COMMENT 'Id of the rule that hit',
    mode           LowCardinality(String)  COMMENT 'live; or shadow (by its file, or its breaker is tripped), or snoozed: then it decided nothing',
    action         LowCardinality(String)  COMMENT 'approve, review, reject or alert; empty: the rule has a score only',
    severity       LowCardinality(String)  COMMENT 'low, medium, high or critical',
    currency       LowCardinality(String)  COMMENT 'ISO 4217 code',
    first_outcome  LowCardinality(String)  COMMENT 'What the engine decided: approve, review or reject; empty: that decision isn''t here any more',
    outcome        LowCardinality(String)  COMMENT 'What became of it: approve, review (it is still held) or reject',
    label          LowCardinality(String)  COMMENT 'What it turned out to be: fraud or legit; empty: nobody says',
    holdout        Bool                    COMMENT 'Let through on purpose, to measure the rules without bias',
    hits           UInt64                  COMMENT 'Refunds in whose first decision, by the engine, the rule hit',
    amount         Decimal(38, 4)          COMMENT 'Money that they ask for, in currency'
) AS
-- Once for both halves, so that no hour is in neither or in both.
WITH (SELECT (groupArrayIf(run, clean), groupArrayIf(hour, NOT clean)) FROM rollup_state) AS state
SELECT hour, rule, mode, action, severity, currency, first_outcome, outcome, label, holdout, sum(r.hits) AS hits, sum(r.amount) AS amount FROM rule_hits_hourly AS r WHERE run IN state.1 GROUP BY hour, rule, mode, action, severity, currency, first_outcome, outcome, label, holdout
UNION ALL
SELECT hour, rule, mode, action, severity, currency, first_outcome, outcome, label, holdout, sum(r.hits) AS hits, sum(r.amount) AS amount FROM rule_hits_hourly_now AS r WHERE hour IN state.2 GROUP BY hour, rule, mode, action, severity, currency, first_outcome, outcome, label, holdout
COMMENT 'Hits of rules in the first decisions of refunds, by hour, and what became of the refunds';
CREATE VIEW IF NOT EXISTS v_ruleset_changes (
    ruleset  LowCardinality(String)  COMMENT 'Version of the rule set by which the engine decided',
    since    DateTime64(3, 'UTC')    COMMENT 'When the engine decided by it first',
    refunds  UInt64                  COMMENT 'Refunds that it decided by it'
) AS
WITH (SELECT (groupArrayIf(run, clean), groupArrayIf(hour, NOT clean)) FROM rollup_state) AS state
SELECT ruleset, min(r.since) AS since, sum(r.refunds) AS refunds
FROM (
    SELECT ruleset, since, refunds FROM refunds_hourly WHERE run IN state.1 AND first_outcome != ''
    UNION ALL
    SELECT ruleset, since, refunds FROM refunds_hourly_now WHERE hour IN state.2 AND first_outcome != ''
) AS r
GROUP BY ruleset
COMMENT 'Rule sets, and since when refunds are decided by them';
