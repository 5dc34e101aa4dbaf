package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"
	"pgregory.net/rapid"
)

// savedMap is a disk of one value a key.
type savedMap map[string][]byte

func (m savedMap) Get(key []byte, each func(part []byte) error) error {
	if v, ok := m[string(key)]; ok {
		return each(v)
	}
	return nil
}

func (m savedMap) Scan(_, _ []byte, _ func(key, part []byte) error) error { return nil }

func newIDs(disk Saved) *table[uint64] {
	return &table[uint64]{kind: kindID, stream: 1, saved: disk, decode: func(_ string, _ uint16, _ uint64, v []byte) (uint64, error) { return decodeContent(v) }}
}

func decodeContent(v []byte) (uint64, error) {
	if len(v) != 8 {
		return 0, ErrSaved
	}
	return binary.LittleEndian.Uint64(v), nil
}

// A table gives what was put, whatever has left since and however hashes
// collide, and forgets no day too early.
func TestTableAndAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type known struct {
			value uint64
			day   uint16
			hash  uint64
		}
		disk, model := savedMap{}, map[string]*known{}
		tb := newIDs(disk)
		spread := rapid.SampledFrom([]uint64{1, 7, 1 << 20, 1 << 62}).Draw(t, "hashes")
		keys := rapid.IntRange(1, 400).Draw(t, "keys")
		key := func() (string, uint64) {
			k := fmt.Sprint("key ", rapid.IntRange(0, keys).Draw(t, "key"), strings.Repeat("x", keys%40))
			h := xxh3.HashString(k) % spread
			return k, h<<20 | h>>44 // many share a segment
		}
		day, expired := uint16(100), uint16(0)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			for range rapid.IntRange(0, 100).Draw(t, "puts") {
				k, h := key()
				have := model[k]
				x, found := tb.put(h, k, day)
				switch {
				case have == nil && !found:
					x.val = rapid.Uint64().Draw(t, "value")
					model[k] = &known{x.val, day, h}
				case have != nil && found && (x.val != have.value || x.day != have.day):
					t.Fatalf("%s is %d of day %d, want %+v", k, x.val, x.day, have)
				case have != nil && !found && have.day >= expired:
					t.Fatalf("%s of day %d is gone, all from %d on are kept", k, have.day, expired)
				case have != nil && !found:
					x.val, have.day = have.value, day
				case have == nil && found:
					t.Fatalf("%s was never put", k)
				}
			}
			k, h := key()
			v, _, ok := tb.peek(h, k, decodeContent)
			if have := model[k]; ok && (have == nil || v != have.value) || !ok && have != nil && have.day >= expired {
				t.Fatalf("%s: %d, %v, want %+v", k, v, ok, have)
			}
			// A save, of all that there is; more may come before it is done.
			end := tb.keys.end()
			for i := range tb.segments {
				s := &tb.segments[i]
				for _, x := range s.entries {
					name := append(appendKey(nil, kindID, dayGroup(1, x.day), x.hash), tb.keys.get(x.key)...)
					disk[string(name)] = binary.LittleEndian.AppendUint64(nil, x.val)
				}
				s.saved = len(s.entries)
			}
			if rapid.Bool().Draw(t, "more") {
				k, h := key()
				if x, found := tb.put(h, k, day); !found {
					v := uint64(1)
					if have := model[k]; have != nil {
						v = have.value
					}
					x.val = v
					model[k] = &known{v, day, h}
				}
			}
			if rapid.Bool().Draw(t, "evict") {
				before := tb.keys.first + uint32(rapid.IntRange(0, int(end-tb.keys.first)).Draw(t, "chunks"))
				for i := range tb.segments {
					tb.evict(i, before, expired, fate[uint64]{
						stays:  func(x *entry[uint64]) bool { return x.val%5 == 0 },
						moved:  func(*entry[uint64]) {},
						leaves: func(*entry[uint64]) {},
					})
				}
				tb.keys.drop(before)
			}
			if rapid.Bool().Draw(t, "next day") {
				day++
				expired = max(expired, day-uint16(rapid.IntRange(1, 5).Draw(t, "days kept")))
			}
			hot := 0
			for i := range tb.segments {
				hot += len(tb.segments[i].entries)
			}
			if tb.err != nil || tb.n != hot+tb.cold {
				t.Fatalf("%d keys, %d in memory, %d not; error %v", tb.n, hot, tb.cold, tb.err)
			}
		}
	})
}

// What can't be read back is an error, and not an unknown key.
func TestTableTellsWhatItCantReadBack(t *testing.T) {
	for name, disk := range map[string]Saved{"broken": broken{}, "damaged": savedMap{string(append(appendKey(nil, kindID, dayGroup(1, 3), 42), "key"...)): {1}}} {
		tb := newIDs(disk)
		tb.restoreCold(42, 3)
		if x := tb.get(42, "key"); x != nil || tb.err == nil {
			t.Errorf("%s: %v, error %v", name, x, tb.err)
		}
		if tb := newIDs(disk); tb.get(42, "key") != nil || tb.err != nil {
			t.Errorf("%s: a key that was never there is looked up: %v", name, tb.err)
		}
	}
}

// counted counts readings.
type counted struct {
	savedMap
	reads *int
}

func (c counted) Get(key []byte, each func(part []byte) error) error {
	*c.reads++
	return c.savedMap.Get(key, each)
}

// Keys of one hash, made on purpose, are told apart and marked one by one where
// they have left, and a key that has it too and was never there costs a reading
// for each day, not for each of them.
func TestKeysOfOneHashThatLeft(t *testing.T) {
	const hash, keys, days = 42, 300, 3
	reads := 0
	disk := counted{savedMap{}, &reads}
	tb := newIDs(disk)
	name := func(i int) string { return fmt.Sprint("key ", i) }
	for i := range keys {
		day := uint16(1 + i%days)
		disk.savedMap[string(append(appendKey(nil, kindID, dayGroup(1, day), hash), name(i)...))] = binary.LittleEndian.AppendUint64(nil, uint64(i))
		tb.restoreCold(hash, day)
	}
	if tb.get(hash, "another") != nil || reads > days {
		t.Errorf("a key that was never there took %d readings, there are %d days", reads, days)
	}
	for round := range 2 {
		for i := range keys {
			v, slot, ok := tb.peek(hash, name(i), decodeContent)
			if !ok || v != uint64(i) || *slot&slotMark != 0 != (round == 1) {
				t.Fatalf("round %d: key %d is %d, %v, marked: %v", round, i, v, ok, ok && *slot&slotMark != 0)
			}
			*slot |= slotMark
		}
	}
	if tb.n != keys || tb.err != nil {
		t.Errorf("%d keys, error %v", tb.n, tb.err)
	}
}

type broken struct{ savedMap }

func (broken) Get([]byte, func([]byte) error) error { return errors.New("broken") }

// A step of an eviction, of a segment of 100,000 entries all of which leave: as
// many are in each where a shard has 25 million.
func BenchmarkEvictSegment(b *testing.B) {
	for range b.N {
		b.StopTimer()
		tb := newIDs(savedMap{})
		for i := range 100_000 {
			id := fmt.Sprintf("refund-%012d", i)
			tb.put(xxh3.HashString(id)&^255, id, 1)
		}
		end := tb.keys.end()
		b.StartTimer()
		tb.evict(0, end, 0, fate[uint64]{
			stays:  func(*entry[uint64]) bool { return false },
			moved:  func(*entry[uint64]) {},
			leaves: func(*entry[uint64]) {},
		})
	}
}

// An id that was never there, among 2 million of which most have left: ns, and
// bytes a key that has left.
func BenchmarkUnknownID(b *testing.B) {
	const n = 2_000_000
	for _, c := range []struct {
		name string
		cold bool
	}{{"in memory", false}, {"on disk", true}} {
		b.Run(c.name, func(b *testing.B) {
			tb := newIDs(savedMap{})
			for i := range n {
				id := fmt.Sprintf("refund-%012d", i)
				if h := xxh3.HashString(id); c.cold {
					tb.restoreCold(h, 1)
				} else {
					tb.put(h, id, 1)
				}
			}
			unknown := make([]string, 1<<16)
			for i := range unknown {
				unknown[i] = fmt.Sprintf("unknown-%012d", i)
			}
			b.ResetTimer()
			for i := range b.N {
				id := unknown[i%len(unknown)]
				if tb.get(xxh3.HashString(id), id) != nil {
					b.Fatal("it is known")
				}
			}
			b.ReportMetric(float64(tb.bytes())/n, "B/key")
		})
	}
}
