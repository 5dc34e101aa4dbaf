package engine_test

import (
	"bytes"
	"maps"
	"slices"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// disk is what was saved: the parts of each key's value.
type disk struct {
	head  []byte
	parts map[string][][]byte
	reads atomic.Int64 // of Get
}

const noExpiry = 0 // the clock; nothing is old

func (d *disk) save(sv *engine.Save, copied []engine.Copied) {
	d.head = sv.Header
	for _, k := range sv.Gone {
		delete(d.parts, string(k))
	}
	for _, r := range sv.Drops {
		maps.DeleteFunc(d.parts, func(k string, _ [][]byte) bool { return k >= string(r[0]) && k < string(r[1]) })
	}
	added := map[string][][]byte{}
	for _, c := range copied {
		err := c.Each(func(k, v []byte) error {
			delete(added, string(k))
			d.parts[string(k)] = [][]byte{bytes.Clone(v)}
			return nil
		}, func(k, v []byte) error {
			added[string(k)] = append(added[string(k)], bytes.Clone(v))
			return nil
		})
		if err != nil {
			panic(err)
		}
	}
	for k, parts := range added {
		d.parts[k] = append(d.parts[k], parts...)
	}
}

func (d *disk) Get(key []byte, each func(part []byte) error) error {
	d.reads.Add(1)
	for _, part := range d.parts[string(key)] {
		if err := each(part); err != nil {
			return err
		}
	}
	return nil
}

func (d *disk) Scan(lo, hi []byte, each func(k, v []byte) error) error {
	for _, k := range slices.Sorted(maps.Keys(d.parts)) {
		if k < string(lo) || k >= string(hi) {
			continue
		}
		for _, part := range d.parts[k] {
			if err := each([]byte(k), part); err != nil {
				return err
			}
		}
	}
	return nil
}

// An engine that was saved at any point, copied while it worked on, and restored
// with another number of workers, decides what follows as the one that was not,
// byte for byte, also where what is saved leaves its memory.
func TestDecisionsAfterSaveAndRestore(t *testing.T) {
	schema := event.Builtin()
	set := loadSet(t, schema, after)
	rapid.Check(t, func(t *rapid.T) {
		exact := rapid.SampledFrom([]int{0, 1, 3}).Draw(t, "exact")
		rows := rapid.Permutation(genRows(t)).Draw(t, "order")
		if rapid.Bool().Draw(t, "repeats") {
			rows = append(rows, rows[:len(rows)/3]...)
		}
		a := newMachine(t, schema, set, 2, exact)
		defer a.e.Close()
		d := &disk{parts: map[string][][]byte{}}
		small := rapid.Bool().Draw(t, "small")
		start := func() *machine {
			workers, memory := rapid.IntRange(1, 4).Draw(t, "workers"), int64(0)
			if small {
				memory = rapid.SampledFrom([]int64{1, 10_000, 100_000}).Draw(t, "memory")
			}
			m := newSmallMachine(t, schema, set, workers, exact, memory)
			m.e.Track()
			if small {
				m.e.KeepOnDisk(d)
			}
			return m
		}
		b := start()
		var want, got []byte
		for len(rows) > 0 {
			n := rapid.IntRange(1, len(rows)).Draw(t, "epoch")
			epoch := rows[:n]
			rows = rows[n:]
			a.epoch(epoch, func(d *event.Decision) { want = d.Append(want) })
			if !rapid.Bool().Draw(t, "save") {
				b.epoch(epoch, func(d *event.Decision) { got = d.Append(got) })
				continue
			}
			sv := b.e.StartSave(noExpiry)
			copied, _ := b.e.CopySome(sv, 1)
			ahead := len(got)
			b.epoch(epoch, func(d *event.Decision) { got = d.Append(got) })
			for done := false; !done; {
				var more []engine.Copied
				more, done = b.e.CopySome(sv, rapid.IntRange(1, 50).Draw(t, "some"))
				copied = append(copied, more...)
			}
			d.save(sv, copied)
			b.e.StartEvict(sv)
			for more := rapid.SampledFrom([]int{0, 900, 1 << 20}).Draw(t, "evict"); more > 0 && b.e.EvictFor(0); more-- {
			}
			if err := b.e.Err(); err != nil {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(t, "crash") {
				b.e.Close()
				b = start()
				if err := b.e.Restore(d.head, noExpiry, d); err != nil {
					t.Fatal(err)
				}
				if streams, _ := b.e.Filling(); len(streams) > 0 {
					t.Fatalf("series are to be filled: %v", streams)
				}
				got = got[:ahead]
				b.epoch(epoch, func(d *event.Decision) { got = d.Append(got) })
			}
		}
		defer b.e.Close()
		if !bytes.Equal(got, want) {
			for i := range got {
				if i >= len(want) || got[i] != want[i] {
					t.Fatalf("at byte %d, restored: …%s\nnot restored: …%s", i, got[max(i-300, 0):min(i+100, len(got))], want[max(i-300, 0):min(i+100, len(want))])
				}
			}
		}
	})
}

// With changed rules, the series that stayed are restored, and the others are
// left to be filled.
func TestRestoreWithOtherRules(t *testing.T) {
	schema := event.Builtin()
	few, many := loadSet(t, schema, before), loadSet(t, schema, after)
	rapid.Check(t, func(t *rapid.T) {
		rows := genRows(t)
		b := newMachine(t, schema, few, 2, 0)
		defer b.e.Close()
		b.e.Track()
		b.epoch(rows, func(*event.Decision) {})
		d := &disk{parts: map[string][][]byte{}}
		sv := b.e.StartSave(noExpiry)
		copied, _ := b.e.CopySome(sv, 1<<20)
		d.save(sv, copied)
		c := newMachine(t, schema, many, 3, 0)
		defer c.e.Close()
		if err := c.e.Restore(d.head, noExpiry, d); err != nil {
			t.Fatal(err)
		}
		if streams, derived := c.e.Filling(); len(streams) != 2 || !derived {
			t.Fatalf("to be filled: %v, derived %v", streams, derived)
		}
		same := newMachine(t, schema, few, 1, 0)
		defer same.e.Close()
		if err := same.e.Restore(d.head, noExpiry, d); err != nil {
			t.Fatal(err)
		}
		if same.e.Stats().Keys != b.e.Stats().Keys || same.e.Stats().Events != b.e.Stats().Events {
			t.Fatalf("restored %+v, saved %+v", same.e.Stats(), b.e.Stats())
		}
	})
}

// Bytes that were not saved are refused, and never make it panic.
func FuzzRestore(f *testing.F) {
	schema := event.Builtin()
	set := loadSet(f, schema, before)
	e := engine.New(engine.Config{Schema: schema, Workers: 1}, set)
	e.Track()
	sv := e.StartSave(noExpiry)
	e.Close()
	f.Add(sv.Header, []byte("i\x01\x50\x00\x00\x00\x00\x00\x00\x00\x00\x00r1"), []byte("12345678"))
	f.Add(sv.Header, []byte("o\x00\x50\x00\x00\x00\x00\x00\x00\x00\x00\x00t1"), []byte("12345678\x02"))
	f.Add(sv.Header, []byte("u\x00\x50\x00\x00\x00\x00\x00\x00\x00\x00\x00t112345678"), []byte("\x02\x04failed"))
	f.Add(sv.Header, []byte("r\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00t1"), []byte("\x02\x04\x00"))
	f.Add(sv.Header, []byte("w\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00t1"), []byte("\x00\x00\x02\x0412345678\x00\x00"))
	f.Fuzz(func(t *testing.T, head, key, value []byte) {
		d := &disk{parts: map[string][][]byte{string(key): {value}}}
		e := engine.New(engine.Config{Schema: schema, Workers: 2}, set)
		defer e.Close()
		_ = e.Restore(head, noExpiry, d)

		// What was good when it was read first may be damaged since.
		cold := engine.New(engine.Config{Schema: schema, Workers: 1, Memory: 1}, set)
		defer cold.Close()
		cold.KeepOnDisk(d)
		if cold.Restore(head, noExpiry, d) != nil {
			return
		}
		if len(value) > 0 && len(key) > 12 {
			d.parts[string(key)] = [][]byte{value[:len(value)-1]}
			it := &engine.Item{Stream: int(key[2]) % len(schema.Streams)}
			stream := schema.Streams[it.Stream]
			it.Event = event.Event{Stream: stream, Vals: make([]event.Value, len(stream.Fields)), Present: 1}
			it.Event.Vals[0].Str = string(key[12:])
			it.Prepare(nil)
			cold.Apply([]*engine.Item{it})
			_ = cold.Err()
		}
	})
}
