package window_test

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/zeebo/xxh3"
	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/window"
)

// fetch is how a store reads what it saved.
func (d disk) fetch(_ uint64, key string, each func(part []byte) error) error {
	for _, v := range d[key] {
		if err := each(v); err != nil {
			return err
		}
	}
	return nil
}

// save writes all that has changed.
func (d disk) save(s *window.Store) {
	s.Freeze()
	changes, _ := s.Changes(nil, math.MaxInt)
	d.put(changes)
}

// answers are all that can be asked of a key over a span.
func answers(s *window.Store, hash uint64, key string, sp window.Span, columns int) string {
	k, ok := s.Find(hash, key)
	if !ok {
		return "not there"
	}
	x := pick(s, k, sp)
	var scratch window.Scratch
	time, any := x.LastTime()
	out := fmt.Sprintf("%d events, last %d %v", x.Count(), time, any)
	for c := range columns {
		sum, n, cur, err := x.Sum(c)
		out += fmt.Sprintf("\n%d: sum %d of %d in %d %v", c, sum, n, cur, err)
		least, greatest, n, cur, err := x.MinMax(c)
		out += fmt.Sprintf(", from %d to %d of %d in %d %v", least, greatest, n, cur, err)
		sd, mean, n, cur, err := x.Stddev(c)
		out += fmt.Sprintf(", %v around %v of %d in %d %v", sd, mean, n, cur, err)
		v, cur, ok := x.First(c)
		out += fmt.Sprintf(", first %d %q in %d %v", v, s.Text(v), cur, ok)
		v, cur, ok = x.Last(c)
		out += fmt.Sprintf(", last %d %q in %d %v, %d different", v, s.Text(v), cur, ok, x.Distinct(c, &scratch))
	}
	return out
}

// coldRun is a store whose keys come and go, beside a twin that keeps all in
// memory.
type coldRun struct {
	t           *rapid.T
	r           *rand.Rand
	spec        window.Spec
	hash        func(key string) uint64
	keys        []string
	store, twin *window.Store
	disk        disk
	events      int

	saving        bool
	changes       []byte
	frozen, saved []byte // the twin as the save found it, and as the last one that is over did

	met map[string]int // what happened, so that nothing goes untried
}

func (c *coldRun) key() string { return c.keys[min(c.r.IntN(len(c.keys)), c.r.IntN(len(c.keys)))] }

func (c *coldRun) insert(n int) {
	key := c.key()
	for range n {
		if c.r.IntN(3) == 0 {
			key = c.key()
		}
		e := randomEvent(c.r, c.events)
		c.events++
		if c.r.IntN(4) == 0 {
			e.Time -= c.r.Int64N(6000)
		}
		for _, s := range []*window.Store{c.store, c.twin} {
			if e.Present>>1&1 != 0 {
				e.Values[1] = s.Intern(fmt.Sprint("text", e.ID%7*(e.ID%40)))
			}
			if s == c.store && s.IsCold(c.hash(key), key) {
				c.met["insert to a cold key"]++
				if len(c.disk[key]) > 1 {
					c.met["load of several parts"]++
				}
			}
			s.Insert(c.hash(key), key, e)
		}
	}
}

func (c *coldRun) freeze() {
	c.frozen, c.saving, c.changes = c.twin.AppendCanonical(nil), true, nil
	c.store.Freeze()
}

func (c *coldRun) copySome(n int) {
	changes, more := c.store.Changes(nil, n)
	if c.changes = append(c.changes, changes...); more {
		return
	}
	c.disk.put(bytes.Clone(c.changes))
	c.saving, c.saved = false, c.frozen
}

func (c *coldRun) save() {
	for c.saving {
		c.copySome(3)
	}
	c.freeze()
	for c.saving {
		c.copySome(3)
	}
}

func (c *coldRun) evict(slots, age int) (more bool) {
	before := c.store.Cold()
	more = c.store.Evict(slots, age)
	c.met["evict"] += c.store.Cold() - before
	return more
}

// crash goes on with what is on the disk, some of it in memory.
func (c *coldRun) crash() {
	c.saving = false
	twin, err := maps.Clone(c.disk).restore(c.spec, c.hash)
	if err != nil {
		c.t.Fatal(err)
	}
	if !bytes.Equal(twin.AppendCanonical(nil), c.saved) {
		c.t.Fatal("what is on the disk is not what there was when the last save began")
	}
	c.twin, c.store = twin, window.New(c.spec)
	c.store.FetchWith(c.disk.fetch)
	track := c.r.IntN(2) == 0 // before or after, it is the same
	if track {
		c.store.Track()
	}
	// Which of two keys of one hash comes first must mean nothing.
	for _, key := range slices.Sorted(maps.Keys(c.disk)) {
		if c.r.IntN(2) == 0 {
			c.store.RestoreCold(c.hash(key), key)
			c.met["restore cold"]++
			continue
		}
		for _, part := range c.disk[key] {
			if err := c.store.Restore(c.hash(key), key, part); err != nil {
				c.t.Fatalf("key %q: %v", key, err)
			}
		}
	}
	if !track {
		c.store.Track()
	}
}

func (c *coldRun) load(key string) {
	was := c.store.IsCold(c.hash(key), key)
	if err := c.store.Load(c.hash(key), key); err != nil {
		c.t.Fatalf("Load(%q): %v", key, err)
	}
	_, there := c.store.Find(c.hash(key), key)
	if _, want := c.twin.Find(c.hash(key), key); there != want {
		c.t.Fatalf("%q is there after Load: %v, want %v", key, there, want)
	}
	if there && c.store.IsCold(c.hash(key), key) {
		c.t.Fatalf("%q is in memory and cold", key)
	}
	if was && !there {
		c.met["load of another's bits"]++
	}
}

func (c *coldRun) compare(key string) {
	c.load(key)
	at := func() int64 { return 1_700_000_000_000 + c.r.Int64N(int64(c.events)*3+400) - 200 }
	sp := window.Span{From: at(), To: at()}
	if c.r.IntN(3) == 0 {
		sp = window.Span{From: math.MinInt64, To: math.MaxInt64}
	}
	got, want := answers(c.store, c.hash(key), key, sp, c.spec.Columns), answers(c.twin, c.hash(key), key, sp, c.spec.Columns)
	if got != want {
		c.t.Fatalf("%q, %+v:\n got %s\nwant %s", key, sp, got, want)
	}
}

func (c *coldRun) compareAll() {
	for _, key := range c.keys {
		c.compare(key)
	}
	if !bytes.Equal(c.store.AppendCanonical(nil), c.twin.AppendCanonical(nil)) {
		c.t.Fatal("the store differs from one that keeps all in memory")
	}
	if got, want := c.store.Keys(), c.twin.Keys(); got != want || c.store.Cold() != 0 {
		c.t.Fatalf("%d keys, %d cold, want %d, all loaded", got, c.store.Cold(), want)
	}
}

func (c *coldRun) step() {
	switch c.r.IntN(12) {
	case 0, 1, 2:
		c.insert(1 + c.r.IntN(90))
	case 3:
		c.insert(1)
	case 4:
		c.load(c.key())
	case 5:
		key := c.key()
		c.store.Rewrite(c.hash(key), key)
	case 6, 7:
		if !c.saving {
			c.freeze()
			break
		}
		c.copySome(1 + c.r.IntN(4))
	case 8, 9:
		if c.r.IntN(2) == 0 {
			c.save()
		}
		c.evict(1+c.r.IntN(40), 1+c.r.IntN(6)*c.r.IntN(2))
	case 10:
		c.compare(c.key())
	case 11:
		if c.r.IntN(5) == 0 {
			c.crash()
		}
	}
	if err := c.store.Err(); err != nil {
		c.t.Fatal(err)
	}
	if got, want := c.store.Keys(), c.twin.Keys(); got != want {
		c.t.Fatalf("Keys() = %d, want %d", got, want)
	}
}

// A store whose keys leave memory and come back, at any time that is allowed,
// through saves and crashes, answers as one that keeps all of them does; and
// what it saved is whole.
func TestColdKeysModel(t *testing.T) {
	met := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		c := &coldRun{t: t, spec: savedSpec(t), disk: disk{}, met: met, hash: xxh3.HashString}
		if rapid.Bool().Draw(t, "few hashes") {
			c.hash = badHash
		}
		c.r = rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		for i := range 1 + c.r.IntN(40) {
			c.keys = append(c.keys, fmt.Sprint("key", i))
		}
		c.store, c.twin = window.New(c.spec), window.New(c.spec)
		c.store.FetchWith(c.disk.fetch)
		c.store.Track()
		for range 120 {
			c.step()
		}
		// All go, and leave nothing. One that looks new goes with the next save.
		for range 3 {
			c.save()
			for c.evict(7, 1) {
			}
		}
		if c.store.Cold() != c.store.Keys() || c.store.Events() != 0 {
			t.Fatalf("%d of %d keys are cold, and %d events in memory, when all should have gone", c.store.Cold(), c.store.Keys(), c.store.Events())
		}
		for i := range 7 * 40 {
			text := fmt.Sprint("text", i)
			if s := c.store.Text(int64(xxh3.HashString(text))); s != "" {
				t.Fatalf("%q is kept", s)
			}
		}
		c.compareAll()
		c.crash()
		c.compareAll()
	})
	for _, what := range []string{"insert to a cold key", "load of several parts", "load of another's bits", "restore cold", "evict"} {
		if met[what] == 0 {
			t.Errorf("never tried: %s", what)
		}
	}
	t.Log(met)
}
