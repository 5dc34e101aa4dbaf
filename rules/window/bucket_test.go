package window_test

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/window"
)

// boundedSpecs draws specs of stores with so few exact events that most are in
// buckets.
func boundedSpecs(t *rapid.T) window.Spec {
	spec := window.Spec{
		Columns:       rapid.IntRange(1, 3).Draw(t, "columns"),
		Plain:         rapid.Uint32Range(0, 7).Draw(t, "plain"),
		Names:         rapid.Bool().Draw(t, "names"),
		Exact:         rapid.SampledFrom([]int{1, 2, 8, 9, 30}).Draw(t, "exact"),
		DistinctExact: rapid.SampledFrom([]int{1, 4, 4096}).Draw(t, "distinct"),
	}
	for range rapid.IntRange(1, 4).Draw(t, "windows") {
		w := rapid.SampledFrom([]int64{1, 100, 600, 5000, 40_000, 300_000, 7 * 86_400_000}).Draw(t, "window")
		delay := rapid.SampledFrom([]int64{0, 0, 1, 5000}).Draw(t, "delay")
		spec.Windows, spec.Reaches = append(spec.Windows, w), append(spec.Reaches, w+delay)
		spec.Horizon = max(spec.Horizon, w+delay)
	}
	if rapid.IntRange(0, 3).Draw(t, "ever") == 0 {
		spec.Horizon = 0
		if rapid.Bool().Draw(t, "only") {
			spec.Windows, spec.Reaches = []int64{0}, []int64{0}
		}
	}
	return spec
}

// crowd draws events of which no two are one: which of them would stay is not
// known any more once they are in buckets.
func crowd(t *rapid.T, spec window.Spec, most int) []window.Event {
	times := rapid.SampledFrom([]*rapid.Generator[int64]{
		rapid.Int64Range(-50, 50),
		rapid.Int64Range(0, 2000),
		rapid.Int64Range(-20_000, 100_000),
		rapid.Int64Range(1_600_000_000_000, 1_600_001_000_000),
		rapid.Int64Range(0, 1<<36),
		wildTimes,
		// Where buckets end, and the horizon divides them.
		rapid.Custom(func(t *rapid.T) int64 {
			widest := slices.Max(spec.Windows)/256 + 1
			far := rapid.SampledFrom([]int64{0, 1, 2, 2, 2}).Draw(t, "far") * slices.Max(spec.Reaches)
			return far + rapid.Int64Range(0, 3*widest).Draw(t, "near")
		}),
	}).Draw(t, "times")
	values := rapid.SampledFrom([]*rapid.Generator[int64]{rapid.Int64Range(0, 5), someValues, wildValues}).Draw(t, "values")
	currencies := rapid.Uint16Range(7, rapid.SampledFrom([]uint16{7, 8}).Draw(t, "currencies"))
	gaps := rapid.Bool().Draw(t, "gaps")
	all := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) window.Event {
		e := window.Event{
			Time: times.Draw(t, "time"), ID: rapid.Uint64Range(0, 40).Draw(t, "id"),
			Currency: currencies.Draw(t, "currency"), Present: ^uint32(0), Values: make([]int64, spec.Columns),
		}
		if gaps {
			e.Present = rapid.Uint32().Draw(t, "present")
		}
		for c := range e.Values {
			e.Values[c] = values.Draw(t, "value")
		}
		e.Name = nameOf(e.ID)
		return e
	}), rapid.SampledFrom([]int{1, most / 2}).Draw(t, "least"), most).Draw(t, "events")
	slices.SortFunc(all, order)
	all = slices.CompactFunc(all, func(a, b window.Event) bool { return a.Time == b.Time && a.ID == b.ID })
	return rapid.Permutation(all).Draw(t, "order")
}

// compareChosen asks for everything about a span; what it should be is worked
// out from the events that belong to it.
func (p *pair) compareChosen(key string, sp window.Span) {
	p.t.Helper()
	k, ok := p.store.Find(p.hash(key), key)
	if !ok {
		p.t.Fatalf("%q is not there", key)
	}
	single, bucketed := p.model.chosen(key, sp)
	in := slices.Concat(bucketed, single)
	if got, want := pick(p.store, k, sp).Count(), int64(len(in)); got != want {
		p.t.Fatalf("Count(%+v) = %d, want %d + %d", sp, got, len(single), len(bucketed))
	}
	last, ok := pick(p.store, k, sp).LastTime()
	if ok != (len(in) > 0) || ok && last != in[len(in)-1].Time {
		p.t.Fatalf("LastTime(%+v) = %d, %v, want that of %v", sp, last, ok, in)
	}
	for col := range p.model.spec.Columns {
		p.compareColumn(key, k, col, sp, in)
		sum, seen := new(big.Int), map[int64]bool{}
		for _, e := range having(in, col) {
			sum.Add(sum, big.NewInt(e.Values[col]))
			seen[e.Values[col]] = true
		}
		total, n, currency, err := pick(p.store, k, sp).Sum(col)
		wCurrency, wErr := p.model.currency(having(in, col), col)
		if !sum.IsInt64() {
			wCurrency, wErr = 0, window.ErrOverflow
			sum.SetInt64(0)
		}
		if total != sum.Int64() || n != int64(len(having(in, col))) || currency != wCurrency || !errors.Is(err, wErr) {
			p.t.Fatalf("Sum(%d, %+v) = %d, %d, %d, %v, want %d, %d, %d, %v",
				col, sp, total, n, currency, err, sum, len(having(in, col)), wCurrency, wErr)
		}
		got, want := pick(p.store, k, sp).Distinct(col, &p.scratch), int64(len(seen))
		exact := len(bucketed) == 0 || want <= int64(p.model.spec.DistinctExact)
		if off := got - want; exact && off != 0 || max(off, -off) > 2+want/10 {
			p.t.Fatalf("Distinct(%d, %+v) = %d, want %d (exact: %v)", col, sp, got, want, exact)
		}
	}
}

// What a store answers is what it says: over single events and buckets that are
// a function of the set of events.
func TestBucketsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := boundedSpecs(t)
		all := crowd(t, spec, 150)
		p := newPair(fatal{R: t}, spec)
		ask := func() {
			sp := spans(t, all)
			if rapid.Bool().Draw(t, "window") {
				i := rapid.IntRange(0, len(spec.Windows)-1).Draw(t, "which")
				sp.From = minus(sp.To, spec.Windows[i])
			}
			p.compareChosen("hot", sp)
		}
		for i := range all {
			p.insert("hot", &all[i])
			if i%16 == 0 {
				ask()
			}
		}
		for range 20 {
			ask()
		}
	})
}

// The promise: of a span that the spec names, only events within one bucket of
// an edge are mis-counted, for every t that is not older than the span's reach
// before the newest event; and none where all of it is kept one by one.
func TestBucketsError(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := boundedSpecs(t)
		all := crowd(t, spec, 150)
		p := newPair(fatal{R: t}, spec)
		for i := range all {
			p.insert("hot", &all[i])
		}
		sorted := p.model.everything("hot")
		newest := sorted[len(sorted)-1].Time
		since := sorted[max(len(sorted)-spec.Exact, 0)].Time
		for range 20 {
			i := rapid.IntRange(0, len(spec.Windows)-1).Draw(t, "window")
			within, reach := spec.Windows[i], spec.Reaches[i]
			at := rapid.SampledFrom(all).Draw(t, "asks")
			now := max(at.Time+rapid.Int64Range(-2, 2).Draw(t, "off"), minus(newest, reach))
			if at.Time > math.MaxInt64-2 || at.Time < math.MinInt64+2 || within == 0 {
				continue
			}
			to := minus(now, reach-within)
			sp := window.Span{From: minus(to, within), To: to, HasSkip: true, SkipTime: at.Time, Skip: at.ID}
			if at.Time != now {
				sp.HasSkip = false
			}
			single, bucketed := p.model.chosen("hot", sp)
			got := map[window.Span]bool{} // by time and id
			name := func(e window.Event) window.Span { return window.Span{From: e.Time, Skip: e.ID} }
			for _, e := range slices.Concat(single, bucketed) {
				got[name(e)] = true
			}
			p.compareChosen("hot", sp) // so that what was chosen is what was counted
			bucket := max(within/256, 1)
			for _, e := range sorted {
				want := e.Time > sp.From && e.Time <= sp.To && !(sp.HasSkip && e.Time == sp.SkipTime && e.ID == sp.Skip)
				if got[name(e)] == want {
					continue
				}
				if gone(e.Time, sp.From) >= uint64(bucket) && gone(e.Time, sp.To) >= uint64(bucket) {
					t.Fatalf("%+v of %d: the event at %d (counted: %v) is no edge of %+v, with buckets of %d", spec, within, e.Time, !want, sp, bucket)
				}
				if sp.From >= since {
					t.Fatalf("all of %+v is kept one by one, from %d on", sp, since)
				}
			}
		}
		if spec.Horizon == 0 && newest < math.MaxInt64 && sorted[0].Time > math.MinInt64 {
			k, _ := p.store.Find(p.hash("hot"), "hot")
			if got := pick(p.store, k, window.Span{From: math.MinInt64, To: newest + 1}).Count(); got != int64(len(all)) {
				t.Fatalf("%d events ever, want %d", got, len(all))
			}
		}
	})
}

// gone is |a − b|.
func gone(a, b int64) uint64 {
	if a < b {
		a, b = b, a
	}
	return uint64(a) - uint64(b)
}

// Any order gives the same state, byte for byte, whenever what moved to
// buckets.
func TestBucketsAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := boundedSpecs(t)
		spec.Texts = rapid.Uint32Range(0, 7).Draw(t, "texts")
		all := crowd(t, spec, 120)
		fill := func(all []window.Event) *window.Store {
			s := window.New(spec)
			for i := range all {
				key := []string{"a", "b", "b"}[all[i].ID%3]
				s.Insert(badHash(key), key, &all[i])
				if i%40 == 39 {
					s.AppendCanonical(nil) // changes nothing
				}
			}
			return s
		}
		want := fill(all).AppendCanonical(nil)
		for range 3 {
			all = rapid.Permutation(all).Draw(t, "again")
			if got := fill(all).AppendCanonical(nil); string(got) != string(want) {
				t.Fatalf("one order gives\n%x, another\n%x", got, want)
			}
		}
	})
}

// Whatever First and Last give of a column of texts is a text that is kept,
// from buckets too.
func TestBucketsKeepTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := boundedSpecs(t)
		spec.Columns, spec.Plain, spec.Texts = 1, 1, 1
		all := crowd(t, spec, 100)
		p := newPair(fatal{R: t}, spec)
		for i := range all {
			all[i].Values[0] = p.store.Intern(fmt.Sprint("text ", all[i].Values[0]%5))
			p.insert("hot", &all[i])
			sp := spans(t, all)
			k, _ := p.store.Find(p.hash("hot"), "hot")
			first, _, ok := pick(p.store, k, sp).First(0)
			last, _, _ := pick(p.store, k, sp).Last(0)
			if ok && (p.store.Text(first) == "" || p.store.Text(last) == "") {
				t.Fatalf("%+v: %q and %q", sp, p.store.Text(first), p.store.Text(last))
			}
		}
	})
}

// However many events a key sees, its memory is bounded.
func TestMemoryOfHotKey(t *testing.T) {
	const within = 100_000
	s := window.New(window.Spec{Horizon: within, Columns: 2, Plain: 2, Counted: 2, Exact: 1000, Windows: []int64{within, 5000}})
	e := &window.Event{Present: 3, Values: make([]int64, 2)}
	var most int64
	for i := range int64(300_000) {
		e.Time, e.ID = i*2, uint64(i)
		e.Values[0], e.Values[1] = i%977, i
		s.Insert(1, "hot", e)
		if i == 150_000 {
			most = s.Bytes()
		}
	}
	if got := s.Bytes(); got > most*5/4 {
		t.Errorf("%d bytes after 300,000 events, %d after half of them", got, most)
	}
	k, _ := s.Find(1, "hot")
	var scratch window.Scratch
	sp := window.Span{From: 600_000 - within, To: 600_000}
	n, distinct := pick(s, k, sp).Count(), pick(s, k, sp).Distinct(1, &scratch)
	if n < 49_800 || n > 50_200 || distinct < 47_000 || distinct > 53_000 {
		t.Errorf("%d events, %d values, want 50,000 nearly", n, distinct)
	}
	// It turns cold: what is gone takes nothing.
	for i := range int64(3000) {
		e.Time, e.ID = 10_000_000+i*1000, uint64(i)
		s.Insert(1, "hot", e)
	}
	if got := s.Bytes(); got > most/2 {
		t.Errorf("%d bytes when all of it is gone", got)
	}
}
