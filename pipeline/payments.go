package pipeline

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// Rules on transactions: each new transaction waits until it is due, like a
// refund, and then for every live rule that hits one alert goes out. Nothing
// waits where there are no such rules.

// dropPending forgets what waits: the rules that it waited for are gone.
func (in *input) dropPending() {
	for _, p := range in.partitions {
		p.pending, p.pendingAt = nil, 0
	}
}

// beginOthers is the first start of rules on transactions, and of what happens to
// cases: records before decide_from are history. Where it isn't set there are no
// refunds yet, and what is there already is, too.
func (s *session) beginOthers(ctx context.Context, df decideFrom) error {
	if !df.set {
		df = decideFrom{set: true, latest: true}
	}
	for _, in := range s.inputs {
		if in == s.refunds || !in.decides {
			continue
		}
		from, err := df.resolve(ctx, s.adm, in.stream.Topic, len(in.partitions))
		if err != nil {
			return err
		}
		for i, p := range in.partitions {
			p.decideFrom = from[i]
		}
	}
	return nil
}

// passPayments goes through the transactions that wait, in the order of each
// partition, as far as they are due.
func (s *session) passPayments(d *due, now time.Time) bool {
	if s.payments == nil || !s.payments.gates {
		return false
	}
	s.payRecs, s.payItems = s.payRecs[:0], s.payItems[:0]
	passed := false
	for _, p := range s.payments.partitions {
		for h := p.head(); h != nil; h = p.head() {
			if h.decidable() {
				ok, degraded := d.of(h)
				if !ok {
					break
				}
				h.Degraded = degraded
				s.payRecs, s.payItems = append(s.payRecs, h), append(s.payItems, &h.Item)
			}
			passed = true
			p.pop()
		}
	}
	s.evaluateDue(now)
	return passed
}

func (s *session) evaluateDue(now time.Time) {
	if len(s.payRecs) == 0 {
		return
	}
	outs := make([][]kgo.Record, len(s.payRecs))
	s.engine.Evaluate(s.payItems, func(w, i int, res *rules.Result) {
		if len(res.Hits)+len(res.Errors) > 0 {
			outs[i] = s.describeHits(w, s.payRecs[i], res, now)
		}
	})
	for i := range outs {
		for j := range outs[i] {
			s.epoch.add(&outs[i][j])
		}
	}
	clear(s.payRecs)
	clear(s.payItems)
}

// describeHits makes the alerts of one transaction. It runs on worker w.
func (s *session) describeHits(w int, rec *record, res *rules.Result, now time.Time) (alerts []kgo.Record) {
	ev, st := &rec.Event, rec.Event.Stream
	text := func(field string) string { return ev.Str(st.Slot(field)) }
	for i := range res.Hits {
		hit := &res.Hits[i]
		if hit.Mode != rules.Live.String() {
			continue
		}
		a := event.Alert{AlertID: paymentAlertID(ev.ID(), hit.Rule), Rule: hit.Rule, Severity: hit.Severity,
			TransactionID: ev.ID(), CustomerID: text("customer_id"), MerchantID: text("merchant_id"),
			DeviceID: text("device_id"), InstrumentID: text("instrument_id"),
			Amount: event.Money(ev.Vals[st.Slot("amount")].Num), Currency: event.Currency(ev.Vals[st.Slot("currency")].Num),
			Message: hit.Message, At: now.UnixMilli()}
		s.shortAlert(&a)
		alerts = append(alerts, kgo.Record{Topic: s.topics.Alerts, Key: []byte(a.AlertID), Value: s.writers[w].encode(a.Append)})
	}
	s.writers[w].count(res)
	return alerts
}

// paymentAlertID names the alert of a rule's hit on a transaction.
func paymentAlertID(transaction, rule string) string {
	return event.AlertID("transaction", transaction, rule)
}
