package demo

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// program is somebody who works beside the service: the ledger, an analyst, the
// customers. It reads topics from the beginning and writes to others, and knows
// nothing but what it reads there.
type program struct {
	name  string
	deeds *deeds
	read  func(*kgo.Record)      // takes what is read; mu is held
	rest  func(time.Time) []step // what else is to be done now; mu is held; nil: nothing
	waits func() string          // what it waits for, in words; mu is held
	now   func() int64           // the shop's time

	client *kgo.Client
	reader *follower
	stop   context.CancelFunc
	done   sync.WaitGroup

	mu    sync.Mutex
	at    positions
	plans plans
	busy  bool // writing
}

// step is something that a program does: records, and what they are.
type step struct {
	records []*kgo.Record
	deeds   []deed
}

// plan is a step for later.
type plan struct {
	when time.Time
	do   func() step
}

// plans are a heap, the earliest first.
type plans []plan

func (p plans) Len() int           { return len(p) }
func (p plans) Less(i, j int) bool { return p[i].when.Before(p[j].when) }
func (p plans) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *plans) Push(x any)        { *p = append(*p, x.(plan)) }
func (p *plans) Pop() any {
	last := (*p)[len(*p)-1]
	(*p)[len(*p)-1] = plan{}
	*p = (*p)[:len(*p)-1]
	return last
}

// turn is how often a program looks what is to be done.
const turn = 10 * time.Millisecond

// start begins to read and work, until close.
func (p *program) start(opts []kgo.Opt, topics []string) error {
	client, err := kgo.NewClient(append(append([]kgo.Opt{}, opts...), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))...)
	if err != nil {
		return fmt.Errorf("making the client of the %s: %w", p.name, err)
	}
	p.client, p.at = client, positions{}
	if p.reader, err = follow(opts, topics, p); err != nil {
		client.Close()
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.done.Go(func() {
		ticker := time.NewTicker(turn)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-ticker.C:
				p.work(ctx, now)
			}
		}
	})
	return nil
}

func (p *program) close() {
	p.stop()
	p.done.Wait()
	p.reader.close()
	p.client.Close()
}

// Add takes a record that was read, or a control record.
func (p *program) Add(r *kgo.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at.note(r); !r.Attrs.IsControl() {
		p.read(r)
	}
}

func (p *program) reached(topic string, partition int32, end int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at.reached(topic, partition, end)
}

// later plans a step; mu is held.
func (p *program) later(after time.Duration, do func() step) {
	heap.Push(&p.plans, plan{time.Now().Add(after), do})
}

// work does what is due, in one batch.
func (p *program) work(ctx context.Context, now time.Time) {
	var all step
	p.mu.Lock()
	if p.now() == 0 {
		p.mu.Unlock() // the shop's first decision isn't read yet
		return
	}
	for len(p.plans) > 0 && !p.plans[0].when.After(now) {
		s := heap.Pop(&p.plans).(plan).do()
		all.records, all.deeds = append(all.records, s.records...), append(all.deeds, s.deeds...)
	}
	if p.rest != nil {
		for _, s := range p.rest(now) {
			all.records, all.deeds = append(all.records, s.records...), append(all.deeds, s.deeds...)
		}
	}
	p.busy = len(all.records)+len(all.deeds) > 0
	p.mu.Unlock()
	if len(all.records) > 0 {
		if err := p.client.ProduceSync(ctx, all.records...).FirstErr(); err != nil && ctx.Err() == nil {
			p.deeds.fail(fmt.Errorf("the %s could not write: %w", p.name, err))
			all.deeds = nil
		}
	}
	p.deeds.wrote(p.name, all)
	p.mu.Lock()
	p.busy = false
	p.mu.Unlock()
}

// left says in words what it is still to do; "" is nothing.
func (p *program) left() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy {
		return "writing for the " + p.name
	}
	if n := len(p.plans); n > 0 {
		return fmt.Sprintf("%d things for the %s to do", n, p.name)
	}
	return p.waits()
}

// positions are how far topics were read.
type positions map[string]map[int32]int64

func (at positions) note(r *kgo.Record) {
	if at[r.Topic] == nil {
		at[r.Topic] = map[int32]int64{}
	}
	at[r.Topic][r.Partition] = r.Offset + 1
}

func (at positions) reached(topic string, partition int32, end int64) bool {
	return at[topic][partition] >= end
}
