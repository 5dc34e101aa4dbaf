-- +goose NO TRANSACTION
-- +goose Up
CREATE VIEW IF NOT EXISTS review_queue ON CLUSTER shop (
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
CREATE VIEW IF NOT EXISTS deadline_breaches ON CLUSTER shop (
    day       Date                    COMMENT 'Day on which the deadline passed, UTC',
    severity  LowCardinality(String)  COMMENT 'Of the case since; one that was escalated has risen',
    breaches  UInt64                  COMMENT 'Reviews without a verdict in time'
) AS
SELECT toDate(at, 'UTC') AS day, severity, uniqExact(alert_id) AS breaches
FROM alerts
WHERE rule = 'review-deadline'
GROUP BY day, severity
COMMENT 'Review deadlines that passed, by day';
CREATE VIEW IF NOT EXISTS anomalies ON CLUSTER shop (
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
