package engine

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/window"
)

// ErrSaved is for a state that this engine can't have saved, or not with this
// schema.
var ErrSaved = errors.New("the saved state can't be read")

func hashOf[T string | []byte](b T) uint64 { return xxh3.HashString(string(b)) }

// Saved reads what is saved. Both end with the first error of each, whose
// arguments are good during the call. Several calls run at the same time, and at
// the same time as the next save.
type Saved interface {
	// Get calls each for all parts of a key's value, in order.
	Get(key []byte, each func(part []byte) error) error

	// Scan calls it for those of the keys from lo up to but not hi, in their order.
	Scan(lo, hi []byte, each func(key, part []byte) error) error
}

// Restore enters a saved state into an engine that is new. It is as if its rules
// came by a reload: an expression that was there keeps its history, and series
// that the saved state hasn't are left to be filled: see SetRules and Filling.
// Of a state that KeepOnDisk was called for, what is known by id stays where it
// is, and as much of windows as memory has no room for. now is as of StartSave.
// After an error the engine is good for nothing.
func (e *Engine) Restore(head []byte, now int64, from Saved) error {
	var h header
	if err := json.Unmarshal(head, &h); err != nil {
		return fmt.Errorf("%w: %w", ErrSaved, err)
	}
	switch {
	case h.Version != savedVersion:
		return fmt.Errorf("%w: its format is version %d, this program's is %d", ErrSaved, h.Version, savedVersion)
	case h.Schema != fingerprint(e.cfg.Schema):
		return fmt.Errorf("%w: it was made with other fields of streams", ErrSaved)
	}
	e.newest, e.received, e.earliest, e.nextID, e.forgot = h.Newest, h.Received, h.Earliest, h.NextID, h.Forgot
	e.saved, e.stores = map[int]bool{}, nil
	for i := range h.Stores {
		e.saved[h.Stores[i].ID] = true
		if s := e.savedStore(&h.Stores[i]); s != nil {
			e.stores = append(e.stores, s)
		}
	}
	e.SetRules(e.set)
	byID := map[uint32]*store{}
	for _, s := range e.stores {
		byID[uint32(s.id)] = s
	}
	if e.forgot == nil {
		e.forgot = map[int]int64{}
	}
	for stream := range e.cfg.Schema.Streams {
		e.forget(stream, e.expired(stream, now))
	}
	errs := make([]error, len(e.shards))
	e.parallel(parallelFrom, func(w int) { errs[w] = e.restoreShard(w, now, byID, from) })
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if e.tracking {
		e.Track()
	}
	return nil
}

// savedStore is a saved store, still empty; nil for one that is of no use.
func (e *Engine) savedStore(have *savedStore) *store {
	i := slices.IndexFunc(e.set.Series, func(s rules.Series) bool { return s.Name == have.Series })
	if i < 0 || have.Filling {
		return nil
	}
	columns := make([]rules.Column, len(have.Columns))
	for j, c := range have.Columns {
		columns[j] = rules.Column{Field: c.Field, Kind: rules.ColumnKind(c.Kind)}
	}
	kept, ok := e.set.Series[i].Keeping(columns)
	if !ok || len(columns) > window.MaxColumns || have.Spec.Columns != len(columns) || have.Spec.Horizon < 0 || have.Spec.Exact < 0 || have.Spec.DistinctExact < 0 {
		return nil
	}
	if plain, texts, _ := masks(kept.Columns); plain != have.Spec.Plain || texts != have.Spec.Texts {
		return nil
	}
	s := &store{def: &e.set.Series[i], columns: kept, spec: have.Spec, since: have.Since, id: have.ID}
	for range e.shards {
		s.shards = append(s.shards, window.New(s.spec))
	}
	e.keepOnDisk(s)
	return s
}

// errFound ends a scan.
var errFound = errors.New("found")

// restoreShard reads the part of each group that belongs to a shard.
func (e *Engine) restoreShard(w int, now int64, stores map[uint32]*store, from Saved) error {
	n := uint64(len(e.shards))
	lo, hi := (uint64(w)<<32+n-1)/n<<32, (uint64(w+1)<<32+n-1)/n<<32
	for _, kind := range kinds {
		for group, end := uint32(0), []byte{kind + 1}; group < 1<<24; group++ {
			err := from.Scan(appendKey(nil, kind, group, 0), end, func(key, _ []byte) error {
				if len(key) < keyHead {
					return ErrSaved
				}
				group = groupOf(key)
				return errFound
			})
			if err == nil {
				break
			}
			if !errors.Is(err, errFound) {
				return err
			}
			enter, err := e.restorer(w, now, kind, group, stores[group])
			if err != nil {
				return err
			}
			if enter == nil {
				continue
			}
			first, last := appendKey(nil, kind, group, lo), appendKey(nil, kind, group, hi)
			if w == int(n)-1 {
				last = appendKey(nil, kind, group+1, 0)
			}
			err = from.Scan(first, last, func(key, value []byte) error {
				if len(key) < keyHead {
					return ErrSaved
				}
				name := unsafe.String(unsafe.SliceData(key[keyHead:]), len(key)-keyHead) // nothing keeps it
				if err := enter(binary.BigEndian.Uint64(key[4:]), name, value); err != nil {
					return fmt.Errorf("%w: key %q", err, key)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// A restorer enters a part of a saved value.
type restorer func(hash uint64, name string, value []byte) error

// restorer is that of a group; nil where nothing of it is kept.
func (e *Engine) restorer(w int, now int64, kind byte, group uint32, s *store) (restorer, error) {
	sh, stream, day := e.shards[w], int(group>>16), uint16(group)
	switch {
	case kind == kindWindow && s == nil: // of rules that are gone
		return nil, nil
	case kind == kindWindow:
		return e.restoreWindow(w, now, s), nil
	case stream >= len(e.cfg.Schema.Streams) || !slices.Contains(e.datedKinds(stream), kind):
		return nil, ErrSaved
	case day < e.expired(stream, now):
		return nil, nil
	}
	cold := e.disk != nil
	switch kind {
	case kindID:
		return sh.restoreID(stream, day, stream == e.refunds, cold), nil
	case kindOriginal:
		return sh.restoreOriginal(day, cold), nil
	case kindRefunded:
		return sh.restoreRefunded(day, cold), nil
	}
	return func(hash uint64, name string, value []byte) error {
		if len(name) < 8 {
			return ErrSaved
		}
		id := name[:len(name)-8]
		u, status, err := decodeUpdate([]byte(name[len(id):]), value)
		if err != nil || cold { // it comes with its transaction
			return err
		}
		x := sh.originals.get(hash, id)
		if x == nil {
			return ErrSaved
		}
		sh.restoreUpdate(&x.val, u, status)
		return nil
	}, nil
}

func (sh *shard) restoreID(stream int, day uint16, refund, cold bool) restorer {
	t := sh.ids[stream]
	return func(hash uint64, name string, value []byte) error {
		content, at, moved, err := decodeID(value, refund)
		switch {
		case err != nil:
			return err
		case cold:
			t.restoreCold(hash, day)
			return nil
		case moved:
			sh.moved[strings.Clone(name)] = at
		}
		x, err := t.restore(hash, name, day)
		if err == nil {
			x.val = content
		}
		return err
	}
}

func (sh *shard) restoreOriginal(day uint16, cold bool) restorer {
	t := sh.originals
	return func(hash uint64, name string, value []byte) error {
		o, packed, err := readOriginal(value)
		if err != nil {
			return err
		}
		if cold {
			t.restoreCold(hash, day)
			return nil
		}
		x, err := t.restore(hash, name, day)
		if err != nil {
			return err
		}
		o.packed = t.keys.add(packed)
		x.val = o
		return nil
	}
}

func (sh *shard) restoreRefunded(day uint16, cold bool) restorer {
	return func(hash uint64, name string, value []byte) error {
		r, err := decodeReserved(value)
		if err != nil {
			return err
		}
		if cold {
			sh.refunded.restoreCold(hash, day)
			return nil
		}
		x, _ := sh.refunded.put(hash, name, day)
		x.val, x.day = r, day // of several days the last counts
		return nil
	}
}

// restoreWindow enters keys of windows while there is room for them in memory,
// and leaves the others on disk. A key whose last part is of a day that is
// forgotten is gone.
func (e *Engine) restoreWindow(w int, now int64, s *store) restorer {
	r := windowRestore{to: s.shards[w], others: e.shardBytes(w) - s.shards[w].Bytes(), most: math.MaxInt64}
	if e.disk != nil && e.cfg.Memory > 0 {
		r.most = e.cfg.Memory / int64(len(e.shards))
	}
	expired, sh := e.forgets(now), e.shards[w]
	return func(hash uint64, name string, value []byte) error {
		if len(value) < 2 {
			return ErrSaved
		}
		if name != string(r.key) {
			if len(r.old) > 0 && len(sh.gone) < mostGone {
				sh.gone = append(sh.gone, append(appendKey(nil, kindWindow, uint32(s.id), r.hash), r.key...))
			}
			r.next(hash, name)
		}
		if binary.LittleEndian.Uint16(value) < expired && !r.begun {
			r.old = append(r.old, bytes.Clone(value[2:]))
			return nil
		}
		return r.enter(name, value[2:])
	}
}

// mostGone is how many keys of a shard are forgotten at a start, at most.
const mostGone = 1 << 16

// windowRestore enters keys in one store of a shard.
type windowRestore struct {
	to           *window.Store
	others, most int64 // bytes of the shard's other state, and of all of it at most
	keys         int
	full         bool

	hash  uint64
	key   []byte
	old   [][]byte // its parts so far, all of days that are forgotten
	begun bool     // it is entered
	cold  bool     // as one that stays on disk
}

// lookEvery is after how many keys the room is looked at.
var lookEvery = 1024

func (r *windowRestore) next(hash uint64, name string) {
	if r.keys++; r.keys%lookEvery == 0 && !r.full {
		r.full = r.others+r.to.Bytes() > r.most
	}
	r.hash, r.key, r.old, r.begun, r.cold = hash, append(r.key[:0], name...), r.old[:0], false, r.full
}

func (r *windowRestore) enter(name string, part []byte) error {
	if !r.begun && r.cold {
		r.to.RestoreCold(r.hash, name)
	}
	r.begun = true
	if r.cold {
		return nil
	}
	for _, old := range r.old {
		if err := r.to.Restore(r.hash, name, old); err != nil {
			return err
		}
	}
	r.old = r.old[:0]
	return r.to.Restore(r.hash, name, part)
}
