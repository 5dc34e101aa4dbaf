package pipeline

import (
	"fmt"
	"time"
)

// stuck is how long nothing may move before the service says that it isn't
// ready. The client goes on trying meanwhile.
const stuck = 5 * time.Second

// health is why refunds aren't being decided and committed. The client retries
// most errors for ever and without a word, so that it is the lack of progress
// that is looked at.
func (s *session) health() error {
	if took := time.Since(s.commitStart); s.committing && took > stuck {
		if err := s.commitTrouble.Load(); err != nil {
			return fmt.Errorf("an epoch has been committing for %s: %w", took.Round(time.Second), *err)
		}
		return fmt.Errorf("an epoch has been committing for %s: is Kafka away?", took.Round(time.Second))
	}
	if silent := time.Since(s.ends.okAt); !s.ends.okAt.IsZero() && silent > stuck {
		return fmt.Errorf("no broker has told for %s where the topics end, so nothing is due: is Kafka away?", silent.Round(time.Second))
	}
	for _, p := range s.refunds.partitions {
		if silent := p.starved(time.Now()); silent > stuck {
			return fmt.Errorf("topic %s partition %d has brought nothing for %s, though it isn't read to its end (at offset %d): is its leader away?",
				s.refunds.stream.Topic, p.id, silent.Round(time.Second), p.applied)
		}
	}
	return nil
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
