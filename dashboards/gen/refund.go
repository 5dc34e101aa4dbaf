package main

// whose is what the story is of: a refund, or all of a customer's.
const whose = `(refund_id = ${refund_id:singlequote} AND refund_id != '' OR customer_id = ${customer_id:singlequote} AND customer_id != '')`

// ofThem is for views without a customer.
const ofThem = `refund_id IN (SELECT refund_id FROM v_decisions WHERE ` + whose + `)`

func refund() *dashboard {
	return &dashboard{UID: "refundguard-refund", Title: "refundguard / Refund",
		Description: "One refund's or one customer's whole story. Enter an id, or come from a table of another dashboard. The time range doesn't matter here, so that nothing is missed.",
		Time:        timeRange{"now-24h", "now"}, variables: append(sources(), textbox("refund_id", "Refund", "Id of a refund"), textbox("customer_id", "Customer", "Id of a customer: all of their refunds")),
		Panels: []*panel{
			table(1, "Refunds", "Each refund once: what the engine decided first, what became of it, and what it turned out to be. Several where a customer is given.").size(24, 6).
				sql(`SELECT occurred_at, refund_id, customer_id, merchant_id, transaction_id, amount, currency, first_outcome, outcome, decided_by, label, label_source, holdout, degraded
					FROM v_refunds WHERE ` + whose + ` ORDER BY occurred_at DESC LIMIT 1000`).none("No refund with this id was decided. Enter a refund's or a customer's id above"),
			table(2, "What happened", "All that is known, in order: the request, decisions, what the customer was told, alerts, labels, the ledger's results.").size(24, 12).
				sql(`SELECT at, what, refund_id, title, detail FROM v_timeline WHERE ` + whose + ` ORDER BY at, what LIMIT 1000`).none("Nothing is known. Enter an id above"),
			row(10, "Why it was decided so"),
			table(11, "Decisions", "The engine's decision, then those of analysts, the customer or a deadline. Features are the past events that the rules saw.").
				sql(`SELECT decided_at, refund_id, outcome, decided_by, reason, score, rules, shadow_rules, failed_rules, skipped_rules, controls, degraded, holdout,
					original_amount, original_currency, toString(features) AS features, ruleset
					FROM v_decisions WHERE ` + whose + ` ORDER BY decided_at, outcome LIMIT 1000`).none("Nothing was decided"),
			table(12, "Hits", "Rules that hit, with the message that says why. Shadow rules decided nothing.").
				sql(`SELECT decided_at, refund_id, rule, mode, action, score, severity, reason, message FROM v_hits WHERE ` + whose + ` ORDER BY decided_at, rule LIMIT 1000`).none("No rule hit"),
			row(20, "What was told, and what the ledger did"),
			table(21, "Alerts", "Alerts about it; critical ones mean that money may have left that should not have.").size(12, 8).
				sql(`SELECT at, refund_id, rule, severity, message FROM v_alerts WHERE ` + whose + ` ORDER BY at LIMIT 1000`).none("No alert"),
			table(22, "What the customer was told", "Each status once, as it went to the notifications.").size(12, 8).
				sql(`SELECT at, refund_id, status, reason, customer_message, eta FROM v_statuses WHERE ` + whose + ` ORDER BY at LIMIT 1000`).none("Nothing yet"),
			table(23, "Against the ledger", "What was approved, and what the ledger executed. An anomaly is to be cleared up with whoever runs the ledger.").size(12, 8).
				sql(`SELECT approved_at, refund_id, state, method, approved_amount, executed_amount, currency, executed_at, results, anomaly
					FROM v_reconciliation WHERE ` + whose + ` ORDER BY approved_at LIMIT 1000`).none("Nothing was approved"),
			table(24, "Labels", "Who says what it turned out to be; of several the heaviest counts, then the latest.").size(12, 8).
				sql(`SELECT at, refund_id, label, source, by, reason, note FROM v_labels WHERE ` + ofThem + ` ORDER BY at LIMIT 1000`).none("Nobody says"),
		}}
}
