-- +goose NO TRANSACTION
-- +goose Up
CREATE VIEW IF NOT EXISTS refunds ON CLUSTER shop (
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
    -- What comes twice changes none of these.
    SELECT occurred_at, refund_id, max(transaction_id) AS transaction_id, max(customer_id) AS customer_id, max(merchant_id) AS merchant_id,
        max(amount) AS amount, max(currency) AS currency, max(received_at) AS received_at,
        argMinIf((outcome, decided_at, ruleset, holdout, controls), decided_at, decided_by = 'engine') AS first,
        -- A decision that ends a review is later than one that doesn't, whatever clocks say.
        argMaxIf((outcome, decided_by, decided_at), (outcome != 'review', decided_at, indexOf(['approve', 'review', 'reject'], outcome)), decided_by != 'engine') AS last,
        toBool(countIf(startsWith(decided_by, 'analyst:') AND outcome != 'review') > 0) AS decided_by_analyst
    FROM decisions
    GROUP BY occurred_at, refund_id
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
