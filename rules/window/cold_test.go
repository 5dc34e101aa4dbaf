package window_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/refundguard/refundguard/rules/window"
)

// newCold is a store that saves to a disk and reads from it, and counts how
// often it does the latter.
func newCold(spec window.Spec) (s *window.Store, d disk, fetches *int) {
	s, d, fetches = window.New(spec), disk{}, new(int)
	s.FetchWith(func(hash uint64, key string, each func([]byte) error) error {
		*fetches++
		return d.fetch(hash, key, each)
	})
	s.Track()
	return s, d, fetches
}

func insertAt(s *window.Store, hash uint64, key string, at int64) {
	s.Insert(hash, key, &window.Event{Time: at, ID: uint64(at), Present: 1, Values: []int64{at}, Name: fmt.Sprint("name ", at)})
}

// evictAll makes a whole round.
func evictAll(s *window.Store, age int) {
	for s.Evict(1000, age) {
	}
}

func count(t *testing.T, s *window.Store, hash uint64, key string) int64 {
	t.Helper()
	k, ok := s.Find(hash, key)
	if !ok {
		t.Fatalf("%q is not in memory", key)
	}
	return pick(s, k, window.Span{From: -1, To: 1 << 40}).Count()
}

// Keys of one hash have slots that can't be told apart; none is taken for
// another.
func TestColdKeysOfOneHash(t *testing.T) {
	s, d, fetches := newCold(window.Spec{Columns: 1})
	insertAt(s, 1, "a", 1)
	insertAt(s, 1, "b", 1)
	insertAt(s, 1, "b", 2)
	d.save(s)
	insertAt(s, 1, "hot", 1)
	evictAll(s, 1)
	check := func(when string, keys, cold, fetched int, are map[string]bool) {
		t.Helper()
		if s.Keys() != keys || s.Cold() != cold || *fetches != fetched || s.Err() != nil {
			t.Fatalf("%s: %d keys, %d cold, %d fetches, %v, want %d, %d, %d", when, s.Keys(), s.Cold(), *fetches, s.Err(), keys, cold, fetched)
		}
		for key, want := range are {
			if s.IsCold(1, key) != want {
				t.Fatalf("%s: IsCold(%q) = %v", when, key, !want)
			}
		}
	}
	check("evicted", 3, 2, 0, map[string]bool{"a": true, "b": true, "never there": true, "hot": false})
	if s.IsCold(2, "a") {
		t.Fatal("a key of another hash is cold")
	}

	insertAt(s, 1, "hot", 2)
	if err := s.Load(1, "hot"); err != nil {
		t.Fatal(err)
	}
	check("a key in memory is not fetched", 3, 2, 0, nil)

	if err := s.Load(1, "never there"); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Find(1, "never there"); ok {
		t.Fatal("a key that was never there is found")
	}
	check("what is not there stays so", 3, 2, 1, map[string]bool{"never there": true})

	insertAt(s, 1, "new", 7)
	check("a new key has a slot of its own", 4, 2, 2, map[string]bool{"new": false, "a": true, "b": true})

	other := window.New(window.Spec{Columns: 1})
	other.Track()
	insertAt(other, 1, "restored", 5)
	whole := disk{}
	whole.save(other)
	if err := s.Restore(1, "restored", whole["restored"][0]); err != nil {
		t.Fatal(err)
	}
	check("restored beside cold ones", 5, 2, 2, map[string]bool{"restored": false})

	if err := s.Load(1, "b"); err != nil {
		t.Fatal(err)
	}
	check("one is back", 5, 1, 3, map[string]bool{"b": false, "a": true})
	insertAt(s, 1, "a", 2)
	check("both are", 5, 0, 4, map[string]bool{"a": false, "never there": false})
	for key, want := range map[string]int64{"a": 2, "b": 2, "hot": 2, "new": 1, "restored": 1} {
		if got := count(t, s, 1, key); got != want {
			t.Errorf("%q has %d events, want %d", key, got, want)
		}
	}
}

// The same while the table grows: a key in memory may be in the old part of the
// table, and a cold slot of its bits in the new one.
func TestColdKeysWhileTheTableGrows(t *testing.T) {
	const keys, more = 768, 20 // the next key makes a table of 1,024 grow, 16 slots at a time
	s, d, fetches := newCold(window.Spec{Columns: 1})
	for i := range keys {
		insertAt(s, uint64(i), fmt.Sprint("first ", i), 1)
	}
	for i := range more {
		insertAt(s, uint64(i*keys/more), fmt.Sprint("second ", i), 1)
	}
	d.save(s)
	for i := range keys {
		insertAt(s, uint64(i), fmt.Sprint("first ", i), 2)
	}
	evictAll(s, 1)
	if s.Cold() != more {
		t.Fatalf("%d keys are cold, want %d", s.Cold(), more)
	}
	for round := range 2 {
		for i := range more {
			hash := uint64(i * keys / more)
			if first := fmt.Sprint("first ", hash); s.IsCold(hash, first) {
				t.Fatalf("%q is cold", first)
			} else {
				insertAt(s, hash, first, int64(3+round))
			}
			if second := fmt.Sprint("second ", i); !s.IsCold(hash, second) {
				t.Fatalf("%q is not cold", second)
			}
		}
		for i := range keys { // they move to the new part, or to one twice as large
			insertAt(s, uint64(i), fmt.Sprint("third ", round, i), 1)
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	*fetches = 0
	for i := range more {
		hash, key := uint64(i*keys/more), fmt.Sprint("second ", i)
		if err := s.Load(hash, key); err != nil || count(t, s, hash, key) != 1 {
			t.Fatalf("%q did not come back: %v", key, err)
		}
	}
	if s.Cold() != 0 || *fetches != more || s.Keys() != 3*keys+more {
		t.Fatalf("%d cold, %d fetches, %d keys", s.Cold(), *fetches, s.Keys())
	}
}

// An error of the disk, and what can't have been saved, is told by whatever
// asked for the key, and for good.
func TestFetchFails(t *testing.T) {
	torn := errors.New("torn")
	var saved []byte
	for _, c := range []struct {
		name  string
		fetch window.Fetch
		want  error
	}{
		{"the disk fails", func(uint64, string, func([]byte) error) error { return torn }, torn},
		{"it fails after a part", func(_ uint64, _ string, each func([]byte) error) error { return errors.Join(each(saved), torn) }, torn},
		{"garbage", func(_ uint64, _ string, each func([]byte) error) error { return each([]byte{9}) }, window.ErrSaved},
		{"nothing in a part", func(_ uint64, _ string, each func([]byte) error) error { return each(nil) }, window.ErrSaved},
		{"half of it", func(_ uint64, _ string, each func([]byte) error) error { return each(saved[:len(saved)/2]) }, window.ErrSaved},
		{"whole twice", func(_ uint64, _ string, each func([]byte) error) error { return errors.Join(each(saved), each(saved)) }, window.ErrSaved},
		{"an error that is not passed on", func(_ uint64, _ string, each func([]byte) error) error {
			_, _ = each([]byte{9}), each(saved)
			return nil
		}, window.ErrSaved},
	} {
		for _, ask := range []string{"Load", "Insert", "Rewrite"} {
			s, d, _ := newCold(window.Spec{Columns: 1})
			insertAt(s, 1, "k", 1)
			insertAt(s, 2, "other", 1)
			d.save(s)
			saved = d["k"][0]
			evictAll(s, 1)
			fetched := 0
			s.FetchWith(func(hash uint64, key string, each func([]byte) error) error {
				fetched++
				return c.fetch(hash, key, each)
			})
			switch ask {
			case "Load":
				if err := s.Load(1, "k"); !errors.Is(err, c.want) {
					t.Errorf("%s: Load: %v, want %v", c.name, err, c.want)
				}
			case "Insert":
				before := s.Events()
				insertAt(s, 1, "k", 2)
				if c.name == "the disk fails" && s.Events() != before {
					t.Errorf("%s: the event was not dropped", c.name)
				}
			case "Rewrite":
				s.Rewrite(1, "k")
			}
			if err := s.Err(); !errors.Is(err, c.want) {
				t.Errorf("%s, %s: Err is %v, want %v", c.name, ask, err, c.want)
			}
			if err := s.Load(2, "other"); !errors.Is(err, c.want) || fetched != 1 {
				t.Errorf("%s, %s: afterwards Load: %v, and %d fetches", c.name, ask, err, fetched)
			}
		}
	}
}

func TestColdWithoutFetch(t *testing.T) {
	for name, f := range map[string]func(s *window.Store){
		"Evict":       func(s *window.Store) { s.Evict(1, 1) },
		"RestoreCold": func(s *window.Store) { s.RestoreCold(1, "k") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s without FetchWith did not panic", name)
				}
			}()
			f(window.New(window.Spec{}))
		}()
	}
}

// A text that was interned for an event outlives the events of its key that
// come and go while it is loaded.
func TestTextOfAnEventThatLoadsItsKey(t *testing.T) {
	for n := range int64(60) { // some of these make room while they are loaded
		for _, load := range []bool{true, false} {
			s, d, _ := newCold(window.Spec{Columns: 1, Plain: 1, Texts: 1, Horizon: 10})
			for i := range n + 1 {
				s.Insert(1, "k", &window.Event{Time: i, ID: uint64(i), Present: 1, Values: []int64{s.Intern(fmt.Sprint("text ", i))}})
			}
			d.save(s)
			evictAll(s, 1)
			v := s.Intern("text 0")
			if load {
				if err := s.Load(1, "k"); err != nil {
					t.Fatal(err)
				}
			}
			s.Insert(1, "k", &window.Event{Time: n + 1, ID: uint64(n + 1), Present: 1, Values: []int64{v}})
			if got := s.Text(v); got != "text 0" {
				t.Fatalf("after %d events, load %v: the text is %q", n, load, got)
			}
		}
	}
}

// Many readers while nobody writes; the race detector watches. Asking for what
// is not in memory takes none.
func TestConcurrentReadersOfColdKeys(t *testing.T) {
	s, d, _ := newCold(window.Spec{Columns: 1})
	for i := range uint64(1000) {
		insertAt(s, i, fmt.Sprint(i), 1)
	}
	d.save(s)
	for i := range uint64(500) {
		insertAt(s, i, fmt.Sprint(i), 2)
	}
	evictAll(s, 1)
	want := s.AppendCanonical(nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range uint64(2000) {
				key := fmt.Sprint(i)
				_, found := s.Find(i, key)
				if cold := s.IsCold(i, key); found != (i < 500) || cold != (i >= 500 && i < 1000) {
					t.Errorf("key %s: found %v, cold %v", key, found, cold)
				}
			}
		})
	}
	wg.Wait()
	if !bytes.Equal(s.AppendCanonical(nil), want) {
		t.Error("readers changed the store")
	}
	if n := testing.AllocsPerRun(100, func() { s.IsCold(700, "700"); s.Find(700, "700"); s.IsCold(5000, "5000") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
