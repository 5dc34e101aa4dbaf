package window_test

import (
	"fmt"
	"testing"

	"github.com/refundguard/refundguard/rules/window"
)

// A key goes when it was neither inserted to nor loaded for so many saves, and
// no earlier.
func TestEvictByAge(t *testing.T) {
	for age := 1; age <= 6; age++ {
		for _, touch := range []string{"insert", "insert to a long one", "load", "insert of a new key"} {
			s, d, _ := newCold(window.Spec{Columns: 1})
			n := map[string]int64{"insert": 1, "load": 1, "insert to a long one": 200}[touch]
			for i := range n {
				insertAt(s, 1, "k", i)
			}
			d.save(s)
			d.save(s)
			if touch == "load" {
				evictAll(s, 1)
				if !s.IsCold(1, "k") {
					t.Fatal("the key is still in memory")
				}
				if err := s.Load(1, "k"); err != nil {
					t.Fatal(err)
				}
				s.Freeze()
				if changes, more := s.Changes(nil, 1); len(changes) > 0 || more {
					t.Fatal("a load is to be saved")
				}
				evictAll(s, 1)
				if err := s.Load(1, "k"); err != nil {
					t.Fatal(err)
				}
			} else {
				insertAt(s, 1, "k", n)
				n++
			}
			for saves := range age {
				if evictAll(s, age); s.IsCold(1, "k") {
					t.Fatalf("%s: gone after %d saves, of %d", touch, saves, age)
				}
				d.save(s)
			}
			if evictAll(s, age); !s.IsCold(1, "k") {
				t.Fatalf("%s: still in memory after %d saves", touch, age)
			}
			if err := s.Load(1, "k"); err != nil {
				t.Fatal(err)
			}
			if got := count(t, s, 1, "k"); got != n {
				t.Fatalf("%s: %d events came back, want %d", touch, got, n)
			}
		}
	}
}

// A key that is to be saved whole is, however long ago it was inserted to.
func TestRewriteOfColdKey(t *testing.T) {
	for _, cold := range []bool{false, true} {
		s, d, _ := newCold(window.Spec{Columns: 1})
		for i := range int64(100) {
			insertAt(s, 1, "k", i)
		}
		d.save(s)
		insertAt(s, 1, "k", 100)
		d.save(s)
		d.save(s)
		if cold {
			evictAll(s, 1)
		}
		if got := len(d["k"]); s.IsCold(1, "k") != cold || got != 2 {
			t.Fatalf("cold: %v, saved in %d parts, want %v, 2", s.IsCold(1, "k"), got, cold)
		}
		s.Rewrite(1, "k")
		evictAll(s, 1)
		d.save(s)
		if got := len(d["k"]); got != 1 {
			t.Errorf("cold %v: saved in %d parts, want it whole", cold, got)
		}
		evictAll(s, 1)
		if err := s.Load(1, "k"); err != nil || count(t, s, 1, "k") != 101 {
			t.Errorf("cold %v: %d events came back (%v), want 101", cold, count(t, s, 1, "k"), err)
		}
	}
}

// While a save has more to give, and where nothing is tracked, nothing goes:
// nobody has it on disk.
func TestEvictAtTheWrongTime(t *testing.T) {
	s, d, _ := newCold(window.Spec{Columns: 1})
	for i := range int64(200) {
		insertAt(s, uint64(i%2), fmt.Sprint("k", i%2), i)
	}
	s.Freeze()
	if evictAll(s, 1); s.Cold() != 0 {
		t.Fatalf("%d keys went before they were given", s.Cold())
	}
	changes, _ := s.Changes(nil, 9)
	d.put(changes)
	insertAt(s, 0, "k0", 200)
	s.Freeze()
	if evictAll(s, 1); s.Cold() != 0 {
		t.Fatalf("%d keys went while an event was not given", s.Cold())
	}
	s.Untrack()
	if evictAll(s, 1); s.Cold() != 0 {
		t.Fatalf("%d keys went from a store that notes no changes", s.Cold())
	}
}

// A round goes over all slots, however few a call looks at.
func TestEvictGoesRound(t *testing.T) {
	s, d, _ := newCold(window.Spec{Columns: 1})
	for i := range uint64(1000) {
		insertAt(s, i, fmt.Sprint(i), 1)
	}
	d.save(s)
	calls, cold := 1, 0
	for s.Evict(100, 1) {
		calls++
		if s.Cold() > cold+100 {
			t.Fatalf("%d keys went in a call that looks at 100 slots", s.Cold()-cold)
		}
		cold = s.Cold()
	}
	if s.Cold() != 1000 || calls < 10 {
		t.Fatalf("%d of 1,000 keys went in %d calls", s.Cold(), calls)
	}
	for i := range uint64(1000) {
		insertAt(s, i, fmt.Sprint(i), 2)
	}
	d.save(s)
	if evictAll(s, 1); s.Cold() != 1000 {
		t.Fatalf("%d keys went in the next round", s.Cold())
	}
}

// Of keys that have gone, 8 bytes stay, and what the table has free; names,
// texts and buckets go with them.
func TestMemoryOfColdKeys(t *testing.T) {
	for _, spec := range []window.Spec{
		{Columns: 1},
		{Columns: 1, Plain: 1, Texts: 1, Names: true, Exact: 1, Windows: []int64{1000}, Horizon: 1000},
	} {
		s, d, _ := newCold(spec)
		k := newNames(90_000) // the table is 2^17 slots
		e := &window.Event{Present: 1, Values: make([]int64, 1)}
		for i, key := range k.key {
			for range 3 {
				e.Time, e.ID = e.Time+1, e.ID+1
				e.Name = fmt.Sprint("name ", e.ID)
				if e.Values[0] = int64(i); spec.Texts != 0 {
					e.Values[0] = s.Intern(fmt.Sprint("text ", e.ID))
				}
				s.Insert(k.hash[i], key, e)
			}
		}
		d.save(s)
		before := s.Bytes()
		evictAll(s, 1)
		if s.Cold() != len(k.key) || s.Keys() != len(k.key) || s.Events() != 0 {
			t.Fatalf("%d of %d keys are cold, with %d events in memory", s.Cold(), s.Keys(), s.Events())
		}
		per := float64(s.Bytes()) / float64(len(k.key))
		t.Logf("%.1f bytes a key, %.1f before", per, float64(before)/float64(len(k.key)))
		if per >= 20 {
			t.Errorf("%+v: %.1f bytes a key", spec, per)
		}
		for i, key := range k.key {
			if err := s.Load(k.hash[i], key); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.Bytes(); got > before*11/10 {
			t.Errorf("%+v: %d bytes when all are back, %d before", spec, got, before)
		}
	}
}
