package rules

import (
	"fmt"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// maxExceptions bounds the exceptions of one rule.
const maxExceptions = 50

// exceptionDraft is an exception whose condition is not compiled yet.
type exceptionDraft struct {
	when, expires text
}

var exceptionKeys = []string{"when", "reason", "owner", "expires"}

func (rd *ruleDraft) readExceptions(r *reader, n ast.Node) {
	for i, item := range r.sequence(n, "exceptions") {
		if i == maxExceptions {
			r.fail(item, fmt.Sprintf("more exceptions than the limit of %d", maxExceptions), "put what they have in common in a list, and ask for it in one exception")
			return
		}
		rd.readException(r, item)
	}
}

func (rd *ruleDraft) readException(r *reader, n ast.Node) {
	var x Exception
	var draft exceptionDraft
	has := map[string]bool{}
	pairs := r.mapping(n, "an exception")
	if pairs == nil {
		return
	}
	for _, p := range pairs {
		key := p.key.value
		has[key] = true
		t, ok := r.text(p.value, key)
		if !ok {
			continue
		}
		switch key {
		case "when":
			x.When, draft.when = t.value, t
			if len(t.value) > maxCondition {
				r.errs = append(r.errs, t.report("", 0, fmt.Sprintf("the condition is longer than the limit of %d bytes", maxCondition), "put values in a list"))
				draft.when = text{}
			}
		case "reason":
			x.Reason = t.value
		case "owner":
			x.Owner = t.value
		case "expires":
			draft.expires = t
			if x.Expires, ok = parseExpiry(t.value); !ok {
				r.errs = append(r.errs, t.report("", 0, fmt.Sprintf("expires can't be %q", t.value), expiryHint))
			}
		default:
			r.errs = append(r.errs, p.key.report("", 0, "unknown key "+key+" of an exception", suggestOr(key, exceptionKeys, "an exception has when, reason, owner and expires")))
		}
	}
	for _, key := range []string{"when", "reason"} {
		if !has[key] {
			r.fail(n, "the exception has no "+key, "add "+key+": …")
		}
	}
	rd.Exceptions = append(rd.Exceptions, x)
	rd.exceptions = append(rd.exceptions, draft)
}

const expiryHint = "write its last day, as 2026-12-31 (to its end in UTC), or a time with its zone, as 2026-12-31T18:00:00Z"

// parseExpiry reads the last day of something, or the time from which on it no
// longer holds, and gives that time in Unix milliseconds.
func parseExpiry(s string) (int64, bool) {
	if day, err := time.Parse(time.DateOnly, s); err == nil {
		return day.AddDate(0, 0, 1).UnixMilli(), true
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return never, false
	}
	return at.UnixMilli(), true
}

// compileException compiles the condition of one exception. A value that it
// misses needs no warning: see Evaluator.except.
func (d *draft) compileException(rd *ruleDraft, i int, c *compiler) {
	x, draft := &rd.Rule.Exceptions[i], &rd.exceptions[i]
	if draft.when.file == nil {
		return
	}
	c.silent = true
	x.cond = c.condition(&draft.when)
	if x.Expires > 0 && x.Expires <= d.now {
		e := draft.expires.warn(fmt.Sprintf("the exception expired on %s and is ignored", draft.expires.value), "remove it, or give it a later date")
		e.Rule = rd.ID
		d.errs = append(d.errs, e)
	}
}

// trusting says that the rule speaks for a refund, so that in doubt it must not
// count.
func (r *Rule) trusting() bool { return r.Action == ActionApprove || r.Score < 0 }

// except asks the exceptions of a rule that hit. off: one of them turns the hit
// off. An exception that misses a value does not apply, and one that fails
// leaves the hit and fails the rule; but where the rule speaks for the refund,
// both turn the hit off and fail it: nothing is approved in doubt.
func (v *Evaluator) except(rule *Rule) (off bool, reason, fault string) {
	for i := range rule.Exceptions {
		x := &rule.Exceptions[i]
		if x.Expires > 0 && v.event.Time >= x.Expires {
			continue
		}
		val := x.cond(&v.frame, v.event)
		switch {
		case val.isTrue():
			return true, x.Reason, ""
		case val.Kind == KindBool:
		case val.Kind == KindFault:
			fault = "an exception: " + val.Str
		case rule.trusting():
			fault = "an exception: " + failureText(val)
		}
	}
	return fault != "" && rule.trusting(), "", fault
}
