package window_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/refundguard/refundguard/rules/window"
)

const hour = 3_600_000

// names are the keys of benchmarks and their hashes.
type names struct {
	key  []string
	hash []uint64
}

func newNames(n int) *names {
	k := &names{make([]string, n), make([]uint64, n)}
	for i := range n {
		k.key[i] = fmt.Sprintf("cus_%012d", i) // 16 bytes
		k.hash[i] = goodHash(k.key[i])
	}
	return k
}

// selection is reused, as the engine does.
var selection window.Selection

func pickInto(x *window.Selection, s *window.Store, k window.Key, sp window.Span) *window.Selection {
	s.Select(k, sp, x)
	return x
}

// benchStart is a day of 2026.
const benchStart = 1_780_000_000_000

func benchEvent() *window.Event {
	return &window.Event{Currency: 1, Present: 1, Values: []int64{1_299_000}} // 129.90
}

// gaps are times between events as they come by chance: an hour on average.
func gaps(n int) []int64 {
	r := rand.New(rand.NewPCG(3, 4))
	g := make([]int64, n)
	for i := range g {
		g[i] = int64(r.ExpFloat64() * hour)
	}
	return g
}

// fill gives each of the keys so many events, going round.
func fill(spec window.Spec, k *names, each int) *window.Store {
	s := window.New(spec)
	e := benchEvent()
	e.Time = benchStart
	for j, gap := range gaps(each) {
		e.Time += gap
		for i := range k.key {
			e.ID = uint64(j)
			e.Values[0] = int64(1_000_000 + j*7919%16*10_000)
			s.Insert(k.hash[i], k.key[i], e)
		}
	}
	return s
}

// BenchmarkInsert adds to keys that hold some 64 to 80 events, with a horizon: what
// is added drives as much out. Warm: 256 keys in turn. Cold: 262,144, at
// random, so that nothing of a key is in the cache.
func BenchmarkInsert(b *testing.B) {
	for _, c := range []struct {
		name string
		keys int
		late int64
	}{
		{"warm", 256, 0}, {"warm/late", 256, 8 * hour}, {"cold", 1 << 18, 0}, {"cold/late", 1 << 18, 8 * hour},
	} {
		b.Run(c.name, func(b *testing.B) {
			k := newNames(c.keys)
			s := fill(window.Spec{Horizon: 32 * hour, Columns: 1}, k, 80)
			r := rand.New(rand.NewPCG(1, 2))
			e := benchEvent()
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				// An odd factor goes through all keys, in no order.
				at := i * 0x9e3779b1 % c.keys
				e.ID = uint64(i)
				e.Time = benchStart + int64(80+i/c.keys)*hour
				if c.late != 0 {
					e.Time -= r.Int64N(c.late)
				}
				s.Insert(k.hash[at], k.key[at], e)
			}
		})
	}
}

func BenchmarkNewKey(b *testing.B) {
	k := newNames(b.N)
	s := window.New(window.Spec{Columns: 1})
	e := benchEvent()
	b.ResetTimer()
	for i := range b.N {
		s.Insert(k.hash[i], k.key[i], e)
	}
}

// BenchmarkQuery finds a key and asks for a span of so many of its events,
// which lies anywhere in twice as many.
func BenchmarkQuery(b *testing.B) {
	for _, c := range []struct {
		name       string
		keys, each int
	}{{"warm/64", 256, 64}, {"warm/4096", 8, 4096}, {"warm/16384", 2, 16384}, {"cold/64", 1 << 17, 64}} {
		k := newNames(c.keys)
		s := fill(window.Spec{Columns: 1}, k, 2*c.each)
		r := rand.New(rand.NewPCG(1, 2))
		spans := make([]window.Span, 1024)
		for i := range spans {
			from := benchStart + r.Int64N(int64(c.each))*hour
			spans[i] = window.Span{From: from, To: from + int64(c.each)*hour}
		}
		var scratch window.Scratch
		run := func(name string, f func(key window.Key, sp window.Span)) {
			b.Run(name+"/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				for i := range b.N {
					at := i * 0x9e3779b1 % c.keys
					key, _ := s.Find(k.hash[at], k.key[at])
					f(key, spans[i%len(spans)])
				}
			})
		}
		run("Find", func(window.Key, window.Span) {})
		run("Count", func(key window.Key, sp window.Span) { pickInto(&selection, s, key, sp).Count() })
		run("CountSkip", func(key window.Key, sp window.Span) {
			sp.HasSkip, sp.SkipTime, sp.Skip = true, sp.To, 1
			pickInto(&selection, s, key, sp).Count()
		})
		run("Sum", func(key window.Key, sp window.Span) {
			if _, _, _, err := pickInto(&selection, s, key, sp).Sum(0); err != nil {
				b.Fatal(err)
			}
		})
		run("MinMax", func(key window.Key, sp window.Span) { _, _, _, _, _ = pickInto(&selection, s, key, sp).MinMax(0) })
		run("Stddev", func(key window.Key, sp window.Span) { _, _, _, _, _ = pickInto(&selection, s, key, sp).Stddev(0) })
		run("Last", func(key window.Key, sp window.Span) { pickInto(&selection, s, key, sp).Last(0) })
		run("Distinct", func(key window.Key, sp window.Span) { pickInto(&selection, s, key, sp).Distinct(0, &scratch) })
	}
}

// BenchmarkHot is a key with 200,000 events in its window, most of them in
// buckets; what is added drives as much out.
func BenchmarkHot(b *testing.B) {
	const week, events = 7 * 24 * hour, 200_000
	s := window.New(window.Spec{Horizon: week, Columns: 1, Windows: []int64{week, 24 * hour}})
	e := benchEvent()
	add := func(i int) {
		e.Time, e.ID = benchStart+int64(i)*(week/events), uint64(i)
		e.Values[0] = int64(1_000_000 + i*7919%5000*100)
		s.Insert(1, "hot", e)
	}
	for i := range 3 * events {
		add(i)
	}
	b.Logf("%d KiB", s.Bytes()>>10)
	k, _ := s.Find(1, "hot")
	sp := window.Span{From: e.Time - week, To: e.Time, HasSkip: true, SkipTime: e.Time, Skip: e.ID}
	var scratch window.Scratch
	for name, f := range map[string]func(){
		"Count":    func() { pickInto(&selection, s, k, sp).Count() },
		"Sum":      func() { _, _, _, _ = pickInto(&selection, s, k, sp).Sum(0) },
		"MinMax":   func() { _, _, _, _, _ = pickInto(&selection, s, k, sp).MinMax(0) },
		"Stddev":   func() { _, _, _, _, _ = pickInto(&selection, s, k, sp).Stddev(0) },
		"Last":     func() { pickInto(&selection, s, k, sp).Last(0) },
		"Distinct": func() { pickInto(&selection, s, k, sp).Distinct(0, &scratch) },
	} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				f()
			}
		})
	}
	next := 3 * events
	b.Run("Insert", func(b *testing.B) {
		for range b.N {
			add(next)
			next++
		}
	})
}

// BenchmarkMemory reports what keys and events take; its time means nothing.
func BenchmarkMemory(b *testing.B) {
	one := fill(window.Spec{Columns: 1}, newNames(1_000_000), 1).Bytes()
	for _, c := range []struct{ keys, each, columns int }{
		{1_000_000, 1, 0}, {1_000_000, 1, 1}, {1_000_000, 4, 1}, {1_000_000, 16, 1}, {10_000, 1000, 1}, {10_000, 1000, 0},
	} {
		b.Run(fmt.Sprintf("%dx%d/columns=%d", c.keys, c.each, c.columns), func(b *testing.B) {
			var bytes int64
			for range b.N {
				bytes = fill(window.Spec{Columns: c.columns}, newNames(c.keys), c.each).Bytes()
			}
			perKey := float64(bytes) / float64(c.keys)
			b.ReportMetric(perKey, "B/key")
			if c.each > 1 {
				b.ReportMetric((perKey-float64(one)/1e6)/float64(c.each-1), "B/event")
			}
		})
	}
}

// BenchmarkColdKeys asks a store of a million keys that are not in memory for
// others and for these, in no order, and brings them back, with a map for disk
// and an event each.
func BenchmarkColdKeys(b *testing.B) {
	const keys = 1 << 20
	k := newNames(2 * keys)
	spec := window.Spec{Columns: 1}
	one := window.New(spec)
	one.Track()
	one.Insert(k.hash[0], k.key[0], benchEvent())
	d := disk{}
	d.save(one)
	saved := d[k.key[0]][0]
	for _, key := range k.key[:keys] {
		d[key] = [][]byte{saved}
	}
	cold := func() *window.Store {
		s := window.New(spec)
		s.FetchWith(d.fetch)
		for i := range keys {
			s.RestoreCold(k.hash[i], k.key[i])
		}
		return s
	}
	s := cold()
	b.Logf("%.1f bytes a key", float64(s.Bytes())/keys)
	for _, c := range []struct {
		name string
		from int
		f    func(i int) bool
		want bool
	}{
		{"IsCold/not there", keys, func(i int) bool { return s.IsCold(k.hash[i], k.key[i]) }, false},
		{"Find/not there", keys, func(i int) bool { _, ok := s.Find(k.hash[i], k.key[i]); return ok }, false},
		{"IsCold", 0, func(i int) bool { return s.IsCold(k.hash[i], k.key[i]) }, true},
		{"Find", 0, func(i int) bool { _, ok := s.Find(k.hash[i], k.key[i]); return ok }, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				if at := c.from + i*0x9e3779b1%keys; c.f(at) != c.want {
					b.Fatalf("%s of %q: %v", c.name, k.key[at], !c.want)
				}
			}
		})
	}
	b.Run("Load", func(b *testing.B) {
		s := cold()
		b.ResetTimer()
		for i := range b.N {
			if s.Cold() == 0 {
				b.StopTimer()
				s = cold()
				b.StartTimer()
			}
			if err := s.Load(k.hash[i*0x9e3779b1%keys], k.key[i*0x9e3779b1%keys]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Evict", func(b *testing.B) {
		s.Track()
		for i := 0; i < b.N; {
			b.StopTimer()
			n := min(b.N-i, keys)
			for j := range n {
				if err := s.Load(k.hash[j], k.key[j]); err != nil {
					b.Fatal(err)
				}
			}
			s.Freeze()
			i += n
			b.StartTimer()
			for s.Evict(1<<16, 1) {
			}
		}
	})
}
