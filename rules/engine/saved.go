package engine

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/zeebo/xxh3"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/window"
)

// State is saved as keys and values of bytes, by whoever has a disk. A key is
//
//	kind 1 B │ group 3 B │ hash 8 B │ name
//
// so that one shard's part of a group is one range, however many shards there
// are. The group of ids is their stream and the day of their Kafka timestamp,
// which makes them come in the order in which they are written and forgotten. So
// is that of what was refunded, of the last refund's: of several days the last
// counts. That of windows is the store's number.
const (
	kindID       = 'i' // name: the id; value: content, and for moved refunds their time
	kindOriginal = 'o' // name: the id; value: content, time, packed record
	kindRefunded = 'r' // name: the transaction's id; value: amount, currency, mixed
	kindUpdate   = 'u' // name: the transaction's id and the content; day: the transaction's; value: time, index, status
	kindWindow   = 'w' // name: the key in the series; values: the day of the save, then see package window
)

// kinds are in the order in which they are restored: an update needs its
// transaction.
var kinds = []byte{kindID, kindOriginal, kindRefunded, kindUpdate, kindWindow}

const (
	keyHead = 12
	dayMS   = 24 * 60 * 60 * 1000
)

// dayOf is the day of a Kafka timestamp since 1970, as far as 16 bits reach.
func dayOf(received int64) uint16 {
	return uint16(min(max(received, 0)/dayMS, math.MaxUint16))
}

func appendKey(dst []byte, kind byte, group uint32, hash uint64) []byte {
	dst = append(dst, kind, byte(group>>16), byte(group>>8), byte(group))
	return binary.BigEndian.AppendUint64(dst, hash)
}

func dayGroup(stream int, day uint16) uint32 { return uint32(stream)<<16 | uint32(day) }

func groupOf(key []byte) uint32 {
	return uint32(key[1])<<16 | uint32(key[2])<<8 | uint32(key[3])
}

// header is what must be known of a saved state to read it.
type header struct {
	Version  int
	Schema   string // what its records mean
	Newest   int64
	Received int64
	Earliest int64
	NextID   int
	Forgot   map[int]int64 `json:",omitempty"`
	Stores   []savedStore
}

// savedVersion changes with any change of keys and values, here or in package
// window.
const savedVersion = 2

type savedStore struct {
	ID      int
	Series  string
	Columns []savedColumn
	Spec    window.Spec
	Since   int64
	Filling bool `json:",omitempty"`
}

type savedColumn struct {
	Field string
	Kind  int
}

func (e *Engine) header() header {
	h := header{Version: savedVersion, Schema: fingerprint(e.cfg.Schema), Newest: e.newest, Received: e.received, Earliest: e.earliest, NextID: e.nextID, Forgot: e.forgot}
	for _, s := range e.stores {
		saved := savedStore{ID: s.id, Series: s.def.Name, Spec: s.spec, Since: s.since, Filling: s.filling}
		for _, c := range s.columns.Columns {
			saved.Columns = append(saved.Columns, savedColumn{c.Field, int(c.Kind)})
		}
		h.Stores = append(h.Stores, saved)
	}
	return h
}

// fingerprint changes with all of a schema that packed records, keys and columns
// hang on.
func fingerprint(schema *event.Schema) string {
	h := xxh3.New()
	for _, s := range schema.Streams {
		fmt.Fprintf(h, "%q", s.Name)
		for _, f := range s.Fields {
			fmt.Fprintf(h, " %q %d %q %v %q", f.Name, f.Type, f.Values, f.Strict, f.From)
		}
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// forgets is the first day of the saves of windows of which all is still kept.
func (e *Engine) forgets(now int64) uint16 { return e.expired(e.refunds, now) }

// expired is the first day of the ids of a stream that is still kept.
func (e *Engine) expired(stream int, now int64) uint16 {
	if e.keepsExpired {
		return 0
	}
	keep := e.cfg.Dedup
	switch stream {
	case e.transactions:
		keep = e.cfg.Originals
	case e.refunds:
		keep = e.cfg.Retention
	}
	until := min(e.received, now) - keep
	if keep <= 0 || until < 0 {
		return 0
	}
	return dayOf(until)
}
