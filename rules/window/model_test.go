package window_test

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"math"
	"math/big"
	"slices"
	"testing"

	"github.com/refundguard/refundguard/rules/window"
)

// model keeps every event there ever was and answers by looking at each.
type model struct {
	spec window.Spec
	keys map[string][]window.Event
}

func newModel(spec window.Spec) *model {
	return &model{spec: spec, keys: map[string][]window.Event{}}
}

func order(a, b window.Event) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Currency, b.Currency),
		cmp.Compare(a.Present, b.Present), slices.Compare(a.Values, b.Values))
}

// normal is e with what a store does not see set to zero.
func (m *model) normal(e *window.Event) window.Event {
	n := window.Event{Time: e.Time, ID: e.ID, Name: e.Name, Currency: e.Currency, Values: make([]int64, m.spec.Columns)}
	for c := range n.Values {
		if e.Present>>c&1 != 0 {
			n.Present |= 1 << c
			n.Values[c] = e.Values[c]
		}
	}
	return n
}

func (m *model) insert(key string, e *window.Event) {
	m.keys[key] = append(m.keys[key], m.normal(e))
}

// events are those of a key that its horizon has not passed.
func (m *model) events(key string) []window.Event {
	all := slices.Clone(m.keys[key])
	slices.SortFunc(all, order)
	all = slices.CompactFunc(all, func(a, b window.Event) bool { return a.Time == b.Time && a.ID == b.ID })
	if m.spec.Horizon == 0 || len(all) == 0 {
		return all
	}
	keep := new(big.Int).Mul(big.NewInt(m.spec.Horizon), big.NewInt(2))
	newest := big.NewInt(all[len(all)-1].Time)
	return slices.DeleteFunc(all, func(e window.Event) bool {
		return new(big.Int).Sub(newest, big.NewInt(e.Time)).Cmp(keep) > 0
	})
}

func (m *model) in(key string, sp window.Span) []window.Event {
	return slices.DeleteFunc(m.events(key), func(e window.Event) bool {
		return e.Time <= sp.From || e.Time > sp.To || sp.HasSkip && e.Time == sp.SkipTime && e.ID == sp.Skip
	})
}

// having are the events of a list that have a column.
func having(in []window.Event, col int) []window.Event {
	return slices.DeleteFunc(slices.Clone(in), func(e window.Event) bool { return e.Present>>col&1 == 0 })
}

// currency is what a query over those events says of it.
func (m *model) currency(in []window.Event, col int) (uint16, error) {
	if m.spec.Plain>>col&1 != 0 || len(in) == 0 {
		return 0, nil
	}
	for _, e := range in {
		if e.Currency != in[0].Currency {
			return 0, window.ErrCurrencies
		}
	}
	return in[0].Currency, nil
}

// ends orders events as First and Last do.
func (m *model) ends(in []window.Event) []window.Event {
	in = slices.Clone(in)
	slices.SortFunc(in, func(a, b window.Event) int {
		if m.spec.Names {
			return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
		}
		return order(a, b)
	})
	return in
}

func (m *model) sum(key string, col int, sp window.Span) (total, n int64, currency uint16, err error) {
	sum := new(big.Int)
	currencies := map[uint16]bool{}
	for _, e := range m.in(key, sp) {
		if e.Present>>col&1 == 0 {
			continue
		}
		n++
		sum.Add(sum, big.NewInt(e.Values[col]))
		currencies[e.Currency] = true
		currency = e.Currency
	}
	if !sum.IsInt64() {
		return 0, n, 0, window.ErrOverflow
	}
	if m.spec.Plain>>col&1 != 0 {
		return sum.Int64(), n, 0, nil
	}
	if len(currencies) > 1 {
		return sum.Int64(), n, 0, window.ErrCurrencies
	}
	return sum.Int64(), n, currency, nil
}

func (m *model) distinct(key string, col int, sp window.Span) int64 {
	seen := map[int64]bool{}
	for _, e := range m.in(key, sp) {
		if e.Present>>col&1 != 0 {
			seen[e.Values[col]] = true
		}
	}
	return int64(len(seen))
}

// canonical is what AppendCanonical promises.
func (m *model) canonical() []byte {
	var b []byte
	keys := make([]string, 0, len(m.keys))
	for key := range m.keys {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		b = binary.AppendUvarint(b, uint64(len(key)))
		b = append(b, key...)
		events := m.events(key)
		b = binary.AppendUvarint(b, uint64(len(events)))
		for _, e := range events {
			b = binary.BigEndian.AppendUint64(b, uint64(e.Time))
			b = binary.BigEndian.AppendUint64(b, e.ID)
			b = binary.BigEndian.AppendUint16(b, e.Currency)
			b = binary.BigEndian.AppendUint32(b, e.Present)
			for c, v := range e.Values {
				if e.Present>>c&1 != 0 {
					b = binary.BigEndian.AppendUint64(b, uint64(v))
				}
			}
		}
	}
	return b
}

// pair is a store and the model of it. Its hash has few values, so that most
// keys collide.
type pair struct {
	t       testing.TB
	store   *window.Store
	model   *model
	hash    func(key string) uint64
	scratch window.Scratch
}

var seed = maphash.MakeSeed()

func goodHash(key string) uint64 { return maphash.String(seed, key) }

func badHash(key string) uint64 { return uint64(len(key)) % 2 << 60 }

func newPair(t testing.TB, spec window.Spec) *pair {
	return &pair{t: t, store: window.New(spec), model: newModel(spec), hash: badHash}
}

func (p *pair) insert(key string, e *window.Event) {
	p.model.insert(key, e)
	p.store.Insert(p.hash(key), key, e)
}

// compare asks both for everything about a span.
func (p *pair) compare(key string, sp window.Span) {
	p.t.Helper()
	k, ok := p.store.Find(p.hash(key), key)
	if want := len(p.model.keys[key]) > 0; ok != want {
		p.t.Fatalf("Find(%q) = %v, want %v", key, ok, want)
	}
	if !ok {
		return
	}
	in := p.model.in(key, sp)
	if got, want := pick(p.store, k, sp).Count(), int64(len(in)); got != want {
		p.t.Fatalf("Count(%q, %+v) = %d, want %d", key, sp, got, want)
	}
	last, ok := pick(p.store, k, sp).LastTime()
	if ok != (len(in) > 0) || ok && last != in[len(in)-1].Time {
		p.t.Fatalf("LastTime(%q, %+v) = %d, %v, want that of %v", key, sp, last, ok, in)
	}
	for col := range p.model.spec.Columns {
		total, n, currency, err := pick(p.store, k, sp).Sum(col)
		wTotal, wN, wCurrency, wErr := p.model.sum(key, col, sp)
		if total != wTotal || n != wN || currency != wCurrency || !errors.Is(err, wErr) {
			p.t.Fatalf("Sum(%q, %d, %+v) = %d, %d, %d, %v, want %d, %d, %d, %v",
				key, col, sp, total, n, currency, err, wTotal, wN, wCurrency, wErr)
		}
		if got, want := pick(p.store, k, sp).Distinct(col, &p.scratch), p.model.distinct(key, col, sp); got != want {
			p.t.Fatalf("Distinct(%q, %d, %+v) = %d, want %d", key, col, sp, got, want)
		}
		p.compareColumn(key, k, col, sp, in)
	}
}

// compareColumn asks for what is found by looking at the events of a span,
// which are given.
func (p *pair) compareColumn(key string, k window.Key, col int, sp window.Span, in []window.Event) {
	p.t.Helper()
	in = p.model.ends(having(in, col))
	wCurrency, wErr := p.model.currency(in, col)
	var wLeast, wGreatest int64
	for i, e := range in {
		v := e.Values[col]
		if i == 0 {
			wLeast, wGreatest = v, v
		}
		wLeast, wGreatest = min(wLeast, v), max(wGreatest, v)
	}
	least, greatest, n, currency, err := pick(p.store, k, sp).MinMax(col)
	if least != wLeast || greatest != wGreatest || n != int64(len(in)) || currency != wCurrency || !errors.Is(err, wErr) {
		p.t.Fatalf("MinMax(%q, %d, %+v) = %d, %d, %d, %d, %v, want %d, %d, %d, %d, %v",
			key, col, sp, least, greatest, n, currency, err, wLeast, wGreatest, len(in), wCurrency, wErr)
	}
	sd, mean, n, currency, err := pick(p.store, k, sp).Stddev(col)
	wSd, wMean := deviation(in, col)
	if !near(sd, wSd) || !near(mean, wMean) || n != int64(len(in)) || currency != wCurrency || !errors.Is(err, wErr) {
		p.t.Fatalf("Stddev(%q, %d, %+v) = %v, %v, %d, %d, %v, want %v, %v, %d, %d, %v",
			key, col, sp, sd, mean, n, currency, err, wSd, wMean, len(in), wCurrency, wErr)
	}
	first, firstCurrency, ok := pick(p.store, k, sp).First(col)
	last, lastCurrency, ok2 := pick(p.store, k, sp).Last(col)
	if ok != (len(in) > 0) || ok2 != ok {
		p.t.Fatalf("First and Last(%q, %d, %+v) = %v, %v over %d events", key, col, sp, ok, ok2, len(in))
	}
	if !ok {
		return
	}
	a, b := in[0], in[len(in)-1]
	if p.model.spec.Plain>>col&1 != 0 {
		a.Currency, b.Currency = 0, 0
	}
	if first != a.Values[col] || firstCurrency != a.Currency || last != b.Values[col] || lastCurrency != b.Currency {
		p.t.Fatalf("First and Last(%q, %d, %+v) = %d of %d, %d of %d, want those of %+v and %+v",
			key, col, sp, first, firstCurrency, last, lastCurrency, a, b)
	}
}

// deviation is the population standard deviation and the mean, in so many bits
// that nothing of them is lost but at the end.
func deviation(in []window.Event, col int) (sd, mean float64) {
	if len(in) == 0 {
		return 0, 0
	}
	sum, squares := new(big.Int), new(big.Int)
	for _, e := range in {
		v := big.NewInt(e.Values[col])
		sum.Add(sum, v)
		squares.Add(squares, new(big.Int).Mul(v, v))
	}
	n := big.NewInt(int64(len(in)))
	float := func(v *big.Int) *big.Float { return new(big.Float).SetPrec(500).SetInt(v) }
	variance := squares.Mul(squares, n)
	variance.Sub(variance, new(big.Int).Mul(sum, sum))
	root := new(big.Float).SetPrec(500).Sqrt(float(variance))
	sd, _ = root.Quo(root, float(n)).Float64()
	mean, _ = new(big.Float).Quo(float(sum), float(n)).Float64()
	return sd, mean
}

// near reports whether x is off by two parts in 2^52 at most.
func near(x, want float64) bool { return math.Abs(x-want) <= math.Abs(want)/(1<<51) }

// compareAll asks for everything held.
func (p *pair) compareAll() {
	p.t.Helper()
	if got, want := p.store.Keys(), len(p.model.keys); got != want {
		p.t.Fatalf("Keys() = %d, want %d", got, want)
	}
	if got, want := p.store.AppendCanonical(nil), p.model.canonical(); string(got) != string(want) {
		p.t.Fatalf("AppendCanonical:\n got %x\nwant %x", got, want)
	}
	seen := map[string]int{}
	p.store.Range(func(key string, events int) bool {
		seen[key]++
		if want := len(p.model.events(key)); events != want || seen[key] > 1 {
			p.t.Fatalf("Range: %q has %d events, want %d; seen %d times", key, events, want, seen[key])
		}
		return true
	})
	if len(seen) != len(p.model.keys) {
		p.t.Fatalf("Range: %d keys, want %d", len(seen), len(p.model.keys))
	}
	for key := range p.model.keys {
		p.compare(key, window.Span{From: math.MinInt64, To: math.MaxInt64})
	}
}
