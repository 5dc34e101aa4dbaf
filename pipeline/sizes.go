package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/rules/event"
)

// A topic takes no batch larger than its max.message.bytes. One refund that is
// larger must not fail its epoch for ever, and all that come after it: what
// can't be written is refused, held or shortened before it gets that far.

const (
	// maxBatch is what the client sends at most, and Kafka takes by default.
	maxBatch = 1_000_012
	// minBatch is the least that is worked with. Every decision fits, when all
	// that can be left out is.
	minBatch = 32 << 10
	// framing is about what a record alone in its batch takes besides its key,
	// value and headers, and what we add to the headers.
	framing = 1 << 10
	// caseFraming is what a case is at most besides its request, for the same: eight
	// ids and four texts of maxCaseText, and once more in JSON, where a byte can take
	// six; what verdicts add to it.
	caseFraming = framing + 7*(8*256+4*maxCaseText)
	// maxCaseText is what a case keeps of a method, a language and a reason.
	maxCaseText = 64
)

// sizes is how large a batch each topic takes: what its configuration says,
// and, where that can't be read or isn't true, what was learned by refusals.
// It outlives sessions.
type sizes struct {
	mu         sync.Mutex
	configured map[string]int
	learned    map[string]int
}

// of is how large a batch for the topic may be.
func (z *sizes) of(topic string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	n := maxBatch
	for _, from := range []map[string]int{z.configured, z.learned} {
		if v, ok := from[topic]; ok {
			n = min(n, v)
		}
	}
	return n
}

// configure takes a topic's max.message.bytes. Where that has changed, what was
// learned before says nothing any more.
func (z *sizes) configure(topic string, n int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.configured[topic] != n {
		delete(z.learned, topic)
		z.configured[topic] = n
	}
}

// refused learns that a batch was too large.
func (z *sizes) refused(topic string) {
	n := z.of(topic)
	if n = max(n/2, minBatch); n == z.of(topic) {
		n = minBatch - 1
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.learned[topic] = n
}

func newSizes() *sizes { return &sizes{configured: map[string]int{}, learned: map[string]int{}} }

// room is how large the outputs of each kind may be, as of the session's start:
// their values, where nothing else is said.
type room struct {
	refund     int // key, headers and value together: as approved, and as a case
	decision   int
	status     int
	alert      int
	deadLetter int // likewise together
}

// measure asks what the outputs take, before anything is written.
func (s *session) measure(ctx context.Context) error {
	var names []string
	for _, p := range s.outputTopics() {
		names = append(names, p.name)
	}
	settings, err := kafka.TopicSettings(ctx, s.adm, names...)
	if err != nil {
		s.log.Debug("asking for max.message.bytes failed: it is learned by refusals", "error", err)
	}
	for topic, set := range settings {
		if n, err := strconv.Atoi(set["max.message.bytes"]); err == nil {
			s.cfg.sizes.configure(topic, n)
		}
	}
	for _, topic := range names {
		if n := s.cfg.sizes.of(topic); n < minBatch {
			return fatalf("topic %s takes no more than %d bytes at once: set its max.message.bytes to %d at least (Kafka's default is 1048588)", topic, n, minBatch)
		}
	}
	t := s.topics
	of := func(topic string) int { return s.cfg.sizes.of(topic) - framing }
	s.room = room{refund: of(t.Cases) - caseFraming, decision: of(t.Decisions), status: of(t.Status), alert: of(t.Alerts),
		deadLetter: min(maxDeadLetter, of(t.DeadLetters)-framing)}
	if !s.cfg.Observe {
		s.room.refund = min(s.room.refund, of(t.Approved))
	}
	if n := 2 * s.cfg.Limits.MaxRecordBytes; s.room.refund < n {
		s.log.Warn("refunds within limits.max_record_bytes may be too large to be passed on, and go to the dead letters then: raise max.message.bytes",
			"topics", []string{t.Approved, t.Cases}, "largest", s.room.refund)
	}
	return nil
}

// noteSize hears of records that their topics don't take.
func noteSize(tooLarge *sync.Map, next func(*kgo.Record, error)) func(*kgo.Record, error) {
	return func(r *kgo.Record, err error) {
		if errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) {
			tooLarge.Store(r.Topic, nil)
		}
		next(r, err)
	}
}

// reasonTooLarge is the reason of a refund that is held because the evidence
// for its approval could not be written in full.
const reasonTooLarge = "DECISION_TOO_LARGE"

// shortDecision leaves out what makes a decision large, most telling last. An
// approval is held then: nobody could see what it was founded on.
func (s *session) shortDecision(wr *writer, d *event.Decision) []byte {
	if d.Outcome == event.Approve {
		d.Outcome, d.Reason, d.Holdout = event.Review, reasonTooLarge, false
	}
	short := *d
	short.Hits, short.Errors = slices.Clone(d.Hits), slices.Clone(d.Errors)
	for i := range short.Hits {
		short.Hits[i].Message = ""
	}
	for i := range short.Errors {
		short.Errors[i].Error = "too large to be written"
	}
	for _, leaveOut := range []func(){
		func() { short.Features, short.Skipped, short.Warming = nil, nil, nil },
		func() { short.Hits, short.Errors = nil, nil },
		func() {
			short.CustomerID, short.MerchantID = "", ""
			if short.Original != nil {
				short.Original.InstrumentID = ""
			}
		},
	} {
		leaveOut()
		if b := short.Append(nil); len(b) <= s.room.decision {
			return wr.encode(func(dst []byte) []byte { return append(dst, b...) })
		}
	}
	return wr.encode(short.Append)
}

// appendStatus encodes a status that fits.
func (s *session) appendStatus(wr *writer, st *event.Status, outcome event.Outcome) []byte {
	b := wr.encode(st.Append)
	if len(b) > s.room.status {
		st.CustomerMessage = defaultMessages[outcome]
		b = wr.encode(st.Append)
	}
	if len(b) > s.room.status {
		st.CustomerID = ""
		b = wr.encode(st.Append)
	}
	return b
}

// shortAlert makes an alert fit.
func (s *session) shortAlert(a *event.Alert) {
	if len(a.Append(nil)) > s.room.alert {
		a.Message = fmt.Sprintf("(a message of %d bytes was too large to be written)", len(a.Message))
	}
	if len(a.Append(nil)) > s.room.alert {
		a.CustomerID, a.MerchantID, a.DeviceID, a.InstrumentID = "", "", "", ""
	}
}
