package clickhouse_test

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/connect"
	"github.com/refundguard/refundguard/rules/event"
)

// decision is the record of one decision with two hits.
func (w *world) decision(i int) *kgo.Record {
	at := int64(1_700_000_000_000) + int64(i)*w.step
	d := event.Decision{
		DecisionID: event.DecisionID(fmt.Sprintf("re_%d", i), 0), RefundID: fmt.Sprintf("re_%d", i),
		TransactionID: fmt.Sprintf("tx_%d", i), CustomerID: fmt.Sprintf("cus_%d", i%100),
		Amount: event.Money(1_299_000 + i), Currency: mustCurrency("USD"), Outcome: event.Review, DecidedBy: "engine", Score: 60,
		Hits: []event.Hit{
			{Rule: "refund-velocity", Mode: "live", Action: "review", Score: 40, Severity: "high", Reason: "VELOCITY_CUSTOMER", Message: "many"},
			{Rule: "new-device", Mode: "shadow", Score: 20, Severity: "medium"},
		},
		Skipped:    []string{"needs-mfa"},
		Errors:     []event.RuleError{{Rule: "broken", Error: "division by zero"}},
		Features:   []event.Feature{{Name: `refunds.by(customer_id).within("7d").count()`, Kind: event.FeatureInt, Num: 6}},
		Original:   &event.Original{TransactionID: fmt.Sprintf("tx_%d", i), Amount: 2_000_000, Currency: mustCurrency("USD"), OccurredAt: at - 86_400_000, InstrumentID: "card_1"},
		Ruleset:    "sha256:00",
		OccurredAt: at, ReceivedAt: at + 100, DecidedAt: at + 200,
		Source: event.Source{Topic: "refunds", Partition: 1, Offset: int64(i)},
	}
	return &kgo.Record{Topic: topics.Decisions, Key: []byte(d.RefundID), Value: d.Append(nil)}
}

func mustCurrency(code string) event.Currency {
	c, ok := event.ParseCurrency(code)
	if !ok {
		panic(code)
	}
	return c
}

func alert(i int) *kgo.Record {
	a := event.Alert{AlertID: event.AlertID("test", fmt.Sprint(i)), Rule: "refund-velocity", Severity: "high",
		RefundID: fmt.Sprintf("re_%d", i), Outcome: "review", Amount: 1_299_000, Currency: mustCurrency("EUR"), Message: "many", At: 1_700_000_000_000 + int64(i)}
	return &kgo.Record{Topic: topics.Alerts, Key: []byte(a.AlertID), Value: a.Append(nil)}
}

func label(i int) *kgo.Record {
	l := event.Label{LabelID: event.LabelID(event.LabelByAnalyst, fmt.Sprint(i)), RefundID: fmt.Sprintf("re_%d", i), Label: event.LabelFraud, Source: event.LabelByAnalyst,
		By: "ann", At: 1_700_000_000_000 + int64(i), Weight: 10, Note: "seen before"}
	return &kgo.Record{Topic: topics.Labels, Key: []byte(l.RefundID), Value: l.Append(nil)}
}

// caseOf is the record of a case: one of its changes.
func (w *world) caseOf(i int, state string, change int64) *kgo.Record {
	at := int64(1_700_000_000_000) + int64(i)*w.step
	c := event.CaseSummary{RefundID: fmt.Sprintf("re_%d", i), CustomerID: fmt.Sprintf("cus_%d", i%100), Amount: event.Money(1_299_000 + i), Currency: mustCurrency("USD"), State: state,
		Severity: "high", DecidedBy: "engine", DecisionID: event.DecisionID(fmt.Sprintf("re_%d", i), 1), OccurredAt: at, ReceivedAt: at + 100, OpenedAt: at + 200, Since: at + 200 + change, ChangedAt: at + 200 + change}
	return caseRecord(&c)
}

func caseRecord(c *event.CaseSummary) *kgo.Record {
	return &kgo.Record{Topic: topics.Cases, Key: []byte(c.RefundID), Value: []byte("{}"), Headers: []kgo.RecordHeader{{Key: "refundguard-state", Value: []byte(c.State)}, {Key: event.HeaderCase, Value: c.Append(nil)}}}
}

func deadLetter(i int) *kgo.Record {
	d := event.DeadLetter{Code: event.CodeInvalidJSON, Field: "amount", Message: "no number", Topic: "refunds", Partition: 2, Offset: int64(i), Timestamp: 1_700_000_000_000}
	rec := &kgo.Record{Topic: topics.DeadLetters, Key: []byte("cus_1"), Value: []byte("{not json")}
	for _, h := range d.AppendHeaders([]event.Header{{Key: "trace", Value: []byte("abc")}}) {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return rec
}

// produceDecisions writes n more decisions, in transactions of at most 100, and
// for each committed one an aborted one.
func (w *world) produceDecisions(n int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for n > 0 {
		batch := min(n, 100)
		var records []*kgo.Record
		for range batch {
			records = append(records, w.decision(w.produced))
			if !w.decisionsAlone {
				records = append(records, w.sent(w.produced)...)
				records = append(records, label(w.produced), w.caseOf(w.produced, "in_review", 0), w.caseOf(w.produced, "approved", 1))
				w.cased++
			}
			w.produced++
		}
		w.transaction(kgo.TryAbort, &kgo.Record{Topic: topics.Decisions, Value: []byte(`{"aborted":true}`)})
		w.transaction(kgo.TryCommit, records...)
		n -= batch
	}
}

func (w *world) transaction(end kgo.TransactionEndTry, records ...*kgo.Record) {
	w.t.Helper()
	client, err := kgo.NewClient(append(w.options, kgo.TransactionalID("pipeline"))...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := client.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	if err := connect.EndTransaction(ctx, client, end, records...); err != nil {
		w.t.Fatal(err)
	}
}
