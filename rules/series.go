package rules

import (
	"encoding/binary"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/zeebo/xxh3"
)

// keyPart is one field of a series' key.
type keyPart struct {
	slot int
	typ  event.Type
}

// keyExpr is one expression of a lookup's key.
type keyExpr struct {
	fn  fn
	typ event.Type // of the past event's field
}

// AppendKey appends the key that a past event has in this series; false: one of
// its fields is missing, and the event does not belong to any key.
//
// A key is its parts one after the other, each its length as a uvarint and then
// its bytes: text as it is, numbers as 8 bytes big-endian, money followed by its
// currency's 2 bytes. Begin makes the same bytes of the present refund.
func (s *Series) AppendKey(dst []byte, e *event.Event) ([]byte, bool) {
	start := len(dst)
	for _, k := range s.keys {
		if !e.Has(k.slot) {
			return dst[:start], false
		}
		v := fieldValue(e, k.slot, k.typ, s.currency)
		dst = appendKeyPart(dst, k.typ, v)
	}
	return dst, true
}

func appendKeyPart(dst []byte, t event.Type, v Value) []byte {
	switch t {
	case event.TypeString, event.TypeEnum, event.TypeCurrency:
		dst = binary.AppendUvarint(dst, uint64(len(v.Str)))
		return append(dst, v.Str...)
	case event.TypeMoney:
		dst = binary.AppendUvarint(dst, 10)
		dst = binary.BigEndian.AppendUint64(dst, uint64(v.Num))
		return binary.BigEndian.AppendUint16(dst, uint16(v.Currency))
	}
	dst = binary.AppendUvarint(dst, 8)
	return binary.BigEndian.AppendUint64(dst, uint64(v.Num))
}

// Match says whether a past event belongs to the series: its where(…) is true,
// or fails, which a ColumnFault tells. A condition that is nil does not match.
func (s *Series) Match(e *event.Event) bool {
	if s.where == nil {
		return true
	}
	v := s.where(nil, e)
	return v.isTrue() || v.Kind == KindFault
}

// Currency is the currency of an event's money columns; 0 where the stream or
// the event has none.
func (s *Series) Currency(e *event.Event) event.Currency {
	if !e.Has(s.currency) {
		return 0
	}
	return event.Currency(e.Vals[s.currency].Num)
}

// Text is the text of a ColumnText of an event that has it.
func (s *Series) Text(e *event.Event, column int) string {
	return e.Str(s.Columns[column].slot)
}

// Keeping is the series with other columns, of which only Field and Kind count.
// False: an event of its stream has no such field, or one of another type.
func (s *Series) Keeping(columns []Column) (*Series, bool) {
	kept := *s
	kept.Columns = make([]Column, len(columns))
	for i, c := range columns {
		if c.Kind == ColumnFault {
			kept.Columns[i] = Column{Field: c.Field, Kind: c.Kind}
			if s.where == nil {
				return nil, false
			}
			continue
		}
		slot := s.Stream.Slot(c.Field)
		if slot < 0 {
			return nil, false
		}
		t := s.Stream.Fields[slot].Type
		if c.Kind != ColumnHash && c.Kind != columnOf(t) {
			return nil, false
		}
		kept.Columns[i] = Column{Field: c.Field, Kind: c.Kind, slot: slot, typ: t}
	}
	return &kept, true
}

// Values writes the event's columns to dst, which must be as long as Columns.
// Bit c of present says that column c has a value. A ColumnText is written as 0:
// the caller puts there what its store has for Text.
func (s *Series) Values(e *event.Event, dst []int64) (present uint32) {
	for i := range s.Columns {
		c := &s.Columns[i]
		dst[i] = 0
		if c.Kind == ColumnFault {
			if s.where(nil, e).Kind == KindFault {
				present |= 1 << uint(i)
			}
			continue
		}
		if !e.Has(c.slot) {
			continue
		}
		present |= 1 << uint(i)
		switch c.Kind {
		case ColumnHash:
			dst[i] = hashField(e, c, s.currency)
		case ColumnText: // Num is not the text's: an enum's index, a currency
		default:
			dst[i] = e.Vals[c.slot].Num
		}
	}
	return present
}

func hashField(e *event.Event, c *Column, currency int) int64 {
	v := &e.Vals[c.slot]
	switch c.typ {
	case event.TypeString, event.TypeEnum, event.TypeCurrency:
		return int64(xxh3.HashString(v.Str))
	case event.TypeMoney:
		var b [10]byte
		binary.BigEndian.PutUint64(b[:8], uint64(v.Num))
		if e.Has(currency) {
			binary.BigEndian.PutUint16(b[8:], uint16(e.Vals[currency].Num))
		}
		return int64(xxh3.Hash(b[:]))
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(v.Num))
	return int64(xxh3.Hash(b[:]))
}

// fieldValue is a present field as a value of conditions.
func fieldValue(e *event.Event, slot int, t event.Type, currency int) Value {
	v := &e.Vals[slot]
	switch t {
	case event.TypeString, event.TypeEnum, event.TypeCurrency:
		return Value{Kind: KindString, Str: v.Str}
	case event.TypeMoney:
		var c event.Currency
		if e.Has(currency) {
			c = event.Currency(e.Vals[currency].Num)
		}
		return Value{Kind: KindMoney, Num: v.Num, Currency: c}
	case event.TypeBool:
		return Value{Kind: KindBool, Num: v.Num}
	case event.TypeInt:
		return Value{Kind: KindInt, Num: v.Num}
	case event.TypeTime:
		return Value{Kind: KindTime, Num: v.Num}
	}
	return Value{Kind: KindDecimal, Num: v.Num}
}
