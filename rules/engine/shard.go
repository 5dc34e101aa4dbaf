package engine

import (
	"encoding/binary"
	"iter"
	"math"
	"slices"
	"strings"
	"unsafe"

	"github.com/refundguard/refundguard/rules/event"
)

// original is what is kept of a transaction: its packed record, and the chain
// of its status updates.
type original struct {
	content uint64
	time    int64
	packed  ref
	updates int32 // number of the latest applied one; 0: none
}

// reserved is what the refunds of one transaction come to that were decided and
// neither rejected nor failed, in each currency that there is something of.
type reserved struct {
	amount   int64 // 0: nothing
	currency event.Currency
	mixed    bool       // saved by an earlier program: there was another currency once
	changed  bool       // since the last save: it is in shard.changed
	others   []reserves // in other currencies; none where amount is 0
}

type reserves struct {
	amount   int64
	currency event.Currency
}

// add adds an amount, or takes it away. A sum that no integer holds stays at the
// greatest one: what reads it fails, and the refund is held.
func (r *reserved) add(amount int64, currency event.Currency) {
	if r.amount == 0 {
		r.currency = currency
	}
	if r.currency == currency {
		r.amount = addUpTo(r.amount, amount)
	} else {
		at := slices.IndexFunc(r.others, func(o reserves) bool { return o.currency == currency })
		if at < 0 {
			at = len(r.others)
			r.others = append(r.others, reserves{currency: currency})
		}
		r.others[at].amount = addUpTo(r.others[at].amount, amount)
		if r.others[at].amount == 0 {
			r.others = slices.Delete(r.others, at, at+1)
		}
	}
	if r.amount == 0 && len(r.others) > 0 {
		r.amount, r.currency = r.others[0].amount, r.others[0].currency
		r.others = slices.Delete(r.others, 0, 1)
	}
}

func addUpTo(sum, amount int64) int64 {
	if sum == math.MaxInt64 || amount > 0 && sum > math.MaxInt64-amount {
		return math.MaxInt64
	}
	return sum + amount
}

// encode is what decodeReserved reads.
func (r *reserved) encode(dst []byte) []byte {
	dst = binary.AppendUvarint(binary.AppendVarint(dst, r.amount), uint64(r.currency))
	if !r.mixed && len(r.others) == 0 {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	for _, o := range r.others {
		dst = binary.AppendUvarint(binary.AppendVarint(dst, o.amount), uint64(o.currency))
	}
	return dst
}

func (e *Engine) newShard() *shard {
	sh := &shard{originals: &table[original]{kind: kindOriginal, stream: e.transactions}, moved: map[string]int64{},
		refunded: &table[reserved]{kind: kindRefunded, stream: e.refunds}}
	sh.originals.decode = sh.decodeOriginal
	sh.refunded.decode = func(_ string, _ uint16, _ uint64, value []byte) (reserved, error) { return decodeReserved(value) }
	for stream := range e.cfg.Schema.Streams {
		t := &table[uint64]{kind: kindID, stream: stream}
		t.decode = func(name string, _ uint16, _ uint64, value []byte) (uint64, error) {
			content, at, moved, err := decodeID(value, stream == e.refunds)
			if moved {
				sh.moved[strings.Clone(name)] = at
			}
			return content, err
		}
		sh.ids = append(sh.ids, t)
	}
	return sh
}

// unmark takes the marks of Fill away.
func (sh *shard) unmark() {
	sh.originals.unmark()
	for _, t := range sh.ids {
		t.unmark()
	}
}

// err is what kept something from being read back.
func (sh *shard) err() error {
	for _, t := range sh.ids {
		if t.err != nil {
			return t.err
		}
	}
	if sh.originals.err != nil {
		return sh.originals.err
	}
	return sh.refunded.err
}

// decodeID reads what is saved of an id: the hash of its content, and of a refund
// whose time was moved, to where.
func decodeID(value []byte, refund bool) (content uint64, at int64, moved bool, err error) {
	if len(value) < 8 {
		return 0, 0, false, ErrSaved
	}
	content = binary.LittleEndian.Uint64(value)
	if value = value[8:]; len(value) > 0 {
		n := 0
		if at, n = binary.Varint(value); n != len(value) || !refund {
			return 0, 0, false, ErrSaved
		}
		return content, at, true, nil
	}
	return content, 0, false, nil
}

func decodeReserved(value []byte) (r reserved, err error) {
	if r.amount, r.currency, value, err = decodeSum(value); err != nil || len(value) == 0 {
		return reserved{}, ErrSaved
	}
	r.mixed, value = value[0] != 0 && len(value) == 1, value[1:]
	for len(value) > 0 {
		var o reserves
		if o.amount, o.currency, value, err = decodeSum(value); err != nil {
			return reserved{}, err
		}
		r.others = append(r.others, o)
	}
	return r, nil
}

func decodeSum(value []byte) (amount int64, of event.Currency, rest []byte, err error) {
	amount, n := binary.Varint(value)
	currency, m := binary.Uvarint(value[max(n, 0):])
	if n <= 0 || m <= 0 || currency > math.MaxUint16 {
		return 0, 0, nil, ErrSaved
	}
	return amount, event.Currency(currency), value[n+m:], nil
}

// readOriginal reads what is saved of a transaction, but for its packed record,
// which is behind it.
func readOriginal(value []byte) (o original, packed []byte, err error) {
	if len(value) <= 8 {
		return o, nil, ErrSaved
	}
	n := 0
	o.content = binary.LittleEndian.Uint64(value)
	if o.time, n = binary.Varint(value[8:]); n <= 0 {
		return o, nil, ErrSaved
	}
	return o, value[8+n:], nil
}

// decodeOriginal brings a transaction back, with its updates.
func (sh *shard) decodeOriginal(name string, day uint16, hash uint64, value []byte) (original, error) {
	o, packed, err := readOriginal(value)
	if err != nil {
		return o, err
	}
	t := sh.originals
	o.packed = t.keys.add(packed)
	lo := updateKey(t.stream, day, hash, name)
	hi := append(append([]byte{}, lo...), 255, 255, 255, 255, 255, 255, 255, 255, 255)
	err = t.saved.Scan(lo, hi, func(key, value []byte) error {
		if len(key) != len(lo)+8 {
			return nil // of a longer id
		}
		u, status, err := decodeUpdate(key[len(lo):], value)
		if err == nil {
			sh.restoreUpdate(&o, u, status)
		}
		return err
	})
	return o, err
}

// updateKey is what is saved of a transaction's updates under, but for their
// content.
func updateKey(stream int, day uint16, hash uint64, name string) []byte {
	return append(appendKey(nil, kindUpdate, dayGroup(stream, day), hash), name...)
}

// decodeUpdate reads a saved update of a transaction, and its status.
func decodeUpdate(content, value []byte) (u update, status []byte, err error) {
	t, n := binary.Varint(value)
	index, m := binary.Varint(value[max(n, 0):])
	if n <= 0 || m <= 0 {
		return u, nil, ErrSaved
	}
	return update{content: binary.LittleEndian.Uint64(content), time: t, index: index, saved: true}, value[n+m:], nil
}

// restoreUpdate enters it.
func (sh *shard) restoreUpdate(o *original, u update, status []byte) {
	if len(status) > 0 {
		u.status = sh.originals.keys.add(status)
	}
	sh.updates.chain(o, u)
}

// update is one later record of a known transaction.
type update struct {
	content uint64
	time    int64
	index   int64
	status  ref // empty: the record had none
	next    int32
	saved   bool // or in the save that is under way
}

// updates keeps the updates of a shard's transactions in chains, by number.
type updates struct {
	all    []update // number - 1
	free   int32    // the first number that is free, which has the next one; 0: none
	toSave []toSave
}

// toSave is an update that isn't saved; hash is of its transaction's id.
type toSave struct {
	hash   uint64
	number int32
}

// of are a transaction's updates, the latest first.
func (us *updates) of(o *original) iter.Seq[*update] {
	return func(yield func(*update) bool) {
		for i := o.updates; i != 0; i = us.all[i-1].next {
			if !yield(&us.all[i-1]) {
				return
			}
		}
	}
}

func (us *updates) find(o *original, content uint64) *update {
	for i := o.updates; i != 0; i = us.all[i-1].next {
		if us.all[i-1].content == content {
			return &us.all[i-1]
		}
	}
	return nil
}

// chain puts an update before a transaction's others.
func (us *updates) chain(o *original, u update) {
	u.next = o.updates
	if us.free != 0 {
		o.updates, us.free = us.free, us.all[us.free-1].next
		us.all[o.updates-1] = u
		return
	}
	us.all = append(us.all, u)
	o.updates = int32(len(us.all))
}

// release frees all of a transaction's.
func (us *updates) release(o *original) {
	for i := o.updates; i != 0; {
		next := us.all[i-1].next
		us.all[i-1] = update{next: us.free}
		us.free, i = i, next
	}
	o.updates = 0
}

func (us *updates) bytes() int64 {
	return int64(cap(us.all))*int64(unsafe.Sizeof(update{})) + int64(cap(us.toSave))*int64(unsafe.Sizeof(toSave{}))
}
