package main

func engine() *dashboard {
	p99 := func(name, by string) string {
		return `histogram_quantile(0.99, sum by (le` + by + `) (rate(` + name + `_bucket[$__rate_interval])))`
	}
	return &dashboard{UID: "refundguard-engine", Title: "refundguard / Engine",
		Description: "For the engineer on call: does it decide, how far behind is it, what waits for what, and do the sinks keep up.",
		Time:        timeRange{"now-3h", "now"}, variables: append(sources()[1:], job()),
		Panels: []*panel{
			row(1, "Does it work?"),
			stat(2, "Working instances", "short", "Instances that have the transactional.id. Good: 1. 0: nobody decides, look at the log of each. 2 for longer than a takeover: a clock or a scrape is stale.").
				prom(`sum(refundguard_leader)`, "").paint("red", from(1, "green"), from(2, "orange")),
			stat(3, "Deciding", "none", "Whether refunds are being decided. If not, /readyz says what is waited for.").
				prom(`max(refundguard_ready)`, "").says("0", "No", "red", "1", "Yes", "green").paint("red", from(1, "green")),
			stat(4, "Refunds waiting", "short", "Refunds read and not yet due: they wait for other partitions to reach their time.").
				prom(`max(refundguard_refunds_waiting)`, ""),
			stat(5, "Longest wait for a decision", "s", "Since its Kafka timestamp. Good: below a second. Above a minute: see the lags, and partitions left out.").
				prom(`max(refundguard_refunds_waiting_oldest_seconds)`, "").paint("green", from(5, "orange"), from(60, "red")),
			stat(6, "Dead letters", "short", "Records refused in this time. Some are usual; a jump is a producer that broke: refundguard dlq list.").
				prom(`sum(increase(refundguard_dead_letters_total[$__range])) or 0 * max(refundguard_ready)`, "").decimals(0).orange(1),
			stat(7, "Recoveries", "short", "Times that the service started over from the committed progress after an error. Good: 0. The log says why.").
				prom(`sum(increase(refundguard_recoveries_total[$__range]))`, "").decimals(0).orange(1),

			row(10, "Throughput and lag"),
			series(11, "Records applied", "ops", "Records a second that entered the state, by stream.").size(8, 8).
				prom(`sum by (stream) (rate(refundguard_records_applied_total[$__rate_interval]))`, "{{stream}}"),
			series(12, "Decisions", "ops", "Decisions a second that were committed, by outcome.").size(8, 8).
				prom(`sum by (outcome) (rate(refundguard_decisions_total[$__rate_interval]))`, "{{outcome}}"),
			series(13, "Time to decide", "s", "From a refund's Kafka timestamp to its decision. Good: p99 below a second.").size(8, 8).
				prom(`histogram_quantile(0.5, sum by (le) (rate(refundguard_decision_delay_seconds_bucket[$__rate_interval])))`, "p50").
				prom(p99("refundguard_decision_delay_seconds", ""), "p99").paint("green", from(1, "orange"), from(10, "red")),
			series(14, "Record lag by stream", "short", "Offsets between what was applied and the end of each topic. A line that only climbs: more arrives than is worked off.").size(8, 8).
				prom(`max by (stream) (refundguard_lag_records)`, "{{stream}}"),
			series(15, "Event-time lag by stream", "s", "Age, by event time, of what is next in each stream; 0 where all of the topic has been applied. A stream far behind holds up the others' refunds.").size(8, 8).
				prom(`max by (stream) (refundguard_event_time_lag_seconds)`, "{{stream}}"),
			series(16, "Partitions left out", "short", "Silent partitions that decisions don't wait for; what is decided without them is degraded. Good: 0. Look at the broker that leads them.").size(8, 8).
				prom(`max by (stream) (refundguard_partitions_left_out)`, "{{stream}}").orange(1),

			row(20, "Epochs and Kafka"),
			series(21, "Time of an epoch's steps (p99)", "s", "Apply and decide use the processor, save the disk, write and commit the broker. The one that grew is the bottleneck.").size(8, 8).
				prom(p99("refundguard_epoch_step_seconds", ", step"), "{{step}}"),
			series(22, "Commits", "ops", "Epochs committed a second, and tries that failed; these are sent again. Failures now and then are harmless.").size(8, 8).
				prom(`sum(rate(refundguard_commits_total[$__rate_interval]))`, "committed").
				prom(`sum(rate(refundguard_commit_failures_total[$__rate_interval]))`, "failed"),
			series(23, "Kafka requests (p99)", "s", "Time from a request's beginning to its whole response, by client. Fetches wait for data on purpose.").size(8, 8).
				prom(p99("refundguard_kafka_request_duration_e2e_seconds", ", client"), "{{client}}"),
			series(24, "Kafka errors", "ops", "Reads, writes and connections a second that failed, by client. Good: 0. Else a broker or the network is ill.").size(8, 8).
				prom(`sum by (client) (rate(refundguard_kafka_read_errors_total[$__rate_interval]))`, "{{client}} reading").
				prom(`sum by (client) (rate(refundguard_kafka_write_errors_total[$__rate_interval]))`, "{{client}} writing").
				prom(`sum by (client) (rate(refundguard_kafka_connect_errors_total[$__rate_interval]))`, "{{client}} connecting").none("No error"),
			series(25, "Dead letters by code", "ops", "Records refused a second, by code. refundguard dlq list shows them.").size(8, 8).
				prom(`sum by (code) (rate(refundguard_dead_letters_total[$__rate_interval]))`, "{{code}}").none("None was refused"),
			series(26, "Duplicates and unknown values", "ops", "Repeats a second by stream, which are dropped, and values that the schema doesn't know, which are kept. A jump: a producer sends again, or has changed.").size(8, 8).
				prom(`sum by (stream) (rate(refundguard_duplicates_total[$__rate_interval]))`, "{{stream}} repeated").
				prom(`sum by (stream, field) (rate(refundguard_unknown_values_total[$__rate_interval]))`, "{{stream}}.{{field}} unknown").none("None"),

			row(30, "State"),
			series(31, "Keys", "short", "Ids and windows in the state, and those of them that are on disk only.").size(8, 8).
				prom(`max(refundguard_state_keys)`, "all").prom(`max(refundguard_state_cold_keys)`, "on disk only"),
			series(32, "Memory of the state", "bytes", "What the keyed state takes, and the most that it may (state.memory). At the limit more is read back from disk.").size(8, 8).
				prom(`max(refundguard_state_bytes)`, "state").prom(`max(refundguard_state_memory_limit_bytes) > 0`, "limit"),
			series(33, "Disk of the state", "bytes", "What the saved state takes on disk.").size(8, 8).
				prom(`max(refundguard_state_disk_bytes)`, "saved"),
			series(34, "Age of the saved state", "s", "Of which time the state on disk is: what a start has to read again. Good: below a minute.").size(8, 8).
				prom(`time() - max(refundguard_state_saved_timestamp_seconds > 0)`, "saved").none("Nothing was saved yet").paint("green", from(60, "orange"), from(600, "red")),
			series(35, "Age of the last checkpoint", "s", "Of which time the copy in the bucket is. Good: below twice state.checkpoint_interval.").size(8, 8).
				prom(`time() - max(refundguard_state_checkpoint_timestamp_seconds > 0)`, "checkpoint").none("No checkpoint is configured or written"),
			series(36, "Saving (p99)", "s", "How long a save takes, and how long decisions wait for it.").size(8, 8).
				prom(p99("refundguard_state_save_seconds", ""), "save").prom(p99("refundguard_state_save_pause_seconds", ""), "pause of decisions"),

			row(40, "Sinks"),
			stat(41, "Sinks ready", "none", "Whether ClickHouse and the webhooks take what they are given. If not, refunds are decided all the same, and they catch up later.").
				prom(`max by (sink) (refundguard_sink_ready)`, "{{sink}}").says("0", "No", "red", "1", "Yes", "green").paint("red", from(1, "green")).size(8, 4).none("No sink is configured"),
			stat(42, "ClickHouse lag", "short", "Records that ClickHouse has yet to take, all topics. Good: back to 0 within seconds. Else see the retries' reasons.").
				prom(`sum(refundguard_clickhouse_lag_records)`, "").none("No sink").paint("green", from(10000, "orange"), from(1000000, "red")).size(8, 4),
			stat(43, "Alerts on their way", "short", "Alerts read and not delivered yet, all endpoints. Good: back to 0.").
				prom(`sum(refundguard_webhook_pending)`, "").none("No webhook").orange(100).size(8, 4),
			series(44, "ClickHouse rows", "ops", "Rows a second that ClickHouse has acknowledged, by table.").size(8, 8).
				prom(`sum by (table) (rate(refundguard_clickhouse_rows_total[$__rate_interval]))`, "{{table}}"),
			series(45, "ClickHouse batches (p99)", "s", "From a batch's announcement to its acknowledgement, retries included, by topic.").size(8, 8).
				prom(p99("refundguard_clickhouse_batch_seconds", ", topic"), "{{topic}}"),
			series(46, "ClickHouse retries", "ops", "Failed tries a second, by reason; each is made again. Refused and unreadable records are kept elsewhere. Good: none.").size(8, 8).
				prom(`sum by (reason) (rate(refundguard_clickhouse_retries_total[$__rate_interval]))`, "{{reason}}").
				prom(`sum(rate(refundguard_clickhouse_refused_total[$__rate_interval]))`, "refused records").
				prom(`sum(rate(refundguard_clickhouse_unreadable_total[$__rate_interval]))`, "unreadable records").none("No retry"),
			series(47, "Webhook deliveries", "ops", "Alerts a second that each endpoint is done with, by what became of them. dead_lettered ones were given up: refundguard alerts replay.").size(8, 8).
				prom(`sum by (endpoint, result) (rate(refundguard_webhook_deliveries_total[$__rate_interval]))`, "{{endpoint}} {{result}}"),
			series(48, "Webhook tries (p99)", "s", "Time of one try, by endpoint.").size(8, 8).
				prom(p99("refundguard_webhook_request_duration_seconds", ", endpoint"), "{{endpoint}}"),
			series(49, "Webhook failures", "short", "Failed tries a second by reason, and endpoints that are down or switched themselves off (1). Good: 0.").size(8, 8).
				prom(`sum by (endpoint, reason) (rate(refundguard_webhook_retries_total[$__rate_interval]))`, "{{endpoint}} {{reason}}").
				prom(`max by (endpoint) (refundguard_webhook_endpoint_down)`, "{{endpoint}} down").
				prom(`max by (endpoint) (refundguard_webhook_endpoint_disabled)`, "{{endpoint}} disabled"),

			row(60, "The process"),
			series(61, "CPU", "short", "Cores used, by instance.").size(6, 8).
				prom(`rate(process_cpu_seconds_total[$__rate_interval])`, "{{instance}}"),
			series(62, "Memory", "bytes", "Resident memory and Go's heap, by instance.").size(6, 8).
				prom(`process_resident_memory_bytes`, "{{instance}} resident").prom(`go_memstats_heap_alloc_bytes`, "{{instance}} heap"),
			series(63, "Collector's pauses", "s", "The longest pause of Go's garbage collector lately, by instance.").size(6, 8).
				prom(`go_gc_duration_seconds{quantile="1"}`, "{{instance}}"),
			series(64, "Goroutines", "short", "By instance. A line that only climbs is a leak: report it.").size(6, 8).
				prom(`go_goroutines`, "{{instance}}"),
			table(65, "Builds", "Which build each instance runs. Two versions for longer than an upgrade: one was forgotten.").size(24, 5).
				prom(`refundguard_build_info`, ""),
		}}
}
