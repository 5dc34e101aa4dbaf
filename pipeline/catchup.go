package pipeline

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

// toTheEnd has everything applied that was: what is not decided, too, but for
// refunds that no saved state has.
func (s *session) toTheEnd(last *progress) {
	for _, in := range s.inputs {
		sp := last.stream(in.stream.Name)
		for i, p := range in.partitions {
			if in == s.refunds {
				p.stop = max(p.stop, p.inState)
			} else if sp != nil && i < len(sp.Partitions) {
				p.stop = max(p.stop, sp.Partitions[i].Applied)
			}
		}
	}
}

// catchUp applies what is read, up to where each partition is to stop. It saves
// what it has by then, unless of is nil: the progress that it leads to.
func (s *session) catchUp(ctx context.Context, r *recovery, of *progress) error {
	if s.saved.IsZero() {
		s.saved = time.Now() // a short one need not
	}
	for !s.caughtUp() {
		if err := ctx.Err(); err != nil {
			return err // there may be more to apply for minutes
		}
		if time.Since(r.told) > 5*time.Second {
			behind := s.behind()
			s.metrics.recoveryBehind.Set(float64(behind))
			s.metrics.observe(s)
			if !r.told.IsZero() {
				s.log.Info("recovering", "records", r.read, "behind", behind)
			}
			r.told = time.Now()
		}
		began := time.Now()
		moved := s.collect(everything)
		if moved {
			r.read += int64(len(s.chunk))
			if err := firstError(s.restore(r.past), s.stateErr()); err != nil {
				return err
			}
		}
		if of != nil {
			if err := s.saveRecovered(of, r); err != nil {
				return err
			}
		}
		moved = s.saveFor(time.Since(began)/saveShare) || moved
		if err := s.makeRoom(ctx); err != nil {
			return err
		}
		if moved {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.reader.fail:
			return err
		case <-s.reader.wake:
		case <-time.After(50 * time.Millisecond):
		}
	}
	for _, in := range s.inputs {
		for _, p := range in.partitions {
			p.applied = max(p.applied, p.stop) // control records, and what was compacted
		}
	}
	s.metrics.recoveryBehind.Set(0)
	return nil
}

// forgotten tells the engine of partitions that hold nothing any more of what the
// state hasn't: no record says until when that was.
func (s *session) forgotten() {
	for _, in := range s.inputs {
		for _, p := range in.partitions {
			if p.gone && p.cut {
				s.engine.Incomplete(in.index, s.cfg.now().UnixMilli())
			}
		}
	}
}

// caughtUp reports whether everything up to the committed progress is applied.
func (s *session) caughtUp() bool { return s.behind() == 0 }

// behind is how many offsets recovery still has to go.
func (s *session) behind() int64 {
	var n int64
	for _, in := range s.inputs {
		for _, p := range in.partitions {
			if p.stop < 0 || p.applied >= p.stop {
				continue
			}
			// Control records at the end of what was applied are passed too.
			if p.drained(); p.applied >= p.stop {
				continue
			}
			if r := p.peek(); r != nil && r.Offset >= p.stop {
				continue
			}
			p.mu.Lock()
			over := len(p.queue) == 0 && p.position >= p.stop
			p.mu.Unlock()
			if !over {
				n += p.stop - p.applied
			}
		}
	}
	return n
}

func (s *session) startReader(ctx context.Context) error {
	offsets := map[string]map[int32]kgo.Offset{}
	byTopic := map[string]*input{}
	partitions := 0
	for _, in := range s.inputs {
		byTopic[in.stream.Topic] = in
		partitions += len(in.partitions)
		offsets[in.stream.Topic] = map[int32]kgo.Offset{}
		for _, p := range in.partitions {
			offsets[in.stream.Topic][p.id] = kgo.NewOffset().At(p.start)
		}
	}
	cl, err := kgo.NewClient(append(slices.Clone(s.cfg.options),
		kgo.ConsumePartitions(offsets),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // position at the end of a partition counts them
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchShare(partitions)), kgo.MaxDecompressBatchBytes(maxDecompressed),
		kgo.FetchMaxWait(100*time.Millisecond))...)
	if err != nil {
		return fatalf("kafka client: %w", err)
	}
	workers := s.cfg.Engine.Workers
	s.reader = &reader{client: cl, inputs: byTopic, maxDelay: s.cfg.Limits.MaxEventDelay.Milliseconds(), largest: s.room.refund, capacity: s.capacity, pressure: newBackpressure(s.cfg.Engine.AlignTimeout), unknown: s.metrics.unknownValues,
		limits: event.Limits{MaxBytes: s.cfg.Limits.MaxRecordBytes, MaxDepth: s.cfg.Limits.MaxDepth, MaxFieldBytes: s.cfg.Limits.MaxFieldBytes},
		wake:   make(chan struct{}, 1), fail: make(chan error, 1), work: make(chan *batch, 2*workers)}
	s.reader.start(ctx, workers)
	return nil
}
