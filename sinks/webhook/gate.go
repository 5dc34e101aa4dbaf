package webhook

import (
	"time"

	"github.com/refundguard/refundguard/sinks"
)

const (
	// downAfter is how many different alerts must fail in a row, before it is
	// the endpoint that is held to be down, and not the alerts to be at fault.
	downAfter = 5

	minShut = time.Second
	maxShut = 5 * time.Minute
)

// gate slows one endpoint down as a whole. Alerts that wait behind it cost the
// endpoint nothing, and their tries aren't used up.
type gate struct {
	proven bool      // a delivery succeeded since the gate was last shut; else one try at a time
	down   bool      // nothing gets through
	until  time.Time // shut before this
	round  int       // grows each time that it is shut
	pause  sinks.Backoff

	streak []*entry // the different alerts that failed since the last success
	since  time.Time
	failed int // tries while down
}

func newGate() gate { return gate{pause: sinks.Backoff{Min: minShut, Max: maxShut}} }

// slots is how many tries may be under way now.
func (g *gate) slots(now time.Time, most int) int {
	switch {
	case now.Before(g.until):
		return 0
	case g.proven:
		return most
	}
	return 1
}

// shut closes the gate for as long as the receiver asks, or, where it doesn't
// say, for longer each time.
func (g *gate) shut(now time.Time, after time.Duration) {
	if after <= 0 {
		after = g.pause.Next()
	}
	g.proven = false
	g.until = now.Add(after)
	g.round++
}

// opened notes a success of a try of this round, and reports whether it ends
// an outage.
func (g *gate) opened(round int) (back bool) {
	g.clearStreak()
	if round != g.round {
		return false // begun before the gate was shut: it says nothing of now
	}
	back = g.down
	g.proven, g.down, g.until = true, false, time.Time{}
	g.pause.Reset()
	return back
}

// blame notes a failure that counts against an alert, and reports whether it
// is the one that shows the endpoint to be down. The tries that led there are
// then given back to their alerts.
func (g *gate) blame(e *entry, now time.Time) (down bool) {
	if e.streak == 0 {
		g.streak = append(g.streak, e)
	}
	e.streak++
	e.failed++
	if len(g.streak) < downAfter {
		return false
	}
	g.down, g.since, g.failed = true, now, 0
	for _, s := range g.streak {
		g.failed += s.streak
		s.failed -= s.streak
		s.held = true
	}
	g.clearStreak()
	return true
}

func (g *gate) clearStreak() {
	for _, e := range g.streak {
		e.streak = 0
	}
	g.streak = g.streak[:0]
}
