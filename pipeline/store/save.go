package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/zeebo/xxh3"
)

// ErrFull is for a disk that has no room for what is to be saved.
var ErrFull = errors.New("the disk is nearly full")

// Save is what will be saved together.
type Save struct {
	s       *Store
	batch   *pebble.Batch
	early   bool // something was written before the meta, which there is none of meanwhile
	added   map[string][]byte
	adding  int // bytes in added
	rewrite [][]byte
	scratch []byte
}

// Begin begins a save. The one before must have been committed.
func (s *Store) Begin() *Save {
	return &Save{s: s, batch: s.db.NewBatch(), added: map[string][]byte{}}
}

// earlyBytes is how much of a save is kept in memory.
var earlyBytes = 32 << 20

// Drop removes the keys from lo up to but not hi. It comes before Put and Add.
func (v *Save) Drop(lo, hi []byte) error { return v.batch.DeleteRange(lo, hi, nil) }

// Delete removes a key. It comes before Put and Add.
func (v *Save) Delete(key []byte) error { return v.batch.Delete(key, nil) }

// Put replaces the value of a key, with all that Add adds to it in this save.
// After ErrFull it can be called again, after other errors nothing can be saved
// any more.
func (v *Save) Put(key, value []byte) error {
	if err := v.spill(); err != nil {
		return err
	}
	v.adding -= len(v.added[string(key)])
	delete(v.added, string(key))
	v.s.wasPut(key, len(value))
	v.scratch = appendSealed(v.scratch[:0], key, value)
	return v.batch.Set(key, v.scratch, nil)
}

// Add puts one more part behind the value of a key. For a key that is Put in the
// same save, it must come first. Errors are as of Put.
func (v *Save) Add(key, part []byte) error {
	if err := v.spill(); err != nil {
		return err
	}
	before := v.added[string(key)]
	v.added[string(key)] = appendSealed(before, key, part)
	v.adding += len(v.added[string(key)]) - len(before)
	return nil
}

// spill writes what there is so far, if it is much. It doesn't count before the
// meta is there too: until then the save before is kept beside it.
func (v *Save) spill() error {
	if v.batch.Len()+v.adding <= earlyBytes {
		return nil
	}
	if err := v.room(); err != nil {
		return err
	}
	if !v.early && v.s.meta != nil {
		if err := v.s.keepBefore(); err != nil {
			return err
		}
	}
	v.early = true
	if err := v.write(); err != nil {
		return err
	}
	v.batch = v.s.db.NewBatch()
	return nil
}

// keepBefore keeps the last save where a start finds it, for as long as there is
// no meta.
func (s *Store) keepBefore() error {
	return s.do(func() error {
		if err := s.fs.RemoveAll(s.before()); err != nil {
			return err
		}
		if err := s.db.Checkpoint(s.before()); err != nil {
			return err
		}
		if err := s.db.Delete(metaKey, pebble.NoSync); err != nil {
			return err
		}
		return s.db.Flush()
	})
}

// room is ErrFull where the disk has too little left.
func (v *Save) room() error {
	usage, err := v.s.fs.GetDiskUsage(v.s.dir)
	if err == nil && usage.AvailBytes < uint64(2*(v.batch.Len()+v.adding))+spareBytes {
		return fmt.Errorf("%w: %d MiB are left in %s", ErrFull, usage.AvailBytes>>20, v.s.dir)
	}
	return nil
}

func (v *Save) write() error {
	for key, parts := range v.added {
		if err := v.batch.Merge([]byte(key), parts, nil); err != nil {
			return err
		}
		if v.s.grew(key, len(parts)) {
			v.rewrite = append(v.rewrite, []byte(key))
		}
	}
	clear(v.added)
	v.adding = 0
	return v.s.do(func() error { return v.batch.Commit(pebble.NoSync) })
}

// Commit writes the save, with meta. Errors are as of Put.
func (v *Save) Commit(meta []byte) error {
	if err := v.room(); err != nil {
		return err
	}
	if err := v.batch.Set(metaKey, appendSealed(nil, metaKey, meta), nil); err != nil {
		return err
	}
	if err := v.write(); err != nil {
		return err
	}
	if err := v.s.do(v.s.db.Flush); err != nil {
		return err
	}
	v.s.meta = meta
	v.s.measure()
	if v.early {
		return v.s.fs.RemoveAll(v.s.before())
	}
	return nil
}

// spareBytes are left free on the disk: where it is full, files of others may
// be in danger too, and the database can't clean up.
const spareBytes = 64 << 20

// Rewrite lists the keys that should be Put again, for their values are more
// parts than whole. It is for after Commit.
func (v *Save) Rewrite() [][]byte { return v.rewrite }

// growth is of keys that Add was called for.
type growth struct{ put, added int }

// leastGrowth is how many bytes may be added in any case.
const leastGrowth = 8 << 10

func (s *Store) wasPut(key []byte, n int) {
	if g := s.grown[string(key)]; g != nil {
		g.put, g.added = n, 0
	}
}

// grew reports whether a key has doubled since it was Put.
func (s *Store) grew(key string, n int) bool {
	g := s.grown[key]
	if g == nil {
		g = &growth{}
		s.grown[key] = g
	}
	g.added += n
	return g.added > max(leastGrowth, g.put)
}

const sumBytes = 4

// checksum is over a part and the key that it belongs to.
func checksum(key, part []byte) uint32 {
	return uint32(xxh3.HashSeed(part, xxh3.Hash(key)))
}

func appendSealed(dst, key, part []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(part)))
	dst = append(dst, part...)
	return binary.LittleEndian.AppendUint32(dst, checksum(key, part))
}

var errSum = errors.New("its checksum is wrong")

// unseal takes the first part of a value.
func unseal(key, value []byte) (part, rest []byte, err error) {
	n, size := binary.Uvarint(value)
	if size <= 0 || uint64(len(value)-size) < sumBytes || n > uint64(len(value)-size-sumBytes) {
		return nil, nil, errSum
	}
	part, rest = value[size:size+int(n)], value[size+int(n):]
	if checksum(key, part) != binary.LittleEndian.Uint32(rest) {
		return nil, nil, errSum
	}
	return part, rest[sumBytes:], nil
}
