package rules

import (
	"fmt"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/rules/event"
)

// TestOutcome goes through the outcome table. Rules are written as
// "action score mode condition"; conditions: hit, no, fails, missing.
func TestOutcome(t *testing.T) {
	conditions := map[string]string{"hit": "amount > 5", "no": "amount > 50", "fails": "5 / (amount / amount - 1) > 5", "missing": "device_id == 'x'"}
	for _, c := range []struct {
		rules  []string
		hold   bool
		want   event.Outcome
		cause  Cause
		score  int64
		reason string
	}{
		{rules: []string{"review 0 live no"}, want: event.Approve, cause: CauseNone},
		{rules: []string{"review 0 live hit"}, want: event.Review, cause: CauseReview, reason: "R0"},
		{rules: []string{"reject 0 live hit"}, want: event.Reject, cause: CauseReject, reason: "R0"},
		{rules: []string{"alert 0 live hit"}, want: event.Approve, cause: CauseNone},
		{rules: []string{"approve 0 live hit"}, want: event.Approve, cause: CauseTrust, reason: "R0"},
		{rules: []string{"- 39 live hit"}, want: event.Approve, cause: CauseNone, score: 39},
		{rules: []string{"- 40 live hit"}, want: event.Review, cause: CauseReviewScore, score: 40, reason: "R0"},
		{rules: []string{"- 20 live hit", "- 20 live hit"}, want: event.Review, cause: CauseReviewScore, score: 40, reason: "R0"},
		{rules: []string{"- 10 live hit", "- 30 live hit", "- 30 live hit"}, want: event.Review, cause: CauseReviewScore, score: 70, reason: "R1"},
		{rules: []string{"- 20 live no", "- 80 live hit"}, want: event.Reject, cause: CauseRejectScore, score: 80, reason: "R1"},
		{rules: []string{"- -50 live hit", "- 80 live hit"}, want: event.Approve, cause: CauseNone, score: 30},
		{rules: []string{"approve 0 live hit", "review 0 live hit"}, want: event.Approve, cause: CauseTrust, reason: "R0"},
		{rules: []string{"approve 0 live hit", "- 40 live hit"}, want: event.Approve, cause: CauseTrust, score: 40, reason: "R0"},
		{rules: []string{"approve 0 live hit", "- 80 live hit"}, want: event.Reject, cause: CauseRejectScore, score: 80, reason: "R1"},
		{rules: []string{"approve 0 live hit", "reject 0 live hit"}, want: event.Reject, cause: CauseReject, reason: "R1"},
		{rules: []string{"alert 40 live hit"}, want: event.Review, cause: CauseReviewScore, score: 40, reason: "R0"},

		{rules: []string{"review 0 live fails"}, want: event.Review, cause: CauseFailure, reason: ReasonRuleFailed},
		{rules: []string{"- 1 live fails"}, want: event.Review, cause: CauseFailure, reason: ReasonRuleFailed},
		{rules: []string{"alert 0 live fails"}, want: event.Approve, cause: CauseNone},
		{rules: []string{"alert 1 live fails"}, want: event.Review, cause: CauseFailure, reason: ReasonRuleFailed},
		{rules: []string{"approve 0 live fails"}, want: event.Review, cause: CauseFailure, reason: ReasonRuleFailed},
		{rules: []string{"review 0 shadow fails"}, want: event.Approve, cause: CauseNone},
		{rules: []string{"review 0 live missing"}, want: event.Review, cause: CauseFailure, reason: ReasonRuleFailed},
		{rules: []string{"review 0 live fails", "approve 0 live hit"}, want: event.Review, cause: CauseFailure, reason: ReasonRuleFailed},
		{rules: []string{"review 0 live fails", "- 80 live hit"}, want: event.Review, cause: CauseFailure, score: 80, reason: ReasonRuleFailed},
		{rules: []string{"review 0 live fails", "reject 0 live hit"}, want: event.Reject, cause: CauseReject, reason: "R1"},

		{rules: []string{"review 0 live no"}, hold: true, want: event.Review, cause: CauseHold},
		{rules: []string{"approve 0 live hit"}, hold: true, want: event.Review, cause: CauseHold},
		{rules: []string{"- 80 live hit"}, hold: true, want: event.Review, cause: CauseHold, score: 80},
		{rules: []string{"reject 0 live hit"}, hold: true, want: event.Reject, cause: CauseReject, reason: "R0"},

		{rules: []string{"reject 90 shadow hit"}, want: event.Approve, cause: CauseNone},
		{rules: []string{"reject 90 off hit"}, want: event.Approve, cause: CauseNone},
	} {
		t.Run(strings.Join(c.rules, ", "), func(t *testing.T) {
			var b strings.Builder
			b.WriteString("policy: {review_at: 40, reject_at: 80}\nrules:\n")
			for i, r := range c.rules {
				f := strings.Fields(r)
				fmt.Fprintf(&b, "  - {id: r%d, reason: R%d, customer_message: sorry %d, mode: %s, when: %q", i, i, i, f[2], conditions[f[3]])
				if f[0] != "-" {
					fmt.Fprintf(&b, ", action: %s", f[0])
				}
				if f[1] != "0" {
					fmt.Fprintf(&b, ", score: %s", f[1])
				}
				b.WriteString("}\n")
			}
			s := mustLoad(t, b.String())
			v := s.NewEvaluator()
			v.Begin(&Input{Event: refund(t)})
			r := v.Run(c.hold)
			if r.Outcome != c.want || r.Cause != c.cause || r.Score != c.score || r.Reason != c.reason {
				t.Errorf("got %v by %v, score %d, reason %q", r.Outcome, r.Cause, r.Score, r.Reason)
			}
			if strings.HasPrefix(c.reason, "R") && c.reason != ReasonRuleFailed && r.CustomerMessage != "sorry "+c.reason[1:] {
				t.Errorf("customer message %q", r.CustomerMessage)
			}
		})
	}
}

func TestWithoutPolicyNoScoreDecides(t *testing.T) {
	s := mustLoad(t, "rules:\n  - {id: a, score: 1000000, when: amount > 5}\n")
	if r := evaluate(t, s, Input{Event: refund(t)}, nil); r.Outcome != event.Approve || r.Score != 1000000 {
		t.Errorf("%v with %d", r.Outcome, r.Score)
	}
}

func TestResultTellsHitsSkippedErrorsAndFeatures(t *testing.T) {
	s := mustLoad(t, `
rules:
  - {id: live, action: alert, score: 3, severity: high, reason: CODE, when: amount > 5, message: "{{customer_id}} and {{device_id}} ask for {{amount}}, {{refunds.by(customer_id).ever().sum(amount)}} before"}
  - {id: shadow, action: reject, mode: shadow, severity: critical, when: amount > 5}
  - {id: skips, action: review, on_missing: skip, when: 'device_id == "x"'}
  - {id: lacks, action: alert, when: 'original.amount > 5'}
  - {id: off, action: reject, mode: off, when: 'transactions.by(customer_id).ever().count() > 0'}
  - {id: counts, action: alert, on_missing: skip, when: 'refunds.by(customer_id).within("7d").count() > 5 and refunds.by(device_id).within("7d").count() > 5'}
  - {id: broken, action: alert, when: '(transactions.by(merchant_id).within("7d").sum(amount) ?? 0) > 5'}
`)
	r := evaluate(t, s, Input{Event: refund(t, "customer_id=c1", "merchant_id=m1")}, past{
		`refunds.by(customer_id).ever().sum(amount)`:            usd(t, "12.5"),
		`refunds.by(customer_id).within("7d").count()`:          IntValue(6),
		`transactions.by(merchant_id).within("7d").sum(amount)`: FaultValue("the sum is over two currencies"),
	})
	var got []string
	for i, h := range r.Hits {
		got = append(got, fmt.Sprintf("%+v alerts=%v,%v", h, r.HitRules[i].Alerts(0), r.HitRules[i].Alerts(High)))
	}
	for _, e := range r.Errors {
		got = append(got, e.Rule+": "+e.Error)
	}
	for _, id := range r.Skipped {
		got = append(got, "skipped "+id)
	}
	for _, f := range r.Features {
		got = append(got, fmt.Sprintf("%s = kind %d, %d %s", f.Name, f.Kind, f.Num, f.Str))
	}
	want := []string{
		`{Rule:live Mode:live Action:alert Score:3 Severity:high Reason:CODE Message:c1 and nil ask for 10.00, 12.50 before} alerts=true,true`,
		`{Rule:shadow Mode:shadow Action:reject Score:0 Severity:critical Reason: Message:} alerts=false,false`,
		`lacks: missing a value: original.amount is nil`,
		`broken: the sum is over two currencies`,
		`skipped skips`,
		`skipped counts`,
		`refunds.by(customer_id).ever().sum(amount) = kind 2, 125000 `,
		`refunds.by(customer_id).within("7d").count() = kind 1, 6 `,
		`refunds.by(device_id).within("7d").count() = kind 0, 0 `,
		`transactions.by(merchant_id).within("7d").sum(amount) = kind 6, 0 the sum is over two currencies`,
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
	if r.Severity != High {
		t.Errorf("severity %v: only live hits count", r.Severity)
	}
}

// TestMessages renders values of every kind.
func TestMessages(t *testing.T) {
	e := refund(t, "amount=10 JPY", "customer_id=c1", "units=7", "weight=2.50", "mfa=true", "occurred_at=2026-03-01T12:00:00+01:00")
	for message, want := range map[string]string{
		`plain`:                                 "plain",
		`{{amount}} {{ currency }}`:             "10 JPY",
		`{{ amount * 1.5 }}`:                    "15",
		`{{ amount / 3 }}`:                      "3.3333333333333335",
		`{{ 100 * 1000000000000.5 }}`:           "100000000000050",
		`{{ units }}, {{ weight }}`:             "7, 2.5",
		`{{ mfa }} {{ not mfa }}`:               "true false",
		`{{ device_id }} {{ original.amount }}`: "nil nil",
		`{{ units + original.units }}`:          "nil",
		`{{ units / (units - 7) }}`:             "nil",
		`{{ occurred_at }}`:                     "2026-03-01T11:00:00Z",
		`{{ customer_id == "}}" }}`:             "false",
		`{{ device_id ?? "no device" }}`:        "no device",
		`a } b {c} {`:                           "a } b {c} {",
		`{{ nil }}`:                             "nil",
		`{{ amount > 5 ? "much" : "little" }}`:  "much",
	} {
		s := mustLoad(t, fmt.Sprintf("rules: [{id: r, action: review, when: amount > 5, message: %q, customer_message: %q}]", message, message))
		r := evaluate(t, s, Input{Event: e}, nil)
		if len(r.Hits) != 1 || r.Hits[0].Message != want || r.CustomerMessage != want {
			t.Errorf("%s: %q, %q, want %q", message, r.Hits[0].Message, r.CustomerMessage, want)
		}
	}
}
