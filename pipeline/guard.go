package pipeline

import (
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
)

// putGuards puts in force what has changed of the guards, for the next epoch.
func (s *session) putGuards() {
	if !s.guardsChanged {
		return
	}
	s.guardsChanged = false
	snoozes := s.controls.snoozed(s.cfg.now().UnixMilli())
	g := engine.Guards{Overrides: rules.NewOverrides(s.breaker.shadows(), snoozes)}
	g.Hold, g.HoldMerchants = s.controls.held()
	s.engine.Guard(g)
	s.guards = g
	s.tellHolds()
	s.metrics.setGuards(s.breaker, len(snoozes), len(s.controls.holds))
}

// setGuards shows which of the live rules are tripped, and what people have put in
// force.
func (m *metrics) setGuards(b *breaker, snoozes, holds int) {
	m.snoozes.Set(float64(snoozes))
	m.holds.Set(float64(holds))
	m.tripped.Reset()
	for r, h := range b.rules {
		m.tripped.WithLabelValues(r.ID).Set(oneIf(h.trip != nil))
	}
}
