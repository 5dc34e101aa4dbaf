package main

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

var reviewNow = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)

// waiting are cases in review at reviewNow.
func waiting() []*cases.Case {
	usd, _ := event.ParseCurrency("USD")
	jpy, _ := event.ParseCurrency("JPY")
	ago := func(d time.Duration) int64 { return reviewNow.Add(-d).UnixMilli() }
	return []*cases.Case{
		{RefundID: "old", State: cases.InReview, Severity: rules.Low, Amount: 5_0000, Currency: usd, Reason: "HOLD", Since: ago(50 * time.Hour), Due: ago(26*time.Hour + 40*time.Minute), Paid: true},
		{RefundID: "over", State: cases.InReview, Severity: rules.High, Amount: 1299_9000, Currency: usd, CustomerID: "ann", MerchantID: "m1", Reason: "LARGE", Since: ago(2 * time.Hour), Due: ago(65 * time.Minute), First: "bob"},
		{RefundID: "now", State: cases.InReview, Severity: rules.Critical, Amount: 800_0000, Currency: jpy, CustomerID: "ann\x1b[31m\u202e", Since: ago(0), Due: ago(-90 * time.Second)},
		{RefundID: "never", State: cases.InReview, Severity: rules.Medium, Amount: 1_2345, Currency: usd, Reason: "RULE_FAILED", Since: ago(0)},
	}
}

func golden(t *testing.T, file string, print func(io.Writer)) {
	t.Helper()
	var out strings.Builder
	if err := printPlain(&out, print); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != out.String() {
		t.Errorf("%v; %s differs (go test -update rewrites it):\n%s", err, file, out.String())
	}
}

func TestReviewTables(t *testing.T) {
	golden(t, "testdata/review-list.text", func(out io.Writer) { printQueue(out, waiting(), 3, reviewNow) })
	golden(t, "testdata/review-empty.text", func(out io.Writer) { printQueue(out, nil, 0, reviewNow) })
	golden(t, "testdata/review-verdicts.text", func(out io.Writer) {
		printVerdicts(out, []verdict{
			{RefundID: "r1", ReviewID: "5f0c2b1e-0000-4000-8000-000000000001", Verdict: "approve", Result: resultCarriedOut, Message: became(cases.Approve, waiting()[1])},
			{RefundID: "r2", ReviewID: "5f0c2b1e-0000-4000-8000-000000000002", Verdict: "approve", Result: resultRefused, Code: cases.CodeSameAnalyst, Message: "approve: a second analyst must"},
			{RefundID: "r3", ReviewID: "5f0c2b1e-0000-4000-8000-000000000003", Verdict: "escalate", Result: resultCarriedOut, Message: became(cases.Escalate, waiting()[2])},
		})
	})

	c := waiting()[1]
	c.TransactionID, c.Method, c.Agent, c.Received = "t1", "original", "gus", c.Since-1500
	key, value := "ann", "abc"
	s := &story{of: c, Case: jsonOf(c, reviewNow), Source: event.Source{Topic: "refunds", Partition: 3, Offset: 12}}
	golden(t, "testdata/review-show-short.text", func(out io.Writer) { s.print(out, reviewNow) })

	s.Request = &requestJSON{Key: &key, Value: `{"refund_id":"over","text":"` + "\x9b" + `31m"}`, Headers: []headerJSON{{"trace", &value}, {"none", nil}}}
	at := c.Since
	d := &event.Decision{DecisionID: "d0", RefundID: "over", Outcome: event.Review, DecidedBy: "engine", Reason: "RULE_FAILED", Score: 40, Degraded: true, Controls: []string{"snooze-1"},
		Hits:   []event.Hit{{Rule: "large", Mode: "live", Action: "review", Score: 40, Severity: "high", Reason: "LARGE", Message: "large: 1299.90"}},
		Errors: []event.RuleError{{Rule: "other", Error: "division\nby zero"}}, DecidedAt: at,
		Features: []event.Feature{{Name: `refunds.by(customer_id).within("7d").count()`, Kind: event.FeatureInt, Num: 6}, {Name: "refunds.by(device_id).ever().last(amount)", Kind: event.FeatureNil}}}
	s.decisions, s.Decisions = []*event.Decision{d}, []json.RawMessage{d.Append(nil)}
	s.Statuses = []json.RawMessage{(&event.Status{RefundID: "over", Status: "in_review", Reason: "LARGE", CustomerMessage: "Your refund needs a short check.", At: at, ETA: at + 86400e3}).Append(nil)}
	s.Alerts = []json.RawMessage{(&event.Alert{AlertID: "a1", Rule: "large", Severity: "high", RefundID: "over", Message: "large: 1299.90", At: at}).Append(nil)}
	schema := event.Builtin()
	for stream, in := range map[string]struct {
		to   *[]said
		text string
	}{
		"reviews":        {&s.Reviews, `{"review_id":"v1","refund_id":"over","verdict":"approve","analyst":"bob","note":"called","occurred_at":"2026-01-05T11:00:00Z"}`},
		"confirmations":  {&s.Confirmations, `{"confirmation_id":"y1","refund_id":"over","confirmed":true,"satisfied":false,"occurred_at":"2026-01-05T11:01:00Z"}`},
		"ledger_results": {&s.LedgerResults, `{"result_id":"l1","refund_id":"over","status":"failed","amount":"1299.9","currency":"USD","error":"no such account","occurred_at":"2026-01-05T11:02:00Z"}`},
		"complaints":     {&s.Complaints, `{"complaint_id":"c1","kind":"other","customer_id":"ann","text":"where\nis it?","occurred_at":"2026-01-04T11:00:00Z"}`},
	} {
		one := said{Record: json.RawMessage(in.text)}
		if err := event.NewDecoder(schema.Stream(stream), event.DefaultLimits()).Decode(one.Record, &one.event); err != nil {
			t.Fatal(err)
		}
		if stream == "ledger_results" {
			one.Refused = cases.CodeNotApproved
		}
		*in.to = []said{one}
	}
	golden(t, "testdata/review-show.text", func(out io.Writer) { s.print(out, reviewNow) })
}

// A case is over its deadline from the millisecond after it on, and never where
// it has none.
func TestOverdueCases(t *testing.T) {
	f := queueFilter{overdue: true}
	for _, c := range []struct {
		due  int64
		want bool
	}{{0, false}, {999, true}, {1000, false}, {1001, false}} {
		one := &cases.Case{RefundID: "r", State: cases.InReview, Due: c.due}
		if got, shown := f.takes(one, time.UnixMilli(1000)), jsonOf(one, time.UnixMilli(1000)); got != c.want || shown.Overdue != c.want || (shown.Deadline != nil) != (c.due != 0) {
			t.Errorf("due %d at 1000: %v, %+v", c.due, got, shown)
		}
	}
}
