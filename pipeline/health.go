package pipeline

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/refundguard/refundguard/pipeline/kafka"
)

// stuck is how long nothing may move before the service says that it isn't
// ready. The client goes on trying meanwhile.
const stuck = 5 * time.Second

// health is why refunds aren't being decided and committed. The client retries
// most errors for ever and without a word, so that it is the lack of progress
// that is looked at.
func (s *session) health(ctx context.Context) error {
	if took := time.Since(s.commitStart); s.committing && took > stuck {
		if err := s.commitTrouble.Load(); err != nil {
			return fmt.Errorf("an epoch has been committing for %s: %w", took.Round(time.Second), *err)
		}
		return fmt.Errorf("an epoch has been committing for %s: %s", took.Round(time.Second), s.why(ctx))
	}
	if silent := time.Since(s.ends.okAt); silent > stuck {
		return fmt.Errorf("no broker has told for %s where the topics end, so nothing is due: %s", silent.Round(time.Second), s.why(ctx))
	}
	for _, p := range s.refunds.partitions {
		if silent := p.starved(time.Now()); silent > stuck {
			return fmt.Errorf("topic %s partition %d has brought nothing for %s, though it isn't read to its end (at offset %d): %s",
				s.refunds.stream.Topic, p.id, silent.Round(time.Second), p.applied, s.why(ctx))
		}
	}
	return nil
}

// probe is what the brokers answered when they were asked afresh.
type probe struct {
	asked  time.Time
	answer atomic.Pointer[string] // nil: none yet
}

// probeEvery is how often brokers are asked what is wrong, while something is.
const probeEvery = 10 * time.Second

// why asks the brokers what is wrong, in the background, and returns what they
// said last.
func (s *session) why(ctx context.Context) string {
	if time.Since(s.probe.asked) > probeEvery {
		if time.Since(s.probe.asked) > 2*probeEvery {
			s.probe.answer.Store(nil) // of other troubles
		}
		s.probe.asked = time.Now()
		go func() {
			ctx, cancel := context.WithTimeout(ctx, probeEvery)
			defer cancel()
			text := "the brokers answer; see their logs, and whether each partition has a leader and enough replicas"
			if _, err := kafka.Check(ctx, s.cfg.options); err != nil {
				text = err.Error()
			}
			s.probe.answer.Store(&text)
		}()
	}
	if text := s.probe.answer.Load(); text != nil {
		return *text
	}
	return "is Kafka away?"
}

// starved is for how long the partition has had more to read, as far as is
// known, and brought nothing.
func (p *partition) starved(now time.Time) time.Duration {
	p.mu.Lock()
	starving := len(p.queue) == 0 && (!p.endKnown || p.position < p.end)
	moved := p.moved
	p.mu.Unlock()
	switch {
	case !starving:
		p.starvedSince = time.Time{}
		return 0
	case p.starvedSince.IsZero() || moved.After(p.starvedSince):
		p.starvedSince = now
	}
	return now.Sub(p.starvedSince)
}
