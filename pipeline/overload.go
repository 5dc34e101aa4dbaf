package pipeline

import "time"

// Where more arrives than can be worked off, records wait in Kafka, and customers
// with them. What can be left out without any refund being decided otherwise is
// left out first: shadow rules.

// overload looks once a second whether the work that waits has only grown for
// shedAfter, and shadow rules are shed until half of what it was then is worked
// off. A backlog that gets shorter, such as after a break, is no overload.
type overload struct {
	last    int64 // records that waited a second ago
	since   time.Time
	shed    bool
	highest int64
}

// shedAfter is long enough that a burst is none.
const shedAfter = 10 * time.Second

// leastBehind is how many records may wait in any case.
const leastBehind = 100_000

// look takes the records that wait now and reports whether shadow rules are to
// be shed.
func (o *overload) look(waiting int64, now time.Time) bool {
	switch {
	case o.shed:
		o.highest = max(o.highest, waiting)
		if waiting < o.highest/2 {
			*o = overload{}
		}
	case waiting < leastBehind || waiting <= o.last || o.since.IsZero():
		o.since = now
	case now.Sub(o.since) >= shedAfter:
		o.shed, o.highest = true, waiting
	}
	o.last = waiting
	return o.shed
}

// shedShadow sheds shadow rules or takes them up again.
func (s *session) shedShadow() {
	var waiting int64
	for _, in := range s.inputs {
		for _, p := range in.partitions {
			waiting += p.lag()
		}
	}
	before := s.overload.shed
	shed := s.overload.look(waiting, time.Now())
	if shed == before {
		return
	}
	s.engine.Shed(shed)
	s.metrics.shedding.Set(oneIf(shed))
	if shed {
		s.log.Warn("more arrives than is worked off: shadow rules are left out, and listed as skipped in decisions, until half of what waits is done", "records", waiting)
	} else {
		s.log.Info("shadow rules are evaluated again", "records", waiting)
	}
}
