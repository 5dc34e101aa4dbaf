package pipeline

import (
	"strings"
	"time"

	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// tally counts what one epoch decided. The metrics get it when the epoch is
// committed: so they count what was, and no decision waits for them.
type tally struct {
	decisions map[madeBy]int64
	degraded  int64
	holdouts  int64
	late      []int64 // of each refund that was decided: from its Kafka timestamp, milliseconds
	rules     map[string]ruleCounts
	steps     [len(stepNames)]time.Duration
}

// madeBy is what kind of decision one is.
type madeBy struct {
	by      string
	outcome event.Outcome
}

// The steps of an epoch.
const (
	stepApply = iota
	stepDecide
	stepSave
	stepWrite
	stepCommit
)

var stepNames = [...]string{stepApply: "apply", stepDecide: "decide", stepSave: "save", stepWrite: "write", stepCommit: "commit"}

// ruleModes are the ways in which a rule can hit.
var ruleModes = [...]string{rules.Live.String(), rules.Shadow.String(), rules.ModeSnoozed}

// ruleCounts are one rule's hits, by ruleModes, and failures.
type ruleCounts struct {
	hits   [len(ruleModes)]int64
	errors int64
}

func (c ruleCounts) plus(d ruleCounts) ruleCounts {
	for i, n := range d.hits {
		c.hits[i] += n
	}
	c.errors += d.errors
	return c
}

// count adds what rules said of one refund or transaction. It runs on the
// writer's worker.
func (w *writer) count(res *rules.Result) {
	if len(res.Hits)+len(res.Errors) > 0 && w.counts == nil {
		w.counts = map[string]ruleCounts{}
	}
	for i := range res.Hits {
		c := w.counts[res.Hits[i].Rule]
		for mode, name := range ruleModes {
			if res.Hits[i].Mode == name {
				c.hits[mode]++
			}
		}
		w.counts[res.Hits[i].Rule] = c
	}
	for i := range res.Errors {
		c := w.counts[res.Errors[i].Rule]
		c.errors++
		w.counts[res.Errors[i].Rule] = c
	}
}

// decided counts one decision of the engine.
func (t *tally) decided(rec *record, out *decided) {
	t.decision("engine", out.outcome)
	if rec.Degraded {
		t.degraded++
	}
	if out.holdout {
		t.holdouts++
	}
	t.late = append(t.late, out.late)
}

// decision counts one decision, by whom: engine, analyst:NAME, customer or
// deadline.
func (t *tally) decision(by string, o event.Outcome) {
	if t.decisions == nil {
		t.decisions = map[madeBy]int64{}
	}
	kind, _, _ := strings.Cut(by, ":")
	t.decisions[madeBy{kind, o}]++
}

// took adds to what a step took since a time, and returns the present one.
func (t *tally) took(step int, since time.Time) time.Time {
	now := time.Now()
	t.steps[step] += now.Sub(since)
	return now
}

// takeTally closes the epoch's.
func (s *session) takeTally() tally {
	t := s.tally
	t.rules = map[string]ruleCounts{}
	for i := range s.writers {
		for id, c := range s.writers[i].counts {
			t.rules[id] = t.rules[id].plus(c)
		}
		s.writers[i].counts = nil
	}
	s.tally = tally{late: make([]int64, 0, len(t.late))}
	return t
}

// add counts an epoch that is committed.
func (m *metrics) add(t *tally) {
	m.commits.Inc()
	for d, n := range t.decisions {
		m.decisions.WithLabelValues(d.outcome.String(), d.by).Add(float64(n))
	}
	m.degraded.Add(float64(t.degraded))
	m.holdouts.Add(float64(t.holdouts))
	for _, ms := range t.late {
		m.late.Observe(float64(ms) / 1000)
	}
	for id, c := range t.rules {
		for i, n := range c.hits {
			if n > 0 {
				m.hits.WithLabelValues(id, ruleModes[i]).Add(float64(n))
			}
		}
		if c.errors > 0 {
			m.ruleErrors.WithLabelValues(id).Add(float64(c.errors))
		}
	}
	for step, took := range t.steps {
		if took > 0 {
			m.steps.WithLabelValues(stepNames[step]).Observe(took.Seconds())
		}
	}
}

// served counts how well a refund was served: when the money went, and what the
// customer says.
func (m *metrics) served(c *cases.Case, ch *cases.Change, ev *cases.Event) {
	switch ch.Kind {
	case cases.Confirm, cases.Deny:
		m.confirmations.WithLabelValues(ev.Content.String()).Inc()
	case cases.Execute:
		if ch.From != cases.Executed && c.State == cases.Executed {
			m.executed.WithLabelValues(m.method(c.Method)).Observe(max(0, float64(c.Executed-c.Occurred)/1000))
		}
	}
}
