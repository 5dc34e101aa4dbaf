package ruletest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/parser"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// expect is what an event must lead to. What is nil is not asked.
type expect struct {
	at place
	on string // stream of the event

	outcome, status, score, reason, severity, customerMessage *scalar
	hits, include, exclude, skipped, errors, alerts, excepted *list
	features, values, messages                                []named
	refunded                                                  *named

	deadLetter *scalar
	duplicate  bool
}

// list is a list of rules.
type list struct {
	at    place
	items []scalar
}

// named is what one expression, or one rule's message, must be.
type named struct {
	name  string // as written
	key   string // feature: canonical text; value: its probe's rule; message: the rule
	value scalar
}

// Codes that the pipeline gives beside those of event.RecordError.
const (
	codeConflict = "DUPLICATE_CONFLICT"
)

var deadLetterCodes = []string{
	event.CodeEmptyRecord, event.CodeTooLarge, event.CodeInvalidJSON, event.CodeInvalidUTF8, event.CodeTooDeep,
	event.CodeDuplicateKey, event.CodeMissingField, event.CodeWrongType, event.CodeInvalidValue, codeConflict,
}

var expectKeys = []string{
	"outcome", "hits", "hits_include", "hits_exclude", "score", "reason", "severity", "status", "refunded", "features", "values",
	"messages", "customer_message", "skipped", "excepted", "errors", "alerts", "duplicate", "dead_letter",
}

// statuses are the names that a refund's status has right after its decision.
var statuses = map[event.Outcome]string{event.Approve: "approved", event.Review: "in_review", event.Reject: "rejected"}

func (r *reader) expect(section pair, d *draft) *expect {
	e := d.expect // expect_alerts may have come before
	if e == nil {
		e = &expect{}
	}
	e.at = section.at
	pairs := r.mapping(section.value, "expect")
	if len(pairs) == 0 {
		r.fail(section.at, "expect says nothing", "write expect: {outcome: approve}")
	}
	e.on = r.schema.Streams[d.stream].Name
	for _, p := range pairs {
		if r.fits(e, p, len(pairs)) {
			r.expectKey(e, p)
		}
	}
	return e
}

// The streams that rules can be on.
const onRefunds, onTransactions = "refunds", "transactions"

// fits checks that an expectation can be one of events of the stream, beside the
// others.
func (r *reader) fits(e *expect, p pair, all int) bool {
	misfit := slices.Contains(expectKeys, p.key) // and yet does not fit
	switch p.key {
	case "duplicate", "dead_letter":
		if all > 1 || e.alerts != nil {
			r.fail(p.at, p.key+" stands beside other expectations", "a record that is refused or dropped leads to nothing else")
		}
		return true
	case "outcome", "status", "score", "reason", "severity", "customer_message", "refunded":
		misfit = misfit && e.on != onRefunds
	default:
		misfit = misfit && e.on != onRefunds && e.on != onTransactions
	}
	if misfit {
		r.fail(p.at, fmt.Sprintf("expect has %s, but this is one of %s", p.key, e.on), onlyRefunds)
	}
	return !misfit
}

const onlyRefunds = "only refunds are decided; rules on transactions can have hits and alerts; any event can have dead_letter and duplicate"

func (r *reader) expectKey(e *expect, p pair) {
	one := func(of ...string) *scalar {
		v, ok := r.scalar(p.value, p.key)
		if !ok {
			return nil
		}
		if len(of) > 0 {
			for _, name := range of {
				if name == v.text {
					return &v
				}
			}
			of = slices.DeleteFunc(of, func(name string) bool { return name == "" })
			r.fail(v.at, fmt.Sprintf("%s can't be %q", p.key, v.text), meant(v.text, of, "it is one of "+strings.Join(of, ", ")))
		}
		return &v
	}
	switch p.key {
	case "outcome":
		e.outcome = one("approve", "review", "reject")
	case "status":
		e.status = one("approved", "in_review", "rejected")
	case "severity":
		e.severity = one("", "low", "medium", "high", "critical")
	case "dead_letter":
		e.deadLetter = one(deadLetterCodes...)
	case "score":
		if e.score = one(); e.score != nil {
			if _, err := strconv.ParseInt(e.score.text, 10, 64); err != nil {
				r.fail(e.score.at, fmt.Sprintf("score can't be %q", e.score.text), "it is a whole number")
			}
		}
	case "reason":
		e.reason = one()
	case "customer_message":
		e.customerMessage = one()
	case "refunded":
		if v := one(); v != nil {
			e.refunded = &named{name: "refunded", key: r.probes.add(r.source, v.at, onRefunds, "refunded"), value: *v}
		}
	case "duplicate":
		if v := one("true"); v != nil {
			e.duplicate = v.text == "true"
		}
	case "hits":
		e.hits = r.rules(p, e.on)
	case "hits_include":
		e.include = r.rules(p, e.on)
	case "hits_exclude":
		e.exclude = r.rules(p, e.on)
	case "skipped":
		e.skipped = r.rules(p, e.on)
	case "excepted":
		e.excepted = r.rules(p, e.on)
	case "errors":
		e.errors = r.rules(p, e.on)
	case "alerts":
		e.alerts = r.rules(p, e.on)
	case "features":
		e.features = r.each(p, func(key scalar) (string, bool) { return r.feature(key, e.on) })
	case "values":
		e.values = r.each(p, func(key scalar) (string, bool) { return r.probes.add(r.source, key.at, e.on, key.text), true })
	case "messages":
		e.messages = r.each(p, func(key scalar) (string, bool) { return key.text, r.rule(key, e.on) })
	default:
		r.unknown(p, "expect", expectKeys)
	}
}

// rules reads a list of rules that can hit events of a stream.
func (r *reader) rules(p pair, on string) *list {
	words, ok := r.words(p.value, p.key)
	if !ok {
		return nil
	}
	for _, w := range words {
		r.rule(w, on)
	}
	return &list{at: at(p.value), items: words}
}

// rule checks that a rule can hit events of a stream; "": of some stream.
func (r *reader) rule(w scalar, on string) bool {
	switch rule := r.byID[w.text]; {
	case rule == nil:
		ids := slices.Sorted(maps.Keys(r.byID))
		r.fail(w.at, "there is no rule "+w.text, meant(w.text, ids, "rules are "+some(ids)))
		return false
	case rule.Mode == rules.Off:
		r.fail(w.at, fmt.Sprintf("rule %s is off: it never hits", w.text), "set its mode to shadow or live, or leave it out here")
		return false
	case on != "" && rule.On != on:
		r.fail(w.at, fmt.Sprintf("rule %s is on %s: it never hits one of %s", w.text, rule.On, on), "")
		return false
	}
	return true
}

// each reads a mapping of names to single values.
func (r *reader) each(p pair, key func(scalar) (string, bool)) []named {
	var out []named
	for _, q := range r.mapping(p.value, p.key) {
		v, ok := r.scalar(q.value, q.key)
		if !ok {
			continue
		}
		if k, ok := key(scalar{text: q.key, at: q.at}); ok {
			out = append(out, named{name: q.key, key: k, value: v})
		}
	}
	return out
}

// feature finds the canonical text of a past-events expression that some rule
// reads.
func (r *reader) feature(key scalar, on string) (string, bool) {
	want, of := plain(key.text), r.set
	var names []string
	if on == onTransactions && of.Transactions == nil {
		r.fail(key.at, "no rule is on transactions: none reads "+key.text, "any expression can stand in values:")
		return "", false
	}
	if on == onTransactions {
		of = of.Transactions
	}
	for i := range of.Features {
		name := of.Features[i].Text
		if name == key.text || plain(name) == want {
			return name, true
		}
		names = append(names, name)
	}
	r.fail(key.at, "no rule reads "+key.text, meant(key.text, names, "rules read "+some(names)+"; any other expression can stand in values:"))
	return "", false
}

// plain is an expression's text without its author's choice of quotes and
// spaces.
func plain(text string) string {
	tree, err := parser.Parse(text)
	if err != nil || rules.IsLarge(tree.Node) {
		return text
	}
	return tree.Node.String()
}

// some lists the first few of many names.
func some(names []string) string {
	const most = 8
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// ExpectKeys lists what an expectation can say, for completion and documentation.
func ExpectKeys() []string { return slices.Clone(expectKeys) }
