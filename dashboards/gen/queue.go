package main

func reviewQueue() *dashboard {
	return &dashboard{UID: "refundguard-review-queue", Title: "refundguard / Review queue",
		Description: "What waits for an analyst, how urgent it is, and who does how much. What waits is as of now; the rest is of the time range, by when the verdict was given.",
		Time:        timeRange{"now-7d", "now"}, variables: append(sources(), job(), currency()),
		Panels: []*panel{
			row(1, "Now"),
			stat(2, "In review", "short", "Refunds that wait for a verdict now.").
				sql(`SELECT count() AS waiting FROM v_review_queue`),
			stat(3, "Overdue", "short", "Those whose deadline has passed and of which nothing was done yet. Good: 0. Take these first.").
				sql(`SELECT countIf(breached) AS overdue FROM v_review_queue`).red(1),
			stat(4, "Due within an hour", "short", "Those whose deadline is within the next hour. More than the desk does in an hour: call for help, or raise review.sla.").
				sql(`SELECT countIf(NOT breached AND due_at <= now64(3) + INTERVAL 1 HOUR) AS due FROM v_review_queue`).orange(1),
			stat(5, "Longest wait", "s", "How long the refund that waits for longest has waited.").
				sql(`SELECT if(count() = 0, NULL, max(waiting_seconds)) AS waiting FROM v_review_queue`).none("None waits").paint("green", from(4*3600, "orange"), from(24*3600, "red")),
			stat(6, "Held (${currency})", "locale", "Money asked for by refunds that wait now.").
				sql(`SELECT sum(q.amount) AS held FROM v_review_queue AS q WHERE ` + money).decimals(2),
			stat(7, "Breached deadlines", "short", "Deadlines that passed without a verdict in this time (days, UTC). Good: 0. Many: too few analysts for what the rules hold.").
				sql(`SELECT sum(b.breaches) AS breaches FROM v_deadline_breaches AS b WHERE ` + days).orange(1),
			table(8, "Most urgent first", "What waits, by deadline. Open the refund, then: refundguard review approve|reject ID --as NAME. first_by: one analyst has approved it, and a second one must.").size(24, 11).
				sql(`SELECT due_at, severity, refund_id, customer_id, merchant_id, amount, currency, reason, first_by, since, waiting_seconds, breached
					FROM v_review_queue ORDER BY due_at IS NULL, due_at, refund_id LIMIT 500`).none("Nothing waits"),

			row(10, "How the queue went"),
			series(11, "Waiting, by severity", "short", "Refunds in review. A line that only climbs means that more is held than is worked off.").size(8, 8).
				prom(`max by (severity) (refundguard_reviews_waiting)`, "{{severity}}"),
			series(12, "Longest wait, by severity", "s", "How long the refund in review that waits for longest has waited. Compare it with review.sla.").size(8, 8).
				prom(`max by (severity) (refundguard_reviews_oldest_seconds)`, "{{severity}}"),
			series(13, "Time to the next deadline, by severity", "s", "Below 0 the deadline has passed. Good: well above 0.").size(8, 8).
				prom(`min by (severity) (refundguard_reviews_next_deadline_seconds)`, "{{severity}}").none("Nothing waits").paint("red", from(0, "green")).anySign(),
			series(14, "Breached deadlines by day", "short", "Deadlines that passed without a verdict, by day (UTC) and the severity since.").
				sql(`SELECT toDateTime(day, 'UTC') AS time, severity, sum(b.breaches) AS breaches FROM v_deadline_breaches AS b WHERE ` + days + ` GROUP BY time, severity ORDER BY time, severity`).stacked("1d").by("severity").none("None was breached"),
			series(15, "Refunds held by day", "short", "Refunds that the engine held, by what became of them, all currencies, by the refunds' time. Held and approved later (green) is what the rules could spare the desk.").
				sql(`SELECT $__timeInterval(hour) AS time, outcome, sum(r.refunds) AS refunds FROM v_refunds_hourly AS r WHERE ` + hours + ` AND first_outcome = 'review' GROUP BY time, outcome ORDER BY time, outcome`).stacked("1d").by("outcome"),

			row(20, "Analysts"),
			series(21, "Verdicts by analyst", "short", "Verdicts, by when they were given.").
				sql(`SELECT $__timeInterval(decided_at) AS time, analyst, count() AS verdicts FROM v_verdicts WHERE $__timeFilter(decided_at) GROUP BY time, analyst ORDER BY time, analyst`).stacked("1h").by("analyst").none("No verdict"),
			series(22, "Wait until the verdict", "s", "From the engine's decision to the verdict: the median and the slowest 1 in 20.").
				sql(`SELECT $__timeInterval(decided_at) AS time, quantile(0.5)(waited_seconds) AS p50, quantile(0.95)(waited_seconds) AS p95 FROM v_verdicts WHERE $__timeFilter(decided_at) GROUP BY time ORDER BY time`).every("1h").none("No verdict"),
			table(23, "Load", "What each analyst did. Rejections far from the others' are worth a talk: one is too strict, or gets other cases.").size(24, 8).
				sql(`SELECT analyst, count() AS verdicts, countIf(outcome = 'approve') AS approved, countIf(outcome = 'reject') AS rejected,
					quantile(0.5)(waited_seconds) AS waited_p50_seconds, quantile(0.95)(waited_seconds) AS waited_p95_seconds,
					sumIf(v.amount, ` + money + `) AS amount FROM v_verdicts AS v WHERE $__timeFilter(decided_at) GROUP BY analyst ORDER BY verdicts DESC, analyst`).none("No verdict"),
		}}
}
