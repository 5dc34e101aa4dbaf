package rules

import (
	"fmt"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/rules/event"
)

func TestExceptions(t *testing.T) {
	const at = "occurred_at=2026-03-01T12:00:00Z"
	for _, c := range []struct{ name, rule, exceptions, want string }{
		{"none holds", "action: review", "{when: amount > 50, reason: a}", "review hit"},
		{"one holds", "action: review", "{when: amount > 50, reason: a}, {when: amount > 5, reason: b}", "approve excepted b"},
		{"the first counts", "action: reject", "{when: amount > 4, reason: a}, {when: amount > 5, reason: b}", "approve excepted a"},
		{"on its last day", "action: review", "{when: amount > 5, reason: a, expires: 2026-03-01}", "approve excepted a"},
		{"the day after", "action: review", "{when: amount > 5, reason: a, expires: 2026-02-28}", "review hit"},
		{"at its time", "action: review", "{when: amount > 5, reason: a, expires: '2026-03-01T12:00:00Z'}", "review hit"},
		{"before its time", "action: review", "{when: amount > 5, reason: a, expires: '2026-03-01T12:00:01Z'}", "approve excepted a"},
		{"a value is missing", "action: reject, on_missing: skip", "{when: 'device_id == \"x\"', reason: a}", "reject hit"},
		{"missing, then one that holds", "action: reject", "{when: 'device_id == \"x\"', reason: a}, {when: amount > 5, reason: b}", "approve excepted b"},
		{"it fails", "action: review", "{when: 1 / (units - 7) > 5, reason: a}", "review hit error an exception: division by zero"},
		{"it fails, alert only", "action: alert", "{when: 1 / (units - 7) > 5, reason: a}", "approve hit error an exception: division by zero"},
		{"a trust rule", "action: approve", "{when: amount > 5, reason: a}", "approve excepted a"},
		{"a trust rule misses", "action: approve, on_missing: skip", "{when: 'device_id == \"x\"', reason: a}", "review error an exception: missing a value: device_id is nil"},
		{"a trust rule's fails", "action: approve", "{when: 1 / (units - 7) > 5, reason: a}", "review error an exception: division by zero"},
		{"a score that speaks for it", "score: -5", "{when: 'device_id == \"x\"', reason: a}", "review error an exception: missing a value: device_id is nil"},
		{"shadow", "action: review, mode: shadow", "{when: amount > 5, reason: a}", "approve excepted a"},
	} {
		s := mustLoad(t, fmt.Sprintf("rules: [{id: r, %s, when: amount > 1, exceptions: [%s]}]", c.rule, c.exceptions))
		r := evaluate(t, s, Input{Event: refund(t, "units=7", at)}, nil)
		got := r.Outcome.String()
		for range r.Hits {
			got += " hit"
		}
		for _, x := range r.Excepted {
			got += " excepted " + x.Reason
		}
		for _, e := range r.Errors {
			got += " error " + e.Error
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestExceptionsAreRead(t *testing.T) {
	s := mustLoad(t, `
rules:
  - id: r
    action: review
    on_trip: shadow
    when: amount > 5
    exceptions:
      - when: |
          customer_id == "c1"
          and refunds.by(customer_id).ever().count() == 0
        reason: a first refund
        owner: risk-ops
        expires: 2099-12-31
`)
	x := s.Rules[0].Exceptions[0]
	if x.Reason != "a first refund" || x.Owner != "risk-ops" || x.Expires != 4_102_444_800_000 || !strings.Contains(x.When, "c1") || s.Rules[0].OnTrip != TripShadow {
		t.Errorf("%+v", s.Rules[0])
	}
	if len(s.Features) != 1 {
		t.Error("an exception's past events are not looked up")
	}
	in := Input{Event: refund(t, "customer_id=c1")}
	if r := evaluate(t, s, in, nil); r.Outcome != event.Approve || len(r.Excepted) != 1 {
		t.Errorf("%+v", r)
	}
	if r := evaluate(t, s, in, past{s.Features[0].Text: IntValue(2)}); r.Outcome != event.Review || len(r.Excepted) != 0 {
		t.Errorf("the second time: %+v", r)
	}
}
