package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules"
)

// breakerModel keeps every refund and counts them anew each time.
type breakerModel struct {
	limit   int64 // millionths
	refunds []modelRefund
	from    map[string]int // by rule, the first refund that counts
	sources map[string]string
	tripped map[string]int64 // by rule, the offset of the controls as of then
	newest  int64
}

type modelRefund struct {
	bucket int64
	alone  []string
}

func (m *breakerModel) add(t int64, alone []string, controls int64) {
	bucket := t / breakerBucket
	m.newest = max(m.newest, bucket)
	m.refunds = append(m.refunds, modelRefund{bucket, alone})
	if bucket <= m.newest-breakerBuckets {
		return
	}
	all, held := m.count()
	for _, id := range alone {
		if _, is := m.tripped[id]; !is && m.sources[id] != "" && all >= breakerFrom && held[id]*1_000_000 > m.limit*all {
			m.tripped[id] = controls
		}
	}
}

func (m *breakerModel) count() (all int64, held map[string]int64) {
	held = map[string]int64{}
	for i, r := range m.refunds {
		if r.bucket <= m.newest-breakerBuckets {
			continue
		}
		all++
		for _, id := range r.alone {
			if i >= m.from[id] {
				held[id]++
			}
		}
	}
	return all, held
}

func (m *breakerModel) forget(rule string) {
	m.from[rule] = len(m.refunds)
	delete(m.tripped, rule)
}

// breakerSet is a set of these live rules, and one in shadow. Of a tripped one, b acts
// as shadow.
func breakerSet(sources map[string]string) *rules.Set {
	set := &rules.Set{}
	for _, id := range slices.Sorted(maps.Keys(sources)) {
		r := &rules.Rule{ID: id, Mode: rules.Live, Source: sources[id], OnTrip: rules.TripKeep}
		if id == "b" {
			r.OnTrip = rules.TripShadow
		}
		set.Rules = append(set.Rules, r)
	}
	set.Rules = append(set.Rules, &rules.Rule{ID: "x", Mode: rules.Shadow, Source: "x"})
	return set
}

// Whatever order refunds come in, and however often rules change, a rule is reset
// or the service starts anew, the same rules are tripped as by counting
// everything again.
func TestTheBreakerCountsAsTheModel(t *testing.T) {
	everTripped := 0
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.SampledFrom([]int64{1, 100_000, 200_000, 333_333, 500_000}).Draw(t, "limit")
		sources := map[string]string{"a": "1", "b": "1", "c": "1", "d": "1"}
		set := breakerSet(sources)
		m := &breakerModel{limit: limit, from: map[string]int{}, sources: maps.Clone(sources), tripped: map[string]int64{}}
		b := newBreaker(Share(limit), set)
		now, controls := int64(1_767_600_000_000), int64(0)
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"refunds", "refunds", "refunds", "crash", "reload", "reset"}).Draw(t, "step") {
			case "refunds":
				// Of a round of 10, which rules hold how many by themselves.
				holds := rapid.SliceOfN(rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d", "x"}), 0, 3, rapid.ID), 10, 10).Draw(t, "holds")
				pace := rapid.Int64Range(0, 20_000).Draw(t, "pace")
				spread := rapid.Int64Range(0, 900_000).Draw(t, "spread")
				for i := range rapid.IntRange(1, 300).Draw(t, "burst") {
					now += pace
					at := now - spread*int64(i*7919%11)/11
					var alone []*rules.Rule
					for _, r := range set.Rules {
						if slices.Contains(holds[i%10], r.ID) {
							alone = append(alone, r)
						}
					}
					var ids []string
					for _, r := range alone {
						ids = append(ids, r.ID)
					}
					m.add(at, ids, controls)
					b.add(at, alone, controls, func(h *ruleHolds) {
						if h.trip.All < breakerFrom || h.trip.Held*1_000_000 <= limit*h.trip.All || h.trip.At != at {
							t.Fatalf("%s trips by %+v", h.rule.ID, *h.trip)
						}
						everTripped++
					})
				}
			case "crash":
				text, err := json.Marshal(b.progress())
				if err != nil {
					t.Fatal(err)
				}
				p := new(breakerProgress)
				if err := json.Unmarshal(text, p); err != nil {
					t.Fatal(err)
				}
				b = newBreaker(Share(limit), set)
				b.resume(p)
			case "reload":
				next := maps.Clone(sources)
				for id := range sources {
					switch rapid.IntRange(0, 5).Draw(t, "change") {
					case 0:
						next[id] += "'"
					case 1:
						delete(next, id)
					}
				}
				for id := range sources {
					if next[id] != sources[id] {
						m.forget(id)
					}
				}
				for _, id := range []string{"a", "b", "c", "d"} { // what was gone may be back
					if next[id] == "" && sources[id] == "" && rapid.Bool().Draw(t, "back") {
						next[id] = "1"
						m.forget(id)
					}
				}
				sources, m.sources = next, maps.Clone(next)
				set = breakerSet(sources)
				b.setRules(set)
			case "reset":
				rule := rapid.SampledFrom([]string{"a", "b", "c", "d", "x", "none"}).Draw(t, "rule")
				offset := max(0, controls-rapid.Int64Range(0, 2).Draw(t, "before"))
				since, is := m.tripped[rule]
				want := is && offset >= since
				if want {
					m.forget(rule)
				}
				if got := b.reset(rule, offset); got != want {
					t.Fatalf("reset of %s at %d: %v, want %v", rule, offset, got, want)
				}
				controls++
			}
			var tripped, shadow []string
			all, held := m.count()
			if b.all.sum != all {
				t.Fatalf("%d refunds are in the window, want %d", b.all.sum, all)
			}
			for r, h := range b.rules {
				if h.sum != held[r.ID] {
					t.Fatalf("%s holds %d, want %d", r.ID, h.sum, held[r.ID])
				}
				if h.trip != nil {
					tripped = append(tripped, fmt.Sprint(r.ID, h.trip.Controls))
				}
			}
			var want []string
			for id, at := range m.tripped {
				want = append(want, fmt.Sprint(id, at))
			}
			slices.Sort(tripped)
			slices.Sort(want)
			if !slices.Equal(tripped, want) || b.trips != len(want) {
				t.Fatalf("tripped are %v (%d), want %v", tripped, b.trips, want)
			}
			if _, is := m.tripped["b"]; is {
				shadow = []string{"b"}
			}
			if got := b.shadows(); !slices.Equal(got, shadow) {
				t.Fatalf("in shadow are %v, want %v", got, shadow)
			}
		}
	})
	if everTripped == 0 {
		t.Error("nothing ever tripped")
	}
}

// Counting allocates nothing where nothing trips.
func TestTheBreakerAllocatesNothing(t *testing.T) {
	set := breakerSet(map[string]string{"a": "1", "b": "1"})
	b := newBreaker(50_0000, set)
	alone, at := set.Rules[:1], int64(1_767_600_000_000)
	none := func(*ruleHolds) { t.Error("it trips") }
	add := func() {
		for range 1000 {
			at += 500
			b.add(at, alone, 0, none)
			b.add(at-1000, nil, 0, none)
			b.add(at-10_000, nil, 0, none)
		}
	}
	add()
	if n := testing.AllocsPerRun(5, add); n != 0 {
		t.Errorf("%v allocations", n)
	}
	off := newBreaker(0, set)
	off.add(at, alone, 0, none)
	if off.progress() != nil || off.all.sum != 0 {
		t.Error("a breaker that is off counts")
	}
}

// What is written with each epoch is bounded, whatever the rules: the tripped, and
// of the others those that hold most.
func TestTheBreakersProgressIsBounded(t *testing.T) {
	sources := map[string]string{}
	for i := range 300 {
		sources[fmt.Sprintf("r%03d", i)] = "1"
	}
	set := breakerSet(sources)
	b := newBreaker(20_0000, set)
	tripped := 0
	for i := range 2000 {
		alone := []*rules.Rule{set.Rules[0]}
		if i%2 == 0 {
			alone = set.Rules[:150]
		} else if i%10 == 1 {
			alone = set.Rules[150:300]
		}
		b.add(int64(i), alone, 0, func(*ruleHolds) { tripped++ })
	}
	p := b.progress()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if tripped != maxTripped || b.trips != maxTripped || len(p.Rules) > maxTripped+countedRules || len(text) > 16<<10 {
		t.Errorf("%d tripped, %d rules are written in %d bytes", tripped, len(p.Rules), len(text))
	}
	again := newBreaker(20_0000, set)
	again.resume(p)
	if again.trips != maxTripped || again.all != b.all {
		t.Errorf("%d tripped after a restart, and %d refunds, want %d", again.trips, again.all.sum, b.all.sum)
	}
}

func BenchmarkBreaker(b *testing.B) {
	set := breakerSet(map[string]string{"a": "1", "b": "1"})
	br := newBreaker(20_0000, set)
	at := int64(1_767_600_000_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		at += 10
		alone := []*rules.Rule(nil)
		if i%10 == 0 {
			alone = set.Rules[:1]
		}
		br.add(at, alone, 0, func(*ruleHolds) { b.Fatal("it trips") })
	}
}
