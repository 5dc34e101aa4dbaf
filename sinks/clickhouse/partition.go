package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// partition copies one partition, batch by batch, while it is ours. Its
// goroutine is run; the poll loop pushes.
type partition struct {
	sink    *Sink
	client  *kgo.Client
	topic   string
	id      int32
	reader  *reader
	topicID string

	next      kgo.EpochOffset  // first record that may not be stored; offset -1: whatever comes first
	announced int64            // last offset of the batch that was under way before us; -1: none
	progress  bool             // next is ahead of what is committed
	taken     map[string]int64 // by table that has rows beyond next: the last offset of these
	refused   int              // records that were given up lately; see forgiveness
	accepted  int              // records stored since refused went down

	mu     sync.Mutex
	queue  []*kgo.Record
	bytes  int // of queue
	paused bool
	wake   chan struct{} // holds one token while queue has news

	stored atomic.Int64 // next.Offset, for lag
	end    atomic.Int64 // last stable offset, as the broker said last

	cancel context.CancelCauseFunc
	done   chan struct{}
}

var errLost = errors.New("the partition was taken away")

// push adds what was polled and never waits: a queue that is long pauses
// fetching instead.
func (p *partition) push(records []*kgo.Record) {
	p.mu.Lock()
	for _, rec := range records {
		p.queue = append(p.queue, rec)
		p.bytes += size(rec)
	}
	if !p.paused && (len(p.queue) >= p.sink.cfg.BatchRows || p.bytes >= p.sink.cfg.BatchBytes) {
		p.paused = true
		p.client.PauseFetchPartitions(p.self())
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// pull moves what was pushed into b until b is full. Fetching goes on once all
// is taken.
func (p *partition) pull(b *batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.queue) && !b.full() && b.take(p.queue[n]) {
		p.bytes -= size(p.queue[n])
		p.queue[n] = nil
		n++
	}
	p.queue = p.queue[n:]
	if b.any && (p.next.Offset < 0 || b.cut) {
		if b.cut {
			p.sink.log.Warn("the log was cut: reading again what is there now", "partition", p.name(), "expected", p.next.Offset, "found", b.from)
		}
		p.taken = nil
		p.next, b.cut = kgo.EpochOffset{Epoch: -1, Offset: b.from}, false
	}
	if len(p.queue) == 0 {
		p.queue = nil
		if p.paused {
			p.paused = false
			p.client.ResumeFetchPartitions(p.self())
		}
	}
}

func (p *partition) self() map[string][]int32 { return map[string][]int32{p.topic: {p.id}} }

func (p *partition) name() string { return fmt.Sprintf("%s/%d", p.topic, p.id) }

// run ends when ctx does, which is when the partition is taken away or the sink
// stops.
func (p *partition) run(ctx context.Context) {
	defer close(p.done)
	defer p.sink.trouble.clear(p.name())
	for {
		b, err := p.collect(ctx)
		if err != nil {
			break
		}
		if p.write(ctx, b.span, b.announced) != nil {
			break
		}
		p.announced = -1
	}
	if p.progress && !errors.Is(context.Cause(ctx), errLost) {
		// Nothing would be stored twice without this, only asked for again.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
		defer cancel()
		if err := p.commitOnce(ctx, nil); err != nil {
			p.sink.log.Warn("progress not committed before stopping: the next start repeats it", "partition", p.name(), "error", err)
		}
	}
}

const commitTimeout = 3 * time.Second

// collect waits for the next batch: the one that was under way, or else what
// comes within the interval. Progress that no batch takes along is committed
// meanwhile.
func (p *partition) collect(ctx context.Context) (*batch, error) {
	b := newBatch(p.sink.cfg, p.next.Offset, p.announced, p.taken)
	timer := time.NewTimer(p.sink.cfg.BatchInterval)
	defer timer.Stop()
	due := false
	for {
		p.pull(b)
		switch {
		case b.full():
			return b, nil
		case due && len(b.records) > 0 && !b.announced:
			return b, nil
		case due && !b.announced && (b.any || p.progress):
			if b.any { // control records only: there is nothing to store
				p.advance(b.span)
				b = newBatch(p.sink.cfg, p.next.Offset, -1, p.taken)
			}
			if err := p.commit(ctx, nil); err != nil {
				return nil, err
			}
			p.progress = false
		}
		if due {
			timer.Reset(p.sink.cfg.BatchInterval)
			due = false
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.wake:
		case <-timer.C:
			due = true
		}
	}
}

// commit acknowledges everything before p.next and, with to, announces the
// batch from there to to. It goes on until the broker has taken it.
func (p *partition) commit(ctx context.Context, to *int64) error {
	return p.sink.persist(ctx, p.name(), func(ctx context.Context) error { return p.commitOnce(ctx, to) })
}

// advance goes on behind c.
func (p *partition) advance(c span) {
	p.next = kgo.EpochOffset{Epoch: c.epoch, Offset: c.to + 1}
	p.progress = true
	p.stored.Store(p.next.Offset)
	maps.DeleteFunc(p.taken, func(_ string, last int64) bool { return last <= c.to })
}

func (p *partition) commitOnce(ctx context.Context, to *int64) error {
	m := mark{TopicID: p.topicID, To: to, Taken: p.taken, Refused: p.refused}
	if err := commit(ctx, p.client, p.topic, p.id, p.next, m); err != nil {
		return kafkaFault("commit "+p.name(), err)
	}
	return nil
}
