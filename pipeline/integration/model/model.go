// Package model says what must become of every refund of a generated world, and
// compares it with what a service wrote to Kafka. It is for tests.
package model

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The model is written from the contract alone: lists of records, loops over
// them, integers. It shares no code with what it checks.

// record is one line of a stream.
type record struct {
	text   map[string]string // every field, numbers as written
	amount int64             // 1/10,000
	at     int64             // Unix milliseconds
	held   bool              // not to be approved, whatever the rules say
}

// Fields are a record's, by name; numbers as written.
func Fields(t testing.TB, line []byte) map[string]string {
	t.Helper()
	in := json.NewDecoder(bytes.NewReader(line))
	in.UseNumber()
	var fields map[string]any
	if err := in.Decode(&fields); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	text := make(map[string]string)
	for name, value := range fields {
		text[name] = fmt.Sprint(value)
	}
	return text
}

func parseRecord(t testing.TB, line []byte) record {
	t.Helper()
	r := record{text: Fields(t, line)}
	if at, err := time.Parse(time.RFC3339, r.text["occurred_at"]); err == nil {
		r.at = at.UnixMilli()
	} else if r.at, err = strconv.ParseInt(r.text["occurred_at"], 10, 64); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	r.amount = Units(t, r.text["amount"])
	return r
}

// Units reads a decimal as a number of 1/10,000.
func Units(t testing.TB, decimal string) int64 {
	t.Helper()
	v, ok := new(big.Rat).SetString(decimal)
	if !ok {
		t.Fatalf("%q is not a decimal", decimal)
	}
	v.Mul(v, big.NewRat(10_000, 1))
	if !v.IsInt() || !v.Num().IsInt64() {
		t.Fatalf("%s has more than 4 decimals, or is too large", decimal)
	}
	return v.Num().Int64()
}

// Model holds every event there is, whenever it came.
type Model struct {
	streams map[string][]record // distinct events, by stream
	index   map[string][]record // by stream, field and the field's value: only to be quick
	rules   []modelRule
	policy  modelPolicy
	From    int64                 // event time from which refunds are decided; older ones are history
	exprs   map[string]expression // every past-events expression of the rule file, by text
}

// modelRule is a rule of the YAML file with its condition as a Go function.
type modelRule struct {
	id        string
	action    string
	score     int64
	shadow    bool
	skips     bool // on_missing: skip
	condition func(f *facts) bool
}

type modelPolicy struct{ reviewAt, rejectAt int64 }

// Expected is what a decision must say.
type Expected struct {
	Outcome  string
	Score    int64
	Hits     []string
	Errors   []string // rules that failed
	Skipped  []string
	Features map[string]string // counts as they are, sums in 1/10,000, "nil"
	Original string            // transaction_id, or ""

	refund record
	apply  func(snoozed ...string) Expected // again, with rules that decide nothing
}

// missing is what a condition panics with when it needs a value that isn't
// there, and fault when it can't be computed.
type (
	missing struct{}
	fault   struct{}
)

// facts are what the conditions on one refund can see.
type facts struct {
	model      *Model
	refund     record
	original   *record
	status     string // the original's, updates included
	refunded   *int64
	refundedIn string // currency; "" for nothing refunded
}

// need is a field of the refund that a condition can't do without, and
// originals one of the original.
func (f *facts) need(field string) string      { return needOf(&f.refund, field) }
func (f *facts) originals(field string) string { return needOf(f.original, field) }

func (f *facts) originalStatus() string {
	if f.status == "" {
		panic(missing{})
	}
	return f.status
}

func needOf(r *record, field string) string {
	if r.text[field] == "" {
		panic(missing{})
	}
	return r.text[field]
}

// expression is one past-events expression.
type expression struct {
	stream     string
	by         []string
	field      string // of where(field == "value"), or ""
	value      string
	within     int64 // milliseconds; 0: ever
	aggregate  string
	aggregated string
}

var expressionText = regexp.MustCompile(
	`(\w+)\.by\(([\w, ]+)\)(?:\.where\((\w+) == "(\w+)"\))?(?:\.within\("(\d+)([smhdw])"\)|\.ever\(\))\.(count|sum|distinct)\((\w*)\)`)

// expressionsOf finds the past-events expressions in a rule file.
func expressionsOf(file string) map[string]expression {
	found := make(map[string]expression)
	for _, m := range expressionText.FindAllStringSubmatch(file, -1) {
		e := expression{stream: m[1], by: strings.Split(m[2], ", "), field: m[3], value: m[4], aggregate: m[7], aggregated: m[8]}
		if m[5] != "" {
			unit := map[string]int64{"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}[m[6]]
			n, _ := strconv.ParseInt(m[5], 10, 64)
			e.within = n * unit * 1000
		}
		found[m[0]] = e
	}
	return found
}

func newModel(t testing.TB, ruleFile string, rules []modelRule, policy modelPolicy) *Model {
	t.Helper()
	text, err := os.ReadFile(ruleFile)
	if err != nil {
		t.Fatal(err)
	}
	return &Model{
		streams: make(map[string][]record), index: make(map[string][]record),
		rules: rules, policy: policy, exprs: expressionsOf(string(text)),
	}
}

// AddLine enters an event as its stream's topic has it.
func (m *Model) AddLine(t testing.TB, stream string, line []byte) {
	t.Helper()
	m.add(stream, parseRecord(t, line))
}

func (m *Model) add(stream string, r record) {
	m.streams[stream] = append(m.streams[stream], r)
	for field, value := range r.text {
		key := stream + "|" + field + "|" + value
		m.index[key] = append(m.index[key], r)
	}
}

// past are the events that an expression looks at, the refund itself left out;
// ok is false if the refund lacks a field of the key.
func (m *Model) past(e expression, refund record) (events []record, ok bool) {
	for _, field := range e.by {
		if refund.text[field] == "" {
			return nil, false
		}
	}
	for _, r := range m.index[e.stream+"|"+e.by[0]+"|"+refund.text[e.by[0]]] {
		same := true
		for _, field := range e.by {
			same = same && r.text[field] == refund.text[field]
		}
		inside := r.at <= refund.at && (e.within == 0 || r.at > refund.at-e.within)
		itself := e.stream == "refunds" && r.text["refund_id"] == refund.text["refund_id"]
		if same && inside && !itself && (e.field == "" || r.text[e.field] == e.value) {
			events = append(events, r)
		}
	}
	return events, true
}

// value computes an expression. It panics with missing or fault.
func (f *facts) value(text string) int64 {
	e, known := f.model.exprs[text]
	if !known {
		panic("not an expression of the rule file: " + text)
	}
	events, ok := f.model.past(e, f.refund)
	if !ok {
		panic(missing{})
	}
	switch e.aggregate {
	case "count":
		return int64(len(events))
	case "distinct":
		values := make(map[string]bool)
		for _, r := range events {
			if v := r.text[e.aggregated]; v != "" {
				values[v] = true
			}
		}
		return int64(len(values))
	}
	var total int64
	for _, r := range events {
		if r.text["currency"] != events[0].text["currency"] {
			panic(fault{})
		}
		total += r.amount
	}
	return total
}

// money is a sum that is to be compared with the refund's amount: that fails
// over two currencies.
func (f *facts) money(text string) int64 {
	v := f.value(text)
	events, _ := f.model.past(f.model.exprs[text], f.refund)
	if len(events) > 0 && events[0].text["currency"] != f.refund.text["currency"] {
		panic(fault{})
	}
	return v
}

// attempt runs a function of the facts and says how it ended.
func attempt[T any](do func() T) (result T, ended string) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case missing:
			ended = "missing"
		case fault:
			ended = "fault"
		default:
			panic(r)
		}
	}()
	return do(), ""
}

// DecideAll decides every refund, those of one transaction by time, then id.
func (m *Model) DecideAll() map[string]Expected {
	decisions := make(map[string]Expected)
	for refund, among := range m.DecideAmong(func(other, _ string) (yes, no bool) {
		no = decisions[other].Outcome == "reject"
		return !no, no
	}, decisions) {
		decisions[refund] = among[0]
	}
	return decisions
}

// DecideAmong decides every refund likewise, where counted says whether one counts
// in refunded when another is decided. Where both can be, there is a decision for
// either. The first one of each is in decided, too, as soon as it is known.
func (m *Model) DecideAmong(counted func(refund, when string) (yes, no bool), decided ...map[string]Expected) map[string][]Expected {
	refunds := slices.Clone(m.streams["refunds"])
	slices.SortStableFunc(refunds, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.text["refund_id"], b.text["refund_id"]))
	})
	before := make(map[string][]record) // by transaction
	decisions := make(map[string][]Expected)
	for _, r := range refunds {
		id, tx := r.text["refund_id"], r.text["transaction_id"]
		if r.at >= m.From {
			sets := [][]record{nil}
			for _, o := range before[tx] {
				yes, no := true, false // history
				if o.at >= m.From {
					yes, no = counted(o.text["refund_id"], id)
				}
				sets = among(sets, o, yes, no)
			}
			for _, granted := range sets {
				decisions[id] = append(decisions[id], m.decide(r, granted))
			}
			for _, first := range decided {
				first[id] = decisions[id][0]
			}
		}
		if tx != "" {
			before[tx] = append(before[tx], r)
		}
	}
	return decisions
}

// among is each set with r, without, or both.
func among(sets [][]record, r record, yes, no bool) (all [][]record) {
	for _, set := range sets {
		if no {
			all = append(all, set)
		}
		if yes {
			all = append(all, append(slices.Clone(set), r))
		}
	}
	return all
}

func (m *Model) decide(r record, granted []record) Expected {
	f := &facts{model: m, refund: r}
	d := Expected{refund: r}
	if tx := r.text["transaction_id"]; tx != "" {
		for _, o := range m.index["transactions|transaction_id|"+tx] {
			if o.at <= r.at {
				f.original, d.Original, f.status = &o, tx, o.text["status"]
			}
		}
		for _, u := range m.index["updates|transaction_id|"+tx] { // in event-time order
			if u.at <= r.at {
				f.status = u.text["status"]
			}
		}
		f.refunded = new(int64)
		for _, g := range granted {
			f.refundedIn = g.text["currency"]
			*f.refunded += g.amount
		}
		if slices.ContainsFunc(granted, func(g record) bool { return g.text["currency"] != f.refundedIn }) {
			f.refunded = nil
		}
	}
	d.Features = make(map[string]string)
	for text := range m.exprs {
		v, ended := attempt(func() int64 { return f.value(text) })
		d.Features[text] = fmt.Sprint(v)
		if ended != "" {
			d.Features[text] = "nil"
		}
	}
	m.apply(f, &d)
	return d
}

// apply runs the rules and the outcome table.
func (m *Model) apply(f *facts, d *Expected) {
	d.apply = func(snoozed ...string) Expected {
		again := Expected{Features: d.Features, Original: d.Original, refund: d.refund}
		m.run(f, &again, snoozed)
		return again
	}
	m.run(f, d, nil)
}

func (m *Model) run(f *facts, d *Expected, snoozed []string) {
	actions := make(map[string]bool)
	failed := f.refund.held
	for _, rule := range m.rules {
		hit, ended := attempt(func() bool { return rule.condition(f) })
		switch {
		case ended == "missing" && rule.skips:
			d.Skipped = append(d.Skipped, rule.id)
		case ended != "":
			d.Errors = append(d.Errors, rule.id)
			failed = failed || !rule.shadow && !slices.Contains(snoozed, rule.id) && (rule.action != "alert" || rule.score > 0)
		case hit:
			d.Hits = append(d.Hits, rule.id)
			if !rule.shadow && !slices.Contains(snoozed, rule.id) {
				actions[rule.action] = true
				d.Score += rule.score
			}
		}
	}
	switch {
	case actions["reject"]:
		d.Outcome = "reject"
	case failed:
		d.Outcome = "review"
	case d.Score >= m.policy.rejectAt:
		d.Outcome = "reject"
	case actions["approve"]:
		d.Outcome = "approve"
	case actions["review"], d.Score >= m.policy.reviewAt:
		d.Outcome = "review"
	default:
		d.Outcome = "approve"
	}
}
