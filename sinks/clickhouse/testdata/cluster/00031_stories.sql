-- +goose NO TRANSACTION
-- +goose Up
CREATE VIEW IF NOT EXISTS v_statuses ON CLUSTER shop (
    refund_id         String                          COMMENT 'The refund that the customer is told of',
    customer_id       String                          COMMENT 'Who asked; empty: a guest',
    status            LowCardinality(String)          COMMENT 'received, in_review, approved, rejected, executed, failed or overdue',
    reason            LowCardinality(String)          COMMENT 'Stable code; empty: none',
    customer_message  String                          COMMENT 'What the customer may be told; empty: nothing more',
    customer_next     String                          COMMENT 'What the customer can do next; empty: nothing',
    eta               Nullable(DateTime64(3, 'UTC'))  COMMENT 'When the money should be there; NULL: not said',
    at                DateTime64(3, 'UTC')            COMMENT 'When it came to be so',
    kafka_topic       LowCardinality(String)          COMMENT 'Topic of the status''s record',
    kafka_partition   Int32                           COMMENT 'Partition of the status''s record',
    kafka_offset      Int64                           COMMENT 'Offset of the status''s record',
    stored_at         DateTime64(3, 'UTC')            COMMENT 'When this row was written',
    raw               String                          COMMENT 'The record, byte for byte'
) AS
SELECT refund_id, customer_id, status, reason, customer_message, customer_next, eta, at, kafka_topic, kafka_partition, kafka_offset, stored_at, raw
FROM statuses FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'One row per change that a customer may be told of; each repeat once';
CREATE VIEW IF NOT EXISTS v_ledger_results ON CLUSTER shop (
    result_id        String                               COMMENT 'Id of the result: of several with other bytes the service believes the first that came',
    refund_id        String                               COMMENT 'The refund that was executed, or not',
    status           LowCardinality(String)               COMMENT 'executed or failed',
    amount           Nullable(Decimal(18, 4))             COMMENT 'What was paid out, exact; NULL: not said',
    currency         LowCardinality(String)               COMMENT 'ISO 4217 code; empty: not said',
    error            String                               COMMENT 'Why it failed; empty: not said',
    custom           Map(LowCardinality(String), String)  COMMENT 'Fields of your own (streams.ledger_results.fields) by name, as text',
    occurred_at      DateTime64(3, 'UTC')                 COMMENT 'When it was executed, or failed, as sent; outside 1900 to 2261 it is the nearest of these',
    received_at      DateTime64(3, 'UTC')                 COMMENT 'Kafka timestamp of the record',
    kafka_topic      LowCardinality(String)               COMMENT 'Topic of the record',
    kafka_partition  Int32                                COMMENT 'Partition of the record',
    kafka_offset     Int64                                COMMENT 'Offset of the record',
    stored_at        DateTime64(3, 'UTC')                 COMMENT 'When this row was written',
    raw              String                               COMMENT 'The record, byte for byte'
) AS
SELECT result_id, refund_id, status, amount, currency, error, custom, occurred_at, received_at, kafka_topic, kafka_partition, kafka_offset, stored_at, raw
FROM ledger_results FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'One row per result that the ledger has sent; each repeat once';
CREATE VIEW IF NOT EXISTS v_transactions ON CLUSTER shop (
    transaction_id   String                               COMMENT 'Id of the payment: a later record of it with other bytes is a change of its status, and a row of its own',
    amount           Decimal(18, 4)                       COMMENT 'What was paid, exact, in currency',
    currency         LowCardinality(String)               COMMENT 'ISO 4217 code',
    customer_id      String                               COMMENT 'Who paid; empty: a guest',
    merchant_id      String                               COMMENT 'Who was paid; empty: none given',
    status           LowCardinality(String)               COMMENT 'State of the payment; empty: not said',
    method           LowCardinality(String)               COMMENT 'How it was paid; empty: not said',
    instrument_id    String                               COMMENT 'The card, wallet or account that paid; empty: none given',
    device_id        String                               COMMENT 'Device that it was made on; empty: none given',
    ip               String                               COMMENT 'Address that it was made from; empty: none given',
    country          LowCardinality(String)               COMMENT 'Country that it was made from; empty: none given',
    channel          LowCardinality(String)               COMMENT 'E.g. web, app or pos; empty: none given',
    custom           Map(LowCardinality(String), String)  COMMENT 'Fields of your own (streams.transactions.fields) by name, as text',
    occurred_at      DateTime64(3, 'UTC')                 COMMENT 'When it was paid, or its status changed, as sent; outside 1900 to 2261 it is the nearest of these',
    received_at      DateTime64(3, 'UTC')                 COMMENT 'Kafka timestamp of the record',
    kafka_topic      LowCardinality(String)               COMMENT 'Topic of the record',
    kafka_partition  Int32                                COMMENT 'Partition of the record',
    kafka_offset     Int64                                COMMENT 'Offset of the record',
    stored_at        DateTime64(3, 'UTC')                 COMMENT 'When this row was written',
    raw              String                               COMMENT 'The record, byte for byte'
) AS
SELECT transaction_id, amount, currency, customer_id, merchant_id, status, method, instrument_id, device_id, ip, country, channel, custom, occurred_at, received_at, kafka_topic, kafka_partition, kafka_offset, stored_at, raw
FROM transactions FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'One row per record of the stream transactions, as sent; empty with clickhouse.raw: false; each repeat once';
CREATE VIEW IF NOT EXISTS v_raw_refunds ON CLUSTER shop (
    refund_id        String                               COMMENT 'Id of the request: of several with other bytes the service decides the first that came',
    amount           Decimal(18, 4)                       COMMENT 'What is asked for, exact, in currency',
    currency         LowCardinality(String)               COMMENT 'ISO 4217 code',
    customer_id      String                               COMMENT 'Who asks; empty: a guest',
    transaction_id   String                               COMMENT 'The payment that is refunded; empty: none given',
    merchant_id      String                               COMMENT 'Who was paid; empty: none given',
    reason           LowCardinality(String)               COMMENT 'Why; empty: not said',
    method           LowCardinality(String)               COMMENT 'How the money is to go back; empty: not said',
    instrument_id    String                               COMMENT 'Where the money is to go; empty: none given',
    requested_by     LowCardinality(String)               COMMENT 'On whose behalf: customer, agent, merchant or api; empty: not said',
    agent_id         String                               COMMENT 'The agent who entered it; empty: none given',
    mfa              Nullable(Bool)                       COMMENT 'It was confirmed by a second factor; NULL: not said',
    device_id        String                               COMMENT 'Device that it was made on; empty: none given',
    ip               String                               COMMENT 'Address that it was made from; empty: none given',
    country          LowCardinality(String)               COMMENT 'Country that it was made from; empty: none given',
    channel          LowCardinality(String)               COMMENT 'E.g. web, app or phone; empty: none given',
    custom           Map(LowCardinality(String), String)  COMMENT 'Fields of your own (streams.refunds.fields) by name, as text',
    occurred_at      DateTime64(3, 'UTC')                 COMMENT 'When it was asked for, as sent; outside 1900 to 2261 it is the nearest of these',
    received_at      DateTime64(3, 'UTC')                 COMMENT 'Kafka timestamp of the record',
    kafka_topic      LowCardinality(String)               COMMENT 'Topic of the record',
    kafka_partition  Int32                                COMMENT 'Partition of the record',
    kafka_offset     Int64                                COMMENT 'Offset of the record',
    stored_at        DateTime64(3, 'UTC')                 COMMENT 'When this row was written',
    raw              String                               COMMENT 'The record, byte for byte'
) AS
SELECT refund_id, amount, currency, customer_id, transaction_id, merchant_id, reason, method, instrument_id, requested_by, agent_id, mfa, device_id, ip, country, channel, custom, occurred_at, received_at, kafka_topic, kafka_partition, kafka_offset, stored_at, raw
FROM refunds FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'One row per record of the stream refunds, as sent; empty with clickhouse.raw: false; each repeat once';
CREATE VIEW IF NOT EXISTS v_verdicts ON CLUSTER shop (
    decided_at      DateTime64(3, 'UTC')    COMMENT 'When the analyst decided',
    occurred_at     DateTime64(3, 'UTC')    COMMENT 'Event time of the refund',
    analyst         String                  COMMENT 'Who decided',
    refund_id       String                  COMMENT 'The refund',
    outcome         LowCardinality(String)  COMMENT 'approve or reject; review: it is still held',
    amount          Decimal(18, 4)          COMMENT 'Amount asked for, exact, in currency',
    currency        LowCardinality(String)  COMMENT 'ISO 4217 code',
    waited_seconds  Nullable(Float64)       COMMENT 'Since the engine held it; NULL: that decision isn''t here any more'
) AS
SELECT v.decided_at AS decided_at, v.occurred_at AS occurred_at, v.analyst AS analyst, v.refund_id AS refund_id, v.outcome AS outcome, v.amount AS amount, v.currency AS currency,
    if(e.held_at = 0, NULL, greatest(0, toUnixTimestamp64Milli(v.decided_at) - e.held_at) / 1000) AS waited_seconds
FROM (
    SELECT decision_id, occurred_at, refund_id, max(x.decided_at) AS decided_at, substring(toString(max(x.decided_by)), 9) AS analyst, max(x.outcome) AS outcome, max(x.amount) AS amount, max(x.currency) AS currency
    FROM decisions AS x WHERE startsWith(x.decided_by, 'analyst:') GROUP BY decision_id, occurred_at, refund_id
) AS v
LEFT JOIN (
    SELECT occurred_at, refund_id, min(toUnixTimestamp64Milli(x.decided_at)) AS held_at
    FROM decisions AS x WHERE x.decided_by = 'engine' AND x.outcome = 'review' GROUP BY occurred_at, refund_id
) AS e ON e.refund_id = v.refund_id AND e.occurred_at = v.occurred_at
SETTINGS join_use_nulls = 0
COMMENT 'What analysts decided, and how long refunds waited for it';
CREATE VIEW IF NOT EXISTS v_reconciliation ON CLUSTER shop (
    refund_id        String                          COMMENT 'The approved refund',
    transaction_id   String                          COMMENT 'The transaction to be refunded; empty: none given',
    customer_id      String                          COMMENT 'Who asked; empty: a guest',
    merchant_id      String                          COMMENT 'Empty: none given',
    method           LowCardinality(String)          COMMENT 'Where the money was to go; empty: not said',
    currency         LowCardinality(String)          COMMENT 'ISO 4217 code',
    occurred_at      DateTime64(3, 'UTC')            COMMENT 'Event time of the refund',
    approved_amount  Decimal(18, 4)                  COMMENT 'Amount that was approved, exact, in currency',
    approved_at      DateTime64(3, 'UTC')            COMMENT 'When it was approved',
    executed_amount  Nullable(Decimal(18, 4))        COMMENT 'Amount of the ledger''s first execution; NULL: none, or it doesn''t say',
    executed_at      Nullable(DateTime64(3, 'UTC'))  COMMENT 'Event time of that; NULL: not executed',
    results          UInt64                          COMMENT 'Results that the ledger sent for it',
    anomaly          String                          COMMENT 'The worst anomaly that was found, e.g. EXECUTED_TWICE; empty: none',
    state            LowCardinality(String)          COMMENT 'approved, executed, failed or overdue'
) AS
SELECT c.refund_id AS refund_id, c.transaction_id AS transaction_id, c.customer_id AS customer_id, c.merchant_id AS merchant_id, c.method AS method, c.currency AS currency,
    c.occurred_at AS occurred_at, c.amount AS approved_amount, multiIf(c.decided_by = 'engine', c.opened_at, v.at > 0, fromUnixTimestamp64Milli(v.at, 'UTC'), c.since) AS approved_at,
    l.first.2 AS executed_amount, c.executed_at AS executed_at, l.results AS results, a.anomaly AS anomaly, c.state AS state
FROM (SELECT * FROM cases FINAL WHERE state IN ('approved', 'executed', 'failed', 'overdue')) AS c
LEFT JOIN (
    SELECT decision_id, max(toUnixTimestamp64Milli(x.decided_at)) AS at FROM decisions AS x WHERE x.decided_by != 'engine' AND x.outcome = 'approve' GROUP BY decision_id
) AS v ON v.decision_id = c.decision_id
LEFT JOIN (
    SELECT refund_id, uniqExact(result_id) AS results, argMinIf((x.occurred_at, x.amount), (x.occurred_at, x.result_id), x.status = 'executed') AS first FROM ledger_results AS x GROUP BY refund_id
) AS l ON l.refund_id = c.refund_id
LEFT JOIN (
    -- The rules in order of how bad they are.
    SELECT refund_id, ['EXECUTED_WITHOUT_APPROVAL', 'EXECUTED_TWICE', 'EXECUTED_AFTER_FAILED', 'EXECUTED_OTHER_AMOUNT', 'EXECUTED_OTHER_CURRENCY', 'LEDGER_FAILED', 'OVERDUE'][min(indexOf(['EXECUTED_WITHOUT_APPROVAL', 'EXECUTED_TWICE', 'EXECUTED_AFTER_FAILED', 'EXECUTED_OTHER_AMOUNT', 'EXECUTED_OTHER_CURRENCY', 'LEDGER_FAILED', 'OVERDUE'], toString(rule)))] AS anomaly
    FROM alerts WHERE rule IN ('EXECUTED_WITHOUT_APPROVAL', 'EXECUTED_TWICE', 'EXECUTED_AFTER_FAILED', 'EXECUTED_OTHER_AMOUNT', 'EXECUTED_OTHER_CURRENCY', 'LEDGER_FAILED', 'OVERDUE') GROUP BY refund_id
) AS a ON a.refund_id = c.refund_id
SETTINGS join_use_nulls = 0
COMMENT 'One row per approved refund: what was approved, and what the ledger did. Filter it by occurred_at';
CREATE VIEW IF NOT EXISTS v_timeline ON CLUSTER shop (
    at              DateTime64(3, 'UTC')  COMMENT 'When',
    refund_id       String                COMMENT 'The refund; empty: a label of all refunds of the transaction, or an alert of none',
    transaction_id  String                COMMENT 'Empty: none given',
    customer_id     String                COMMENT 'Who asked; empty: a guest, or not known',
    what            String                COMMENT 'request, decision, status, alert, case (as it is now), label or ledger_result',
    title           String                COMMENT 'What happened, in short',
    detail          String                COMMENT 'Why, or by whom; empty: not said'
) AS
SELECT received_at AS at, refund_id AS refund_id, transaction_id AS transaction_id, customer_id AS customer_id, 'request' AS what, concat('asked for ', toString(amount), ' ', toString(currency)) AS title, toString(reason) AS detail FROM refunds FINAL
UNION ALL
SELECT decided_at AS at, refund_id AS refund_id, transaction_id AS transaction_id, customer_id AS customer_id, 'decision' AS what, concat(toString(outcome), ' by ', toString(decided_by)) AS title, concat(toString(reason), if(reason != '' AND notEmpty(rules), ': ', ''), arrayStringConcat(rules, ', ')) AS detail FROM decisions FINAL
UNION ALL
SELECT at AS at, refund_id AS refund_id, '' AS transaction_id, customer_id AS customer_id, 'status' AS what, toString(status) AS title, customer_message AS detail FROM statuses FINAL
UNION ALL
SELECT at AS at, refund_id AS refund_id, transaction_id AS transaction_id, customer_id AS customer_id, 'alert' AS what, concat(toString(rule), ' (', toString(severity), ')') AS title, message AS detail FROM alerts FINAL
UNION ALL
SELECT since AS at, refund_id AS refund_id, transaction_id AS transaction_id, customer_id AS customer_id, 'case' AS what, toString(state) AS title, concat(toString(severity), if(first_by != '', concat(', approved first by ', toString(first_by)), '')) AS detail FROM cases FINAL
UNION ALL
SELECT b.at AS at, b.refund_id AS refund_id, b.transaction_id AS transaction_id, c.customer_id AS customer_id, 'label' AS what, concat(toString(b.label), ' by ', toString(b.source)) AS title, concat(b.by, if(b.by != '' AND b.note != '', ': ', ''), b.note) AS detail FROM (SELECT * FROM labels FINAL) AS b LEFT JOIN (SELECT refund_id, customer_id FROM cases FINAL) AS c ON c.refund_id = b.refund_id
UNION ALL
SELECT l.occurred_at AS at, l.refund_id AS refund_id, c.transaction_id AS transaction_id, c.customer_id AS customer_id, 'ledger_result' AS what, concat(toString(l.status), ifNull(concat(' ', toString(l.amount), ' ', toString(l.currency)), '')) AS title, l.error AS detail FROM (SELECT * FROM ledger_results FINAL) AS l LEFT JOIN (SELECT refund_id, transaction_id, customer_id FROM cases FINAL) AS c ON c.refund_id = l.refund_id
COMMENT 'All that happened to a refund or a customer, one row each. Filter it by refund_id or customer_id';
