package cases_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// disk is a state folder in memory.
type disk map[string][]byte

func (d disk) Get(key []byte, each func(value []byte) error) error {
	if v, ok := d[string(key)]; ok {
		return each(v)
	}
	return nil
}

func (d disk) Scan(lo, hi []byte, each func(key, value []byte) error) error {
	for _, k := range slices.Sorted(maps.Keys(d)) {
		if k >= string(lo) && k < string(hi) {
			if err := each([]byte(k), d[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

// write does what the service does with a save.
func (d disk) write(f *cases.Frozen) {
	for _, k := range f.Gone() {
		delete(d, string(k))
	}
	_ = f.Each(func(key, value []byte) error { d[string(key)] = slices.Clone(value); return nil })
}

func (d disk) load(t *testing.T, b *cases.Book) {
	t.Helper()
	lo, hi := cases.Keys()
	if err := d.Scan(lo, hi, func(key, value []byte) error { _, err := b.Load(key, value); return err }); err != nil {
		t.Fatal(err)
	}
}

const day = 24 * 60 * 60 * 1000

// random is a case that could be.
func random(r *rand.Rand, id string, now int64) *cases.Case {
	c := &cases.Case{RefundID: id, CustomerID: fmt.Sprint("c", r.IntN(9)), Amount: event.Money(r.Int64N(1e9)), Currency: usd, Severity: rules.Severity(1 + r.IntN(4)),
		State: cases.State(1 + r.IntN(6)), Since: now - r.Int64N(5*day), Ordinal: r.IntN(4), Reserved: r.IntN(2) == 0, Paid: r.IntN(2) == 0, Denied: r.IntN(2) == 0,
		Source: event.Source{Topic: "refunds", Partition: int32(r.IntN(9)), Offset: r.Int64N(1e6)}, Reason: "WHY", By: "engine",
		RequestReason: "defective", Executed: r.Int64N(1e12), Changed: now, Content: event.Answer(r.IntN(3))}
	if !c.State.Final() && r.IntN(4) > 0 {
		c.Due = now + r.Int64N(3*day) - day
	}
	if c.State == cases.InReview {
		c.Request = &cases.Request{Value: []byte(`{"refund_id":"` + id + `"}`)}
		if r.IntN(2) == 0 {
			c.Request.Key = []byte("key")
		}
		for range r.IntN(3) {
			c.Request.Headers = append(c.Request.Headers, event.Header{Key: "h", Value: [][]byte{nil, {}, []byte("v")}[r.IntN(3)]})
		}
	}
	return c
}

// A book is what a map of cases is, over saves, failed saves, crashes and days.
func TestBook(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		onDisk := seed%3 > 0
		d, saved := disk{}, map[string]*cases.Case{}
		open := func() *cases.Book {
			if !onDisk {
				return cases.New(nil)
			}
			return cases.New(d)
		}
		b, model, now := open(), map[string]*cases.Case{}, int64(1000*day)
		var frozen *cases.Frozen
		var then map[string]*cases.Case
		broken := false
		for range 400 {
			id := fmt.Sprint("r", r.IntN(30))
			now += r.Int64N(day / 20)
			switch r.IntN(12) {
			case 0, 1, 2, 3:
				c := random(r, id, now)
				b.Put(c)
				model[id] = c
			case 4:
				b.Drop(id)
				delete(model, id)
			case 5:
				if frozen == nil && !broken {
					if _, err := b.Expire(now-30*day, 5); err != nil {
						t.Fatal(err)
					}
					frozen, then = b.Freeze(), maps.Clone(model)
				}
			case 6:
				if frozen == nil {
					break
				}
				if broken = r.IntN(8) == 0; !broken {
					d.write(frozen)
					saved = then
				}
				b.Thaw(!broken)
				frozen = nil
			case 7: // a crash
				if onDisk && r.IntN(3) == 0 {
					b, frozen, broken, model = open(), nil, false, maps.Clone(saved)
					d.load(t, b)
				}
			case 8:
				passed, last := []string{}, int64(0)
				for id, due, ok := b.Next(now); ok; id, due, ok = b.Next(now) {
					if c := model[id]; c == nil || c.Due == 0 || c.Due > now || c.Due != due || due < last {
						t.Fatalf("seed %d: %s is not due at %d of %d, behind %d: %+v", seed, id, due, now, last, c)
					}
					last = due
					passed = append(passed, id)
					c := *model[id]
					c.Due = []int64{0, now + 1 + r.Int64N(day)}[r.IntN(2)]
					b.Put(&c)
					model[id] = &c
				}
				for id, c := range model {
					if c.Due != 0 && c.Due <= now {
						t.Fatalf("seed %d: %s was due at %d, now is %d; told of were %v", seed, id, c.Due, now, passed)
					}
				}
			}
			got, err := b.Get(id)
			if err != nil || !reflect.DeepEqual(got, model[id]) {
				t.Fatalf("seed %d: %s is %+v, %v; want %+v", seed, id, got, err, model[id])
			}
			n, oldest, all := [5]int{}, [5]int64{}, 0
			for _, c := range model {
				if c.State == cases.InReview || !c.State.Final() && c.Due != 0 {
					all++
				}
				if s := c.Severity; c.State == cases.InReview {
					if n[s]++; oldest[s] == 0 || c.Since < oldest[s] {
						oldest[s] = c.Since
					}
				}
			}
			for s := rules.Low; s <= rules.Critical; s++ {
				if gotN, since := b.Waiting(s); gotN != n[s] || since != oldest[s] {
					t.Fatalf("seed %d: %d wait since %d with severity %s, want %d since %d", seed, gotN, since, s, n[s], oldest[s])
				}
			}
			if b.Open() != all {
				t.Fatalf("seed %d: %d open, want %d", seed, b.Open(), all)
			}
		}
	}
}

// What is finished, or waits for nothing, is forgotten after its time, which
// begins anew where something happened to it since; nothing of it is left.
func TestExpire(t *testing.T) {
	for _, onDisk := range []bool{false, true} {
		d := disk{}
		b := cases.New(nil)
		if onDisk {
			b = cases.New(d)
		}
		save := func() {
			d.write(b.Freeze())
			b.Thaw(true)
		}
		c := func(id string, s cases.State, since int64) *cases.Case {
			return &cases.Case{RefundID: id, State: s, Since: since, Severity: rules.Low}
		}
		b.Put(c("old", cases.Executed, 10*day))
		b.Put(c("again", cases.Failed, 10*day))
		b.Put(c("unwatched", cases.Approved, 10*day)) // there is no ledger that tells
		waits := c("open", cases.Approved, 10*day)
		waits.Due = 30 * day
		b.Put(waits)
		b.Put(c("held", cases.InReview, 10*day))
		b.Put(c("new", cases.Rejected, 20*day))
		save()
		b.Put(c("again", cases.Executed, 20*day))
		save()
		for _, step := range []struct {
			before int64
			left   []string
		}{{15, []string{"again", "held", "new", "open"}}, {21, []string{"held", "open"}}} {
			for range 4 {
				if _, err := b.Expire(step.before*day, 1); err != nil {
					t.Fatal(err)
				}
				save()
			}
			for _, id := range []string{"again", "held", "new", "old", "open", "unwatched"} {
				if got, err := b.Get(id); err != nil || (got != nil) != slices.Contains(step.left, id) {
					t.Errorf("before day %d: %s: %v, %v", step.before, id, got, err)
				}
			}
		}
		if onDisk && len(d) != 2 {
			t.Errorf("on disk are %d keys: %q", len(d), slices.Sorted(maps.Keys(d)))
		}
	}
}

func FuzzParse(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 3))
	for range 20 {
		f.Add(random(r, "r", 100*day).Append(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := cases.Parse("r", data)
		if err != nil {
			return
		}
		again, err := cases.Parse("r", c.Append(nil))
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%+v, again %+v, %v", c, again, err)
		}
	})
}

// BenchmarkBook is of a million open cases that are saved: what they take of
// memory, and what a time that passes costs.
func BenchmarkBook(b *testing.B) {
	const n = 1_000_000
	r := rand.New(rand.NewPCG(1, 4))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	book := cases.New(void{})
	for i := range n {
		c := random(r, fmt.Sprintf("ref_%016x", r.Uint64()), 1000*day)
		c.State, c.Due = cases.InReview, 1000*day+int64(i)
		if c.Request == nil {
			c.Request = &cases.Request{Value: make([]byte, 400)}
		}
		book.Put(c)
		if i%10_000 == 0 {
			book.Freeze()
			book.Thaw(true)
		}
	}
	book.Freeze()
	book.Thaw(true)
	runtime.GC()
	runtime.ReadMemStats(&after)
	now := int64(1000 * day)
	b.ReportAllocs()
	for b.Loop() {
		now++
		for id, _, ok := book.Next(now); ok; id, _, ok = book.Next(now) {
			book.Put(&cases.Case{RefundID: id, State: cases.InReview, Severity: rules.Low, Due: now + n, Since: now})
		}
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/case")
}

// void is a disk that forgets.
type void struct{}

func (void) Get([]byte, func([]byte) error) error              { return nil }
func (void) Scan(_, _ []byte, _ func(_, _ []byte) error) error { return nil }
