package webhook

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/sinks"
)

const (
	// maxPending bounds the alerts of one endpoint in memory, and keeps what a
	// commit says of them below a broker's bound.
	maxPending = 256

	// grace is how long tries under way may go on when we stop, or when a
	// partition moves: half of them ended by us would be sent twice.
	grace = 5 * time.Second

	commitEvery = 100 * time.Millisecond
)

// endpoint delivers the alerts to one receiver. All its state belongs to the
// goroutine of run, except what watch holds.
type endpoint struct {
	cfg    Endpoint
	kafka  *consumer
	poster *poster
	m      *metrics
	log    *slog.Logger
	watch  *watch

	parts    map[int32]*partition
	gate     gate
	flying   int // tries
	landed   chan landing
	disabled bool
	logged   string // the last failure's text that was logged

	polling     bool
	committing  bool
	nextCommit  time.Time
	commitPause sinks.Backoff
	buryPause   sinks.Backoff
}

// partition is a ledger and the life of the tries that belong to it.
type partition struct {
	*ledger
	flying int // tries and dead letters
	ctx    context.Context
	cancel context.CancelFunc
}

// landing is the end of a try, or of writing a dead letter.
type landing struct {
	entry   *entry
	part    *partition
	round   int
	failure *failure // of the try
	burial  bool
	err     error // of the burial
}

// run returns when ctx ends, once the tries under way have, and what is
// finished has been committed.
func (e *endpoint) run(ctx context.Context) {
	polled := make(chan struct{})
	go func() { defer close(polled); e.kafka.poll(ctx) }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		e.launch(now)
		e.commit(now)
		e.publish()
		var credit chan<- int
		room := maxPending - e.pending()
		if !e.polling && !e.disabled && room > 0 {
			credit = e.kafka.credit
		}
		timer.Reset(e.pauseUntilWork(now))
		select {
		case credit <- room:
			e.polling = true
		case b := <-e.kafka.fetched:
			e.polling = false
			e.take(b.records)
			if b.err != nil && ctx.Err() == nil {
				e.warn("reading alerts failed, and is tried again", b.err)
			}
		case l := <-e.landed:
			e.land(l)
		case c := <-e.kafka.commits:
			e.committed(c)
		case a := <-e.kafka.assigned:
			e.assign(a)
			close(a.done)
		case r := <-e.kafka.revoked:
			e.revoke(r)
			close(r.done)
		case <-timer.C:
		case <-ctx.Done():
			e.stop(polled)
			return
		}
	}
}

// stop ends all partitions, once polling has ended. A rebalance may be what
// polling waits for, and that waits for us.
func (e *endpoint) stop(polled <-chan struct{}) {
	for polling := true; polling; {
		select {
		case <-polled:
			polling = false
		case a := <-e.kafka.assigned:
			close(a.done)
		case r := <-e.kafka.revoked:
			e.revoke(r)
			close(r.done)
		}
	}
	e.revoke(&revocation{partitions: slices.Collect(maps.Keys(e.parts))})
	e.watch.set(func(s *Status) { s.State, s.Pending = Stopped, 0 })
}

func (e *endpoint) pending() (n int) {
	for _, p := range e.parts {
		n += len(p.open)
	}
	return n
}

// assign begins with a partition where its last owner left it.
func (e *endpoint) assign(a *assignment) {
	for id, at := range a.offsets {
		e.drop([]int32{id})
		p := &partition{ledger: newLedger(at.offset, at.metadata)}
		p.ctx, p.cancel = context.WithCancel(context.Background())
		e.parts[id] = p
		e.watch.commit(id, at.offset)
	}
	e.watch.set(func(s *Status) {
		if s.State == Starting {
			s.State = Active
		}
	})
}

// revoke ends the work on partitions, and commits it unless they are lost.
func (e *endpoint) revoke(r *revocation) {
	e.drain(r.partitions)
	if e.committing {
		e.committed(<-e.kafka.commits)
	}
	if at := e.progress(r.partitions); !r.lost && len(at) > 0 {
		e.committed(e.kafka.commit(at))
	}
	e.drop(r.partitions)
}

// drain waits for what is under way, and ends it after the grace.
func (e *endpoint) drain(ids []int32) {
	late := time.NewTimer(grace)
	defer late.Stop()
	for {
		flying := 0
		for _, id := range ids {
			if p := e.parts[id]; p != nil {
				flying += p.flying
			}
		}
		if flying == 0 {
			return
		}
		select {
		case l := <-e.landed:
			e.land(l)
		case <-late.C:
			for _, id := range ids {
				if p := e.parts[id]; p != nil {
					p.cancel()
				}
			}
		}
	}
}

// drop forgets partitions; nothing of them may be under way any more, or its
// end is ignored.
func (e *endpoint) drop(ids []int32) {
	for _, id := range ids {
		p := e.parts[id]
		if p == nil {
			continue
		}
		p.cancel()
		for _, x := range p.open {
			x.lost = true
		}
		delete(e.parts, id)
	}
}

// take adds the records that were read.
func (e *endpoint) take(records []*kgo.Record) {
	for _, r := range records {
		p := e.parts[r.Partition]
		if p == nil {
			continue // revoked since
		}
		if r.Attrs.IsControl() || r.Value == nil {
			p.pass(r)
			continue
		}
		x := p.add(r)
		if x == nil {
			continue // delivered by whoever had the partition before
		}
		a, err := newAlert(r.Value, r.Timestamp, formats[e.cfg.Format])
		if err != nil {
			e.bury(x, codeInvalid, err)
			continue
		}
		least, _ := severityRank(e.cfg.MinSeverity)
		if a.rank < least {
			e.finish(x, skipped)
			continue
		}
		x.alert = a
	}
}

// launch begins what is due and allowed.
func (e *endpoint) launch(now time.Time) {
	for _, p := range e.parts {
		for _, x := range p.open {
			if x.bury != nil && !x.flying && !x.due.After(now) {
				x.flying = true
				p.flying++
				go func() {
					err := e.kafka.bury(p.ctx, x.record, x.bury, e.cfg.Name)
					e.landed <- landing{entry: x, part: p, burial: true, err: err}
				}()
			}
		}
	}
	for e.flying < e.slots(now) {
		x, p := e.next(now)
		if x == nil {
			return
		}
		x.flying = true
		p.flying++
		e.flying++
		e.m.inFlight.Set(float64(e.flying))
		round := e.gate.round
		go func() {
			begun := time.Now()
			f := e.poster.post(p.ctx, x.alert)
			e.m.tried(time.Since(begun))
			e.landed <- landing{entry: x, part: p, round: round, failure: f}
		}()
	}
}

func (e *endpoint) slots(now time.Time) int {
	if e.disabled {
		return 0
	}
	return e.gate.slots(now, e.cfg.MaxInFlight)
}

// next chooses the alert to try: the one that has been due for longest. While
// the endpoint is down it is the one tried least, whenever it is due, so that
// no alert which could be at fault itself keeps the others waiting.
func (e *endpoint) next(now time.Time) (best *entry, part *partition) {
	before := func(a, b *entry) int {
		if e.gate.down && a.tries != b.tries {
			return cmp.Compare(a.tries, b.tries)
		}
		return cmp.Or(a.due.Compare(b.due), a.record.Timestamp.Compare(b.record.Timestamp),
			cmp.Compare(a.record.Offset, b.record.Offset))
	}
	for _, p := range e.parts {
		for _, x := range p.open {
			if x.flying || x.bury != nil || (!e.gate.down && x.due.After(now)) {
				continue
			}
			if best == nil || before(x, best) < 0 {
				best, part = x, p
			}
		}
	}
	return best, part
}

// pauseUntilWork is when the loop has something to do even if nothing happens.
func (e *endpoint) pauseUntilWork(now time.Time) time.Duration {
	const idle = time.Hour
	wake := now.Add(idle)
	sooner := func(t time.Time) {
		if t.Before(wake) {
			wake = t
		}
	}
	shut := now.Before(e.gate.until)
	free := !e.disabled && (shut || e.flying < e.slots(now))
	for _, p := range e.parts {
		if p.dirty && !e.committing {
			sooner(e.nextCommit)
		}
		for _, x := range p.open {
			switch {
			case x.flying:
			case x.bury != nil:
				sooner(x.due)
			case free && shut:
				sooner(e.gate.until)
			case free:
				sooner(x.due)
			}
		}
	}
	return max(wake.Sub(now), 0)
}

// commit begins to commit what has changed, not more often than commitEvery.
func (e *endpoint) commit(now time.Time) {
	if e.committing || now.Before(e.nextCommit) {
		return
	}
	var dirty []int32
	for id, p := range e.parts {
		if p.dirty {
			dirty = append(dirty, id)
		}
	}
	at := e.progress(dirty)
	if len(at) == 0 {
		return
	}
	e.committing = true
	e.nextCommit = now.Add(commitEvery)
	go func() { e.kafka.commits <- e.kafka.commit(at) }()
}

// progress is what there is to commit for these partitions.
func (e *endpoint) progress(ids []int32) map[int32]position {
	at := map[int32]position{}
	for _, id := range ids {
		if p := e.parts[id]; p != nil && p.dirty {
			p.dirty = false
			at[id] = position{p.prefix(), p.metadata()}
		}
	}
	return at
}

func (e *endpoint) committed(c commitResult) {
	e.committing = false
	if c.err == nil {
		e.commitPause.Reset()
		for id, at := range c.at {
			e.watch.commit(id, at.offset)
		}
		return
	}
	// What isn't committed is sent again after a restart, and nothing else.
	e.nextCommit = time.Now().Add(e.commitPause.Next())
	e.warn("committing the endpoint's progress failed, and is tried again", c.err)
	for id := range c.at {
		if p := e.parts[id]; p != nil {
			p.dirty = true
		}
	}
}

// jitter is between half and all of d, so that alerts that failed together
// don't come back together.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
