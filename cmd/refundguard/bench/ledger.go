package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Audit counts refunds by what became of them.
type Audit struct {
	Sent    int `json:"refunds_sent"`
	Decided int `json:"decisions"`
	Lost    int `json:"lost"`    // refunds without a decision
	Doubled int `json:"doubled"` // decisions beyond a refund's first
	Unknown int `json:"unknown"` // decisions on nothing that was sent
}

// OK reports whether each refund has its one decision.
func (a Audit) OK() bool { return a.Lost == 0 && a.Doubled == 0 && a.Unknown == 0 }

func (a *Audit) add(b Audit) {
	a.Sent, a.Decided, a.Lost, a.Doubled, a.Unknown = a.Sent+b.Sent, a.Decided+b.Decided, a.Lost+b.Lost, a.Doubled+b.Doubled, a.Unknown+b.Unknown
}

// ledger knows which refunds were sent, and reads the committed decisions. It
// shares no code with the service.
type ledger struct {
	client *kgo.Client
	stop   context.CancelFunc
	ended  chan struct{}

	mu       sync.Mutex
	refunds  []refundSent // by number, from 1
	audited  Audit        // but for Lost
	open     int          // without a decision
	moved    time.Time
	read     map[int32]int64 // by partition, the next offset
	arrivals []time.Time     // of decisions, by batch, since watch
	watching bool
}

// refundSent is one refund, and what came of it.
type refundSent struct {
	sent    bool
	decided int32
	due     time.Time     // when it was to be sent; zero: nobody measures
	took    time.Duration // from then to when its decision could be read
}

func newLedger(brokers []string, topic string) (*ledger, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &ledger{client: cl, stop: stop, ended: make(chan struct{}), read: map[int32]int64{}, moved: time.Now()}
	go func() {
		defer close(l.ended)
		for ctx.Err() == nil {
			l.take(cl.PollFetches(ctx))
		}
	}()
	return l, nil
}

func (l *ledger) close() {
	l.stop()
	<-l.ended
	l.client.Close()
}

// send notes a refund by its number.
func (l *ledger) send(number uint64, due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for uint64(len(l.refunds)) <= number {
		l.refunds = append(l.refunds, refundSent{})
	}
	r := &l.refunds[number]
	r.sent, r.due = true, due
	l.audited.Sent++
	l.open++
	l.moved = time.Now()
}

func (l *ledger) take(fetches kgo.Fetches) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.audited.Decided
	fetches.EachRecord(func(rec *kgo.Record) {
		l.read[rec.Partition] = rec.Offset + 1
		if !rec.Attrs.IsControl() {
			l.decide(string(rec.Key), now)
		}
	})
	if l.audited.Decided > before {
		l.moved = now
		if l.watching {
			l.arrivals = append(l.arrivals, now)
		}
	}
}

// decide counts a decision.
func (l *ledger) decide(refund string, now time.Time) {
	l.audited.Decided++
	number := 0
	if _, err := fmt.Sscanf(refund, "rfd_%d", &number); err != nil || number < 1 || number >= len(l.refunds) || !l.refunds[number].sent {
		l.audited.Unknown++
		return
	}
	r := &l.refunds[number]
	if r.decided++; r.decided > 1 {
		l.audited.Doubled++
		return
	}
	l.open--
	if !r.due.IsZero() {
		r.took = now.Sub(r.due)
	}
}

// state is when something happened last, and whether all refunds are decided.
func (l *ledger) state() (moved time.Time, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.moved, l.open == 0
}

// readTo reports whether all before these offsets is counted.
func (l *ledger) readTo(ends map[int32]kadm.ListedOffset) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for partition, end := range ends {
		if l.read[partition] < end.Offset {
			return false
		}
	}
	return true
}

func (l *ledger) audit() Audit {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.audited
	a.Lost = l.open
	return a
}

// watch begins to note when decisions come.
func (l *ledger) watch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watching, l.arrivals = true, nil
}

// gap is the longest time without a decision since watch that ended after from.
func (l *ledger) gap(from time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	longest := time.Duration(0)
	for i := 1; i < len(l.arrivals); i++ {
		if l.arrivals[i].After(from) {
			longest = max(longest, l.arrivals[i].Sub(l.arrivals[i-1]))
		}
	}
	return longest
}

// cameAfter reports whether a decision did.
func (l *ledger) cameAfter(t time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.arrivals) > 0 && l.arrivals[len(l.arrivals)-1].After(t)
}

// latencies are those of refunds that were due since, sorted.
func (l *ledger) latencies(since time.Time) []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []time.Duration
	for _, r := range l.refunds {
		if r.decided > 0 && r.due.After(since) {
			all = append(all, r.took)
		}
	}
	slices.Sort(all)
	return all
}
