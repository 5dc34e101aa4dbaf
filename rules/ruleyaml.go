package rules

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"

	"github.com/refundguard/refundguard/rules/yamltree"
)

// Bounds of a rule's parts.
const (
	maxScore     = 1_000_000
	maxRules     = 10_000
	maxID        = 128
	maxCode      = 128
	maxTemplate  = 2_000
	maxCondition = 16 << 10 // bytes of a condition or macro
)

// ruleDraft is a rule whose condition is not compiled yet.
type ruleDraft struct {
	*Rule
	id, when         text
	message          text
	customerMessage  text
	trip             text // on_trip
	exceptions       []exceptionDraft
	saysOnMissing    bool
	hasMessage       bool
	hasCustomMessage bool
}

// streamsOfRules are those whose events rules can judge.
var streamsOfRules = []string{"", "refunds", "transactions"}

// ruleKeys are the keys of a rule, in the order of the documentation.
var ruleKeys = []string{
	"id", "description", "when", "action", "score", "severity", "reason", "message",
	"customer_message", "on_missing", "on_trip", "mode", "exceptions", "tags", "owner", "on",
}

func (d *draft) readRule(r *reader, n ast.Node) {
	rd := &ruleDraft{Rule: &Rule{
		On: "refunds", Severity: Medium, OnMissing: MissingReview, OnTrip: TripKeep, Mode: Live, File: r.file.name, Source: r.file.source, Line: yamltree.Start(n).Line,
	}}
	before := len(r.errs)
	pairs := r.mapping(n, "a rule")
	if pairs == nil {
		return
	}
	for _, p := range pairs {
		if p.key.value == "id" {
			if t, ok := r.text(p.value, "id"); ok {
				rd.id, rd.ID = t, t.value
			}
		}
	}
	for _, p := range pairs {
		rd.readKey(r, p)
	}
	rd.require(r, n)
	for _, e := range r.errs[before:] {
		e.Rule = rd.ID
	}
	if first, ok := d.ids[rd.ID]; ok && rd.ID != "" {
		r.errs = append(r.errs, rd.id.report("", 0, fmt.Sprintf("a second rule with the id %s: the first is in %s:%d", rd.ID, first.File, first.Line), "ids name rules in decisions and alerts: give each its own"))
	}
	d.ids[rd.ID] = rd
	if len(d.rules) == maxRules {
		r.fail(n, fmt.Sprintf("more rules than the limit of %d", maxRules), "")
		return
	}
	d.rules = append(d.rules, rd)
}

func (rd *ruleDraft) readKey(r *reader, p pair) {
	key := p.key.value
	if key == "tags" {
		rd.readTags(r, p.value)
		return
	}
	if key == "exceptions" {
		rd.readExceptions(r, p.value)
		return
	}
	known := false
	for _, k := range ruleKeys {
		known = known || k == key
	}
	if !known {
		r.errs = append(r.errs, p.key.report("", 0, "unknown key "+key+" of a rule", suggestOr(key, ruleKeys, "a rule has "+strings.Join(ruleKeys, ", "))))
		return
	}
	t, ok := r.text(p.value, key)
	if !ok {
		return
	}
	fail := func(message, hint string) { r.errs = append(r.errs, t.report("", 0, message, hint)) }
	choice := func(names []string) int {
		for i, n := range names {
			if i > 0 && n == t.value {
				return i
			}
		}
		fail(fmt.Sprintf("%s can't be %q", key, t.value), suggestOr(t.value, names[1:], "it is one of "+strings.Join(names[1:], ", ")))
		return 0
	}
	switch key {
	case "id":
		if !validID(t.value) {
			fail(fmt.Sprintf("the id can't be %q", t.value), fmt.Sprintf("ids are 1 to %d letters, digits, -, _ and .", maxID))
		}
	case "description":
		rd.Description = t.value
	case "owner":
		rd.Owner = t.value
	case "when":
		rd.when, rd.When = t, t.value
	case "action":
		rd.Action = Action(choice(actionNames))
	case "severity":
		rd.Severity = max(Severity(choice(severityNames)), Low)
	case "mode":
		rd.Mode = max(Mode(choice(modeNames)), Live)
	case "on_missing":
		rd.OnMissing, rd.saysOnMissing = max(OnMissing(choice(onMissingNames)), MissingReview), true
	case "on_trip":
		rd.OnTrip, rd.trip = max(OnTrip(choice(onTripNames)), TripKeep), t
	case "score":
		v, err := strconv.ParseInt(t.value, 10, 64)
		if err != nil || v < -maxScore || v > maxScore {
			fail("score is "+t.value, fmt.Sprintf("it is a whole number from -%d to %d", maxScore, maxScore))
		}
		rd.Score, rd.hasScore = v, true
	case "reason":
		rd.Reason = t.value
		if len(t.value) > maxCode || strings.ContainsAny(t.value, " \t\n") {
			fail(fmt.Sprintf("reason can't be %q", t.value), fmt.Sprintf("it is a code for machines, without spaces, of at most %d bytes, such as VELOCITY_CUSTOMER", maxCode))
		}
	case "message":
		rd.message, rd.hasMessage = t, true
	case "customer_message":
		rd.customerMessage, rd.hasCustomMessage = t, true
	case "on":
		rd.On = streamsOfRules[max(choice(streamsOfRules), 1)]
	}
}

func (rd *ruleDraft) readTags(r *reader, n ast.Node) {
	for _, item := range r.sequence(n, "tags") {
		if t, ok := r.text(item, "a tag"); ok {
			rd.Tags = append(rd.Tags, t.value)
		}
	}
}

// require finds what a rule lacks.
func (rd *ruleDraft) require(r *reader, n ast.Node) {
	has := map[string]bool{}
	for _, p := range r.mapping(n, "a rule") {
		has[p.key.value] = true
	}
	if !has["id"] {
		r.fail(n, "the rule has no id", "add id: a-short-name")
	}
	if !has["when"] {
		r.fail(n, "the rule has no condition", "add when: …")
	}
	if !has["action"] && !has["score"] {
		r.fail(n, "the rule has neither action nor score: its hits would do nothing", "add action: approve, review, reject or alert, or score: 40")
	}
	if len(rd.when.value) > maxCondition {
		r.errs = append(r.errs, rd.when.report("", 0, fmt.Sprintf("the condition is longer than the limit of %d bytes", maxCondition), "split the rule, or put values in a list"))
	}
	rd.requireOn(r, n, has)
	if rd.OnTrip == TripShadow && (rd.Action == ActionReject || rd.Severity == Critical) {
		r.errs = append(r.errs, rd.trip.report("", 0, "on_trip can't be shadow for a reject rule or a critical one", "such a rule stays live however much it holds: remove on_trip"))
	}
	for _, t := range []text{rd.message, rd.customerMessage} {
		if utf8.RuneCountInString(t.value) > maxTemplate {
			r.errs = append(r.errs, t.report("", 0, fmt.Sprintf("the message is longer than the limit of %d characters", maxTemplate), ""))
		}
	}
}

// requireOn finds what a rule on transactions can't have.
func (rd *ruleDraft) requireOn(r *reader, n ast.Node, has map[string]bool) {
	if rd.On != "transactions" {
		return
	}
	if rd.Action != ActionAlert && has["action"] {
		r.fail(n, fmt.Sprintf("a rule on transactions can only alert, and its action is %q", rd.Action), "write action: alert")
	}
	for _, key := range []string{"score", "customer_message", "on_trip"} {
		if has[key] {
			r.fail(n, key+" does nothing in a rule on transactions: it decides no refund", "remove "+key)
		}
	}
}

func validID(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= maxID
}
