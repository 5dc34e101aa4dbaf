package pipeline

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/rules/event"
)

// metrics are what Prometheus sees of the pipeline. All labels are bounded:
// by the code, the configuration or the rule set.
type metrics struct {
	balance         *balanceMetric
	decisions       *prometheus.CounterVec
	degraded        prometheus.Counter
	hits            *prometheus.CounterVec
	ruleErrors      *prometheus.CounterVec
	ruleSeconds     *prometheus.CounterVec
	ruleEvaluations *prometheus.CounterVec
	deadLetters     *prometheus.CounterVec
	duplicates      *prometheus.CounterVec
	unknownValues   *prometheus.CounterVec
	refundsDeleted  prometheus.Counter
	shortRetention  *prometheus.GaugeVec
	looseTimestamps *prometheus.GaugeVec
	applied         *prometheus.CounterVec // by stream
	late            prometheus.Histogram
	commitSeconds   prometheus.Histogram
	commits         prometheus.Counter
	aborts          prometheus.Counter
	steps           *prometheus.HistogramVec
	restarts        prometheus.Counter
	recovery        prometheus.Gauge
	recoveryBehind  prometheus.Gauge
	leader          prometheus.Gauge
	shedding        prometheus.Gauge
	waiting         prometheus.Gauge
	waitingOldest   prometheus.Gauge
	lag             *prometheus.GaugeVec // by stream and topic
	eventTimeLag    *prometheus.GaugeVec // likewise
	leftOut         *prometheus.GaugeVec
	stateKeys       prometheus.Gauge
	stateCold       prometheus.Gauge
	stateEvents     prometheus.Gauge
	stateBytes      prometheus.Gauge
	stateLimit      prometheus.Gauge
	saves           prometheus.Histogram
	reviews         *prometheus.GaugeVec // by severity
	reviewAge       *prometheus.GaugeVec // likewise
	nextDeadline    *prometheus.GaugeVec // likewise; none: no series
	openCases       prometheus.Gauge
	executed        *prometheus.HistogramVec
	confirmations   *prometheus.CounterVec
	caseEvents      *prometheus.CounterVec // what happened to cases, by kind
	caseAlerts      *prometheus.CounterVec // alerts of cases, by rule
	savePause       prometheus.Histogram
	savedAt         prometheus.Gauge
	savedBytes      prometheus.Gauge
	checkpointAt    prometheus.Gauge
	checkpointSent  prometheus.Counter
	checkpointBad   prometheus.Counter
	holdouts        prometheus.Counter
	snoozes         prometheus.Gauge
	holds           prometheus.Gauge
	controlsRefused prometheus.Counter
	tripped         *prometheus.GaugeVec
	trips           *prometheus.CounterVec
	rulesetInfo     *prometheus.GaugeVec
	rulesetRules    *prometheus.GaugeVec // by mode
	rulesetLoaded   prometheus.Gauge
	refusedRuleset  prometheus.Gauge

	methods []string             // that refunds can have, as their schema says
	present map[string]time.Time // rules that have series: since when they are in no set; zero: they are
}

func newMetrics(reg prometheus.Registerer, schema *event.Schema, ready func() error) *metrics {
	f := promauto.With(reg)
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	times := func(name, help string, buckets ...float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour}
	}
	m := &metrics{
		decisions: counters("refundguard_decisions_total", "Decisions that were committed, by outcome (approve, review, reject) and by whom: engine (the first decision of a refund), analyst, customer, deadline.",
			"outcome", "decided_by"),
		degraded:        counter("refundguard_degraded_decisions_total", "Decisions made while state was known to be incomplete."),
		hits:            counters("refundguard_rule_hits_total", "Rule hits, by the mode that the rule had: live, shadow, snoozed.", "rule", "mode"),
		ruleErrors:      counters("refundguard_rule_errors_total", "Evaluations in which a rule failed.", "rule"),
		ruleSeconds:     counters("refundguard_rule_evaluation_seconds_total", "Time that a rule's condition took, past events not included, which rules share; an estimate, from one refund in 64.", "rule"),
		ruleEvaluations: counters("refundguard_rule_evaluations_total", "How often a rule's condition was evaluated; an estimate likewise.", "rule"),
		deadLetters:     counters("refundguard_dead_letters_total", "Records refused, by code.", "code"),
		duplicates:      counters("refundguard_duplicates_total", "Records that repeat an id with the same bytes.", "stream"),
		unknownValues: counters("refundguard_unknown_values_total",
			"Values of enum fields that the schema doesn't know; they are kept as read.", "stream", "field"),
		looseTimestamps: gauges("refundguard_topic_timestamps_loose", "1 where producers may write timestamps of the far future.", "topic"),
		shortRetention:  gauges("refundguard_topic_retention_short", "1 where a topic that the program reads back keeps less than state.retention.", "topic"),
		refundsDeleted:  counter("refundguard_refunds_deleted_total", "Records of the refunds topic that were deleted before they were decided."),
		applied:         counters("refundguard_records_applied_total", "Records entered into the state.", "stream"),
		late: f.NewHistogram(times("refundguard_decision_delay_seconds", "From a refund's Kafka timestamp to its decision.",
			.005, .01, .02, .03, .045, .06, .08, .1, .15, .25, .5, 1, 2.5, 5, 10, 60, 600, 3600)),
		commitSeconds: f.NewHistogram(times("refundguard_commit_seconds", "Time to write and commit an epoch.",
			.002, .005, .01, .02, .03, .05, .1, .25, .5, 1, 5, 30)),
		commits: counter("refundguard_commits_total", "Epochs that were committed, each in one Kafka transaction."),
		aborts:  counter("refundguard_commit_failures_total", "Tries to commit an epoch that failed; it is sent again."),
		steps: f.NewHistogramVec(times("refundguard_epoch_step_seconds", "Time that an epoch spent with each step: apply, decide, save (copying state that is being saved), write, commit. The last two run beside the next epoch's first.",
			.0005, .001, .0025, .005, .01, .02, .03, .05, .1, .25, .5, 1, 5, 30), []string{"step"}),
		restarts:       counter("refundguard_recoveries_total", "Times that the pipeline started over from the committed progress after an error."),
		recovery:       gauge("refundguard_recovery_seconds", "How long the last recovery took."),
		recoveryBehind: gauge("refundguard_recovery_behind_records", "Offsets that recovery, or a standby, still has to apply; 0 when it is done."),
		leader:         gauge("refundguard_leader", "1 in the instance that has the transactional.id, 0 in one that stands by."),
		shedding:       gauge("refundguard_shadow_rules_shed", "1 while shadow rules are left out, because more arrives than is worked off."),
		waiting:        gauge("refundguard_refunds_waiting", "Refunds read and not yet due."),
		waitingOldest:  gauge("refundguard_refunds_waiting_oldest_seconds", "How long the refund that has waited for its decision for longest has, since its Kafka timestamp; 0: none waits."),
		lag:            gauges("refundguard_lag_records", "Offsets between what was applied and the end of the stream's topic.", "stream", "topic"),
		eventTimeLag:   gauges("refundguard_event_time_lag_seconds", "Age, by event time, of the earliest record of the stream that is read and has not had its turn (refunds: their decision), else of what was applied last; 0: all of the topic has.", "stream", "topic"),
		leftOut:        gauges("refundguard_partitions_left_out", "Silent partitions that decisions don't wait for.", "stream"),
		stateKeys:      gauge("refundguard_state_keys", "Keys in the state: ids and windows."),
		stateCold:      gauge("refundguard_state_cold_keys", "Those of them that are on disk only, and come back when they are asked for."),
		stateEvents:    gauge("refundguard_state_events", "Events in windows, of keys in memory."),
		stateBytes:     gauge("refundguard_state_bytes", "Memory of the keyed state."),
		stateLimit:     gauge("refundguard_state_memory_limit_bytes", "Memory that the keyed state may take (state.memory); 0: no bound."),
		reviews:        gauges("refundguard_reviews_waiting", "Refunds in review.", "severity"),
		reviewAge:      gauges("refundguard_reviews_oldest_seconds", "How long the refund in review that has waited for longest has.", "severity"),
		nextDeadline:   gauges("refundguard_reviews_next_deadline_seconds", "Time until the next deadline of a refund in review, below 0 once it has passed; no series where none is in review.", "severity"),
		openCases:      gauge("refundguard_cases_open", "Refunds of which something is waited for: a verdict, or the ledger's result."),
		caseEvents:     counters("refundguard_case_events_total", "What happened to refunds after their decision: verdicts, deadlines, answers, results.", "kind"),
		executed: f.NewHistogramVec(times("refundguard_refund_executed_seconds", "From the time that a refund was asked for to the time that the ledger executed it, by the refund's method.",
			1, 10, 60, 600, 3600, 4*3600, 12*3600, 86400, 2*86400, 3*86400, 5*86400, 7*86400, 14*86400, 30*86400), []string{"method"}),
		confirmations: counters("refundguard_confirmations_total", "Customers' answers to what was decided, by whether they are satisfied: yes, no, none (they don't say).", "satisfied"),
		caseAlerts: counters("refundguard_case_alerts_total", "Alerts of what happened to refunds after their decision: review-deadline counts passed deadlines, denied-by-customer frauds; "+
			"the anomalies of reconciliation are EXECUTED_WITHOUT_APPROVAL, EXECUTED_TWICE, EXECUTED_AFTER_FAILED, EXECUTED_OTHER_AMOUNT, EXECUTED_OTHER_CURRENCY, EXECUTED_UNKNOWN_REFUND, LEDGER_FAILED, OVERDUE.", "rule"),
		saves: f.NewHistogram(times("refundguard_state_save_seconds", "From the beginning of a save of the state to its end on disk.",
			.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300)),
		savePause: f.NewHistogram(times("refundguard_state_save_pause_seconds", "How long decisions waited for a piece of a save to be copied.",
			.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1)),
		savedAt:         gauge("refundguard_state_saved_timestamp_seconds", "Of which time the state on disk is; 0: there is none."),
		savedBytes:      gauge("refundguard_state_disk_bytes", "Disk that the saved state takes."),
		checkpointAt:    gauge("refundguard_state_checkpoint_timestamp_seconds", "Of which time the last checkpoint is that this process wrote or took; 0: there is none."),
		checkpointSent:  counter("refundguard_state_checkpoint_uploaded_bytes_total", "Bytes written to the bucket of checkpoints."),
		checkpointBad:   counter("refundguard_state_checkpoint_failures_total", "Checkpoints that could not be written, and those that were refused at a start."),
		holdouts:        counter("refundguard_holdouts_total", "Refunds that were approved to measure the rules that would have held them."),
		snoozes:         gauge("refundguard_snoozes", "Snoozes in force: rules whose hits on somebody decide nothing."),
		holds:           gauge("refundguard_holds", "Holds in force: of everything, or of a merchant. What would be approved is reviewed."),
		controlsRefused: counter("refundguard_controls_refused_total", "Records of the topic of controls that can't be read, and change nothing."),
		tripped:         gauges("refundguard_breaker_tripped", "1 while a rule's breaker is tripped: by itself it held more than limits.max_hold_share.", "rule"),
		trips:           counters("refundguard_breaker_trips_total", "Times that a rule's breaker tripped.", "rule"),
		rulesetInfo:     gauges("refundguard_ruleset_info", "1 for the running rule set.", "ruleset"),
		rulesetRules:    gauges("refundguard_ruleset_rules", "Rules of the running rule set: live, shadow, off.", "mode"),
		rulesetLoaded:   gauge("refundguard_ruleset_loaded_timestamp_seconds", "When the running rule set was taken."),
		refusedRuleset:  gauge("refundguard_ruleset_refused", "1 while the rule files on disk do not check and an earlier set runs."),
		balance:         newBalanceMetric(),
		present:         map[string]time.Time{},
	}
	reg.MustRegister(m.balance)
	m.startAtZero(schema)
	// A service that hangs can't say so by itself.
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "refundguard_ready", Help: "1 while refunds are being decided, 0 while recovering or waiting for Kafka."}, func() float64 { return oneIf(ready() == nil) })
	return m
}

// startAtZero makes the series that are known beforehand: an increase of what
// isn't there yet isn't seen.
func (m *metrics) startAtZero(schema *event.Schema) {
	for _, o := range []event.Outcome{event.Approve, event.Review, event.Reject} {
		m.decisions.WithLabelValues(o.String(), "engine")
	}
	for _, o := range []event.Outcome{event.Approve, event.Reject} {
		for _, by := range []string{"analyst", "deadline"} {
			m.decisions.WithLabelValues(o.String(), by)
		}
	}
	m.decisions.WithLabelValues(event.Reject.String(), "customer")
	for _, answer := range []event.Answer{event.Yes, event.No, 0} {
		m.confirmations.WithLabelValues(answer.String())
	}
	for _, code := range slices.Concat(event.Codes(), cases.Codes(), []string{codeConflict, reasonInFuture}) {
		m.deadLetters.WithLabelValues(code)
	}
	for _, kind := range cases.Kinds() {
		m.caseEvents.WithLabelValues(kind.String())
	}
	for _, rule := range cases.Alerts() {
		m.caseAlerts.WithLabelValues(rule)
	}
	for _, step := range stepNames {
		m.steps.WithLabelValues(step)
	}
	for _, st := range schema.Streams {
		m.applied.WithLabelValues(st.Name)
		m.duplicates.WithLabelValues(st.Name)
		m.lag.WithLabelValues(st.Name, st.Topic)
		m.eventTimeLag.WithLabelValues(st.Name, st.Topic)
		for i := range st.Fields {
			if f := &st.Fields[i]; f.Type == event.TypeEnum && !f.Strict {
				m.unknownValues.WithLabelValues(st.Name, f.Name)
			}
		}
	}
	refunds := schema.Stream("refunds")
	m.methods = refunds.Fields[refunds.Slot("method")].Values
	for _, method := range append([]string{"", "other"}, m.methods...) {
		m.executed.WithLabelValues(method)
	}
}
