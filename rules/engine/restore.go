package engine

import (
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
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/window"
)

// ErrSaved is for a state that this engine can't have saved, or not with this
// schema.
var ErrSaved = errors.New("the saved state can't be read")

func hashOf[T string | []byte](b T) uint64 { return xxh3.HashString(string(b)) }

// Scan calls each for the keys from lo up to but not hi that are saved, in their
// order, and for all parts of a key's value in theirs. It ends with the first
// error. Several run at the same time.
type Scan func(lo, hi []byte, each func(key, value []byte) error) error

// Restore enters a saved state into an engine that is new. It is as if its rules
// came by a reload: an expression that was there keeps its history, and series
// that the saved state hasn't are left to be filled: see SetRules and Filling.
// now is as of StartSave.
// After an error the engine is good for nothing.
func (e *Engine) Restore(head []byte, now int64, scan Scan) error {
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
		if day := e.expired(stream, now); int64(day)*dayMS > e.earliest {
			e.forgot[stream] = max(e.forgot[stream], int64(day)*dayMS)
		}
	}
	errs := make([]error, len(e.shards))
	e.parallel(parallelFrom, func(w int) { errs[w] = e.restoreShard(w, now, byID, scan) })
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
	return s
}

// errFound ends a scan.
var errFound = errors.New("found")

// restoreShard reads the part of each group that belongs to a shard.
func (e *Engine) restoreShard(w int, now int64, stores map[uint32]*store, scan Scan) error {
	n := uint64(len(e.shards))
	lo, hi := (uint64(w)<<32+n-1)/n<<32, (uint64(w+1)<<32+n-1)/n<<32
	for _, kind := range kinds {
		for group, end := uint32(0), []byte{kind + 1}; group < 1<<24; group++ {
			err := scan(appendKey(nil, kind, group, 0), end, func(key, _ []byte) error {
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
			from, to := appendKey(nil, kind, group, lo), appendKey(nil, kind, group, hi)
			if w == int(n)-1 {
				to = appendKey(nil, kind, group+1, 0)
			}
			if err := e.restoreGroup(w, now, kind, group, stores[group], from, to, scan); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *Engine) restoreGroup(w int, now int64, kind byte, group uint32, s *store, from, to []byte, scan Scan) error {
	stream, day := int(group>>16), uint16(group)
	enter := e.shards[w].restorers(day)[kind]
	switch {
	case kind == kindWindow && s == nil: // of rules that are gone
		return nil
	case kind == kindWindow:
		enter = func(hash uint64, name string, value []byte) error { return s.shards[w].Restore(hash, name, value) }
	case kind == kindID || kind == kindOriginal || kind == kindUpdate:
		if stream >= len(e.cfg.Schema.Streams) || (stream == e.transactions) == (kind == kindID) {
			return ErrSaved
		}
		if day < e.expired(stream, now) {
			return nil
		}
		if kind == kindID {
			enter = e.shards[w].restoreID(stream, day, stream == e.refunds)
		}
	}
	return scan(from, to, func(key, value []byte) error {
		if len(key) < keyHead {
			return ErrSaved
		}
		name := unsafe.String(unsafe.SliceData(key[keyHead:]), len(key)-keyHead) // nothing keeps it
		if err := enter(binary.BigEndian.Uint64(key[4:]), name, value); err != nil {
			return fmt.Errorf("%w: key %q", err, key)
		}
		return nil
	})
}

func (sh *shard) restorers(day uint16) map[byte]func(hash uint64, name string, value []byte) error {
	return map[byte]func(hash uint64, name string, value []byte) error{
		kindOriginal: func(hash uint64, name string, value []byte) error {
			o, known := sh.originals.put(hash, name, day)
			t, n := int64(0), 0
			if len(value) > 8 {
				t, n = binary.Varint(value[8:])
			}
			if known || n <= 0 {
				return ErrSaved
			}
			*o = original{content: binary.LittleEndian.Uint64(value), time: t, packed: sh.keys.add(value[8+n:])}
			sh.originals.segments[hash%tableSegments].saved++
			return nil
		},
		kindRefunded: func(hash uint64, name string, value []byte) error {
			r, known := sh.refunded.put(hash, name, 0)
			amount, n := binary.Varint(value)
			currency, m := binary.Uvarint(value[max(n, 0):])
			if known || n <= 0 || m <= 0 || len(value) != n+m+1 || currency > math.MaxUint16 {
				return ErrSaved
			}
			*r = reserved{amount: amount, currency: event.Currency(currency), mixed: value[n+m] != 0}
			return nil
		},
		kindUpdate: func(hash uint64, name string, value []byte) error {
			id := name[:max(len(name)-8, 0)]
			t, n := binary.Varint(value)
			index, m := binary.Varint(value[max(n, 0):])
			if len(name) < 8 || n <= 0 || m <= 0 {
				return ErrSaved
			}
			o := sh.originals.get(hash, id)
			if o == nil {
				return nil // forgotten since
			}
			u := update{of: sh.originals.keyOf(hash, id), content: binary.LittleEndian.Uint64([]byte(name[len(id):])), time: t, index: index,
				next: o.updates, day: day}
			if status := value[n+m:]; len(status) > 0 {
				u.status = sh.keys.add(status)
			}
			sh.updates = append(sh.updates, u)
			sh.savedUpdates = len(sh.updates)
			o.updates = int32(len(sh.updates))
			return nil
		},
	}
}

func (sh *shard) restoreID(stream int, day uint16, refund bool) func(hash uint64, name string, value []byte) error {
	return func(hash uint64, name string, value []byte) error {
		content, known := sh.ids[stream].put(hash, name, day)
		if known || len(value) < 8 {
			return ErrSaved
		}
		*content = binary.LittleEndian.Uint64(value)
		sh.ids[stream].segments[hash%tableSegments].saved++
		if rest := value[8:]; len(rest) > 0 {
			t, n := binary.Varint(rest)
			if n != len(rest) || !refund {
				return ErrSaved
			}
			sh.moved[strings.Clone(name)] = t
		}
		return nil
	}
}
