package pipeline_test

import (
	"testing"
	"time"

	"github.com/refundguard/refundguard/rules/event"
)

// What sinks are told of a case is what happened to it: when the ledger executed
// it, and what the customer says of it, over a restart.
func TestWhatACaseSaysOfItself(t *testing.T) {
	r := newLife(t)
	in := r.run()
	small := refund("small", "", "ann", "1", time.Hour)
	small["method"], small["reason"], small["merchant_id"] = "card", "defective", "mer_1"
	r.send("refunds", 0, small)
	odd := refund("odd", "", "ann", "60", 2*time.Hour)
	odd["method"] = "by pigeon"
	r.send("refunds", 0, odd)
	r.until("decided", func() bool { return in.Balance().Read == 2 })
	last := func(id string) (c event.CaseSummary) {
		changed := int64(0)
		for _, rec := range r.read("refundguard-cases") {
			if string(rec.Key) != id {
				continue
			}
			one, err := event.ParseCaseSummary([]byte(header(rec, event.HeaderCase)))
			if err != nil {
				t.Fatal(err)
			}
			if one.ChangedAt <= changed {
				t.Errorf("%s changed at %d after %d", id, one.ChangedAt, changed)
			}
			c, changed = *one, one.ChangedAt
		}
		return c
	}
	answers := func(n float64) {
		r.until("the answer is heard", func() bool { return in.metric("refundguard_confirmations_total") == n })
	}
	asked := base.Add(time.Hour).UnixMilli()
	want := event.CaseSummary{RefundID: "small", CustomerID: "ann", MerchantID: "mer_1", Method: "card", RequestReason: "defective", Amount: 1_0000, State: "approved", DecidedBy: "engine",
		DecisionID: event.DecisionID("small", 1), OccurredAt: asked}
	check := func() {
		t.Helper()
		got := last("small")
		for _, ms := range []*int64{&got.ReceivedAt, &got.OpenedAt, &got.Since, &got.ChangedAt} {
			if *ms == 0 {
				t.Errorf("a time is missing: %+v", got)
			}
			*ms = 0
		}
		got.Currency = 0
		if want.DueAt = 0; want.State == "approved" {
			want.DueAt = got.DueAt // the ETA
		}
		if got != want {
			t.Errorf("\n got %+v\nwant %+v", got, want)
		}
	}
	check()
	r.send("ledger-results", 1, fields{"result_id": "x1", "refund_id": "small", "status": "executed", "occurred_at": base.Add(25 * time.Hour).Format(time.RFC3339)})
	r.until("executed", func() bool { return in.metric("refundguard_refund_executed_seconds") == 1 })
	r.send("confirmations", 1, fields{"confirmation_id": "c1", "refund_id": "small", "confirmed": true, "satisfied": false, "occurred_at": r.at()})
	answers(1)
	in.stop()

	in = r.run()
	r.send("confirmations", 1, fields{"confirmation_id": "c2", "refund_id": "small", "confirmed": true, "occurred_at": r.at()}) // says nothing of that
	answers(1)
	in.stop()
	want.State, want.Satisfied, want.ExecutedAt = "executed", event.No, base.Add(25*time.Hour).UnixMilli()
	check()
	if held := last("odd"); held.State != "in_review" || held.Severity != "high" || held.DueAt == 0 || held.Method != "by pigeon" || held.Satisfied != 0 {
		t.Errorf("held: %+v", held)
	}
}
