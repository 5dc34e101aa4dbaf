package clickhouse_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

const dayMS = 24 * 60 * 60 * 1000

// life is what became of one refund, in order, with its labels.
type life struct {
	decisions []*event.Decision
	labels    []*event.Label
}

func (l *life) records() (records []*kgo.Record) {
	for _, d := range l.decisions {
		records = append(records, &kgo.Record{Topic: topics.Decisions, Key: []byte(d.RefundID), Value: d.Append(nil)})
	}
	for _, b := range l.labels {
		records = append(records, &kgo.Record{Topic: topics.Labels, Key: []byte(b.RefundID), Value: b.Append(nil)})
	}
	return records
}

// randomLife begins some days before now, never near the end of a day: what is
// young is told by days.
func randomLife(r *rand.Rand, i int, now int64) (l life) {
	id := fmt.Sprintf("re_%d", i)
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	at := now - int64(1+r.IntN(60))*dayMS + dayMS/2 + r.Int64N(1000)
	d := event.Decision{DecisionID: event.DecisionID(id, 1), RefundID: id, TransactionID: pick("", fmt.Sprint("tx_", r.IntN(150))), CustomerID: pick("", "cus_1"), MerchantID: pick("", "mer_1", "mer_2"),
		Amount: event.Money(1 + r.Int64N(999_999_999_999_999_999)), Currency: mustCurrency(pick("USD", "EUR", "JPY")),
		Outcome: []event.Outcome{event.Review, event.Review, event.Review, event.Reject, event.Approve}[r.IntN(5)], DecidedBy: "engine", Ruleset: "sha256:" + pick("aa", "ab", "b"),
		OccurredAt: at - r.Int64N(9*dayMS), ReceivedAt: at - 5, DecidedAt: at, Source: event.Source{Topic: "refunds", Offset: int64(i)}}
	d.Holdout = d.Outcome == event.Approve && r.IntN(2) == 0
	for _, rule := range []string{"r1", "r2", "r3"} {
		if r.IntN(2) == 0 {
			d.Hits = append(d.Hits, event.Hit{Rule: rule, Mode: pick("live", "live", "shadow", "snoozed"), Action: pick("review", "review", "reject", "approve", "alert", ""),
				Score: int64(r.IntN(3) - 1), Severity: "low"})
		}
	}
	if d.Outcome == event.Review && r.IntN(3) > 0 {
		v := d
		v.DecisionID, v.Outcome, v.DecidedBy, v.Hits, v.Holdout = event.DecisionID(id, 2), []event.Outcome{event.Approve, event.Reject}[r.IntN(2)], pick("analyst:ann", "analyst:bob", "customer", "deadline"), nil, false
		v.DecidedAt += r.Int64N(dayMS/4) - 1000 // another machine's clock may be behind
		l.decisions = append(l.decisions, &v)
	}
	if r.IntN(10) > 0 { // else its retention was over
		l.decisions = append([]*event.Decision{&d}, l.decisions...)
	}
	for range r.IntN(4) {
		b := &event.Label{LabelID: pick("a", "b", "B"), RefundID: id, Label: pick(event.LabelFraud, event.LabelLegit), Source: pick(event.LabelByAnalyst, event.LabelByCustomer, event.LabelByChargeback, event.LabelByImport),
			At: now + int64(r.IntN(3))}
		if r.IntN(4) == 0 {
			b.RefundID, b.TransactionID = "", fmt.Sprint("tx_", r.IntN(150))
		}
		b.Weight = event.LabelWeight(b.Source)
		l.labels = append(l.labels, b)
	}
	return l
}

// fillWith stores lives in any order, some of their records twice.
func (w *world) fillWith(r *rand.Rand, lives []life) {
	w.t.Helper()
	var records []*kgo.Record
	for i := range lives {
		records = append(records, lives[i].records()...)
	}
	for range len(records) / 10 {
		again := *records[r.IntN(len(records))]
		records = append(records, &again)
	}
	r.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	s, stop := w.start()
	for part := range slices.Chunk(records, 200) {
		w.transaction(kgo.TryCommit, part...)
	}
	w.drain(s)
	stop()
}

// TestRefundsAreCountedOnce: a refund that was decided twice is one refund, and its
// money is what became of it in the end.
func TestRefundsAreCountedOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	w := newFakeWorld(t, server(t))
	lives := make([]life, 300)
	for i := range lives {
		lives[i] = randomLife(r, i, time.Now().UnixMilli())
	}
	w.fillWith(r, lives)

	type sums struct{ refunds, held, approved, inReview, rejected, amount, amountApproved, amountRejected int64 }
	days := map[string]*sums{}
	var rows []string
	twice := 0
	for _, l := range lives {
		if len(l.decisions) == 0 {
			continue
		}
		first, last := l.decisions[0], l.decisions[len(l.decisions)-1]
		firstOutcome := ""
		if first.DecidedBy == "engine" {
			firstOutcome = first.Outcome.String()
		}
		if len(l.decisions) > 1 {
			twice++
		}
		rows = append(rows, fmt.Sprintf("%s %s %s %s", first.RefundID, firstOutcome, last.Outcome, last.DecidedBy))
		key := fmt.Sprintf("%s %s %s", time.UnixMilli(first.OccurredAt).UTC().Format(time.DateOnly), first.MerchantID, first.Currency)
		s := days[key]
		if s == nil {
			s = &sums{}
			days[key] = s
		}
		amount := int64(first.Amount) / 1e4 // whole units: sums of all fit
		s.refunds++
		s.amount += amount
		if firstOutcome == "review" {
			s.held++
		}
		switch last.Outcome {
		case event.Approve:
			s.approved++
			s.amountApproved += amount
		case event.Review:
			s.inReview++
		case event.Reject:
			s.rejected++
			s.amountRejected += amount
		}
	}
	if twice < 50 {
		t.Fatalf("only %d were decided twice", twice)
	}
	w.sameRows("refunds", rows, w.column("SELECT concat(refund_id, ' ', toString(first_outcome), ' ', toString(outcome), ' ', toString(decided_by)) FROM v_refunds"))
	var want []string
	for key, s := range days {
		want = append(want, fmt.Sprintf("%s (%d,%d,%d,%d,%d)", key, s.refunds, s.held, s.approved, s.inReview, s.rejected))
	}
	w.sameRows("by day", want, w.column(`SELECT concat(toString(toDate(occurred_at)), ' ', merchant_id, ' ', toString(currency), ' ', toString((count(), countIf(first_outcome = 'review'),
		countIf(outcome = 'approve'), countIf(outcome = 'review'), countIf(outcome = 'reject')))) FROM v_refunds GROUP BY toDate(occurred_at), merchant_id, currency`))
	// Money against a slow query over the records themselves: per refund what was
	// asked for, and the outcome of the last that ended it.
	got := w.query("SELECT (sum(amount), sumIf(amount, outcome = 'approve'), sumIf(amount, outcome = 'reject')) FROM v_refunds")
	slow := w.query(`SELECT (sum(a), sumIf(a, o = 'approve'), sumIf(a, o = 'reject')) FROM (
		SELECT any(toDecimal128(JSONExtractString(raw, 'amount'), 4)) AS a,
			arrayReduce('max', groupArray((JSONExtractString(raw, 'decided_by') != 'engine', JSONExtractString(raw, 'outcome')))).2 AS o
		FROM decisions GROUP BY JSONExtractString(raw, 'refund_id'))`)
	if got != slow {
		t.Errorf("money is %s, by the records %s", got, slow)
	}
}

// TestAnomaliesAreTheAlertsOfTheLedger: each once, and no other alert.
func TestAnomaliesAreTheAlertsOfTheLedger(t *testing.T) {
	w := newFakeWorld(t, server(t))
	found := []string{"EXECUTED_WITHOUT_APPROVAL", "EXECUTED_TWICE", "EXECUTED_AFTER_FAILED", "EXECUTED_OTHER_AMOUNT", "EXECUTED_OTHER_CURRENCY", "EXECUTED_UNKNOWN_REFUND", "LEDGER_FAILED", "OVERDUE", "denied-by-customer"}
	var records []*kgo.Record
	for i, rule := range append(slices.Clone(found), "review-deadline", "review-deadline", "refund-velocity") {
		a := event.Alert{AlertID: fmt.Sprint("a", i), Rule: rule, Severity: "high", RefundID: "re_1", Message: "m", At: 1_700_000_000_000 + int64(i)}
		rec := &kgo.Record{Topic: topics.Alerts, Key: []byte(a.AlertID), Value: a.Append(nil)}
		again := *rec
		records = append(records, rec, &again)
	}
	s, _ := w.start()
	w.transaction(kgo.TryCommit, records...)
	w.drain(s)
	w.sameRows("anomalies", found, w.column("SELECT toString(rule) FROM v_anomalies"))
	if got := w.query("SELECT (toString(any(day)), sum(breaches)) FROM v_deadline_breaches"); got != "('2023-11-14',2)" {
		t.Errorf("breaches: %s", got)
	}
}
