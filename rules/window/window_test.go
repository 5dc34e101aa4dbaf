package window_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/window"
)

// What events look like: mostly plain, sometimes at the limits.
var (
	someTimes = rapid.OneOf(
		rapid.Int64Range(0, 40), // ties
		rapid.Int64Range(0, 2000),
		rapid.Int64Range(1_600_000_000_000, 1_600_000_100_000),
	)
	wildTimes = rapid.OneOf(
		someTimes,
		rapid.Int64(),
		rapid.SampledFrom([]int64{
			math.MinInt64, math.MinInt64 + 1, math.MaxInt64 - 1, math.MaxInt64,
			-62167219200001, -62167219200000, -62167219200002 + 1<<48, -62167219200001 + 1<<48,
		}),
	)
	someValues = rapid.OneOf(
		rapid.Int64Range(-3, 3),
		rapid.Int64Range(0, 2_000_000),
		rapid.Int64Range(-1<<40, 1<<40),
	)
	wildValues = rapid.OneOf(
		someValues,
		rapid.Int64(),
		rapid.SampledFrom([]int64{math.MinInt64, math.MinInt64 + 1, math.MaxInt64, math.MaxInt64 - 1, 1 << 62, -1 << 62}),
	)
)

func specs(t *rapid.T) window.Spec {
	return window.Spec{
		Horizon: rapid.SampledFrom([]int64{0, 0, 1, 10, 500, 1_000_000_000, math.MaxInt64}).Draw(t, "horizon"),
		Columns: rapid.IntRange(0, 4).Draw(t, "columns"),
		Plain:   rapid.Uint32Range(0, 15).Draw(t, "plain"),
		Names:   rapid.Bool().Draw(t, "names"),
	}
}

// nameOf is the id that a hash stands for: in another order than the hashes,
// and the same for some of them.
func nameOf(id uint64) string { return fmt.Sprint("id-", id*17%13) }

// events draws events for a store; how odd they may be is drawn first, so that
// plain ones are met without odd ones among them.
func events(t *rapid.T, spec window.Spec, most int) []window.Event {
	times, values := someTimes, someValues
	if rapid.Bool().Draw(t, "wild times") {
		times = wildTimes
	}
	if rapid.Bool().Draw(t, "wild values") {
		values = wildValues
	}
	currencies := rapid.Uint16Range(7, 7)
	if rapid.Bool().Draw(t, "mixed") {
		currencies = rapid.Uint16Range(7, 9)
	}
	present := rapid.Just(^uint32(0))
	if rapid.Bool().Draw(t, "gaps") {
		present = rapid.Uint32()
	}
	// Left alone, rapid draws few at a time.
	least := rapid.SampledFrom([]int{1, 10, most / 2}).Draw(t, "least")
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) window.Event {
		e := window.Event{
			Time:     times.Draw(t, "time"),
			ID:       rapid.Uint64Range(0, 20).Draw(t, "id"),
			Currency: currencies.Draw(t, "currency"),
			Present:  present.Draw(t, "present"),
			Values:   make([]int64, spec.Columns),
		}
		for c := range e.Values {
			e.Values[c] = values.Draw(t, "value")
		}
		e.Name = nameOf(e.ID)
		return e
	}), least, most).Draw(t, "events")
}

// spans draws spans whose edges and whose skipped event lie on events mostly.
func spans(t *rapid.T, all []window.Event) window.Span {
	edge := rapid.OneOf(wildTimes, rapid.Custom(func(t *rapid.T) int64 {
		return rapid.SampledFrom(all).Draw(t, "event").Time + rapid.Int64Range(-1, 1).Draw(t, "off")
	}))
	skip := rapid.SampledFrom(all).Draw(t, "skip")
	return window.Span{
		From:     edge.Draw(t, "from"),
		To:       edge.Draw(t, "to"),
		HasSkip:  rapid.Bool().Draw(t, "has skip"),
		SkipTime: skip.Time,
		Skip:     skip.ID,
	}
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := specs(t)
		keys := rapid.SliceOfNDistinct(rapid.StringN(0, 30, -1), 1, 12, rapid.ID[string]).Draw(t, "keys")
		all := events(t, spec, 200)
		p := newPair(fatal{R: t}, spec)
		for i := range all {
			p.insert(rapid.SampledFrom(keys).Draw(t, "key"), &all[i])
			if i%16 == 0 {
				p.compare(rapid.SampledFrom(keys).Draw(t, "asked"), spans(t, all))
			}
		}
		for range 20 {
			p.compare(rapid.SampledFrom(keys).Draw(t, "asked"), spans(t, all))
		}
		p.compareAll()
	})
}

// Thousands of events in one key, from any side, under every kind of column.
func TestHotKey(t *testing.T) {
	for _, c := range []struct {
		name    string
		horizon int64
		late    int64 // how far out of order
		most    int64 // greatest value
	}{
		{"in order", 0, 1, 1 << 20},
		{"in order, trimmed", 700, 1, 1 << 20},
		{"out of order", 0, 300, 1 << 33},
		{"out of order, trimmed", 700, 300, 1 << 62},
		{"any order", 0, 1 << 20, math.MaxInt64},
		{"any order, trimmed", 700, 1 << 20, 1 << 12},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			p := newPair(t, window.Spec{Horizon: c.horizon, Columns: 3, Plain: 6, Names: true})
			for i := range int64(3000) {
				e := window.Event{
					Time:     i - r.Int64N(min(c.late, i+1)),
					ID:       r.Uint64() % 4,
					Currency: 5,
					Present:  1 | uint32(i/400%2)<<1 | uint32(r.IntN(2))<<2,
					Values:   []int64{r.Int64N(c.most), -r.Int64N(c.most), r.Int64N(50)},
				}
				e.Name = nameOf(e.ID)
				p.insert("hot", &e)
				if i%100 == 99 {
					to := r.Int64N(i + 1)
					p.compare("hot", window.Span{From: to - r.Int64N(1000), To: to, HasSkip: true, SkipTime: e.Time, Skip: e.ID})
				}
			}
			p.compareAll()
		})
	}
}

func TestAnyOrderGivesTheSameState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := specs(t)
		all := events(t, spec, 60)
		keys := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "cc"}), len(all), len(all)).Draw(t, "keys")
		order := make([]int, len(all))
		for i := range order {
			order[i] = i
		}
		fill := func(order []int) string {
			s := window.New(spec)
			for _, i := range order {
				s.Insert(badHash(keys[i]), keys[i], &all[i])
			}
			return string(s.AppendCanonical(nil))
		}
		want := fill(order)
		for range 3 {
			order = rapid.Permutation(order).Draw(t, "order")
			// Some twice.
			again := append(order, order[:len(order)/2]...)
			if got := fill(again); got != want {
				t.Fatalf("order %v gives\n%x, the drawn one\n%x", again, got, want)
			}
		}
	})
}

func TestEdges(t *testing.T) {
	s := window.New(window.Spec{Columns: 1})
	for i, at := range []int64{100, 200, 200, 300} {
		s.Insert(1, "k", &window.Event{Time: at, ID: uint64(i), Currency: 3, Present: 1, Values: []int64{int64(1) << i}})
	}
	k, _ := s.Find(1, "k")
	for _, c := range []struct {
		sp    window.Span
		n, to int64
	}{
		{window.Span{From: 100, To: 200}, 2, 2 + 4},
		{window.Span{From: 99, To: 199}, 1, 1},
		{window.Span{From: 200, To: 300}, 1, 8},
		{window.Span{From: 300, To: 400}, 0, 0},
		{window.Span{From: 300, To: 100}, 0, 0},
		{window.Span{From: math.MinInt64, To: math.MaxInt64}, 4, 15},
		{window.Span{From: 100, To: 200, HasSkip: true, SkipTime: 200, Skip: 1}, 1, 4},
		{window.Span{From: 100, To: 200, HasSkip: true, SkipTime: 200, Skip: 0}, 2, 6},
		{window.Span{From: 100, To: 200, HasSkip: true, SkipTime: 100, Skip: 0}, 2, 6},
		{window.Span{From: 0, To: 300, HasSkip: true, SkipTime: 0, Skip: 0}, 4, 15},
	} {
		total, n, _, err := pick(s, k, c.sp).Sum(0)
		if count := pick(s, k, c.sp).Count(); count != c.n || n != c.n || total != c.to || err != nil {
			t.Errorf("%+v: Count %d, Sum %d over %d (%v), want %d over %d", c.sp, count, total, n, err, c.to, c.n)
		}
	}
}

// A total may leave 64 bits on the way and come back.
func TestOverflow(t *testing.T) {
	s := window.New(window.Spec{Columns: 1})
	for i, v := range []int64{math.MaxInt64, math.MaxInt64, math.MinInt64, math.MinInt64, 5} {
		s.Insert(1, "k", &window.Event{Time: int64(i), ID: 1, Present: 1, Values: []int64{v}})
	}
	k, _ := s.Find(1, "k")
	for _, c := range []struct {
		from, to int64
		want     int64
		err      error
	}{
		{-1, 0, math.MaxInt64, nil},
		{-1, 1, 0, window.ErrOverflow},
		{-1, 2, math.MaxInt64 - 1, nil},
		{-1, 3, -2, nil},
		{-1, 4, 3, nil},
		{1, 2, math.MinInt64, nil},
		{1, 3, 0, window.ErrOverflow},
		{2, 4, math.MinInt64 + 5, nil},
	} {
		got, _, _, err := pick(s, k, window.Span{From: c.from, To: c.to}).Sum(0)
		if got != c.want || err != c.err {
			t.Errorf("(%d, %d]: %d, %v, want %d, %v", c.from, c.to, got, err, c.want, c.err)
		}
	}
}

// A million keys, found while the table moves and afterwards.
func TestManyKeys(t *testing.T) {
	keys := 1 << 20
	if testing.Short() {
		keys = 1 << 16
	}
	s := window.New(window.Spec{Columns: 1})
	e := window.Event{Currency: 1, Present: 1, Values: []int64{0}}
	name := func(i int) string { return fmt.Sprintf("customer-%d", i) }
	check := func(i int, events int64) {
		t.Helper()
		k, ok := s.Find(goodHash(name(i)), name(i))
		if !ok {
			t.Fatalf("%s is lost", name(i))
		}
		total, n, _, err := pick(s, k, window.Span{From: -1, To: 10}).Sum(0)
		if n != events || total != int64(i)*events || err != nil {
			t.Fatalf("%s: %d over %d (%v), want %d over %d", name(i), total, n, err, int64(i)*events, events)
		}
	}
	for i := range keys {
		e.Values[0] = int64(i)
		s.Insert(goodHash(name(i)), name(i), &e)
		if i%64 == 0 {
			check(i/2, 1)
			check(i, 1)
			if k, ok := s.Find(goodHash(name(i+1)), name(i+1)); ok {
				t.Fatalf("%s is there at %d too early", name(i+1), k)
			}
		}
	}
	for i := 0; i < keys; i += 3 {
		e.Time, e.Values[0] = 1, int64(i)
		s.Insert(goodHash(name(i)), name(i), &e)
	}
	if s.Keys() != keys || s.Events() != int64(keys+keys/3+1) {
		t.Fatalf("%d keys, %d events", s.Keys(), s.Events())
	}
	for i := range keys {
		check(i, map[bool]int64{true: 2, false: 1}[i%3 == 0])
	}
}
