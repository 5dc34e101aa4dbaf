package pipeline

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// input is one stream that is read: a topic and its partitions.
type input struct {
	stream     *event.Stream
	index      int // in the schema's Streams
	topicID    [16]byte
	partitions []*partition
	enums      []int              // slots of enum fields
	required   bool               // decisions wait for it: refunds, transactions, streams that rules read
	decides    bool               // its records wait for their turn: refunds, transactions where rules are on them, and what happens to cases
	gates      bool               // likewise, and others wait for them: not what happens to cases
	taken      int                // records of the present chunk
	applied    prometheus.Counter // of metrics
	duplicates prometheus.Counter // likewise
}

// partition is the bounded buffer between fetching and the engine, and the
// engine's progress in it.
type partition struct {
	in *input
	id int32

	mu       sync.Mutex
	queue    []*batch // in offset order; the first may be partly applied
	buffered int      // records in queue
	paused   bool
	position int64     // the offset after everything that was queued, control records included
	moved    time.Time // when position last grew
	epoch    int32     // of the leader, of the record before position; -1: unknown

	// Below: the engine's goroutine only.

	start     int64                 // first offset that is read: the first that exists, or is not in the state
	from      int64                 // first offset that the state has something of
	inState   int64                 // records before this were applied by a session before, and are in the state
	odd       map[int64]engine.Fate // of those that are read again: see savedState
	gone      bool                  // it holds nothing, and did
	cut       bool                  // records before start are gone; cleared by the first record read
	stop      int64                 // while recovering: apply up to here, refunds as far as they have passed; else -1
	passed    int64                 // while recovering: records before this have passed, and are only applied
	applied   int64                 // next offset to apply
	watermark int64                 // greatest event time applied or next in the queue
	end       int64                 // last stable offset, as of the latest answer
	endKnown  bool                  // that answer covered this partition
	leftOut   bool                  // silent for too long: decisions don't wait for it, and are degraded
	waitSince time.Time

	starvedSince time.Time // see starved
	heardUntil   int64     // of what happens to cases: all from before this time had its turn, Unix milliseconds
	unheardSince time.Time // since when that isn't so up to the end; zero: it is

	decideFrom int64     // of an input that decides: earlier ones are history
	pending    []*record // likewise: read, not yet passed, in offset order
	pendingAt  int       // index of the first of them
}

// record is one input record.
type record struct {
	engine.Item
	part *partition
	raw  *kgo.Record
	err  *event.RecordError // refused: goes to the dead letters
	gen  int64              // the end-of-partition question that was the latest when this was read

	history bool // before decide_from: not decided
}

// batch is a run of records of one partition, decoded elsewhere in parallel.
type batch struct {
	records []record
	next    int // first record that isn't applied
	end     int64
	decoded chan struct{} // closed when records are ready
}

// leaderEpoch is that of what was read last, or nil.
func (p *partition) leaderEpoch() *int32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.epoch < 0 {
		return nil
	}
	epoch := p.epoch
	return &epoch
}

// ready reports whether the batch is decoded.
func (b *batch) ready() bool {
	select {
	case <-b.decoded:
		return true
	default:
		return false
	}
}

// peek returns the next record to apply, nil if there is none or it is still
// being decoded.
func (p *partition) peek() *record {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) > 0 {
		b := p.queue[0]
		if !b.ready() {
			return nil
		}
		if b.next < len(b.records) {
			return &b.records[b.next]
		}
		p.dropFirst()
	}
	return nil
}

// take returns up to max decoded records from the front that are before stop
// and within the limit; a record that was refused has no time. They are
// consecutive in memory.
func (p *partition) take(limit frontier, max int) []record {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) > 0 && p.queue[0].next == len(p.queue[0].records) && p.queue[0].ready() {
		p.dropFirst()
	}
	if len(p.queue) == 0 || !p.queue[0].ready() {
		return nil
	}
	b := p.queue[0]
	from, n := b.next, 0
	for b.next < len(b.records) && n < max {
		r := &b.records[b.next]
		if p.stop >= 0 && r.Offset >= p.stop || r.gen >= limit.gen || r.err == nil && r.Event.Time > limit.time {
			break
		}
		b.next++
		n++
	}
	p.buffered -= n
	out := b.records[from : from+n]
	if n > 0 {
		p.applied = out[n-1].Offset + 1
	}
	if b.next == len(b.records) {
		p.dropFirst()
	}
	return out
}

// dropFirst leaves a batch that is applied whole. Called with mu held.
func (p *partition) dropFirst() {
	p.applied = max(p.applied, p.queue[0].end)
	p.queue[0] = nil
	p.queue = p.queue[1:]
	if len(p.queue) == 0 {
		p.queue = nil
	}
}

// drained reports whether everything that was read is applied; if so, what was
// applied reaches over the control records behind it.
func (p *partition) drained() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) > 0 && p.queue[0].next == len(p.queue[0].records) && p.queue[0].ready() {
		p.dropFirst()
	}
	if len(p.queue) > 0 {
		return false
	}
	if p.stop < 0 || p.position <= p.stop {
		p.applied = max(p.applied, p.position)
	}
	return true
}

// recovered is up to where a recovering or following session has what another
// one passed.
func (p *partition) recovered() int64 { return min(p.applied, p.passed) }

// lag is how many offsets there are to the partition's end, as far as that is
// known, that are not applied.
func (p *partition) lag() int64 {
	if !p.endKnown {
		return 0
	}
	return max(0, p.end-p.applied)
}

// waiting is how many refunds are read and not passed.
func (p *partition) waiting() int { return len(p.pending) - p.pendingAt }

// head is the first refund that waits, or nil.
func (p *partition) head() *record {
	if p.waiting() == 0 {
		return nil
	}
	return p.pending[p.pendingAt]
}

// push puts a refund behind those that wait.
func (p *partition) push(r *record) { p.pending = append(p.pending, r) }

// pop takes the head away.
func (p *partition) pop() {
	p.pending[p.pendingAt] = nil
	p.pendingAt++
	if p.pendingAt == len(p.pending) {
		p.pending, p.pendingAt = p.pending[:0], 0
	} else if p.pendingAt >= 1024 && 2*p.pendingAt >= len(p.pending) {
		n := copy(p.pending, p.pending[p.pendingAt:])
		clear(p.pending[n:])
		p.pending, p.pendingAt = p.pending[:n], 0
	}
}

// decided is the offset below which every refund of this partition has passed.
func (p *partition) decided() int64 {
	if h := p.head(); h != nil {
		return h.Offset
	}
	return p.applied
}
