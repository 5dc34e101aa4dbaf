package model

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// What happened to a refund, and in which order, is found again from what is in
// the topics: records of one stream keep their order, those of several may come
// between each other, and time may have passed in between. There must be an order
// in which the table says all that was written, and nothing else.

// history is that of one refund.
type history struct {
	id       string
	pending  map[string][]happened // by topic, in order
	cases    []*kgo.Record
	statuses []status
	alerts   map[string][]alert // by rule, in order
	counts   []counted
}

// Reserved is an amount, in 1/10,000, that counts in refunded.
type Reserved struct {
	Amount   int64
	Currency string
}

// counted is since when a refund counts in refunded, or no longer does.
type counted struct {
	at int64
	on bool
}

// happened is a record about a refund.
type happened struct {
	happening
	at   source
	in   *kgo.Record
	code string // of its dead letter, or ""
}

type status struct {
	RefundID string `json:"refund_id"`
	Status   string
	Reason   string
	ETA      *time.Time
	At       time.Time
}

type alert struct {
	AlertID  string `json:"alert_id"`
	RefundID string `json:"refund_id"`
	Rule     string
	Severity string
	At       time.Time
}

// moment is where the search for an order is.
type moment struct {
	life
	at                       int64
	cases, statuses, decided int // that are accounted for
	taken                    map[string]int
	alerted                  map[string]int
	labels                   []string
	counts                   []counted
}

func (m *moment) copied() *moment {
	c := *m
	c.taken, c.alerted = maps.Clone(m.taken), maps.Clone(m.alerted)
	c.labels, c.counts = slices.Clone(m.labels), slices.Clone(m.counts)
	return &c
}

// order looks for one, and gives where it ends; nil if there is none.
func (c *Comparison) order(h *history, decisions []Decision) *moment {
	first := &moment{at: decisions[0].At(), taken: map[string]int{}, alerted: map[string]int{}}
	first.refund = parseRecord(c.T, c.inputs[decisions[0].Source].Value)
	first.state = map[string]string{"approve": "approved", "review": "in_review", "reject": "rejected"}[decisions[0].Outcome]
	first.reserved = first.state != "rejected"
	if first.cases = 1; len(h.cases) == 0 || first.state == "" {
		return nil
	}
	first.severity = Header(h.cases[0], "refundguard-severity")
	first.due = c.lives.dueAt(&first.life, first.at)
	first.decided = 1
	if !c.told(h, first, decisions[0].Reason, first.at) || !c.kept(h, first, decisions) {
		return nil
	}
	steps := 0
	return c.search(h, first, decisions, &steps)
}

const mostSteps = 200_000

func (c *Comparison) search(h *history, m *moment, decisions []Decision, steps *int) *moment {
	if *steps++; *steps > mostSteps {
		return nil
	}
	done := m.cases == len(h.cases) && m.statuses == len(h.statuses) && m.decided == len(decisions)
	for topic := range lifeTopics {
		done = done && m.taken[topic] == len(h.pending[topic])
	}
	for rule, all := range h.alerts {
		done = done && m.alerted[rule] == len(all)
	}
	if done {
		return m
	}
	// What was refused changed nothing: where it could have been, it was.
	for _, topic := range slices.Sorted(maps.Keys(lifeTopics)) {
		if n := m.taken[topic]; n < len(h.pending[topic]) && h.pending[topic][n].code != "" {
			x := h.pending[topic][n]
			if _, out, _ := c.lives.step(m.life, x.happening); out.code == x.code {
				next := m.copied()
				next.taken[topic]++
				return c.search(h, next, decisions, steps)
			}
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(lifeTopics)) {
		if n := m.taken[topic]; n < len(h.pending[topic]) && h.pending[topic][n].code == "" {
			next := m.copied()
			next.taken[topic]++
			if c.follows(h, next, h.pending[topic][n].happening, decisions) {
				if end := c.search(h, next, decisions, steps); end != nil {
					return end
				}
			}
		}
	}
	if m.due != 0 {
		for _, held := range c.lives.mayHold(&m.life) {
			next := m.copied()
			if c.follows(h, next, happening{kind: "time", held: held}, decisions) {
				if end := c.search(h, next, decisions, steps); end != nil {
					return end
				}
			}
		}
	}
	return nil
}

// follows reports whether what must follow is what was written next, and goes on
// to behind it.
func (c *Comparison) follows(h *history, m *moment, x happening, decisions []Decision) bool {
	was := m.life
	next, out, anew := c.lives.step(was, x)
	if out.code != "" || m.cases == len(h.cases) {
		return false
	}
	m.life = next
	at := int64(-1)
	agree := func(t int64) bool {
		if at < 0 {
			at = t
		}
		return at == t
	}
	if out.outcome != "" {
		if m.decided == len(decisions) {
			return false
		}
		d := &decisions[m.decided]
		if m.decided++; d.Outcome != out.outcome || d.DecidedBy != out.by || d.Reason != out.reason || !agree(d.At()) {
			return false
		}
	}
	if out.alert != "" {
		n := m.alerted[out.alert]
		if n == len(h.alerts[out.alert]) {
			return false
		}
		a := h.alerts[out.alert][n]
		if m.alerted[out.alert]++; a.Severity != out.severity || !agree(a.At.UnixMilli()) {
			return false
		}
	}
	if out.status {
		if m.statuses == len(h.statuses) || !agree(h.statuses[m.statuses].At.UnixMilli()) {
			return false
		}
	}
	if anew {
		if at < 0 { // nothing says when, but that the time begins anew
			due := deadlineOf(h.cases[m.cases])
			if at = m.at; c.lives.Working == nil {
				at = due - (c.lives.dueAt(&next, 0))
			}
			m.due = due
		} else {
			m.due = c.lives.dueAt(&m.life, at)
		}
	}
	if at < 0 {
		at = m.at
	}
	if at < m.at || x.kind == "time" && out.alert != "" && at < was.due {
		return false
	}
	if out.status && !c.told(h, m, out.reason, at) {
		return false
	}
	m.at = at
	if was.reserved != m.reserved {
		m.counts = append(m.counts, counted{at, m.reserved})
	}
	if out.label != "" {
		m.labels = append(m.labels, out.label+" "+out.source)
	}
	m.cases++
	return c.kept(h, m, decisions)
}

// told reports whether the next status is this one.
func (c *Comparison) told(h *history, m *moment, reason string, at int64) bool {
	if m.statuses == len(h.statuses) {
		return false
	}
	s := h.statuses[m.statuses]
	m.statuses++
	eta := int64(0)
	if s.ETA != nil {
		eta = s.ETA.UnixMilli()
	}
	want := int64(0)
	if m.released() {
		want = c.lives.paidBy(&m.life, at)
	}
	return s.Status == m.state && s.Reason == reason && s.At.UnixMilli() == at && eta == want
}

// kept reports whether the case is written as it is now.
func (c *Comparison) kept(h *history, m *moment, decisions []Decision) bool {
	r := h.cases[m.cases-1]
	d := &decisions[m.decided-1]
	if Header(r, "refundguard-state") != m.state || deadlineOf(r) != m.due || Header(r, "refundguard-decision-id") != d.DecisionID {
		return false
	}
	if m.state != "in_review" {
		return string(r.Value) == "{}"
	}
	return Header(r, "refundguard-severity") == m.severity && SameBytes(r.Value, c.inputs[decisions[0].Source].Value)
}

// checkLives wants an order for each refund, and what follows from it.
func (c *Comparison) checkLives() {
	c.Lives, c.Reserved = make(map[string]int), make(map[string][]Reserved)
	labels := make(map[string]int)
	for _, id := range slices.Sorted(maps.Keys(c.histories)) {
		h := c.histories[id]
		decisions := c.all[id]
		if len(decisions) == 0 || c.inputs[decisions[0].Source] == nil {
			c.unknown(h)
			continue
		}
		c.checkTwice(h)
		end := c.order(h, decisions)
		if end == nil {
			c.Errorf("refund %s: there is no order in which this can have happened:\n%s", id, c.describe(h, decisions))
			continue
		}
		if h.counts = end.counts; end.due != 0 && end.due < c.until {
			c.Errorf("refund %s is %s, and time passed at %s: nothing came of it\n%s", id, end.state, time.UnixMilli(end.due).UTC(), c.describe(h, decisions))
		}
		if tx := end.refund.text["transaction_id"]; tx != "" && end.reserved {
			c.Reserved[tx] = append(c.Reserved[tx], Reserved{end.refund.amount, end.refund.text["currency"]})
		}
		for _, label := range end.labels {
			labels[id+" "+label]++
		}
		for rule, n := range end.alerted {
			c.Lives[rule] += n
		}
		c.Lives["now "+end.state]++
		for _, d := range decisions[1:] {
			by, _, _ := strings.Cut(d.DecidedBy, ":")
			c.Lives[d.Outcome+" by "+by]++
		}
		for topic := range lifeTopics {
			for _, x := range h.pending[topic] {
				if c.refusals[x.at] = x.code; x.code == "" {
					delete(c.refusals, x.at)
					continue
				}
				c.Lives[x.code]++
			}
		}
	}
	c.checkLabels(labels)
}

// unknown is what happens to a refund that nobody asked for.
func (c *Comparison) unknown(h *history) {
	executed := 0
	for topic := range lifeTopics {
		for _, x := range h.pending[topic] {
			c.refusals[x.at] = "UNKNOWN_REFUND"
			if c.Lives["UNKNOWN_REFUND"]++; x.kind == "executed" {
				executed++
			}
		}
	}
	if n := len(h.alerts["EXECUTED_UNKNOWN_REFUND"]); n != executed || len(h.cases)+len(h.statuses) > 0 {
		c.Errorf("refund %s was never asked for, and was executed %d times: %d alerts, %d records of its case, %d statuses", h.id, executed, n, len(h.cases), len(h.statuses))
	}
}

// checkTwice says plainly what else is only no order.
func (c *Comparison) checkTwice(h *history) {
	told := make(map[string]bool)
	for _, s := range h.statuses {
		if told[s.Status] {
			c.Errorf("refund %s: its customer is told twice that it is %s", h.id, s.Status)
		}
		told[s.Status] = true
	}
	deadlines := make(map[int64]bool)
	for _, a := range h.alerts["review-deadline"] {
		passed := int64(0) // the last deadline before it
		for _, r := range h.cases {
			if d := deadlineOf(r); Header(r, "refundguard-state") == "in_review" && d <= a.At.UnixMilli() {
				passed = max(passed, d)
			}
		}
		if deadlines[passed] {
			c.Errorf("refund %s: the deadline of %s is told of twice", h.id, time.UnixMilli(passed).UTC())
		}
		deadlines[passed] = true
	}
}

func (c *Comparison) checkLabels(want map[string]int) {
	got := make(map[string]int)
	ids := make(map[string]bool)
	for _, r := range c.topics.ReadCommitted("refund-labels") {
		var l struct {
			LabelID  string `json:"label_id"`
			RefundID string `json:"refund_id"`
			Label    string
			Source   string
		}
		if err := json.Unmarshal(r.Value, &l); err != nil {
			c.Fatalf("label %s: %v", r.Value, err)
		}
		if l.Source == "chargeback" {
			continue // of a payment
		}
		if ids[l.LabelID] {
			c.Errorf("label %s is there twice", l.LabelID)
		}
		ids[l.LabelID] = true
		got[l.RefundID+" "+l.Label+" "+l.Source]++
	}
	for what, n := range want {
		if got[what] != n {
			c.Errorf("label %s: %d times, want %d", what, got[what], n)
		}
		delete(got, what)
	}
	for what := range got {
		c.Errorf("label %s: nobody said so", what)
	}
}

// describe is what there is of a refund.
func (c *Comparison) describe(h *history, decisions []Decision) string {
	var b strings.Builder
	in := c.inputs[decisions[0].Source]
	fmt.Fprintf(&b, "asked: %s\n", in.Value)
	for _, d := range decisions {
		fmt.Fprintf(&b, "decision %s %s by %s, %s\n", d.DecidedAt.UTC().Format(time.StampMilli), d.Outcome, d.DecidedBy, d.Reason)
	}
	for _, r := range h.cases {
		fmt.Fprintf(&b, "case %s %s, until %s\n", Header(r, "refundguard-state"), Header(r, "refundguard-severity"), Header(r, "refundguard-deadline"))
	}
	for _, s := range h.statuses {
		fmt.Fprintf(&b, "status %s %s %s, eta %v\n", s.At.UTC().Format(time.StampMilli), s.Status, s.Reason, s.ETA)
	}
	var alerts []alert
	for _, all := range h.alerts {
		alerts = append(alerts, all...)
	}
	slices.SortFunc(alerts, func(a, b alert) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Rule, b.Rule)) })
	for _, a := range alerts {
		fmt.Fprintf(&b, "alert %s %s %s\n", a.At.UTC().Format(time.StampMilli), a.Rule, a.Severity)
	}
	for _, topic := range slices.Sorted(maps.Keys(lifeTopics)) {
		for _, x := range h.pending[topic] {
			fmt.Fprintf(&b, "%s/%d/%d %s refused %q\n", topic, x.at.Partition, x.at.Offset, x.in.Value, x.code)
		}
	}
	return b.String()
}
