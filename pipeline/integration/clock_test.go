package integration

import (
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"github.com/refundguard/refundguard/pipeline/integration/model"
)

var (
	year1970 = time.UnixMilli(0)
	year2100 = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

// TestClocksOfTheMachine: whatever the machine takes for the time, and if it
// jumps from one decade to another between two decisions, what is decided is the
// same. Its clock is what decisions are stamped with, and what the deadlines of
// reviews pass by.
func TestClocksOfTheMachine(t *testing.T) {
	var reads atomic.Int64
	since := func(begin time.Time) func() time.Time {
		started := time.Now()
		return func() time.Time { return begin.Add(time.Since(started)) }
	}
	for name, clock := range map[string]func() time.Time{
		"an hour ahead":  since(time.Now().Add(time.Hour)),
		"an hour behind": since(time.Now().Add(-time.Hour)),
		"in 1970":        since(year1970),
		"in 2100":        since(year2100),
		"jumping": func() time.Time {
			n := reads.Add(1)
			return []time.Time{year1970, time.Now().Add(time.Hour), year2100, time.Now().Add(-time.Hour), time.Now()}[n%5]
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, strangeWorld(t, 21, 1000), 2)
			s.settings.clock = clock
			if name == "jumping" {
				s.world.Latest = year2100
			}
			s.write(0.5)
			sv := start(t, s.settings)
			s.untilCaughtUp(sv)
			sv.stop()
			s.write(1)
			sv = start(t, s.settings)
			s.untilCaughtUp(sv)
			sv.until("the deadlines that have passed", func() bool { return model.Overdue(s.cluster, s.world.Latest) == 0 })
			if got := s.finish(sv); (name == "jumping") != (got.Passed > 0) {
				t.Errorf("%d deadlines have passed", got.Passed)
			}
			// It was that clock, all the same.
			years := make(map[int]int)
			for _, r := range s.cluster.ReadCommitted("refund-decisions") {
				var d struct {
					DecidedAt time.Time `json:"decided_at"`
				}
				if err := json.Unmarshal(r.Value, &d); err != nil {
					t.Fatal(err)
				}
				years[d.DecidedAt.Year()]++
			}
			if want := clock().Year(); years[want] == 0 || name == "jumping" && len(years) < 3 {
				t.Errorf("decided in the years %v, want %d", years, want)
			}
		})
	}
}

// TestClocksOfProducers: the Kafka timestamps that producers give, an hour off
// or decades, change what the contract says of events that are stamped in the
// future, and nothing else.
func TestClocksOfProducers(t *testing.T) {
	hour := time.Hour.Milliseconds()
	for name, c := range map[string]struct {
		clock  func(n int, at int64) int64
		future bool // the events', seen from there
	}{
		"an hour ahead":    {func(_ int, at int64) int64 { return at + hour }, false},
		"an hour behind":   {func(_ int, at int64) int64 { return at - hour }, true},
		"in 1970":          {func(n int, _ int64) int64 { return year1970.UnixMilli() + int64(n) }, true},
		"in 2100":          {func(_ int, _ int64) int64 { return year2100.UnixMilli() }, false},
		"each another":     {func(n int, at int64) int64 { return at + []int64{0, hour, 3, 100 * 365 * 24 * hour}[n%4] }, false},
		"as far as may be": {func(_ int, at int64) int64 { return at - 5*60_000 }, false},
		"a moment more":    {func(_ int, at int64) int64 { return at - 5*60_000 - 1 }, true},
	} {
		t.Run(name, func(t *testing.T) {
			strange := model.NewStrange(t, strangeRuleFile, 22)
			strange.World.Clock = c.clock
			for range 1000 {
				strange.Next()
			}
			s := newScene(t, strange.World, 2)
			s.write(1)
			got := s.finish(start(t, s.settings))
			held, late := 0, s.world.Count("transactions", "EVENT_IN_FUTURE")
			for _, d := range got.Decisions {
				if d.Reason == "EVENT_IN_FUTURE" {
					held++
				}
				if c.future && d.Outcome == "approve" {
					t.Errorf("refund %s is approved", d.RefundID)
				}
			}
			if c.future != (held > 0) || c.future != (late > s.world.Count("transactions", "")/2) {
				t.Errorf("%d refunds are held and %d transactions refused for the future", held, late)
			}
		})
	}
}
