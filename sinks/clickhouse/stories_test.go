package clickhouse_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

// TestStories: all that happened to one refund is in the timeline once, by refund
// and by customer, and verdicts and reconciliation say what records do, though
// every record is there twice.
func TestStories(t *testing.T) {
	w := newFakeWorld(t, server(t))
	at := int64(1_700_000_000_000)
	decision := func(n int, outcome event.Outcome, by string, after int64) *kgo.Record {
		d := event.Decision{DecisionID: event.DecisionID("re_1", n), RefundID: "re_1", TransactionID: "tx_1", CustomerID: "cus_1", Amount: 1_299_000, Currency: mustCurrency("USD"),
			Outcome: outcome, DecidedBy: by, Ruleset: "sha256:00", OccurredAt: at, ReceivedAt: at, DecidedAt: at + after, Source: event.Source{Topic: "refunds"}}
		return &kgo.Record{Topic: topics.Decisions, Key: []byte("re_1"), Value: d.Append(nil)}
	}
	record := func(topic, format string, args ...any) *kgo.Record {
		return &kgo.Record{Topic: topic, Key: []byte("re_1"), Value: fmt.Appendf(nil, format, args...)}
	}
	state := event.CaseSummary{RefundID: "re_1", TransactionID: "tx_1", CustomerID: "cus_1", MerchantID: "mer_1", Method: "card", Amount: 1_299_000, Currency: mustCurrency("USD"), State: "executed", Severity: "high",
		DecidedBy: "analyst:ann", DecisionID: event.DecisionID("re_1", 1), OccurredAt: at, ReceivedAt: at, OpenedAt: at + 200, Since: at + 90_000, ChangedAt: at + 90_000, ExecutedAt: at + 80_000}
	twice := event.Alert{AlertID: "a1", Rule: "EXECUTED_TWICE", Severity: "critical", RefundID: "re_1", TransactionID: "tx_1", CustomerID: "cus_1", Message: "paid again", At: at + 95_000}
	late := twice
	late.AlertID, late.Rule, late.Message, late.At = "a2", "OVERDUE", "late", at+70_000
	told := event.Status{RefundID: "re_1", CustomerID: "cus_1", Status: "in_review", CustomerMessage: "We look at it.", At: at + 300}
	known := event.Label{LabelID: "l", RefundID: "re_1", Label: event.LabelLegit, Source: event.LabelByAnalyst, By: "ann", Note: "known", At: at + 60_000, Weight: 10}
	other := event.CaseSummary{RefundID: "re_2", CustomerID: "cus_2", Amount: 1, Currency: mustCurrency("EUR"), State: "in_review", DecidedBy: "engine", OccurredAt: at, ReceivedAt: at, OpenedAt: at, Since: at, ChangedAt: at}
	records := []*kgo.Record{
		record(refunds, `{"refund_id":"re_1","transaction_id":"tx_1","amount":"129.90","currency":"USD","customer_id":"cus_1","reason":"defective","occurred_at":%d}`, at),
		decision(0, event.Review, "engine", 200),
		decision(1, event.Approve, "analyst:ann", 60_200),
		{Topic: topics.Status, Value: told.Append(nil)},
		{Topic: topics.Alerts, Value: twice.Append(nil)},
		{Topic: topics.Alerts, Value: late.Append(nil)},
		{Topic: topics.Labels, Value: known.Append(nil)},
		record(ledgerResults, `{"result_id":"lr_1","refund_id":"re_1","status":"executed","amount":"129.90","currency":"USD","occurred_at":%d}`, at+80_000),
		record(ledgerResults, `{"result_id":"lr_2","refund_id":"re_1","status":"executed","amount":"1.00","currency":"USD","occurred_at":%d}`, at+90_000),
		caseRecord(&state), caseRecord(&other),
	}
	s, _ := w.start()
	for range 2 {
		var again []*kgo.Record
		for _, rec := range records {
			again = append(again, &kgo.Record{Topic: rec.Topic, Key: rec.Key, Value: rec.Value, Headers: rec.Headers})
		}
		w.transaction(kgo.TryCommit, again...)
	}
	w.drain(s)
	w.wait("what was sent", func() bool {
		return w.query("SELECT uniqExact(result_id) + (SELECT uniqExact(refund_id) FROM refunds) FROM ledger_results") == "3"
	})

	want := []string{
		"request: asked for 129.9 USD (defective)", "decision: review by engine ()", "decision: approve by analyst:ann ()", "status: in_review (We look at it.)",
		"alert: EXECUTED_TWICE (critical) (paid again)", "alert: OVERDUE (critical) (late)", "label: legit by analyst (ann: known)",
		"ledger_result: executed 129.9 USD ()", "ledger_result: executed 1 USD ()", "case: executed (high)",
	}
	// Requests are at the time of their record, and each has its own.
	rows := func(filter string) []string {
		return w.column("SELECT DISTINCT concat(what, ': ', title, ' (', detail, ')') FROM v_timeline WHERE " + filter)
	}
	for _, filter := range []string{"refund_id = 're_1'", "customer_id = 'cus_1'"} {
		w.sameRows("timeline of "+filter, want, rows(filter))
		// The request and the ledger's results were sent twice: two records, each as sent.
		if got := w.query("SELECT countIf(what NOT IN ('request', 'ledger_result')) FROM v_timeline WHERE " + filter); got != "7" {
			t.Errorf("%s: %s other events, want 7", filter, got)
		}
	}
	if got := w.query("SELECT (count(), any(analyst), any(outcome), any(waited_seconds)) FROM v_verdicts"); got != "(1,'ann','approve',60)" {
		t.Errorf("verdicts: %s", got)
	}
	if got := w.query(`SELECT groupArray((refund_id, method, approved_amount, toString(approved_at), executed_amount, toString(executed_at), results, anomaly, state)) FROM v_reconciliation`); got !=
		"[('re_1','card',129.9,'2023-11-14 22:14:20.200',129.9,'2023-11-14 22:14:40.000',2,'EXECUTED_TWICE','executed')]" {
		t.Errorf("reconciliation: %s", got)
	}
}
