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
	s.engine.Guard(engine.Guards{Overrides: rules.NewOverrides(s.breaker.shadows(), nil)})
	s.metrics.setTripped(s.breaker)
}

// setTripped shows which of the live rules are tripped.
func (m *metrics) setTripped(b *breaker) {
	m.tripped.Reset()
	for r, h := range b.rules {
		m.tripped.WithLabelValues(r.ID).Set(oneIf(h.trip != nil))
	}
}
