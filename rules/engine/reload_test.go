package engine_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// filling is a machine with what it was given, and what a reload left to be
// filled.
type filling struct {
	*machine
	applied []row
	missed  []row // not yet given again
	journal map[string]engine.Decided
}

func (f *filling) reload(set *rules.Set) {
	f.e.SetRules(set)
	f.missed, f.journal = nil, map[string]engine.Decided{}
	if streams, _ := f.e.Filling(); len(streams) > 0 {
		f.missed = f.applied
	}
	for it, p := range f.past {
		f.journal[fmt.Sprint(it.Stream, it.Event.ID())] = p
	}
}

// fill gives n more rows again.
func (f *filling) fill(n int) {
	n = min(n, len(f.missed))
	var items []*engine.Item
	for _, r := range f.missed[:n] {
		items = append(items, f.item(r))
	}
	f.missed = f.missed[n:]
	f.e.Fill(items)
	for _, it := range items {
		if p, ok := f.journal[fmt.Sprint(it.Stream, it.Event.ID())]; ok && it.Fate == engine.Fresh {
			f.e.FillDecided(it, p)
		}
	}
	if len(f.missed) == 0 {
		f.e.Filled(nil, -1<<63)
	}
}

// Whatever comes in whatever order, rules that change, series that are filled, a
// part of a save or of letting go, or a crash and a start from the last save: each
// refund is decided as by an engine that keeps all in memory.
func TestReloadsWhileStateComesAndGoes(t *testing.T) {
	schema := event.Builtin()
	sets := []*rules.Set{loadSet(t, schema, before), loadSet(t, schema, after)}
	rapid.Check(t, func(t *rapid.T) {
		exact := rapid.SampledFrom([]int{0, 3}).Draw(t, "exact")
		rows := rapid.Permutation(genRows(t)).Draw(t, "order")
		rows = append(rows, rows[:len(rows)/3]...)
		d := &disk{parts: map[string][][]byte{}}
		set := 0
		all := &filling{machine: newMachine(t, schema, sets[set], 2, exact)}
		defer all.e.Close()
		start := func() *machine {
			m := newSmallMachine(t, schema, sets[set], rapid.IntRange(1, 4).Draw(t, "workers"), exact, rapid.SampledFrom([]int64{1, 10_000}).Draw(t, "memory"))
			m.e.Track()
			m.e.KeepOnDisk(d)
			return m
		}
		cold := &filling{machine: start()}
		defer func() { cold.e.Close() }()
		both := func(f func(f *filling)) {
			f(all)
			f(cold)
		}

		var sv *engine.Save
		var copied []engine.Copied
		var since [][]row // epochs after the last save that ended
		from := 0         // since which the one under way is
		restorable := false
		begun := restorable
		some := func() {
			if sv == nil {
				sv, copied, from = cold.e.StartSave(noExpiry), nil, len(since)
				begun = len(cold.missed) == 0
				return
			}
			more, done := cold.e.CopySome(sv, rapid.IntRange(1, 60).Draw(t, "some"))
			if copied = append(copied, more...); done {
				d.save(sv, copied)
				cold.e.StartEvict(sv)
				sv, since, restorable = nil, since[from:], begun
			}
		}
		for len(rows) > 0 {
			switch rapid.IntRange(0, 11).Draw(t, "what") {
			case 0, 1, 2:
				n := rapid.IntRange(1, min(12, len(rows))).Draw(t, "epoch")
				var made [2][]string
				for i, f := range []*filling{all, cold} {
					f.epoch(rows[:n], func(d *event.Decision) { made[i] = append(made[i], string(d.Append(nil))) })
					f.applied = append(f.applied, rows[:n]...)
				}
				since, rows = append(since, rows[:n]), rows[n:]
				for i, want := range made[0] {
					if made[1][i] != want {
						t.Fatalf("with state on disk: %s\nall in memory: %s", made[1][i], want)
					}
				}
			case 3:
				set = 1 - set
				both(func(f *filling) { f.reload(sets[set]) })
				restorable, begun = false, false
			case 4, 5:
				if n := rapid.IntRange(1, 30).Draw(t, "again"); len(all.missed) > 0 {
					both(func(f *filling) { f.fill(n) })
				}
			case 6, 7, 8:
				some()
			case 9, 10:
				if sv == nil {
					for n := rapid.SampledFrom([]int{1, 300, 1 << 20}).Draw(t, "evict"); n > 0 && cold.e.EvictFor(0); n-- {
					}
				}
			case 11:
				if !restorable || len(cold.missed) > 0 {
					continue
				}
				cold.e.Close()
				past := cold.past
				cold.machine = start()
				if err := cold.e.Restore(d.head, noExpiry, d); err != nil {
					t.Fatal(err)
				}
				for _, epoch := range since {
					cold.epoch(epoch, func(*event.Decision) {})
				}
				cold.past, sv = past, nil
			}
			if err := cold.e.Err(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
