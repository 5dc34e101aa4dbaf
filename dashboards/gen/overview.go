package main

// Filters by the dashboard's time. The rollups are by hour and day, of which the
// first counts as a whole, so that nothing of the time asked for is left out.
const (
	hours = `hour >= toStartOfHour($__fromTime, 'UTC') AND hour <= $__toTime`
	days  = `day >= toDate($__fromTime, 'UTC') AND day <= toDate($__toTime, 'UTC')`
	money = `currency = ${currency:singlequote}`
)

func overview() *dashboard {
	return &dashboard{UID: "refundguard-overview", Title: "refundguard / Overview",
		Description: "Is money safe? What was decided, what it cost and saved, and whether the service works. Times are of the refunds (event time); money is in one currency.",
		Time:        timeRange{"now-24h", "now"}, variables: append(sources(), job(), currency()), changes: true,
		Panels: []*panel{
			row(1, "Is money safe?"),
			stat(2, "Balance", "none", "Refunds read = approved + in review + rejected + dead-lettered + duplicates + history, as of the last commit. It must hold. If it is broken the service commits nothing and ends: nobody is paid; follow the runbook.").
				prom(`max(refundguard_balance_broken)`, "").says("0", "Holds", "green", "1", "BROKEN", "red").red(1).to("engine"),
			stat(3, "Deciding", "none", "Whether an instance decides refunds now. If not, refunds wait in Kafka and nothing is lost: see Engine for what it waits for.").
				prom(`max(refundguard_ready)`, "").says("0", "No", "red", "1", "Yes", "green").paint("red", from(1, "green")).to("engine"),
			stat(4, "Money lost (${currency})", "locale", "Asked for by refunds that were approved and turned out to be fraud, as far as labels are known: charge-backs come weeks later. Good: 0. Else look in Rules for a rule that would have seen them.").
				sql(`SELECT sumIf(amount, outcome = 'approve' AND label = 'fraud') AS lost FROM v_refunds_hourly WHERE ` + hours + ` AND ` + money).decimals(2).orange(0.01).to("rules"),
			stat(5, "Money caught (${currency})", "locale", "Asked for by refunds that turned out to be fraud and were not approved. Higher is better beside the money lost.").
				sql(`SELECT sumIf(amount, outcome != 'approve' AND label = 'fraud') AS caught FROM v_refunds_hourly WHERE ` + hours + ` AND ` + money).decimals(2).paint("green").to("rules"),
			stat(6, "Money held now (${currency})", "locale", "Asked for by refunds of this time that are still in review. It should go back to 0 as analysts work: see Review queue.").
				sql(`SELECT sumIf(amount, outcome = 'review') AS held FROM v_refunds_hourly WHERE ` + hours + ` AND ` + money).decimals(2).to("review-queue"),
			stat(7, "Critical alerts", "short", "Alerts of severity critical: money may have left that should not have, or the service is at risk. Good: none. They are listed below.").
				sql(`SELECT count() AS alerts FROM v_alerts WHERE $__timeFilter(at) AND severity = 'critical'`).red(1),

			row(10, "What was decided"),
			stat(11, "Refunds", "short", "Refunds asked for, each once, all currencies. Far fewer than usual: see whether they arrive (Engine).").
				sql(`SELECT sum(r.refunds) AS refunds FROM v_refunds_hourly AS r WHERE ` + hours),
			stat(12, "Not approved at once", "percentunit", "Share of refunds that the engine held or rejected. Above a tenth, honest customers wait: look in Rules for the one that holds most.").
				sql(`SELECT if(sum(r.refunds) = 0, NULL, sumIf(r.refunds, first_outcome != 'approve') / sum(r.refunds)) AS share_held FROM v_refunds_hourly AS r WHERE `+hours).decimals(1).paint("green", from(0.1, "orange"), from(0.2, "red")).to("rules"),
			stat(13, "Wrongly held (${currency})", "locale", "Asked for by refunds that the engine didn't approve and that turned out to be honest. It is the price of caution: compare it with the money caught.").
				sql(`SELECT sumIf(amount, first_outcome != 'approve' AND label = 'legit') AS wrongly_held FROM v_refunds_hourly WHERE ` + hours + ` AND ` + money).decimals(2).to("rules"),
			stat(14, "Degraded", "short", "Refunds that were decided while state was known to be incomplete; unless configured otherwise they are held. Good: 0. Else see Engine for a partition that is silent.").
				sql(`SELECT sumIf(refunds, degraded) AS degraded FROM v_refunds_hourly WHERE ` + hours).orange(1).to("engine"),
			stat(15, "Decided within (p99)", "s", "99 of 100 refunds are decided within this time from their Kafka timestamp. Good: below a second. Else see Engine for lags.").
				prom(`histogram_quantile(0.99, sum by (le) (rate(refundguard_decision_delay_seconds_bucket[$__range])))`, "").paint("green", from(1, "orange"), from(10, "red")).to("engine"),
			stat(16, "In review now", "short", "Refunds that wait for an analyst now, whenever they were asked for. See Review queue.").
				prom(`sum(max by (severity) (refundguard_reviews_waiting)) or 0 * max(refundguard_ready)`, "").to("review-queue"),

			series(20, "Refunds by outcome", "short", "Refunds, each once, by what became of them until now, all currencies. A sudden band of orange or red is an attack or a rule that is wrong: see Rules.").
				sql(`SELECT $__timeInterval(hour) AS time, outcome, sum(r.refunds) AS refunds FROM v_refunds_hourly AS r WHERE ` + hours + ` GROUP BY time, outcome ORDER BY time, outcome`).stacked("1h").by("outcome"),
			series(21, "Money by outcome (${currency})", "locale", "Money asked for, by what became of it until now.").
				sql(`SELECT $__timeInterval(hour) AS time, outcome, sum(r.amount) AS amount FROM v_refunds_hourly AS r WHERE ` + hours + ` AND ` + money + ` GROUP BY time, outcome ORDER BY time, outcome`).stacked("1h").by("outcome"),
			series(22, "Lost, caught and wrongly held (${currency})", "locale", "What the labels say: lost (approved and fraud), caught (fraud and not approved), wrongly held (honest and not approved at once). The newest days are incomplete until labels arrive.").
				sql(`SELECT $__timeInterval(hour) AS time, multiIf(label = 'legit', 'wrongly held', outcome = 'approve', 'lost', 'caught') AS what, sum(r.amount) AS amount
					FROM v_refunds_hourly AS r WHERE ` + hours + ` AND ` + money + ` AND (label = 'fraud' OR label = 'legit' AND first_outcome != 'approve')
					GROUP BY time, what ORDER BY time, what`).stacked("1d").by("what"),
			series(23, "Time to decide", "s", "From a refund's Kafka timestamp to its decision: the median and the slowest 1 in 100. Good: below a second.").
				prom(`histogram_quantile(0.5, sum by (le) (rate(refundguard_decision_delay_seconds_bucket[$__rate_interval])))`, "p50").
				prom(`histogram_quantile(0.99, sum by (le) (rate(refundguard_decision_delay_seconds_bucket[$__rate_interval])))`, "p99").paint("green", from(1, "orange"), from(10, "red")),
			bars(24, "The balance", "short", "Records of the refunds topic by what became of them since the state began; all but read add up to read.").
				prom(`max by (term) (refundguard_balance_refunds)`, "{{term}}"),
			series(25, "Alerts by severity", "short", "Alerts, by when they were raised. Critical ones are listed below.").
				sql(`SELECT $__timeInterval(at) AS time, severity, count() AS alerts FROM v_alerts WHERE $__timeFilter(at) GROUP BY time, severity ORDER BY time, severity`).stacked("10m").by("severity"),

			row(30, "Where to look"),
			table(31, "Rules that hit most", "Live rules by how many refunds they hit. A rule whose hits are mostly approved in the end (share wrongly held) costs more than it saves: open it.").size(12, 9).
				sql(`SELECT rule, sum(r.hits) AS refunds_hit, sumIf(r.hits, label = 'fraud') AS fraud, sumIf(r.hits, label = 'legit') AS legit, sumIf(r.hits, outcome = 'review') AS held_now
					FROM v_rule_stats AS r WHERE ` + hours + ` AND mode = 'live' GROUP BY rule ORDER BY refunds_hit DESC, rule LIMIT 20`).none("No live rule hit"),
			table(32, "Merchants with most money not approved (${currency})", "By the day of the refunds, UTC. A merchant that stands out is attacked, or has a problem of its own: talk to it.").size(12, 9).
				sql(`SELECT merchant_id, sum(r.refunds) AS asked_for, sumIf(r.refunds, outcome != 'approve') AS not_approved, sumIf(r.amount, outcome != 'approve') AS amount_held,
					sumIf(r.amount, outcome = 'approve' AND label = 'fraud') AS amount_lost
					FROM v_refunds_daily AS r WHERE ` + days + ` AND ` + money + ` GROUP BY merchant_id HAVING amount_held > 0 OR amount_lost > 0 ORDER BY amount_held DESC, merchant_id LIMIT 20`).none("None"),
			table(33, "Latest critical alerts", "The newest first. Each refund leads to its story; what each rule of an alert means is in the runbook.").
				sql(`SELECT at, rule, refund_id, customer_id, merchant_id, amount, currency, message FROM v_alerts WHERE $__timeFilter(at) AND severity = 'critical' ORDER BY at DESC LIMIT 100`).none("No critical alert"),
		}}
}
