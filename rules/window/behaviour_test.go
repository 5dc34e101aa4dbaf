package window_test

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/refundguard/refundguard/rules/window"
)

// Many readers while nobody writes; the race detector watches.
func TestConcurrentReaders(t *testing.T) {
	s := window.New(window.Spec{Horizon: 50, Columns: 2})
	names := []string{"a", "b", "c"}
	for i := range int64(1000) {
		key := names[i%3]
		s.Insert(goodHash(key), key, &window.Event{Time: i, ID: 1, Present: uint32(i%4) | 1, Values: []int64{i, i % 7}})
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var scratch window.Scratch
			for i := range int64(300) {
				key := names[i%3]
				k, ok := s.Find(goodHash(key), key)
				sp := window.Span{From: 900 + i/3, To: 1000}
				_, n, _, err := pick(s, k, sp).Sum(0)
				if !ok || err != nil || n != pick(s, k, sp).Count() || pick(s, k, sp).Distinct(0, &scratch) != n {
					t.Errorf("key %q, %+v: %d, %v, %v", key, sp, n, ok, err)
				}
				pick(s, k, sp).LastTime()
			}
			s.AppendCanonical(nil)
		})
	}
	wg.Wait()
}

// Adding to keys that are there, as events expire, and asking take no memory.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	s := window.New(window.Spec{Horizon: 1000, Columns: 2})
	r := rand.New(rand.NewPCG(1, 2))
	e := &window.Event{Present: 3, Values: make([]int64, 2)}
	var scratch window.Scratch
	now := int64(0)
	key := "a key of more than thirty-two bytes in length"
	step := func() {
		now += 10
		e.Time, e.ID = now-r.Int64N(100), r.Uint64()
		e.Values[0], e.Values[1] = r.Int64N(1<<20)|1<<19, int64(r.Uint64()|1<<62)
		s.Insert(7, key, e)
		k, _ := s.Find(7, key)
		sp := window.Span{From: now - 1000, To: now, HasSkip: true, SkipTime: e.Time, Skip: e.ID}
		pick(s, k, sp).Count()
		pick(s, k, sp).LastTime()
		_, _, _, _ = pick(s, k, sp).Sum(0)
		_, _, _, _ = pick(s, k, sp).Sum(1)
		pick(s, k, sp).Distinct(1, &scratch)
	}
	for range 5000 {
		step()
	}
	if n := testing.AllocsPerRun(5000, step); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
}

// Keys that all grow leave no memory behind that none of them can use.
func TestMemoryOfKeysThatGrowTogether(t *testing.T) {
	s := window.New(window.Spec{Columns: 1})
	e := &window.Event{Present: 1, Values: []int64{1_299_000}}
	names := newNames(2000)
	for i := range int64(500) {
		e.Time, e.ID = i, uint64(i)
		for j, key := range names.key {
			s.Insert(names.hash[j], key, e)
		}
	}
	if per := s.Bytes() / s.Events(); per > 24 {
		t.Errorf("%d bytes an event", per)
	}
}

// An event of the far past or future costs its own key a little, and others
// nothing.
func TestFarTimes(t *testing.T) {
	p := newPair(t, window.Spec{Columns: 1})
	for i, at := range []int64{1_780_000_000_000, math.MinInt64, 0, math.MaxInt64, -1, 1_780_000_000_000, 1} {
		for _, key := range []string{"far", "near"} {
			if key == "far" || at > 0 && at < math.MaxInt64 {
				p.insert(key, &window.Event{Time: at, ID: uint64(i), Present: 1, Values: []int64{1 << i}})
			}
		}
	}
	for _, from := range []int64{math.MinInt64, -2, -1, 0, 1, 1_780_000_000_000 - 1, math.MaxInt64 - 1} {
		for _, to := range []int64{math.MinInt64, -1, 0, 1, 1_780_000_000_000, math.MaxInt64} {
			for _, key := range []string{"far", "near"} {
				p.compare(key, window.Span{From: from, To: to})
			}
		}
	}
	p.compareAll()
}

func TestSpecsThatAreRefused(t *testing.T) {
	for _, spec := range []window.Spec{{Columns: -1}, {Columns: window.MaxColumns + 1}, {Horizon: -1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("New(%+v) did not panic", spec)
				}
			}()
			window.New(spec)
		}()
	}
}

func TestCanServe(t *testing.T) {
	base := window.Spec{Horizon: 100_000, Columns: 3, Plain: 5, Names: true, Exact: 100, Windows: []int64{50_000, 100_000}, Counted: 3}
	for _, c := range []struct {
		name   string
		change func(want *window.Spec)
		ok     bool
	}{
		{"the same", func(*window.Spec) {}, true},
		{"less far", func(w *window.Spec) { w.Horizon = 90_000 }, true},
		{"farther", func(w *window.Spec) { w.Horizon = 100_001 }, false},
		{"ever", func(w *window.Spec) { w.Horizon = 0 }, false},
		{"fewer columns", func(w *window.Spec) { w.Columns = 2 }, true},
		{"more columns", func(w *window.Spec) { w.Columns = 4 }, false},
		{"another kind of column", func(w *window.Spec) { w.Plain = 4 }, false},
		{"that of a column it has not", func(w *window.Spec) { w.Columns, w.Plain = 2, 1 }, true},
		{"texts", func(w *window.Spec) { w.Texts = 1 }, false},
		{"no names", func(w *window.Spec) { w.Names = false }, true},
		{"more exact", func(w *window.Spec) { w.Exact = 101 }, false},
		{"default exact", func(w *window.Spec) { w.Exact = 0 }, false},
		{"more distinct", func(w *window.Spec) { w.DistinctExact = 5000 }, false},
		{"all one by one", func(w *window.Spec) { w.Windows = nil }, false},
		{"one window", func(w *window.Spec) { w.Windows = []int64{100_000} }, true},
		{"one in between", func(w *window.Spec) { w.Windows = []int64{80_000} }, false},
		{"a shorter one", func(w *window.Spec) { w.Windows = []int64{49_000} }, false},
		{"a delayed one", func(w *window.Spec) { w.Windows, w.Reaches = []int64{50_000}, []int64{100_000} }, false},
		{"another distinct", func(w *window.Spec) { w.Counted = 4 }, false},
	} {
		want := base
		c.change(&want)
		if got := window.CanServe(base, want); got != c.ok {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if all := (window.Spec{}); !window.CanServe(all, window.Spec{Horizon: 5, Windows: []int64{5}, Exact: 1 << 20}) {
		t.Error("a store that keeps everything can't serve")
	}
}
