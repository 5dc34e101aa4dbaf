package pipeline

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// What refunds turned out to be is written as labels: what analysts say with
// their verdicts, customers who didn't ask for a refund, and payments that are
// charged back.

func (s *session) label(l *event.Label) {
	l.Weight = event.LabelWeight(l.Source)
	key := l.RefundID
	if key == "" {
		key = l.TransactionID
	}
	s.epoch.add(&kgo.Record{Topic: s.topics.Labels, Key: []byte(key), Value: l.Append(nil)})
}

// labelCase writes what a record that was carried out says of its refund.
func (s *session) labelCase(r *record, c *cases.Case, ch *cases.Change, at *verdictSlots) {
	e := &r.Event
	l := event.Label{RefundID: c.RefundID, At: e.Time}
	switch {
	case ch.Fraud:
		l.Label, l.Source, l.By, l.Reason = event.LabelFraud, event.LabelByCustomer, c.CustomerID, cases.ReasonDenied
	case e.Stream.Name == reviewsStream && e.Has(at.label):
		l.Label, l.Source, l.By, l.Note = e.Str(at.label), event.LabelByAnalyst, e.Str(at.analyst), e.Str(at.note)
	default:
		return
	}
	l.LabelID = event.LabelID(l.Source, e.ID())
	s.label(&l)
}

// chargedBack is the status of a payment that was taken back from the merchant,
// and the reason of its label.
const (
	chargedBack      = "charged_back"
	labelChargedBack = "CHARGED_BACK"
)

// labelPayment labels the refunds of a payment that is charged back.
func (s *session) labelPayment(r *record) {
	e := &r.Event
	if r.Fate != engine.Fresh && r.Fate != engine.Update || e.Str(s.slots.txStatus) != chargedBack || s.cfg.Observe {
		return
	}
	s.label(&event.Label{LabelID: event.LabelID(event.LabelByChargeback, e.ID()), TransactionID: e.ID(), Label: event.LabelFraud,
		Source: event.LabelByChargeback, At: e.Time, Reason: labelChargedBack})
}
