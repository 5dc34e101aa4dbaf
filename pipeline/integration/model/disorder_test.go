package model

import (
	"testing"
	"time"
)

// TestDisorderIsCertain holds it to what makes its result certain: what a
// refund must see is written in an earlier step, or before it in its own
// partition, and doesn't lie behind a record later than the refund. It must be
// out of order all the same.
func TestDisorderIsCertain(t *testing.T) {
	strange := NewStrange(t, "../testdata/rules/strange.yaml", 7)
	strange.NoTies, strange.Step = true, time.Minute
	l := NewDisorder(strange, 7, 3)
	const most = 16
	type about struct {
		at, behind int64 // its time, and that of the latest record before it in its partition
		step       int
		place      place
		refund     bool
	}
	written := make(map[string][]about)
	latest := make(map[place]int64)
	known := make(map[string]bool)
	for step := 0; step < 1500; step++ {
		for len(l.ready) < 2*most {
			l.draw()
		}
		coming := l.ready
		for i, r := range l.Step(1 + l.rng.IntN(most)) {
			e := coming[i]
			here := about{at: e.At, behind: latest[place{r.Topic, r.Partition}], step: step, place: place{r.Topic, r.Partition}, refund: r.Topic == "refunds"}
			latest[here.place] = max(here.behind, e.At)
			for id := range e.about {
				for _, before := range written[id] {
					switch {
					case before.refund && before.at >= e.At && e.Fate != IsDuplicate:
						t.Errorf("step %d: %s is written after a refund of %d that must see it", step, r.Value, before.at)
					case before.step == step && before.place != here.place:
						t.Errorf("step %d: %s is written beside another of %s, elsewhere", step, r.Value, id)
					case here.refund && before.at <= e.At && e.At < before.behind && before.place != here.place:
						t.Errorf("step %d: %s can be decided before what it must see", step, r.Value)
					}
				}
				written[id] = append(written[id], here)
			}
			if e.Fate == IsDuplicate && !known[string(r.Value)] {
				t.Errorf("step %d: %s is written again before it is written", step, r.Value)
			}
			known[string(r.Value)] = true
		}
	}
	if n := l.Late.Load(); n < 500 {
		t.Errorf("only %d records are out of order", n)
	}
}
