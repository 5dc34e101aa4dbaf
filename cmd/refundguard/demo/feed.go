package demo

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/cmd/refundguard/shop"
)

// feeder plays a source into the topics.
type feeder struct {
	src    source
	client *kgo.Client
	audit  *Audit
	speed  Speed

	ahead  shop.Record // of src, where have
	have   bool
	ended  atomic.Bool
	events atomic.Int64
	now    atomic.Int64 // the shop's time, Unix milliseconds

	mu     sync.Mutex
	counts map[string]int64 // by topic, acknowledged
	failed error
}

func newFeeder(opts []kgo.Opt, src source, audit *Audit, speed Speed) (*feeder, error) {
	client, err := kgo.NewClient(append(append([]kgo.Opt{}, opts...),
		// murmur2 of the key, as Kafka's own clients do; batches without one.
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.ProducerLinger(2*time.Millisecond), kgo.MaxBufferedRecords(50_000))...)
	if err != nil {
		return nil, fmt.Errorf("making the client that plays the shop: %w", err)
	}
	return &feeder{src: src, client: client, audit: audit, speed: speed, counts: map[string]int64{}}, nil
}

// tick is how often what has become due is sent, at a speed below Max.
const tick = 50 * time.Millisecond

// run plays until the source ends or ctx does. Of what is due together,
// refunds are sent last, so that they never come before what happened before
// them.
func (f *feeder) run(ctx context.Context) error {
	if err := f.look(); err != nil {
		return err
	}
	begin, start := f.ahead.Time, time.Now()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for f.have && ctx.Err() == nil {
		now := f.speed.reached(begin, start, time.Now())
		if err := f.send(ctx, now); err != nil {
			return err
		}
		if f.speed == Max {
			continue
		}
		f.now.Store(now)
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	f.ended.Store(!f.have)
	return nil
}

// most bounds what is sent together.
const most = 20_000

func (f *feeder) send(ctx context.Context, until int64) error {
	var refunds, others []*kgo.Record
	for f.have && f.ahead.Time <= until && len(refunds)+len(others) < most {
		r := &kgo.Record{Topic: f.ahead.Stream, Key: bytes.Clone(f.ahead.Key), Value: bytes.Clone(f.ahead.Value)}
		if r.Topic == topicRefunds {
			refunds = append(refunds, r)
		} else {
			others = append(others, r)
		}
		f.now.Store(f.ahead.Time)
		if err := f.look(); err != nil {
			return err
		}
	}
	for _, batch := range [][]*kgo.Record{others, refunds} {
		for _, r := range batch {
			f.client.Produce(ctx, r, f.sent)
		}
		if err := f.client.Flush(ctx); err != nil {
			return nil // ctx ended
		}
		f.mu.Lock()
		err := f.failed
		f.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (f *feeder) sent(r *kgo.Record, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		if f.failed == nil {
			f.failed = fmt.Errorf("sending to %s: %w; the record begins with %.80q", r.Topic, err, r.Value)
		}
		return
	}
	f.events.Add(1)
	f.counts[r.Topic]++
}

// sentTo is how many records of a topic were acknowledged.
func (f *feeder) sentTo() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := make(map[string]int64, len(f.counts))
	for topic, n := range f.counts {
		counts[topic] = n
	}
	return counts
}

// look goes to the source's next record that is to be sent.
func (f *feeder) look() error {
	for {
		r, ok, err := f.src.next()
		if err != nil {
			return err
		}
		f.ahead, f.have = r, ok
		if !ok || r.Stream != shop.Labels {
			return nil
		}
		if err := f.audit.learn(r.Value); err != nil {
			return err
		}
	}
}
