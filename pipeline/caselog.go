package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// The topic of cases is a changelog: each change of a case is one record with all
// of it, written with what follows from the change. So a start applies no verdict
// again, under another configuration or at another time: it takes the last record
// of each.

// Headers of a record of a case. Those for people, and event.HeaderCase for sinks,
// repeat what headerCase says;
// its value is the request's while that is held.
const (
	headerCase       = "refundguard-case"
	headerLife       = "refundguard-life" // began of the progress: an earlier one's cases are nobody's
	headerState      = "refundguard-state"
	headerSeverity   = "refundguard-severity"
	headerDeadline   = "refundguard-deadline"
	headerRequestKey = "refundguard-request-key"
	headerOfRequest  = "refundguard-request-header:" // before the keys of its headers
)

// caseRecord is a case as it is now, after the decision of this id. It runs on the
// writer's worker.
func (s *session) caseRecord(w *writer, c *cases.Case, decisionID string) kgo.Record {
	bare := *c
	bare.Request, bare.Settled = nil, false
	headers := make([]kgo.RecordHeader, 0, 8) // those of a request besides
	r := kgo.Record{Topic: s.topics.Cases, Key: []byte(c.RefundID), Value: []byte("{}"), Headers: append(headers,
		kgo.RecordHeader{Key: headerCase, Value: w.encode(bare.Append)},
		kgo.RecordHeader{Key: headerLife, Value: []byte(s.began)},
		kgo.RecordHeader{Key: headerState, Value: []byte(c.State.String())},
		kgo.RecordHeader{Key: event.HeaderDecisionID, Value: []byte(decisionID)},
		kgo.RecordHeader{Key: event.HeaderCase, Value: w.encode(summary(c, decisionID).Append)},
	)}
	if c.State == cases.InReview {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: headerSeverity, Value: []byte(c.Severity.String())})
	}
	if c.Due != 0 {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: headerDeadline, Value: []byte(time.UnixMilli(c.Due).UTC().Format("2006-01-02T15:04:05.000Z"))})
	}
	if q := c.Request; q != nil {
		r.Value = q.Value
		if q.Key != nil {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: headerRequestKey, Value: q.Key})
		}
		for _, h := range q.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: headerOfRequest + h.Key, Value: h.Value})
		}
	}
	return r
}

// summary is what others than the service may know of a case.
func summary(c *cases.Case, decisionID string) *event.CaseSummary {
	s := &event.CaseSummary{RefundID: c.RefundID, TransactionID: c.TransactionID, CustomerID: c.CustomerID, MerchantID: c.MerchantID,
		Method: c.Method, RequestReason: c.RequestReason, Amount: c.Amount, Currency: c.Currency,
		State: c.State.String(), Reason: c.Reason, DecidedBy: c.By, DecisionID: decisionID, FirstBy: c.First,
		OccurredAt: c.Occurred, ReceivedAt: c.Received, OpenedAt: c.Opened, Since: c.Since, DueAt: c.Due, ExecutedAt: c.Executed, ChangedAt: c.Changed,
		Denied: c.Denied, Satisfied: c.Content}
	if c.Severity != 0 {
		s.Severity = c.Severity.String()
	}
	return s
}

// ParseCase reads a record of the topic of cases.
func ParseCase(r *kgo.Record) (*cases.Case, error) {
	var c *cases.Case
	q := &cases.Request{Value: r.Value}
	for _, h := range r.Headers {
		switch {
		case h.Key == headerCase:
			var err error
			if c, err = cases.Parse(string(r.Key), h.Value); err != nil {
				return nil, fmt.Errorf("topic %s partition %d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
			}
		case h.Key == headerRequestKey:
			q.Key = h.Value
		case strings.HasPrefix(h.Key, headerOfRequest):
			q.Headers = append(q.Headers, event.Header{Key: strings.TrimPrefix(h.Key, headerOfRequest), Value: h.Value})
		}
	}
	if c == nil {
		return nil, fmt.Errorf("topic %s partition %d offset %d: no header %s: nothing else may write there", r.Topic, r.Partition, r.Offset, headerCase)
	}
	if c.State == cases.InReview {
		c.Request = q
	}
	return c, nil
}

// approved is a request as it goes to the ledger.
func (s *session) approved(q *cases.Request, decisionID string) *kgo.Record {
	r := &kgo.Record{Topic: s.topics.Approved, Key: q.Key, Value: q.Value}
	for _, h := range q.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: event.HeaderDecisionID, Value: []byte(decisionID)},
		kgo.RecordHeader{Key: event.HeaderRuleset, Value: []byte(s.set.Version)})
	return r
}

// caseStatus is what a customer is told of a change.
func (s *session) caseStatus(c *cases.Case, ch *cases.Change, now time.Time) []byte {
	st := event.Status{RefundID: c.RefundID, CustomerID: c.CustomerID, Status: c.State.String(), Reason: ch.Reason, At: now.UnixMilli()}
	if c.State == cases.Approved || c.State == cases.Overdue {
		st.ETA = s.etaFrom(c.Method, now).UnixMilli()
	}
	s.inform(&st, "", c.Language, c.Amount, c.Currency)
	return st.Append(nil)
}

// pastOf is what a case says of its refund.
func pastOf(c *cases.Case) engine.Past {
	return engine.Past{TransactionID: c.TransactionID, Amount: c.Amount, Currency: c.Currency, Outcome: event.Approve, Seen: max(c.Received, c.Since)}
}

// readCases reads what the topic of cases holds that wasn't read before.
func (s *session) readCases(ctx context.Context, j *journal) error {
	spans, err := wholeTopic(ctx, s.adm, s.topics.Cases)
	if err != nil {
		return err
	}
	for id, sp := range spans {
		if j.caseEnds[id] > sp.To {
			j.caseEnds[id] = 0 // it was cut: what is there now came later
		}
		from, _ := goesOn(sp.From, j.caseEnds[id])
		j.caseEnds[id], spans[id] = sp.To, kafka.Span{From: from, To: sp.To}
	}
	err = kafka.ReadRanges(ctx, s.cfg.options, s.topics.Cases, spans, func(r *kgo.Record) error {
		if !ofLife(r, s.began) {
			return nil // of before all began anew
		}
		c, err := ParseCase(r)
		if err != nil {
			return &fatalError{err}
		}
		return s.learnCase(c)
	})
	if err != nil {
		return fmt.Errorf("reading the cases: %w", err)
	}
	return nil
}

// learnCase takes a case as it is written. If its refund is settled in the state,
// what changed since is settled, too; else it will be when the refund is met. One
// that is known to have gone further stays so: where the topic was given more
// partitions, older records of it can be read after newer ones.
func (s *session) learnCase(c *cases.Case) error {
	was, err := s.lives.book.Get(c.RefundID)
	if err != nil {
		return fmt.Errorf("the state on disk: %w", err)
	}
	if was != nil && was.After(c) {
		return nil
	}
	if was != nil && was.Settled {
		c.Settled = true
		switch {
		case c.Reserved && !was.Reserved:
			s.reserve(c, 1)
		case !c.Reserved && was.Reserved:
			s.reserve(c, -1)
		}
	} else {
		s.lives.unsettled[c.RefundID] = true
	}
	s.lives.book.Put(c)
	return nil
}

// settled is what a refund counts as that was decided before, by its case if it
// has one, and notes that it does.
func (s *session) settled(id string, journal event.Outcome) (event.Outcome, error) {
	c, err := s.lives.book.Get(id)
	if err != nil {
		return 0, fmt.Errorf("the state on disk: %w", err)
	}
	if c == nil {
		if journal == event.Review {
			s.lives.lost = append(s.lives.lost, id)
		}
		return journal, nil
	}
	if !c.Settled {
		c.Settled = true
		s.lives.book.Put(c)
	}
	delete(s.lives.unsettled, id)
	if c.Reserved {
		return event.Approve, nil
	}
	return event.Reject, nil
}

// settleRest has those cases count whose refunds were not met: neither a topic
// nor the journal holds them any more.
func (s *session) settleRest() error {
	for id := range s.lives.unsettled {
		o, err := s.settled(id, event.Reject)
		if err != nil {
			return err
		}
		if o == event.Approve {
			c, err := s.lives.book.Get(id)
			if err != nil {
				return err
			}
			s.reserve(c, 1)
		}
	}
	return nil
}

// tellLostCases tells of refunds in review whose cases are gone: their topic was
// made anew, or keeps too little, and so was what the state had of them. Nothing
// comes of a verdict on them any more.
func (s *session) tellLostCases() {
	lost := s.lives.lost
	if s.lives.lost = nil; len(lost) == 0 {
		return
	}
	slices.Sort(lost)
	s.tell("cases-lost", fmt.Sprint(s.began, len(lost), lost[0]), fmt.Sprintf("%d refunds are in review, and topic %s no longer holds their cases, the first is %q: nobody can approve or reject them. "+
		"Find them in %s, and have them asked for again under other ids", len(lost), s.topics.Cases, clip(lost[0], 200), s.topics.Decisions))
}

// keptFor is how long a case stays known after its end.
const keptFor = 90 * 24 * time.Hour

// forgetSome is how many cases are forgotten at once.
const forgetSome = 2000

// forgetCases forgets those that ended long ago. Their refunds' ids stay.
func (s *session) forgetCases() {
	if s.folder != nil && s.saver == nil {
		return // what is on disk stays there
	}
	if _, err := s.lives.book.Expire(s.cfg.now().Add(-keptFor).UnixMilli(), forgetSome); err != nil {
		s.failed = fmt.Errorf("the state on disk: %w", err)
	}
}
