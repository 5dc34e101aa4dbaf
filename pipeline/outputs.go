package pipeline

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/pipeline/messages"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// decided is what a worker made of one due refund, ready to be produced.
type decided struct {
	outcome  event.Outcome
	id       string       // decision_id
	records  []kgo.Record // what is written of it, in one piece of memory
	opened   *cases.Case  // its case
	severity rules.Severity
	deadline int64
	reason   string
	at       int64
	alone    []*rules.Rule // see rules.Result
	holdout  bool
	late     int64 // Kafka timestamp to decision, milliseconds
}

// writer encodes decisions on one worker into large pieces of memory, which
// live until their epoch is committed.
type writer struct {
	buf    []byte
	alone  []*rules.Rule         // of what is being decided
	counts map[string]ruleCounts // of the epoch, by rule; nil: nothing hit
}

const writerPiece = 256 << 10

// encode appends with f and returns what was appended.
func (w *writer) encode(f func([]byte) []byte) []byte {
	if cap(w.buf)-len(w.buf) < 4<<10 {
		w.buf = make([]byte, 0, writerPiece)
	}
	start := len(w.buf)
	b := f(w.buf)
	if cap(b) != cap(w.buf) {
		// It outgrew the piece. Going on with what append made would have pieces
		// grow without end, each with a copy of the one before.
		w.buf = nil
		return bytes.Clone(b[start:])
	}
	w.buf = b
	return b[start:len(b):len(b)]
}

// statusOf names each outcome as customers are told of it.
var statusOf = map[event.Outcome]string{event.Approve: "approved", event.Review: "in_review", event.Reject: "rejected"}

// defaultMessages are what a customer reads where no rule says it better.
var defaultMessages = map[event.Outcome]string{
	event.Approve: "Your refund is approved.",
	event.Review:  "Your refund needs a short check.",
	event.Reject:  "Your refund could not be approved.",
}

// describe makes the output of one decision, all that takes time. It runs on
// worker w, the rest one refund after the other.
func (s *session) describe(w int, rec *record, d *event.Decision, res *rules.Result, now time.Time) decided {
	wr := &s.writers[w]
	d.DecidedAt = now.UnixMilli()
	decision := wr.encode(d.Append)
	if len(decision) > s.room.decision {
		decision = s.shortDecision(wr, d)
	}
	key := []byte(rec.Event.ID())
	records := append(make([]kgo.Record, 0, 4+len(res.HitRules)), kgo.Record{Topic: s.topics.Decisions, Key: key, Value: decision})
	out := decided{outcome: d.Outcome, id: d.DecisionID, reason: d.Reason, at: d.DecidedAt, severity: res.Severity, holdout: d.Holdout, late: d.DecidedAt - rec.Received}
	st := event.Status{RefundID: d.RefundID, CustomerID: d.CustomerID, Status: statusOf[d.Outcome], Reason: d.Reason,
		At: d.DecidedAt}
	switch d.Outcome {
	case event.Approve:
		st.ETA = s.etaFrom(rec.Event.Str(s.slots.method), now).UnixMilli()
	case event.Review:
		if out.severity == 0 {
			out.severity = rules.Medium
		}
		out.deadline = s.cfg.calendar.After(now, s.sla(out.severity)).UnixMilli()
	}
	s.inform(&st, res.CustomerMessage, s.language(&rec.Event), d.Amount, d.Currency)
	records = append(records, kgo.Record{Topic: s.topics.Status, Key: key, Value: s.appendStatus(wr, &st, d.Outcome)})
	if len(res.Alone) > 0 {
		from := len(wr.alone)
		wr.alone = append(wr.alone, res.Alone...)
		out.alone = wr.alone[from:]
	}
	for i, rule := range res.HitRules {
		hit := &d.Hits[i]
		if hit.Mode != rules.Live.String() || !rule.Alerts(s.alertMin) {
			continue
		}
		a := event.Alert{AlertID: event.AlertID(d.DecisionID, hit.Rule), Rule: hit.Rule, Severity: hit.Severity, RefundID: d.RefundID,
			TransactionID: d.TransactionID, CustomerID: d.CustomerID, MerchantID: d.MerchantID,
			DeviceID: rec.Event.Str(s.slots.device), InstrumentID: rec.Event.Str(s.slots.instrument),
			Outcome: d.Outcome.String(), Amount: d.Amount, Currency: d.Currency, Message: hit.Message, At: d.DecidedAt}
		s.shortAlert(&a)
		records = append(records, kgo.Record{Topic: s.topics.Alerts, Key: []byte(a.AlertID), Value: wr.encode(a.Append)})
	}
	if d.Outcome == event.Approve && !s.cfg.Observe {
		headers := append(make([]kgo.RecordHeader, 0, len(rec.raw.Headers)+2), rec.raw.Headers...)
		headers = append(headers, kgo.RecordHeader{Key: event.HeaderDecisionID, Value: []byte(out.id)},
			kgo.RecordHeader{Key: event.HeaderRuleset, Value: []byte(s.set.Version)})
		records = append(records, kgo.Record{Topic: s.topics.Approved, Key: rec.raw.Key, Value: rec.raw.Value, Headers: headers})
	}
	out.opened = s.newCase(rec, &out, out.at)
	out.records = append(records, s.caseRecord(wr, out.opened, out.id))
	wr.count(res)
	return out
}

// etaFrom is when a customer can expect the money.
func (s *session) etaFrom(method string, now time.Time) time.Time {
	d, ok := s.etas[method]
	if !ok {
		d = s.etas["other"]
	}
	return d.After(now, s.cfg.calendar)
}

// inform says in a status what the customer reads.
func (s *session) inform(st *event.Status, ruleText, language string, amount event.Money, currency event.Currency) {
	a := messages.About{Status: st.Status, Reason: st.Reason, RuleText: ruleText, Language: language, RefundID: st.RefundID, Amount: amount, Currency: currency}
	if st.ETA != 0 {
		a.ETA = time.UnixMilli(st.ETA)
	}
	st.CustomerMessage, st.CustomerNext = s.cfg.messages.Text(a)
}

// language is the customer's, "" where the refund doesn't say.
func (s *session) language(ev *event.Event) string {
	if s.slots.language < 0 {
		return ""
	}
	return ev.Str(s.slots.language)
}

func (s *session) sla(severity rules.Severity) time.Duration {
	return s.cfg.Review.slaOf(severity)
}

func (c ReviewConfig) slaOf(severity rules.Severity) time.Duration {
	if d, ok := c.SLA[severity.String()]; ok {
		return d
	}
	return 4 * time.Hour
}

// enter adds the output of one decision to the epoch.
func (s *session) enter(rec *record, out *decided) {
	for i := range out.records {
		s.epoch.add(&out.records[i])
	}
	switch out.outcome {
	case event.Approve:
		s.balance.Approved++
	case event.Review:
		s.balance.InReview++
	case event.Reject:
		s.balance.Rejected++
	}
	s.lives.book.Put(out.opened)
	s.tally.decided(rec, out)
}

// refuse sends a record to the dead letters, bytes unchanged. One of the
// refunds alerts too: somebody waits for that money.
func (s *session) refuse(rec *record, err *event.RecordError, severity rules.Severity, now time.Time) {
	dl := event.DeadLetter{Code: err.Code, Field: err.Field, Message: err.Message,
		Topic: rec.part.in.stream.Topic, Partition: rec.Partition, Offset: rec.Offset, Timestamp: rec.Received}
	out := &kgo.Record{Topic: s.topics.DeadLetters, Key: rec.raw.Key, Value: rec.raw.Value, Headers: slices.Clone(rec.raw.Headers)}
	omitted := 0
	if len(out.Value)+besides(out) > s.room.deadLetter {
		// Larger than a topic takes by default. One record must not stop all
		// others: the headers say where it is and how large.
		omitted = len(out.Key) + len(out.Value)
		out.Key, out.Value = nil, nil
	}
	if n := headerBytes(out.Headers); n > s.room.deadLetter {
		omitted += n
		out.Headers = nil
	}
	for _, h := range dl.AppendHeaders(nil) {
		out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	if omitted > 0 {
		out.Headers = append(out.Headers, kgo.RecordHeader{Key: "refundguard-omitted-bytes", Value: strconv.AppendInt(nil, int64(omitted), 10)})
	}
	s.epoch.add(out)
	s.metrics.deadLetters.WithLabelValues(err.Code).Inc()
	if rec.part.in != s.refunds {
		return
	}
	place := fmt.Sprintf("%s/%d/%d", dl.Topic, dl.Partition, dl.Offset)
	a := event.Alert{AlertID: event.AlertID("dead-letter", s.clusterID, place), Rule: "dead-letter:" + err.Code, Severity: severity.String(),
		Message: fmt.Sprintf("a refund request could not be read and went to %s: %s (%s)", s.topics.DeadLetters, err.Message, place), At: now.UnixMilli()}
	if err.Code == codeConflict {
		a.RefundID = rec.Event.ID()
		a.Message = fmt.Sprintf("refund %q came again with other content and went to %s: %s (%s)", a.RefundID, s.topics.DeadLetters, err.Message, place)
	}
	s.alert(&a)
}

func (s *session) alert(a *event.Alert) {
	s.shortAlert(a)
	s.epoch.add(&kgo.Record{Topic: s.topics.Alerts, Key: []byte(a.AlertID), Value: a.Append(nil)})
}

// maxDeadLetter is how large a refused record may be to be copied.
const maxDeadLetter = 768 << 10

// Codes of refused records, besides those of the decoder and of cases.
const (
	codeConflict   = "DUPLICATE_CONFLICT"
	reasonInFuture = "EVENT_IN_FUTURE" // of refunds it is the reason why they are held
)

// conflict is why a known id with other bytes is refused.
func conflict(rec *record) *event.RecordError {
	return &event.RecordError{Code: codeConflict, Field: rec.Event.Stream.Fields[0].Name,
		Message: "a record with this id and other content was read before; the first one counts"}
}
