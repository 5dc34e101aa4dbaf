package ruletest

import (
	"cmp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// checker compares what happens in a test with what it expects.
type checker struct {
	*suite
	test    *test
	result  *Test
	refunds int
	failed  map[*draft]map[string]bool // what has failed of a repeated event: shown once
	current *Failure                   // of the record being checked; nil: none yet
	record  *record
}

// applied checks what became of a record before any decision.
func (c *checker) applied(r *record) {
	c.begin(r)
	x := r.draft.expect
	where := place{}
	fate := ""
	switch {
	case r.err != nil:
		fate = r.err.Code
	case r.item.Fate == engine.Conflict:
		fate = codeConflict
	case r.item.Fate == engine.Duplicate:
		fate = "duplicate"
	}
	want := ""
	switch {
	case x != nil && x.deadLetter != nil:
		want, where = x.deadLetter.text, x.deadLetter.at
	case x != nil && x.duplicate:
		want, where = "duplicate", x.at
	default:
		where = r.draft.at
	}
	if fate == want {
		if r.err == nil && r.item.Fate == engine.Update && x != nil {
			c.fail("record", x.at, "a new payment, which rules judge", "a change of a known payment's status, which they don't")
		}
		return
	}
	c.fail("record", where, cameTo(want, nil), cameTo(fate, r.err))
}

func cameTo(fate string, err *event.RecordError) string {
	switch {
	case fate == "":
		return "accepted"
	case fate == "duplicate":
		return "a duplicate: the same id and the same bytes as before, dropped"
	case err != nil:
		return "dead-lettered as " + fate + ": " + err.Error()
	case fate == codeConflict:
		return "dead-lettered as " + fate + ": the id is known, with other fields"
	}
	return "dead-lettered as " + fate
}

// evaluated checks what rules on transactions say of one.
func (c *checker) evaluated(r *record, res *rules.Result) {
	c.judged(r, c.see(onTransactions, res), res)
}

// decided checks one decision.
func (c *checker) decided(r *record, d *event.Decision, res *rules.Result) {
	c.refunds++
	got := c.see(onRefunds, res)
	got.Outcome, got.Cause, got.Reason, got.Score = d.Outcome.String(), res.Cause.String(), d.Reason, d.Score
	c.judged(r, got, res)
}

// judged checks what the rules say of an event.
func (c *checker) judged(r *record, got *seen, res *rules.Result) {
	for _, h := range got.all {
		if rc := c.cover[h]; rc != nil {
			rc.Hits++
		}
	}
	x := r.draft.expect
	if x == nil {
		return
	}
	c.begin(r)
	if x.on == onRefunds {
		c.equal("outcome", x.outcome, got.Outcome)
		c.equal("status", x.status, statuses[res.Outcome])
		c.equal("score", x.score, strconv.FormatInt(got.Score, 10))
		c.equal("reason", x.reason, got.Reason)
		c.equal("severity", x.severity, severity(res))
		c.equal("customer_message", x.customerMessage, res.CustomerMessage)
	}
	c.hits(x, got)
	c.exactly("skipped", x.skipped, res.Skipped)
	c.exactly("errors", x.errors, failing(res.Errors))
	c.exactly("alerts", x.alerts, got.alerts)
	c.exactly("excepted", x.excepted, excepted(res))
	c.values(x, got, res)
	for i := range x.messages {
		m := &x.messages[i]
		text, hit := got.messages[m.key]
		if !hit {
			c.fail("message of "+m.name, m.value.at, m.value.text, "the rule did not hit")
		} else if text != m.value.text {
			c.fail("message of "+m.name, m.value.at, m.value.text, text)
		}
	}
	if c.current != nil {
		c.current.Decision = &got.Decision
	}
}

func (c *checker) values(x *expect, got *seen, res *rules.Result) {
	for i := range x.features {
		f := &x.features[i]
		shown, exact := nothing, true
		for j := range res.Features {
			if res.Features[j].Name == f.key {
				shown, exact = showFeature(&res.Features[j]), res.Features[j].Kind != event.FeatureFloat
			}
		}
		c.value(f, shown, exact)
	}
	values := x.values
	if x.refunded != nil {
		values = append(slices.Clone(values), *x.refunded)
	}
	for i := range values {
		c.value(&values[i], got.values[values[i].key], false)
		got.Values = append(got.Values, Value{values[i].name, got.values[values[i].key]})
	}
}

func severity(res *rules.Result) string {
	if res.Severity == 0 {
		return ""
	}
	return res.Severity.String()
}

func failing(errs []event.RuleError) (ids []string) {
	for i := range errs {
		ids = append(ids, errs[i].Rule)
	}
	return ids
}

func excepted(res *rules.Result) (ids []string) {
	for i := range res.Excepted {
		ids = append(ids, res.Excepted[i].Rule)
	}
	return ids
}

// seen is a decision as it is compared and shown.
type seen struct {
	Decision
	on       string   // stream
	all      []string // rules that hit
	alerts   []string
	messages map[string]string
	values   map[string]string // by probe
}

func (c *checker) see(on string, res *rules.Result) *seen {
	s := &seen{Decision: Decision{Hits: []string{}, Skipped: slices.Clone(res.Skipped)}, on: on, messages: map[string]string{}, values: map[string]string{}}
	for i, rule := range res.HitRules {
		h := &res.Hits[i]
		if isProbe(h.Rule) {
			s.values[h.Rule] = h.Message
			continue
		}
		s.all = append(s.all, h.Rule)
		s.messages[h.Rule] = h.Message
		if rule.Alerts(0) {
			s.alerts = append(s.alerts, h.Rule)
		}
		if rule.Mode == rules.Live {
			s.Hits = append(s.Hits, h.Rule)
		} else {
			s.Shadow = append(s.Shadow, h.Rule)
		}
	}
	for _, e := range res.Errors {
		s.Errors = append(s.Errors, e.Rule+": "+e.Error)
	}
	for _, e := range res.Excepted {
		s.Excepted = append(s.Excepted, e.Rule+" ("+e.Reason+")")
	}
	for i := range res.Features {
		if f := &res.Features[i]; c.seen[featureKey{on == onRefunds, f.Name}] {
			s.Features = append(s.Features, Value{f.Name, showFeature(f)})
		}
	}
	return s
}

// hits compares the rules that hit, and notes what was asked of each.
func (c *checker) hits(x *expect, got *seen) {
	about := c.test.settings.about
	of := func(ids []string) (in []string) {
		for _, id := range ids {
			if about == nil || about[id] {
				in = append(in, id)
			}
		}
		return in
	}
	if x.hits != nil {
		c.exactly("hits", x.hits, of(got.all))
		for id, rc := range c.cover {
			switch {
			case x.hits.has(id):
				rc.Expected++
			case rc.On == got.on && rc.Mode != rules.Off.String() && (about == nil || about[id]):
				rc.Excluded++
			}
		}
	}
	if x.include != nil {
		for _, w := range x.include.items {
			c.cover[w.text].Expected++
			if !slices.Contains(got.all, w.text) {
				c.fail("hits_include", w.at, w.text, set(got.all))
			}
		}
	}
	if x.exclude != nil {
		for _, w := range x.exclude.items {
			c.cover[w.text].Excluded++
			if slices.Contains(got.all, w.text) {
				c.fail("hits_exclude", w.at, "no hit of "+w.text, set(got.all))
			}
		}
	}
}

func (l *list) has(id string) bool {
	return slices.ContainsFunc(l.items, func(w scalar) bool { return w.text == id })
}

// exactly compares lists of rules, whatever their order.
func (c *checker) exactly(what string, want *list, got []string) {
	if want == nil {
		return
	}
	where, same := want.at, true
	var ids []string
	for _, w := range want.items {
		ids = append(ids, w.text)
		if !slices.Contains(got, w.text) && same {
			where, same = w.at, false // the caret goes under the first that is missing
		}
	}
	for _, id := range got {
		same = same && want.has(id)
	}
	if !same {
		c.fail(what, where, set(ids), set(got))
	}
}

func set(ids []string) string {
	ids = slices.Clone(ids)
	sort.Strings(ids)
	return "[" + strings.Join(ids, ", ") + "]"
}

// equal compares texts. null and "" are the same: none.
func (c *checker) equal(what string, want *scalar, got string) {
	if want != nil && want.text != got {
		c.fail(what, want.at, orNone(want.text), orNone(got))
	}
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// value compares the value of an expression.
func (c *checker) value(want *named, got string, exact bool) {
	if !same(&want.value, got, exact) {
		shown := want.value.text
		if want.value.kind == scalarNull {
			shown = nothing
		}
		c.fail(want.name, want.value.at, shown, got)
	}
}

// begin starts the checks of a record.
func (c *checker) begin(r *record) {
	if c.record != r {
		c.record, c.current = r, nil
	}
}

// fail notes that something is not as expected. Of a repeated event the same
// thing is noted once.
func (c *checker) fail(what string, where place, want, got string) {
	d := c.record.draft
	if c.failed[d] == nil {
		c.failed[d] = map[string]bool{}
	}
	if c.failed[d][what] {
		return
	}
	c.failed[d][what] = true
	if c.current == nil {
		c.current = &Failure{Event: c.record.name(c.schema, c.test.settings.start), at: d.at}
		c.result.Failures = append(c.result.Failures, c.current)
	}
	e := c.src.fault(where, "", "")
	c.current.Checks = append(c.current.Checks, Check{What: what, Line: where.line, Column: where.column, Want: want, Got: got, snippet: e.Snippet})
}

// finish settles what became of the test.
func (c *checker) finish() {
	res := c.result
	slices.SortStableFunc(res.Failures, func(a, b *Failure) int {
		return cmp.Or(cmp.Compare(a.at.line, b.at.line), cmp.Compare(a.at.column, b.at.column))
	})
	for _, f := range res.Failures {
		slices.SortStableFunc(f.Checks, func(a, b Check) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
	}
	switch {
	case c.test.todo && len(res.Failures) == 0:
		res.Status = Failed
		e := c.src.fault(c.test.at, "", "")
		res.Failures = []*Failure{{Event: "todo", at: c.test.at, Checks: []Check{{
			What: "todo", Line: c.test.at.line, Column: c.test.at.column, snippet: e.Snippet,
			Want: "a failure", Got: "every expectation is met: remove todo",
		}}}}
	case c.test.todo:
		res.Status = Todo
	case len(res.Failures) > 0:
		res.Status = Failed
	}
}
