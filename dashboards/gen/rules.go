package main

const chosen = `$__conditionalAll(rule IN (${rule:singlequote}), $rule)`

func ruleBoard() *dashboard {
	rule := clickhouseVariable("rule", "Rule", "Rules that hit in this time", `SELECT rule FROM v_rule_stats WHERE `+hours+` GROUP BY rule ORDER BY rule`)
	rule.Multi, rule.IncludeAll, rule.Refresh, rule.Current = true, true, 2, object{"text": []string{"All"}, "value": []string{"$__all"}}
	maturity := choice("maturity_days", "Labels count after (days)", "Decisions younger than this aren't judged by their label: charge-backs come late. As labels.maturity of the configuration", "30", "0", "7", "14", "60", "90")
	quality := `(from = $__fromTime, to = $__toTime, ruleset = '', maturity_days = ${maturity_days})`
	return &dashboard{UID: "refundguard-rules", Title: "refundguard / Rules",
		Description: "Which rules hit, how often they are right, what they save and cost, and whether a shadow rule deserves to go live.",
		Time:        timeRange{"now-30d", "now"}, variables: append(sources(), job(), currency(), rule, maturity), changes: true,
		Panels: []*panel{
			row(1, "The rules that run"),
			stat(2, "Rule set", "none", "The running rule set, as refundguard rules list shows it. Two of them: instances run different ones, which passes within a reload.").
				prom(`max by (ruleset) (refundguard_ruleset_info == 1)`, "{{ruleset}}").text().size(8, 4),
			stat(3, "Running since", "s", "Time since the running set was taken.").
				prom(`time() - max(refundguard_ruleset_loaded_timestamp_seconds)`, "").size(4, 4),
			stat(4, "Files on disk", "none", "Whether the rule files on disk check. Refused: the earlier set goes on, and edits have no effect; refundguard rules check says why.").
				prom(`max(refundguard_ruleset_refused)`, "").says("0", "Taken", "green", "1", "Refused", "red").red(1),
			stat(5, "Breakers tripped", "short", "Rules that by themselves held more than limits.max_hold_share. Good: 0. Else look whether it is an attack or the rule, then refundguard rules reset RULE.").
				prom(`sum(max by (rule) (refundguard_breaker_tripped)) or 0 * max(refundguard_ready)`, "").red(1),
			stat(6, "Rule failures", "short", "Evaluations in which a rule failed; a live one then holds the refund. Good: 0. See below which, and the decision's errors why.").
				prom(`sum(increase(refundguard_rule_errors_total[$__range])) or 0 * max(refundguard_ready)`, "").decimals(0).orange(1),

			row(10, "Live rules"),
			series(11, "Hits of live rules", "short", "Refunds that each live rule hit, by the refunds' time. A jump is an attack, or a change of the rule (the marks).").
				sql(`SELECT $__timeInterval(hour) AS time, rule, sum(r.hits) AS hits FROM v_rule_stats AS r WHERE ` + hours + ` AND mode = 'live' AND ` + chosen + ` GROUP BY time, rule ORDER BY time, rule`).every("1h").by("rule"),
			series(12, "Precision of live rules", "percentunit", "Share of fraud among a rule's hits that have a label, by day of the refunds. Good: well above what an analyst's time is worth. The newest days are incomplete until labels arrive.").
				sql(`SELECT $__timeInterval(hour) AS time, rule, if(sumIf(r.hits, label != '') = 0, NULL, sumIf(r.hits, label = 'fraud') / sumIf(r.hits, label != '')) AS precision
					FROM v_rule_stats AS r WHERE ` + hours + ` AND mode = 'live' AND ` + chosen + ` GROUP BY time, rule HAVING sumIf(r.hits, label != '') > 0 ORDER BY time, rule`).every("1d").by("rule").share(),
			table(13, "How good each rule is", "As refundguard rules stats says: the share of fraud among labelled hits, with the interval that is true 19 times of 20; a wide one means that there are few labels. Recall is the share of all known frauds that the rule hit. Money is in ${currency}. A live rule whose upper bound is low should be mended or become shadow.").size(24, 10).
				sql(`SELECT rule, mode, hits, hits_labelled, precision_biased AS precision, precision_biased_low AS precision_low, precision_biased_high AS precision_high,
					recall, caught_refunds, q.caught[${currency:singlequote}] AS caught, wrongly_held_refunds, q.wrongly_held[${currency:singlequote}] AS wrongly_held, cases AS reviewed
					FROM v_rule_quality` + quality + ` AS q WHERE ` + chosen + ` ORDER BY hits DESC, rule, mode`).none("No rule hit"),
			bars(14, "Money caught by rule (${currency})", "locale", "Asked for by frauds that a live rule hit and that were not approved. A refund counts for each rule that hit it.").
				sql(`SELECT rule, sum(r.amount) AS amount FROM v_rule_stats AS r WHERE ` + hours + ` AND ` + money + ` AND mode = 'live' AND label = 'fraud' AND outcome != 'approve' AND ` + chosen + ` GROUP BY rule ORDER BY amount DESC, rule LIMIT 15`).none("None is labelled yet"),
			bars(15, "Money wrongly held by rule (${currency})", "locale", "Asked for by honest refunds that a live rule hit and that were not approved at once. The longest bar is the rule to mend first.").
				sql(`SELECT rule, sum(r.amount) AS amount FROM v_rule_stats AS r WHERE ` + hours + ` AND ` + money + ` AND mode = 'live' AND label = 'legit' AND first_outcome != 'approve' AND ` + chosen + ` GROUP BY rule ORDER BY amount DESC, rule LIMIT 15`).none("None is labelled yet"),

			row(20, "Shadow rules"),
			series(21, "Hits of shadow rules", "short", "Refunds that each rule in shadow hit: it decided nothing.").
				sql(`SELECT $__timeInterval(hour) AS time, rule, sum(r.hits) AS hits FROM v_rule_stats AS r WHERE ` + hours + ` AND mode = 'shadow' AND ` + chosen + ` GROUP BY time, rule ORDER BY time, rule`).every("1h").by("rule").none("No shadow rule hit"),
			table(22, "Shadow against live", "What would change if a shadow rule went live: new_hits were approved at once by the rules that live. Among those, fraud is what it would add, legit what it would wrongly hold.").size(12, 8).
				sql(`SELECT rule, sum(r.hits) AS shadow_hits, sumIf(r.hits, first_outcome != 'approve') AS held_anyway, sumIf(r.hits, first_outcome = 'approve') AS new_hits,
					sumIf(r.hits, first_outcome = 'approve' AND label = 'fraud') AS fraud, sumIf(r.hits, first_outcome = 'approve' AND label = 'legit') AS legit
					FROM v_rule_stats AS r WHERE ` + hours + ` AND mode = 'shadow' AND ` + chosen + ` GROUP BY rule ORDER BY new_hits DESC, rule`).none("No shadow rule hit"),

			row(30, "What goes wrong, and what it takes"),
			series(31, "Failures by rule", "ops", "Evaluations a second in which a rule failed. Good: none. A live rule that fails holds the refund.").size(8, 8).
				prom(`sum by (rule) (rate(refundguard_rule_errors_total[$__rate_interval])) > 0`, "{{rule}}").none("No rule fails"),
			series(32, "Breakers", "short", "1 while a rule's breaker is tripped.").size(8, 8).
				prom(`max by (rule) (refundguard_breaker_tripped) > 0`, "{{rule}}").none("No breaker is tripped"),
			series(33, "Time of conditions", "s", "Time that a rule's condition takes for one refund, past events not included; an estimate. The ten slowest.").size(8, 8).
				prom(`topk(10, sum by (rule) (rate(refundguard_rule_evaluation_seconds_total[$__rate_interval])) / sum by (rule) (rate(refundguard_rule_evaluations_total[$__rate_interval])))`, "{{rule}}"),

			row(40, "Rule sets and hits"),
			table(41, "Rule sets", "Each version by which refunds of this time were decided, as refundguard rules stats says. Compare precision and recall before and after a change, where enough is labelled.").size(24, 6).
				sql(`SELECT since, ruleset, refunds, hits, hits_labelled, precision_biased AS precision, precision_biased_low AS precision_low, precision_biased_high AS precision_high, recall,
					q.caught[${currency:singlequote}] AS caught, q.wrongly_held[${currency:singlequote}] AS wrongly_held FROM v_ruleset_quality` + quality + ` AS q ORDER BY since DESC`),
			table(42, "Latest hits", "The newest hits of the chosen rules; each refund leads to its story.").
				sql(`SELECT occurred_at, rule, mode, severity, refund_id, customer_id, merchant_id, amount, currency, outcome, message FROM v_hits
					WHERE $__timeFilter(occurred_at) AND ` + chosen + ` ORDER BY occurred_at DESC LIMIT 100`).none("No hit"),
		}}
}
