package window_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/xxh3"
	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/window"
)

// disk is what a store saved, as a database with a merge operator would have it.
type disk map[string][][]byte

// put takes the changes of one save.
func (d disk) put(changes []byte) {
	whole := map[string]bool{}
	for c := range window.EachChange(changes) {
		if c.Whole {
			whole[string(c.Key)] = true
			d[string(c.Key)] = [][]byte{c.Value}
		}
	}
	for c := range window.EachChange(changes) {
		if !c.Whole && !whole[string(c.Key)] {
			d[string(c.Key)] = append(d[string(c.Key)], c.Value)
		}
	}
}

func (d disk) restore(spec window.Spec, hash func(key string) uint64) (*window.Store, error) {
	s := window.New(spec)
	for key, values := range d {
		for _, v := range values {
			if err := s.Restore(hash(key), key, v); err != nil {
				return nil, fmt.Errorf("key %q: %w", key, err)
			}
		}
	}
	return s, nil
}

func savedSpec(t *rapid.T) window.Spec {
	spec := window.Spec{Columns: 3, Texts: 1 << 1, Names: rapid.Bool().Draw(t, "names"), Horizon: rapid.SampledFrom([]int64{0, 500, 5000}).Draw(t, "horizon")}
	if rapid.Bool().Draw(t, "buckets") {
		spec.Exact, spec.DistinctExact = rapid.SampledFrom([]int{1, 5, 90}).Draw(t, "exact"), 3
		spec.Windows = []int64{max(spec.Horizon, 0)}
	}
	return spec
}

func randomEvent(r *rand.Rand, i int) *window.Event {
	e := &window.Event{Time: 1_700_000_000_000 + int64(i)*3 - r.Int64N(60), ID: r.Uint64N(1 << 20), Currency: uint16(r.IntN(40) / 39), Present: r.Uint32N(8)}
	if r.IntN(300) == 0 {
		e.Time = -1 << 60
	}
	e.Name = fmt.Sprint("n", e.ID)
	e.Values = []int64{r.Int64N(1000) - 100, 0, int64(r.Uint64()) >> r.IntN(60)}
	return e
}

// What a store saved at any point, copied while more events came, is what it
// held at that point.
func TestSavedAndRestored(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := savedSpec(t)
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		keys := 1 + r.IntN(6)
		s := window.New(spec)
		s.Track()
		d := disk{}
		i := 0
		insert := func(n int) {
			for range n {
				e, key := randomEvent(r, i), fmt.Sprint("key", min(r.IntN(keys), r.IntN(keys)))
				if e.Present>>1&1 != 0 {
					e.Values[1] = s.Intern(fmt.Sprint("text", r.IntN(5)))
				}
				s.Insert(xxh3.HashString(key), key, e)
				i++
			}
		}
		for range 1 + r.IntN(5) {
			insert(r.IntN(400))
			if key := "key0"; r.IntN(3) == 0 {
				s.Rewrite(xxh3.HashString(key), key)
			}
			want := s.AppendCanonical(nil)
			s.Freeze()
			var changes []byte
			for more := true; more; {
				insert(r.IntN(20))
				changes, more = s.Changes(changes, 1)
			}
			d.put(bytes.Clone(changes))
			back, err := maps.Clone(d).restore(spec, xxh3.HashString)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(back.AppendCanonical(nil), want) {
				t.Fatal("what was restored differs from what was held when the save began")
			}
			if r.IntN(2) == 0 { // go on with what was restored
				s, i = back, i+1
				s.Track()
			}
		}
	})
}

// What was not saved by a store is refused, and never makes it panic.
func FuzzRestore(f *testing.F) {
	specs := []window.Spec{{Columns: 1}, {Columns: 2, Texts: 2, Names: true, Exact: 2, Windows: []int64{1000}, Horizon: 1000}}
	for which, spec := range specs {
		s := window.New(spec)
		s.Track()
		for i := range 12 {
			e := &window.Event{Time: int64(i * 100), ID: uint64(i), Present: 1, Values: []int64{5, 0}, Name: "n"}
			if spec.Texts != 0 {
				e.Present, e.Values[1] = 3, s.Intern("text")
			}
			s.Insert(1, "k", e)
		}
		s.Freeze()
		changes, _ := s.Changes(nil, 10)
		for c := range window.EachChange(changes) {
			f.Add(which, c.Value)
		}
	}
	f.Fuzz(func(t *testing.T, which int, value []byte) {
		spec := specs[uint(which)%uint(len(specs))]
		s, cold := window.New(spec), window.New(spec)
		cold.FetchWith(disk{"k": {value}}.fetch)
		cold.RestoreCold(1, "k")
		err := s.Restore(1, "k", value)
		if loaded := cold.Load(1, "k"); errors.Is(loaded, window.ErrSaved) != (err != nil) {
			t.Fatalf("Restore says %v, Load %v", err, loaded)
		}
		if err != nil {
			return
		}
		if !bytes.Equal(cold.AppendCanonical(nil), s.AppendCanonical(nil)) {
			t.Fatal("what was loaded differs from what was restored")
		}
		s.Track()
		s.Insert(1, "k", &window.Event{Time: 1 << 40, ID: 7, Values: make([]int64, 2)})
		s.Freeze()
		changes, _ := s.Changes(nil, 10)
		for c := range window.EachChange(changes) {
			again := window.New(spec)
			if err := again.Restore(1, string(c.Key), c.Value); err != nil {
				t.Fatalf("what was restored and saved again is refused: %v", err)
			}
		}
	})
}
