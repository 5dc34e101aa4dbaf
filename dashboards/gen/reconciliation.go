package main

func reconciliation() *dashboard {
	quality := `v_service_quality(from = $__fromTime, to = $__toTime)`
	return &dashboard{UID: "refundguard-reconciliation", Title: "refundguard / Reconciliation and service",
		Description: "Whether the ledger paid what was approved, once and in time, and how well customers were served.",
		Time:        timeRange{"now-7d", "now"}, variables: append(sources(), currency()),
		Panels: []*panel{
			row(1, "Does the ledger do what was approved?"),
			stat(2, "Anomalies", "short", "What the ledger did and was not asked to, or was and did not, and refunds that customers deny. Good: 0. Each is listed below.").
				sql(`SELECT count() AS anomalies FROM v_anomalies WHERE $__timeFilter(at)`).orange(1),
			stat(3, "Paid without approval", "short", "Executed without an approval, or of a refund that nobody asked for: money has left. Good: 0. Stop the ledger's executor and find who wrote the order.").
				sql(`SELECT countIf(rule IN ('EXECUTED_WITHOUT_APPROVAL', 'EXECUTED_UNKNOWN_REFUND')) AS unapproved FROM v_anomalies WHERE $__timeFilter(at)`).red(1),
			stat(4, "Paid twice", "short", "Executed more than once, or after the ledger said that it failed. Good: 0. Ask for the second payment back.").
				sql(`SELECT countIf(rule IN ('EXECUTED_TWICE', 'EXECUTED_AFTER_FAILED')) AS twice FROM v_anomalies WHERE $__timeFilter(at)`).red(1),
			stat(5, "Paid otherwise", "short", "Executed in another amount or currency than approved. Good: 0.").
				sql(`SELECT countIf(rule IN ('EXECUTED_OTHER_AMOUNT', 'EXECUTED_OTHER_CURRENCY')) AS otherwise FROM v_anomalies WHERE $__timeFilter(at)`).red(1),
			stat(6, "Overdue or failed", "short", "Approved and not executed by the ETA, or failed by the ledger: customers wait for their money. Good: 0.").
				sql(`SELECT countIf(rule IN ('OVERDUE', 'LEDGER_FAILED')) AS late FROM v_anomalies WHERE $__timeFilter(at)`).orange(1),
			stat(7, "Denied by customers", "short", "Refunds of which the customer says: not mine. Each is a fraud; what was in review is rejected.").
				sql(`SELECT countIf(rule = 'denied-by-customer') AS denied FROM v_anomalies WHERE $__timeFilter(at)`).orange(1),
			series(8, "Anomalies by kind", "short", "By when they were found. Several of one kind at once: the ledger has a fault, not a customer.").
				sql(`SELECT $__timeInterval(at) AS time, rule, count() AS anomalies FROM v_anomalies WHERE $__timeFilter(at) GROUP BY time, rule ORDER BY time, rule`).stacked("1h").by("rule").none("No anomaly"),
			series(9, "Approved and executed (${currency})", "locale", "Money that was approved, and how much of it the ledger has executed, by when it was approved. A gap that stays is money that customers wait for.").
				sql(`SELECT $__timeInterval(approved_at) AS time, sum(r.approved_amount) AS approved, sum(ifNull(r.executed_amount, 0)) AS executed
					FROM v_reconciliation AS r WHERE $__timeFilter(approved_at) AND ` + money + ` GROUP BY time ORDER BY time`).every("1d"),
			table(10, "Anomalies, the newest first", "Each refund leads to its story; the runbook says what to do with each kind.").
				sql(`SELECT at, rule, severity, refund_id, customer_id, merchant_id, amount, currency, message FROM v_anomalies WHERE $__timeFilter(at) ORDER BY at DESC LIMIT 200`).none("No anomaly"),
			table(11, "Approved and not as it should be", "Approved refunds of this time whose execution is missing, late or wrong, the largest first.").
				sql(`SELECT approved_at, refund_id, customer_id, merchant_id, method, state, anomaly, approved_amount, executed_amount, currency, executed_at, results
					FROM v_reconciliation WHERE $__timeFilter(approved_at) AND anomaly != '' ORDER BY approved_amount DESC, refund_id LIMIT 200`).none("All is as it should be"),

			row(20, "How well customers are served"),
			stat(21, "Time to money (median)", "s", "From the request to the ledger's execution, for refunds that were executed.").
				sql(`SELECT if(countIf(executed_at IS NOT NULL) = 0, NULL, quantileIf(0.5)(greatest(0, date_diff('second', occurred_at, assumeNotNull(executed_at))), executed_at IS NOT NULL)) AS seconds
					FROM v_cases WHERE $__timeFilter(occurred_at)`).none("None was executed"),
			stat(22, "Satisfied", "percentunit", "Share of content customers among those who answered and said so.").
				sql(`SELECT if(sum(q.answers) = 0, NULL, sum(q.satisfied_answers) / sum(q.answers)) AS satisfied FROM `+quality+` AS q`).decimals(1).none("Nobody answered").paint("red", from(0.7, "orange"), from(0.85, "green")),
			stat(23, "Answers", "short", "Customers who said whether they are content.").
				sql(`SELECT sum(q.answers) AS answers FROM ` + quality + ` AS q`),
			stat(24, "Executed", "percentunit", "Share of the refunds asked for in this time that the ledger has executed. Those in review, rejected or on their way are the rest.").
				sql(`SELECT if(sum(q.refunds) = 0, NULL, sum(q.executed) / sum(q.refunds)) AS executed FROM ` + quality + ` AS q`).decimals(1),
			series(25, "Time to money by method (median)", "s", "From the request to the ledger's execution, by the refunds' time. Compare it with the ETA that customers are told.").
				sql(`SELECT $__timeInterval(occurred_at) AS time, if(method = '', 'not said', method) AS method, quantile(0.5)(greatest(0, date_diff('second', occurred_at, assumeNotNull(executed_at)))) AS seconds
					FROM v_cases WHERE $__timeFilter(occurred_at) AND executed_at IS NOT NULL GROUP BY time, method ORDER BY time, method`).every("1d").by("method").none("None was executed"),
			series(26, "Satisfaction", "percentunit", "Share of content customers among those who said so, by the refunds' time.").share().
				sql(`SELECT $__timeInterval(occurred_at) AS time, countIf(ifNull(c.satisfied, false)) / count() AS satisfied
					FROM v_cases AS c WHERE $__timeFilter(occurred_at) AND c.satisfied IS NOT NULL GROUP BY time ORDER BY time`).every("1d").none("Nobody answered"),
			table(27, "By merchant, method and reason", "Where customers wait for longest or are least content. The slowest first.").size(24, 10).
				sql(`SELECT merchant_id, method, request_reason, refunds, executed, executed_p50_seconds, executed_p95_seconds, answers, satisfied_share AS share_satisfied
					FROM ` + quality + ` ORDER BY executed_p95_seconds DESC NULLS LAST, merchant_id, method, request_reason LIMIT 200`),
		}}
}
