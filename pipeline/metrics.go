package pipeline

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// metrics are what Prometheus sees of the pipeline. All labels are bounded:
// by the code, the configuration or the rule set.
type metrics struct {
	balance         *prometheus.GaugeVec
	decisions       *prometheus.CounterVec
	degraded        prometheus.Counter
	hits            *prometheus.CounterVec
	ruleErrors      *prometheus.CounterVec
	deadLetters     *prometheus.CounterVec
	duplicates      *prometheus.CounterVec
	unknownValues   *prometheus.CounterVec
	refundsDeleted  prometheus.Counter
	shortRetention  *prometheus.GaugeVec
	looseTimestamps *prometheus.GaugeVec
	applied         prometheus.Counter
	late            prometheus.Histogram
	commits         prometheus.Histogram
	aborts          prometheus.Counter
	restarts        prometheus.Counter
	recovery        prometheus.Gauge
	recoveryBehind  prometheus.Gauge
	leader          prometheus.Gauge
	shedding        prometheus.Gauge
	waiting         prometheus.Gauge
	lag             *prometheus.GaugeVec
	leftOut         *prometheus.GaugeVec
	stateKeys       prometheus.Gauge
	stateCold       prometheus.Gauge
	stateEvents     prometheus.Gauge
	stateBytes      prometheus.Gauge
	saves           prometheus.Histogram
	reviews         *prometheus.GaugeVec // by severity
	reviewAge       *prometheus.GaugeVec // likewise
	openCases       prometheus.Gauge
	executed        *prometheus.HistogramVec
	confirmations   *prometheus.CounterVec
	verdicts        *prometheus.CounterVec // what happened to cases, by kind
	anomalies       *prometheus.CounterVec // alerts of cases, by rule
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
	rulesetInfo     *prometheus.GaugeVec
	rulesetLoaded   prometheus.Gauge
	refusedRuleset  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, ready func() error) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		balance:     gauges("refundguard_balance_refunds", "Records of the refunds topic by what became of them, as of the last commit; term read is the sum of the others.", "term"),
		decisions:   counters("refundguard_decisions_total", "Refunds decided, by outcome.", "outcome"),
		degraded:    counter("refundguard_degraded_decisions_total", "Decisions made while state was known to be incomplete."),
		hits:        counters("refundguard_rule_hits_total", "Rule hits.", "rule", "mode"),
		ruleErrors:  counters("refundguard_rule_errors_total", "Evaluations in which a rule failed.", "rule"),
		deadLetters: counters("refundguard_dead_letters_total", "Records refused, by code.", "code"),
		duplicates:  counters("refundguard_duplicates_total", "Records that repeat an id with the same bytes.", "stream"),
		unknownValues: counters("refundguard_unknown_values_total",
			"Values of enum fields that the schema doesn't know; they are kept as read.", "stream", "field"),
		looseTimestamps: gauges("refundguard_topic_timestamps_loose", "1 where producers may write timestamps of the far future.", "topic"),
		shortRetention:  gauges("refundguard_topic_retention_short", "1 where a topic that the program reads back keeps less than state.retention.", "topic"),
		refundsDeleted:  counter("refundguard_refunds_deleted_total", "Records of the refunds topic that were deleted before they were decided."),
		applied:         counter("refundguard_records_applied_total", "Records entered into the state."),
		late: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "refundguard_decision_delay_seconds",
			Help:    "From a refund's Kafka timestamp to its decision.",
			Buckets: []float64{.005, .01, .02, .03, .045, .06, .08, .1, .15, .25, .5, 1, 2.5, 5, 10, 60, 600, 3600}}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "refundguard_commit_seconds",
			Help: "Time to write and commit an epoch.", Buckets: []float64{.002, .005, .01, .02, .03, .05, .1, .25, .5, 1, 5, 30}}),
		aborts:         counter("refundguard_commit_failures_total", "Tries to commit an epoch that failed; it is sent again."),
		restarts:       counter("refundguard_recoveries_total", "Times that the pipeline started over from the committed progress after an error."),
		recovery:       gauge("refundguard_recovery_seconds", "How long the last recovery took."),
		recoveryBehind: gauge("refundguard_recovery_behind_records", "Offsets that recovery, or a standby, still has to apply; 0 when it is done."),
		leader:         gauge("refundguard_leader", "1 in the instance that has the transactional.id, 0 in one that stands by."),
		shedding:       gauge("refundguard_shadow_rules_shed", "1 while shadow rules are left out, because more arrives than is worked off."),
		waiting:        gauge("refundguard_refunds_waiting", "Refunds read and not yet due."),
		lag:            gauges("refundguard_lag_records", "Offsets between what was applied and the end of the stream's topic.", "stream"),
		leftOut:        gauges("refundguard_partitions_left_out", "Silent partitions that decisions don't wait for.", "stream"),
		stateKeys:      gauge("refundguard_state_keys", "Keys in the state: ids and windows."),
		stateCold:      gauge("refundguard_state_cold_keys", "Those of them that are on disk only, and come back when they are asked for."),
		stateEvents:    gauge("refundguard_state_events", "Events in windows, of keys in memory."),
		stateBytes:     gauge("refundguard_state_bytes", "Memory of the keyed state."),
		reviews:        gauges("refundguard_reviews_waiting", "Refunds in review.", "severity"),
		reviewAge:      gauges("refundguard_reviews_oldest_seconds", "How long the refund in review that has waited for longest has.", "severity"),
		openCases:      gauge("refundguard_cases_open", "Refunds of which something is waited for: a verdict, or the ledger's result."),
		verdicts:       counters("refundguard_case_events_total", "What happened to refunds after their decision: verdicts, deadlines, answers, results.", "kind"),
		executed: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "refundguard_refund_executed_seconds",
			Help:    "From the time that a refund was asked for to the time that the ledger executed it, by the refund's method.",
			Buckets: []float64{1, 10, 60, 600, 3600, 4 * 3600, 12 * 3600, 86400, 2 * 86400, 3 * 86400, 5 * 86400, 7 * 86400, 14 * 86400, 30 * 86400}}, []string{"method"}),
		confirmations: counters("refundguard_confirmations_total", "Customers' answers to what was decided, by whether they are satisfied: yes, no, none (they don't say).", "satisfied"),
		anomalies:     counters("refundguard_case_alerts_total", "Alerts of what happened to refunds after their decision, such as a passed deadline or a payment without an approval.", "rule"),
		saves: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "refundguard_state_save_seconds",
			Help: "From the beginning of a save of the state to its end on disk.", Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}}),
		savePause: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "refundguard_state_save_pause_seconds",
			Help: "How long decisions waited for a piece of a save to be copied.", Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1}}),
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
		rulesetInfo:     gauges("refundguard_ruleset_info", "1 for the running rule set.", "ruleset"),
		rulesetLoaded:   gauge("refundguard_ruleset_loaded_timestamp_seconds", "When the running rule set was taken."),
		refusedRuleset:  gauge("refundguard_ruleset_refused", "1 while the rule files on disk do not check and an earlier set runs."),
	}
	reg.MustRegister(m.balance, m.decisions, m.degraded, m.hits, m.ruleErrors, m.deadLetters, m.duplicates, m.unknownValues, m.shortRetention, m.looseTimestamps, m.refundsDeleted, m.applied, m.late,
		m.commits, m.reviews, m.reviewAge, m.openCases, m.executed, m.confirmations, m.verdicts, m.anomalies, m.aborts, m.restarts, m.recovery, m.recoveryBehind, m.leader, m.shedding, m.waiting, m.lag, m.leftOut, m.stateKeys, m.stateCold, m.stateEvents, m.stateBytes,
		m.saves, m.savePause, m.savedAt, m.savedBytes, m.checkpointAt, m.checkpointSent, m.checkpointBad,
		m.holdouts, m.snoozes, m.holds, m.controlsRefused, m.tripped, m.rulesetInfo, m.rulesetLoaded, m.refusedRuleset)
	for _, o := range []event.Outcome{event.Approve, event.Review, event.Reject} {
		m.decisions.WithLabelValues(o.String())
	}
	for _, answer := range []event.Answer{event.Yes, event.No, 0} {
		m.confirmations.WithLabelValues(answer.String())
	}
	m.setBalance(Balance{})
	// A service that hangs can't say so by itself.
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "refundguard_ready", Help: "1 while refunds are being decided, 0 while recovering or waiting for Kafka."}, func() float64 { return oneIf(ready() == nil) }))
	return m
}

func (m *metrics) setBalance(b Balance) {
	for term, n := range map[string]int64{"read": b.Read, "approved": b.Approved, "in_review": b.InReview, "rejected": b.Rejected,
		"dead_lettered": b.DeadLettered, "duplicates": b.Duplicates, "history": b.History} {
		m.balance.WithLabelValues(term).Set(float64(n))
	}
}

func (m *metrics) setRules(set *rules.Set, now time.Time) {
	m.rulesetInfo.Reset()
	m.rulesetInfo.WithLabelValues(set.Version).Set(1)
	m.rulesetLoaded.Set(float64(now.UnixMilli()) / 1000)
	all := set.Rules
	if set.Transactions != nil {
		all = slices.Concat(all, set.Transactions.Rules)
	}
	for _, r := range all {
		if r.Mode != rules.Off {
			m.hits.WithLabelValues(r.ID, r.Mode.String())
			m.ruleErrors.WithLabelValues(r.ID)
		}
	}
}

// decided counts one decision. It counts when the decision is made; the
// balance is what was committed.
func (m *metrics) decided(rec *record, out *decided) {
	m.decisions.WithLabelValues(out.outcome.String()).Inc()
	if rec.Degraded {
		m.degraded.Inc()
	}
	if out.holdout {
		m.holdouts.Inc()
	}
	for _, h := range out.hits {
		m.hits.WithLabelValues(h.rule, h.mode).Inc()
	}
	for _, id := range out.failed {
		m.ruleErrors.WithLabelValues(id).Inc()
	}
	m.late.Observe(float64(out.late) / 1000)
}

// served counts how well a refund was served: when the money went, and what the
// customer says.
func (m *metrics) served(c *cases.Case, ch *cases.Change, ev *cases.Event) {
	switch ch.Kind {
	case cases.Confirm, cases.Deny:
		m.confirmations.WithLabelValues(ev.Content.String()).Inc()
	case cases.Execute:
		if ch.From != cases.Executed && c.State == cases.Executed {
			m.executed.WithLabelValues(knownMethod(c.Method)).Observe(max(0, float64(c.Executed-c.Occurred)/1000))
		}
	}
}

// knownMethod bounds the label: what senders write is kept as they wrote it.
func knownMethod(method string) string {
	switch method {
	case "", "original", "balance", "bank_transfer", "card", "wallet":
		return method
	}
	return "other"
}

// observe sets the gauges that are read off the session.
func (m *metrics) observe(s *session) {
	waiting := 0
	for _, in := range s.inputs {
		lag := int64(0)
		for _, p := range in.partitions {
			p.drained()
			lag += p.lag()
			if in == s.refunds {
				waiting += p.waiting()
			}
		}
		m.lag.WithLabelValues(in.stream.Name).Set(float64(lag))
	}
	m.waiting.Set(float64(waiting))
	m.openCases.Set(float64(s.lives.book.Open()))
	for severity := rules.Low; severity <= rules.Critical; severity++ {
		n, since := s.lives.book.Waiting(severity)
		age := 0.
		if n > 0 {
			age = max(0, float64(s.cfg.now().UnixMilli()-since)/1000)
		}
		m.reviews.WithLabelValues(severity.String()).Set(float64(n))
		m.reviewAge.WithLabelValues(severity.String()).Set(age)
	}
	st := s.engine.Stats()
	m.stateKeys.Set(float64(st.Keys))
	m.stateCold.Set(float64(st.Cold))
	m.stateEvents.Set(float64(st.Events))
	m.stateBytes.Set(float64(st.Bytes))
}
