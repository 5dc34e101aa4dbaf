package engine

import (
	"errors"
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/refundguard/refundguard/rules"
)

// What is saved need not stay in memory. Of what is known by id, and of keys in
// windows, the oldest and the longest unused leave when there is more in memory
// than Config.Memory, and come back when they are asked for:
//
//   - A key leaves only between a save that is on disk and the next one, and only
//     if it didn't change since that save began. So what is on disk of a key that
//     is not in memory is all of it, also while the next save is written.
//   - What is left in memory says which keys have left, so that only they are
//     looked up on disk; a key that was never there costs no reading.
//   - Who decides only reads windows, of all shards. So the keys that decisions
//     ask for are brought back before, each by its owner.
//
// What can't be read back ends the engine: see Err.

// KeepOnDisk says where what was saved can be read from now on, for as long as
// the engine is used: what Save gave, once it is written.
func (e *Engine) KeepOnDisk(saved Saved) {
	e.disk = saved
	for _, sh := range e.shards {
		sh.originals.saved, sh.refunded.saved = saved, saved
		for _, t := range sh.ids {
			t.saved = saved
		}
	}
	for _, s := range e.stores {
		e.keepOnDisk(s)
	}
}

func (e *Engine) keepOnDisk(s *store) {
	if e.disk == nil {
		return
	}
	fetch := func(hash uint64, key string, each func(part []byte) error) error {
		return e.disk.Get(append(appendKey(nil, kindWindow, uint32(s.id), hash), key...), func(part []byte) error {
			if len(part) < 2 {
				return ErrSaved
			}
			return each(part[2:])
		})
	}
	for _, w := range s.shards {
		w.FetchWith(fetch)
	}
}

// Err is what kept something from being read back, or was read and can't be: what
// was applied or decided since is worth nothing, and so is the engine.
func (e *Engine) Err() error {
	var errs []error
	for w, sh := range e.shards {
		errs = append(errs, sh.err())
		for _, s := range e.stores {
			errs = append(errs, s.shards[w].Err())
		}
	}
	return errors.Join(errs...)
}

// bringBack has the keys in memory that what is due of items asks for. It reports
// whether there are others.
func (e *Engine) bringBack(which int, items []*Item) bool {
	cold := 0
	for _, s := range e.stores {
		for _, w := range s.shards {
			cold += w.Cold()
		}
	}
	if cold == 0 {
		return false
	}
	e.parallel(len(items), func(w int) {
		wk := e.workers[w]
		wk.reset()
		for _, i := range wk.due {
			in := e.input(wk, which, items[i])
			items[i].refunded = in.Refunded
			e.askFor(wk, which, &in)
		}
	})
	e.parallel(len(items), func(w int) {
		for _, from := range e.workers {
			for i := range from.out[w] {
				o := &from.out[w][i]
				_ = e.stores[o.store].shards[w].Load(o.hash, o.key) // Err has it
			}
		}
	})
	return true
}

// askFor sends the keys that are not in memory to their owners, and reports
// whether there are such.
func (e *Engine) askFor(wk *worker, which int, in *rules.Input) (some bool) {
	p := &e.plans[which]
	keys := wk.evals[which].Begin(in)
	for i, f := range p.finds {
		k := keys[f.lookup]
		if k.Nil || e.shed && !p.live.finds[i] {
			continue
		}
		hash := xxh3.Hash(k.Bytes)
		to := e.owner(hash)
		if e.stores[f.store].shards[to].IsCold(hash, unsafe.String(unsafe.SliceData(k.Bytes), len(k.Bytes))) {
			start := len(wk.scratch)
			wk.scratch = append(wk.scratch, k.Bytes...)
			key := unsafe.String(unsafe.SliceData(wk.scratch[start:]), len(k.Bytes))
			wk.out[to] = append(wk.out[to], op{store: f.store, hash: hash, key: key})
			some = true
		}
	}
	return some
}
