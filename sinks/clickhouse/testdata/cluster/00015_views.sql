-- +goose NO TRANSACTION
-- +goose Up
-- The views of before get the names v_…: so views and tables can't be confused, and a table can be called refunds.
DROP VIEW IF EXISTS anomalies ON CLUSTER shop;
DROP VIEW IF EXISTS deadline_breaches ON CLUSTER shop;
DROP VIEW IF EXISTS review_queue ON CLUSTER shop;
DROP VIEW IF EXISTS service_quality ON CLUSTER shop;
DROP VIEW IF EXISTS ruleset_quality ON CLUSTER shop;
DROP VIEW IF EXISTS rule_quality ON CLUSTER shop;
DROP VIEW IF EXISTS refunds_per_day ON CLUSTER shop;
DROP VIEW IF EXISTS refunds ON CLUSTER shop;
CREATE VIEW IF NOT EXISTS v_refunds ON CLUSTER shop (
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
    first.1 AS first_outcome, first.2 AS first_decided_at, first.3 AS ruleset, first.4 AS holdout, first.5 AS controls,
    if(last.1 != '', last.1, first.1) AS outcome, if(last.1 != '', last.2, if(first.1 != '', 'engine', '')) AS decided_by, if(last.1 != '', last.3, first.2) AS decided_at,
    decided_by_analyst,
    best.4 AS label, best.5 AS label_source, if(best.1 = 0, NULL, fromUnixTimestamp64Milli(-best.2, 'UTC')) AS labelled_at
FROM (
    -- What comes twice changes none of these. All decisions of a refund have its ids: they are keys, so that a filter
    -- by one of them finds its rows by the table's indexes.
    SELECT occurred_at, refund_id, transaction_id, customer_id, merchant_id, max(amount) AS amount, max(currency) AS currency, max(received_at) AS received_at,
        argMinIf((outcome, decided_at, ruleset, holdout, controls), decided_at, decided_by = 'engine') AS first,
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
CREATE VIEW IF NOT EXISTS v_rule_quality ON CLUSTER shop AS
WITH 1.959963984540054 AS z,
    (k, n) -> if(n = 0, NULL, k / n) AS share,
    (k, n) -> if(n = 0, NULL, if(k = 0, 0., greatest(0., (k / n + z * z / (2 * n) - z * sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n))) / (1 + z * z / n)))) AS low,
    (k, n) -> if(n = 0, NULL, if(k = n, 1., least(1., (k / n + z * z / (2 * n) + z * sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n))) / (1 + z * z / n)))) AS high,
    measured AS (
        SELECT *, first_decided_at > now64(3) - toIntervalDay({maturity_days:UInt32}) AS young, label != '' AND NOT young AS judged, label = 'fraud' AS fraud
        FROM v_refunds
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
COMMENT 'How good each rule was, as refundguard rules stats measures it: v_rule_quality(from = …, to = …, ruleset = …, maturity_days = …). Columns are explained in README.md';
CREATE VIEW IF NOT EXISTS v_ruleset_quality ON CLUSTER shop AS
WITH 1.959963984540054 AS z,
    (k, n) -> if(n = 0, NULL, k / n) AS share,
    (k, n) -> if(n = 0, NULL, if(k = 0, 0., greatest(0., (k / n + z * z / (2 * n) - z * sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n))) / (1 + z * z / n)))) AS low,
    (k, n) -> if(n = 0, NULL, if(k = n, 1., least(1., (k / n + z * z / (2 * n) + z * sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n))) / (1 + z * z / n)))) AS high,
    measured AS (
        SELECT *, first_decided_at > now64(3) - toIntervalDay({maturity_days:UInt32}) AS young, label != '' AND NOT young AS judged, label = 'fraud' AS fraud
        FROM v_refunds
        WHERE first_outcome != '' AND first_decided_at >= {from:DateTime64(3, 'UTC')} AND first_decided_at < {to:DateTime64(3, 'UTC')}
            AND startsWith(replaceRegexpOne(toString(ruleset), '^sha256:', ''), replaceRegexpOne({ruleset:String}, '^sha256:', ''))
    ),
    holding AS (
        SELECT occurred_at, refund_id, decided_at, 1 AS holds
        FROM hits WHERE decided_by = 'engine' AND mode = 'live' AND (action IN ('review', 'reject') OR score > 0)
        GROUP BY occurred_at, refund_id, decided_at
    )
SELECT toString(m.ruleset) AS ruleset, min(first_decided_at) AS since, count() AS refunds, countIf(judged) AS labelled_refunds,
    countIf(hit) AS hits, countIf(hit AND young) AS hits_too_young, countIf(hit AND judged) AS hits_labelled, countIf(hit AND holdout AND NOT young) AS hits_holdout,
    countIf(hit AND judged AND fraud) AS hits_fraud, share(hits_fraud, hits_labelled) AS precision_biased,
    low(hits_fraud, hits_labelled) AS precision_biased_low, high(hits_fraud, hits_labelled) AS precision_biased_high,
    countIf(hit AND judged AND holdout) AS holdout_labelled, countIf(hit AND judged AND holdout AND fraud) AS holdout_fraud, share(holdout_fraud, holdout_labelled) AS precision_unbiased,
    low(holdout_fraud, holdout_labelled) AS precision_unbiased_low, high(holdout_fraud, holdout_labelled) AS precision_unbiased_high,
    countIf(judged AND fraud) AS frauds, share(hits_fraud, frauds) AS recall, low(hits_fraud, frauds) AS recall_low, high(hits_fraud, frauds) AS recall_high,
    countIf(hit AND first_outcome != 'approve' AND fraud AND outcome != 'approve') AS caught_refunds,
    sumMapIf(map(toString(currency), toDecimal128(amount, 4)), hit AND first_outcome != 'approve' AND fraud AND outcome != 'approve') AS caught,
    countIf(hit AND first_outcome != 'approve' AND label = 'legit') AS wrongly_held_refunds,
    sumMapIf(map(toString(currency), toDecimal128(amount, 4)), hit AND first_outcome != 'approve' AND label = 'legit') AS wrongly_held,
    countIf(hit AND first_outcome = 'review' AND decided_by_analyst) AS cases
FROM (
    SELECT m.*, holds = 1 AND (first_outcome != 'approve' OR holdout) AS hit
    FROM measured AS m
    LEFT JOIN holding AS h ON h.refund_id = m.refund_id AND h.occurred_at = m.occurred_at AND h.decided_at = m.first_decided_at
) AS m
GROUP BY ruleset
SETTINGS join_use_nulls = 0
COMMENT 'How good each rule set was, as refundguard rules stats measures it: v_ruleset_quality(from = …, to = …, ruleset = …, maturity_days = …). Columns are explained in README.md';
CREATE VIEW IF NOT EXISTS v_service_quality ON CLUSTER shop AS
WITH greatest(0, date_diff('millisecond', occurred_at, executed_at)) / 1000 AS seconds
SELECT merchant_id, method, request_reason, count() AS refunds, countIf(executed_at IS NOT NULL) AS executed,
    if(executed = 0, NULL, quantileExactIf(0.5)(ifNull(seconds, 0), executed_at IS NOT NULL)) AS executed_p50_seconds,
    if(executed = 0, NULL, quantileExactIf(0.95)(ifNull(seconds, 0), executed_at IS NOT NULL)) AS executed_p95_seconds,
    countIf(c.satisfied IS NOT NULL) AS answers, countIf(ifNull(c.satisfied, false)) AS satisfied_answers, if(answers = 0, NULL, satisfied_answers / answers) AS satisfied_share
FROM cases AS c FINAL
WHERE occurred_at >= {from:DateTime64(3, 'UTC')} AND occurred_at < {to:DateTime64(3, 'UTC')}
GROUP BY merchant_id, method, request_reason
COMMENT 'How well refunds that were asked for in a time were served: v_service_quality(from = …, to = …). Columns are explained in README.md';
CREATE VIEW IF NOT EXISTS v_review_queue ON CLUSTER shop (
    refund_id        String                         COMMENT 'The refund that waits for a verdict',
    customer_id      String                         COMMENT 'Who asked; empty: a guest',
    merchant_id      String                         COMMENT 'Empty: none given',
    amount           Decimal(18, 4)                 COMMENT 'Amount asked for, exact, in currency',
    currency         LowCardinality(String)         COMMENT 'ISO 4217 code',
    severity         LowCardinality(String)         COMMENT 'low, medium, high or critical',
    reason           LowCardinality(String)         COMMENT 'Why it is held; empty: a rule did',
    first_by         LowCardinality(String)         COMMENT 'The analyst who approved it, while a second one must; empty: nobody',
    since            DateTime64(3, 'UTC')           COMMENT 'In review since',
    waiting_seconds  Float64                        COMMENT 'For how long, as of now',
    due_at           Nullable(DateTime64(3, 'UTC')) COMMENT 'The deadline; NULL: none',
    breached         Bool                           COMMENT 'The deadline has passed, and nothing was done yet'
) AS
SELECT refund_id, customer_id, merchant_id, amount, currency, severity, reason, first_by, since,
    greatest(0, date_diff('millisecond', since, now64(3))) / 1000 AS waiting_seconds, due_at, toBool(ifNull(due_at < now64(3), false)) AS breached
FROM cases FINAL
WHERE state = 'in_review'
COMMENT 'Refunds in review';
CREATE VIEW IF NOT EXISTS v_deadline_breaches ON CLUSTER shop (
    day       Date                    COMMENT 'Day on which the deadline passed, UTC',
    severity  LowCardinality(String)  COMMENT 'Of the case since; one that was escalated has risen',
    breaches  UInt64                  COMMENT 'Reviews without a verdict in time'
) AS
SELECT toDate(at, 'UTC') AS day, severity, uniqExact(alert_id) AS breaches
FROM alerts
WHERE rule = 'review-deadline'
GROUP BY day, severity
COMMENT 'Review deadlines that passed, by day';
CREATE VIEW IF NOT EXISTS v_anomalies ON CLUSTER shop (
    at              DateTime64(3, 'UTC')       COMMENT 'When it was found',
    rule            LowCardinality(String)     COMMENT 'What: EXECUTED_TWICE, EXECUTED_WITHOUT_APPROVAL, OVERDUE, …',
    severity        LowCardinality(String)     COMMENT 'critical where money may have left',
    refund_id       String                     COMMENT 'The refund',
    transaction_id  String                     COMMENT 'Empty: none',
    customer_id     String                     COMMENT 'Empty: none',
    merchant_id     String                     COMMENT 'Empty: none',
    amount          Nullable(Decimal(18, 4))   COMMENT 'Amount asked for; NULL: unknown',
    currency        LowCardinality(String)     COMMENT 'ISO 4217 code; empty: unknown',
    message         String                     COMMENT 'What happened, in words',
    alert_id        String                     COMMENT 'Id of its alert'
) AS
SELECT at, rule, severity, refund_id, transaction_id, customer_id, merchant_id, amount, currency, message, alert_id
FROM alerts FINAL
WHERE rule IN ('EXECUTED_WITHOUT_APPROVAL', 'EXECUTED_TWICE', 'EXECUTED_AFTER_FAILED', 'EXECUTED_OTHER_AMOUNT', 'EXECUTED_OTHER_CURRENCY',
    'EXECUTED_UNKNOWN_REFUND', 'LEDGER_FAILED', 'OVERDUE', 'denied-by-customer')
COMMENT 'What the ledger did and was not asked to, or was and did not, and refunds that customers deny';
CREATE VIEW IF NOT EXISTS v_decisions ON CLUSTER shop (
    decision_id             String                               COMMENT 'Id of the decision, a function of the refund and of the decision''s ordinal: repeats have it again',
    refund_id               String                               COMMENT 'The refund that was decided',
    transaction_id          String                               COMMENT 'The transaction to be refunded; empty: none given',
    customer_id             String                               COMMENT 'Who asked; empty: a guest',
    merchant_id             String                               COMMENT 'Empty: none given',
    amount                  Decimal(18, 4)                       COMMENT 'Amount asked for, exact, in currency',
    currency                LowCardinality(String)               COMMENT 'ISO 4217 code',
    outcome                 LowCardinality(String)               COMMENT 'approve, review or reject',
    decided_by              LowCardinality(String)               COMMENT 'engine, analyst:NAME, customer or deadline',
    reason                  LowCardinality(String)               COMMENT 'Stable code, where the outcome has a reason of its own, e.g. EVENT_IN_FUTURE',
    score                   Int64                                COMMENT 'Sum of the scores of the live rules that hit',
    rules                   Array(LowCardinality(String))        COMMENT 'Live rules that hit; table hits has one row for each',
    shadow_rules            Array(LowCardinality(String))        COMMENT 'Shadow rules that hit, and live ones whose breaker is tripped: they decided nothing',
    snoozed_rules           Array(LowCardinality(String))        COMMENT 'Rules that hit and were snoozed: they decided nothing',
    failed_rules            Array(LowCardinality(String))        COMMENT 'Rules that failed at run time; raw says why',
    skipped_rules           Array(LowCardinality(String))        COMMENT 'Rules that missed a value and say on_missing: skip',
    features                Map(LowCardinality(String), String)  COMMENT 'Past-events expressions by canonical text, and their values as text; nil is null',
    warming                 Array(LowCardinality(String))        COMMENT 'Expressions whose window reached back further than the topics do',
    degraded                Bool                                 COMMENT 'Decided while state was known to be incomplete',
    holdout                 Bool                                 COMMENT 'Let through on purpose, to measure the rules without bias',
    controls                Array(LowCardinality(String))        COMMENT 'Snoozes and holds that changed this decision, by their ids',
    original_amount         Nullable(Decimal(18, 4))             COMMENT 'Amount of the refunded transaction; NULL: unknown',
    original_currency       LowCardinality(String)               COMMENT 'Its currency; empty: unknown',
    original_occurred_at    Nullable(DateTime64(3, 'UTC'))       COMMENT 'Its event time; NULL: unknown',
    original_instrument_id  String                               COMMENT 'Instrument that it was paid with; empty: unknown',
    ruleset                 LowCardinality(String)               COMMENT 'Version of the rule set',
    occurred_at             DateTime64(3, 'UTC')                 COMMENT 'Event time of the refund, as sent; outside 1900 to 2261 it is the nearest of these',
    received_at             DateTime64(3, 'UTC')                 COMMENT 'Kafka timestamp of the refund',
    decided_at              DateTime64(3, 'UTC')                 COMMENT 'When it was decided',
    source_topic            LowCardinality(String)               COMMENT 'Topic of the refund',
    source_partition        Int32                                COMMENT 'Partition of the refund',
    source_offset           Int64                                COMMENT 'Offset of the refund',
    kafka_topic             LowCardinality(String)               COMMENT 'Topic of the decision''s own record',
    kafka_partition         Int32                                COMMENT 'Partition of the decision''s own record',
    kafka_offset            Int64                                COMMENT 'Offset of the decision''s own record',
    stored_at               DateTime64(3, 'UTC')                 COMMENT 'When this row was written',
    raw                     String                               COMMENT 'The record, byte for byte'
) AS
SELECT decision_id, refund_id, transaction_id, customer_id, merchant_id, amount, currency, outcome, decided_by, reason, score, rules, shadow_rules, snoozed_rules, failed_rules, skipped_rules, features, warming, degraded, holdout, controls, original_amount, original_currency, original_occurred_at, original_instrument_id, ruleset, occurred_at, received_at, decided_at, source_topic, source_partition, source_offset, kafka_topic, kafka_partition, kafka_offset, stored_at, raw
FROM decisions FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'One row per decision; each repeat once';
CREATE VIEW IF NOT EXISTS v_hits ON CLUSTER shop (
    rule             LowCardinality(String)  COMMENT 'Id of the rule that hit',
    mode             LowCardinality(String)  COMMENT 'live; or shadow (by its file, or its breaker is tripped), or snoozed: then it decided nothing',
    action           LowCardinality(String)  COMMENT 'approve, review, reject or alert; empty: the rule has a score only',
    score            Int64                   COMMENT 'What the rule added to the score',
    severity         LowCardinality(String)  COMMENT 'low, medium, high or critical',
    reason           LowCardinality(String)  COMMENT 'The rule''s stable code',
    message          String                  COMMENT 'The rule''s message with its values',
    decision_id      String                  COMMENT 'The decision that the hit belongs to',
    refund_id        String                  COMMENT 'The refund that was decided',
    transaction_id   String                  COMMENT 'The transaction to be refunded; empty: none given',
    customer_id      String                  COMMENT 'Who asked; empty: a guest',
    merchant_id      String                  COMMENT 'Empty: none given',
    amount           Decimal(18, 4)          COMMENT 'Amount asked for, exact, in currency',
    currency         LowCardinality(String)  COMMENT 'ISO 4217 code',
    outcome          LowCardinality(String)  COMMENT 'What the decision came to: approve, review or reject',
    decided_by       LowCardinality(String)  COMMENT 'engine, analyst:NAME, customer or deadline',
    ruleset          LowCardinality(String)  COMMENT 'Version of the rule set',
    occurred_at      DateTime64(3, 'UTC')    COMMENT 'Event time of the refund, as in decisions',
    decided_at       DateTime64(3, 'UTC')    COMMENT 'When it was decided',
    kafka_topic      LowCardinality(String)  COMMENT 'Topic of the decision''s record',
    kafka_partition  Int32                   COMMENT 'Partition of the decision''s record',
    kafka_offset     Int64                   COMMENT 'Offset of the decision''s record',
    stored_at        DateTime64(3, 'UTC')    COMMENT 'When this row was written'
) AS
SELECT rule, mode, action, score, severity, reason, message, decision_id, refund_id, transaction_id, customer_id, merchant_id, amount, currency, outcome, decided_by, ruleset, occurred_at, decided_at, kafka_topic, kafka_partition, kafka_offset, stored_at
FROM hits FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'One row per rule that hit in a decision; each repeat once';
CREATE VIEW IF NOT EXISTS v_alerts ON CLUSTER shop (
    alert_id         String                    COMMENT 'Id of the alert: repeats have it again',
    rule             LowCardinality(String)    COMMENT 'Rule, or what else alerted, e.g. dead-letter:INVALID_JSON',
    severity         LowCardinality(String)    COMMENT 'low, medium, high or critical',
    refund_id        String                    COMMENT 'The refund that it is about; empty: none',
    transaction_id   String                    COMMENT 'Empty: none',
    customer_id      String                    COMMENT 'Empty: none',
    merchant_id      String                    COMMENT 'Empty: none',
    device_id        String                    COMMENT 'Empty: none',
    instrument_id    String                    COMMENT 'Empty: none',
    outcome          LowCardinality(String)    COMMENT 'Outcome of the decision; empty: the alert is not about one',
    amount           Nullable(Decimal(18, 4))  COMMENT 'Amount of the refund, exact; NULL: none',
    currency         LowCardinality(String)    COMMENT 'ISO 4217 code; empty: none',
    message          String                    COMMENT 'What happened, in words',
    at               DateTime64(3, 'UTC')      COMMENT 'When it was raised',
    kafka_topic      LowCardinality(String)    COMMENT 'Topic of the alert''s record',
    kafka_partition  Int32                     COMMENT 'Partition of the alert''s record',
    kafka_offset     Int64                     COMMENT 'Offset of the alert''s record',
    stored_at        DateTime64(3, 'UTC')      COMMENT 'When this row was written',
    raw              String                    COMMENT 'The record, byte for byte'
) AS
SELECT alert_id, rule, severity, refund_id, transaction_id, customer_id, merchant_id, device_id, instrument_id, outcome, amount, currency, message, at, kafka_topic, kafka_partition, kafka_offset, stored_at, raw
FROM alerts FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'One row per alert; each repeat once';
CREATE VIEW IF NOT EXISTS v_dead_letters ON CLUSTER shop (
    code              LowCardinality(String)  COMMENT 'Why the record was refused, e.g. MISSING_FIELD',
    field             LowCardinality(String)  COMMENT 'The field that it is about; empty: none',
    message           String                  COMMENT 'Why, in words',
    source_topic      LowCardinality(String)  COMMENT 'Topic of the refused record',
    source_partition  Int32                   COMMENT 'Partition of the refused record',
    source_offset     Int64                   COMMENT 'Offset of the refused record',
    received_at       DateTime64(3, 'UTC')    COMMENT 'Kafka timestamp of the refused record',
    refused_at        DateTime64(3, 'UTC')    COMMENT 'Kafka timestamp of the dead letter',
    key               String                  COMMENT 'Key of the refused record',
    value             String                  COMMENT 'The refused record, byte for byte',
    headers           Map(String, String)     COMMENT 'All headers of the dead letter; of one that comes twice, the last',
    kafka_topic       LowCardinality(String)  COMMENT 'Topic of the dead letter',
    kafka_partition   Int32                   COMMENT 'Partition of the dead letter',
    kafka_offset      Int64                   COMMENT 'Offset of the dead letter',
    stored_at         DateTime64(3, 'UTC')    COMMENT 'When this row was written'
) AS
SELECT code, field, message, source_topic, source_partition, source_offset, received_at, refused_at, key, value, headers, kafka_topic, kafka_partition, kafka_offset, stored_at
FROM dead_letters FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'One row per refused record; each repeat once';
CREATE VIEW IF NOT EXISTS v_labels ON CLUSTER shop (
    label_id         String                  COMMENT 'Id of the label, a function of its source and what it comes from',
    refund_id        String                  COMMENT 'The refund that is labelled; empty: all refunds of the transaction are',
    transaction_id   String                  COMMENT 'The transaction whose refunds are labelled, where refund_id is empty',
    label            LowCardinality(String)  COMMENT 'fraud or legit',
    source           LowCardinality(String)  COMMENT 'chargeback, import, customer or analyst',
    weight           Int64                   COMMENT 'Trust: of several labels of a refund the heaviest counts, then the latest, then that of the smallest label_id',
    by               String                  COMMENT 'Who says so, e.g. the analyst; empty: nobody says',
    reason           LowCardinality(String)  COMMENT 'Stable code; empty: none',
    note             String                  COMMENT 'In words',
    at               DateTime64(3, 'UTC')    COMMENT 'When it was known',
    kafka_topic      LowCardinality(String)  COMMENT 'Topic of the label''s record',
    kafka_partition  Int32                   COMMENT 'Partition of the label''s record',
    kafka_offset     Int64                   COMMENT 'Offset of the label''s record',
    stored_at        DateTime64(3, 'UTC')    COMMENT 'When this row was written',
    raw              String                  COMMENT 'The record, byte for byte'
) AS
SELECT label_id, refund_id, transaction_id, label, source, weight, by, reason, note, at, kafka_topic, kafka_partition, kafka_offset, stored_at, raw
FROM labels FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'One row per label: somebody knows what a refund was. View v_refunds has the one that counts; each repeat once';
CREATE VIEW IF NOT EXISTS v_cases ON CLUSTER shop (
    refund_id        String                          COMMENT 'The refund whose case it is',
    transaction_id   String                          COMMENT 'The transaction to be refunded; empty: none given',
    customer_id      String                          COMMENT 'Who asked; empty: a guest',
    merchant_id      String                          COMMENT 'Empty: none given',
    method           LowCardinality(String)          COMMENT 'Where the money was to go; empty: not said',
    request_reason   LowCardinality(String)          COMMENT 'Why the refund was asked for; empty: not said',
    amount           Decimal(18, 4)                  COMMENT 'Amount asked for, exact, in currency',
    currency         LowCardinality(String)          COMMENT 'ISO 4217 code',
    state            LowCardinality(String)          COMMENT 'in_review, approved, rejected, executed, failed or overdue',
    severity         LowCardinality(String)          COMMENT 'Of the review; empty: there never was one',
    reason           LowCardinality(String)          COMMENT 'Of the last decision; empty: none',
    decided_by       LowCardinality(String)          COMMENT 'Who made the last decision: engine, analyst:NAME, customer or deadline',
    decision_id      String                          COMMENT 'Id of the last decision',
    first_by         LowCardinality(String)          COMMENT 'The analyst who approved it, while a second one must; empty: nobody',
    denied           Bool                            COMMENT 'The customer said that it isn''t theirs',
    satisfied        Nullable(Bool)                  COMMENT 'The customer is content, by the last answer that says so; NULL: none does',
    occurred_at      DateTime64(3, 'UTC')            COMMENT 'Event time of the refund, as in decisions',
    received_at      DateTime64(3, 'UTC')            COMMENT 'Kafka timestamp of the refund',
    opened_at        DateTime64(3, 'UTC')            COMMENT 'When it was decided first',
    since            DateTime64(3, 'UTC')            COMMENT 'When it came to this state',
    due_at           Nullable(DateTime64(3, 'UTC'))  COMMENT 'In review the deadline, approved or overdue the ETA; NULL: nothing is waited for',
    executed_at      Nullable(DateTime64(3, 'UTC'))  COMMENT 'Event time of the ledger''s result; NULL: not executed',
    changed_at       DateTime64(3, 'UTC')            COMMENT 'When it changed: the latest row of a refund counts',
    kafka_topic      LowCardinality(String)          COMMENT 'Topic of the case''s record',
    kafka_partition  Int32                           COMMENT 'Partition of the case''s record',
    kafka_offset     Int64                           COMMENT 'Offset of the case''s record',
    stored_at        DateTime64(3, 'UTC')            COMMENT 'When this row was written',
    raw              String                          COMMENT 'What the record''s header says of the case, byte for byte. What is held isn''t there'
) AS
SELECT refund_id, transaction_id, customer_id, merchant_id, method, request_reason, amount, currency, state, severity, reason, decided_by, decision_id, first_by, denied, satisfied, occurred_at, received_at, opened_at, since, due_at, executed_at, changed_at, kafka_topic, kafka_partition, kafka_offset, stored_at, raw
FROM cases FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'One row per refund: its case as it is now; each repeat once';
