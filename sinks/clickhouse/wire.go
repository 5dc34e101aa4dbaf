package clickhouse

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/ClickHouse/ch-go/proto"
)

// The driver appends values by reflection, one by one, through maps of any, and
// grows each column's memory anew: that took most of this process's time. So rows
// are written straight into a connection's buffer, which is kept, in the format of
// the native protocol (https://clickhouse.com/docs/native-protocol/columns).

// wire is where columns are written, and what it takes. It is reused.
type wire struct {
	buf []byte

	dictionary map[string]uint32
	entries    []byte // of the dictionary, as they are written
	keys       []uint32
	values     []byte // of a map
}

var wires = sync.Pool{New: func() any { return &wire{dictionary: make(map[string]uint32)} }}

func (w *wire) int64(v int64) { w.buf = binary.LittleEndian.AppendUint64(w.buf, uint64(v)) }
func (w *wire) int32(v int32) { w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(v)) }

func (w *wire) bool(v bool) {
	b := byte(0)
	if v {
		b = 1
	}
	w.buf = append(w.buf, b)
}

func (w *wire) text(s string)  { w.buf = appendText(w.buf, s) }
func (w *wire) bytes(b []byte) { w.buf = appendText(w.buf, b) }

func appendText[S string | []byte](b []byte, s S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// LowCardinality: a block has its own dictionary, whose entry 0 is the type's
// default, and one key per row.
const (
	sharedDictionaries = 1 // version of how they are written

	additionalKeys   = 1 << 9
	updateDictionary = 1 << 10
)

func (w *wire) beginDictionary() {
	clear(w.dictionary)
	w.dictionary[""] = 0
	w.entries = append(w.entries[:0], 0)
	w.keys = w.keys[:0]
}

func (w *wire) entry(s string) {
	key, ok := w.dictionary[s]
	if !ok {
		key = uint32(len(w.dictionary))
		w.dictionary[s] = key
		w.entries = appendText(w.entries, s)
	}
	w.keys = append(w.keys, key)
}

// endDictionary writes what was entered. A column without rows has no bytes.
func (w *wire) endDictionary() {
	if len(w.keys) == 0 {
		return
	}
	width := 0 // 1, 2, 4 bytes a key
	switch n := len(w.dictionary); {
	case n > 1<<16:
		width = 2
	case n > 1<<8:
		width = 1
	}
	w.int64(int64(additionalKeys | updateDictionary | width))
	w.int64(int64(len(w.dictionary)))
	w.buf = append(w.buf, w.entries...)
	w.int64(int64(len(w.keys)))
	w.buf = slices.Grow(w.buf, len(w.keys)<<width)
	for _, key := range w.keys {
		switch width {
		case 0:
			w.buf = append(w.buf, byte(key))
		case 1:
			w.buf = binary.LittleEndian.AppendUint16(w.buf, uint16(key))
		default:
			w.buf = binary.LittleEndian.AppendUint32(w.buf, key)
		}
	}
}

// The types that are written here, as ClickHouse names them.
const (
	typeText     = "String"
	typeWord     = "LowCardinality(String)"
	typeWords    = "Array(LowCardinality(String))"
	typeTexts    = "Map(LowCardinality(String), String)"
	typeHeaders  = "Map(String, String)"
	typeMoment   = "DateTime64(3, 'UTC')"
	typeMoney    = "Decimal(18, 4)"
	typeInteger  = "Int64"
	typeInteger4 = "Int32"
	typeBool     = "Bool"
)

// writer writes a column of rows. It is nil where a type isn't known.
type writer[T any] func(w *wire, rows []T)

// write gives the writer of values of Go type V as that type of ClickHouse's.
func write[T, V any](value func(*T) V) func(as proto.ColumnType) writer[T] {
	switch of := any(value).(type) {
	case func(*T) string:
		return writeText(of)
	case func(*T) []byte:
		return writeEach(typeText, of, (*wire).bytes)
	case func(*T) []string:
		return writeWords(of)
	case func(*T) map[string]string:
		return writeHeaders(of)
	case func(*T) int64:
		return writeEach(typeInteger, of, (*wire).int64)
	case func(*T) int32:
		return writeEach(typeInteger4, of, (*wire).int32)
	case func(*T) bool:
		return writeEach(typeBool, of, (*wire).bool)
	case func(*T) *bool:
		return writeNullable(typeBool, func(r *T) (v, ok bool) {
			p := of(r)
			return p != nil && *p, p != nil
		}, (*wire).bool)
	}
	return func(proto.ColumnType) writer[T] { return nil }
}

// writeEach is for a type whose values stand one behind the other.
func writeEach[T, V any](as proto.ColumnType, value func(*T) V, put func(*wire, V)) func(proto.ColumnType) writer[T] {
	return func(is proto.ColumnType) writer[T] {
		if is != as {
			return nil
		}
		return func(w *wire, rows []T) {
			for i := range rows {
				put(w, value(&rows[i]))
			}
		}
	}
}

// writeNullable is likewise for a value that may be missing: NULLs first, then
// the values.
func writeNullable[T, V any](as proto.ColumnType, value func(*T) (v V, ok bool), put func(*wire, V)) func(proto.ColumnType) writer[T] {
	return func(is proto.ColumnType) writer[T] {
		if is != "Nullable("+as+")" {
			return nil
		}
		return func(w *wire, rows []T) {
			for i := range rows {
				_, ok := value(&rows[i])
				w.bool(!ok)
			}
			for i := range rows {
				v, ok := value(&rows[i])
				if !ok {
					v = *new(V)
				}
				put(w, v)
			}
		}
	}
}

func writeText[T any](value func(*T) string) func(proto.ColumnType) writer[T] {
	text := writeEach(typeText, value, (*wire).text)
	return func(as proto.ColumnType) writer[T] {
		if as != typeWord {
			return text(as)
		}
		return func(w *wire, rows []T) {
			w.beginDictionary()
			for i := range rows {
				w.entry(value(&rows[i]))
			}
			w.endDictionary()
		}
	}
}

func writeWords[T any](value func(*T) []string) func(proto.ColumnType) writer[T] {
	return func(as proto.ColumnType) writer[T] {
		if as != typeWords {
			return nil
		}
		return func(w *wire, rows []T) {
			w.beginDictionary()
			for i := range rows {
				for _, s := range value(&rows[i]) {
					w.entry(s)
				}
				w.int64(int64(len(w.keys)))
			}
			w.endDictionary()
		}
	}
}

func writeHeaders[T any](value func(*T) map[string]string) func(proto.ColumnType) writer[T] {
	return func(as proto.ColumnType) writer[T] {
		if as != typeHeaders {
			return nil
		}
		return func(w *wire, rows []T) {
			w.entries, w.values = w.entries[:0], w.values[:0]
			n := 0
			for i := range rows {
				for key, value := range value(&rows[i]) {
					w.entries, w.values = appendText(w.entries, key), appendText(w.values, value)
					n++
				}
				w.int64(int64(n))
			}
			w.buf = append(append(w.buf, w.entries...), w.values...)
		}
	}
}

// writePairs writes maps: each row's pairs are handed to add, the keys different.
func writePairs[T any](pairs func(row *T, add func(key, value string))) func(proto.ColumnType) writer[T] {
	return func(as proto.ColumnType) writer[T] {
		if as != typeTexts {
			return nil
		}
		return func(w *wire, rows []T) {
			w.beginDictionary()
			w.values = w.values[:0]
			add := func(key, value string) {
				w.entry(key)
				w.values = appendText(w.values, value)
			}
			for i := range rows {
				pairs(&rows[i], add)
				w.int64(int64(len(w.keys)))
			}
			w.endDictionary()
			w.buf = append(w.buf, w.values...)
		}
	}
}
