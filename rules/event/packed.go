package event

import "encoding/binary"

// AppendPacked writes e in a compact form, to keep many events in memory. It is
// only good for the same fields in the same order, and has no checksum.
//
// It is: which slots are present; then their values in order (strings with
// their length, known enum values by index, numbers and times as varints,
// currencies as three letters); then by how much Time differs from occurred_at.
func AppendPacked(dst []byte, e *Event) []byte {
	dst = binary.AppendUvarint(dst, e.Present)
	fields := e.Stream.Fields
	for slot := range fields {
		if e.Present&(1<<slot) == 0 {
			continue
		}
		v := &e.Vals[slot]
		switch fields[slot].Type {
		case TypeString:
			dst = appendPart(dst, v.Str)
		case TypeEnum:
			dst = binary.AppendUvarint(dst, uint64(v.Num+1))
			if v.Num < 0 {
				dst = appendPart(dst, v.Str)
			}
		case TypeCurrency:
			l := Currency(v.Num).letters()
			dst = append(dst, l[0], l[1], l[2])
		case TypeBool:
			dst = append(dst, byte(v.Num))
		default:
			dst = binary.AppendVarint(dst, v.Num)
		}
	}
	return binary.AppendVarint(dst, e.Time-e.packedTime())
}

// packedTime is what Time is written relative to.
func (e *Event) packedTime() int64 {
	if slot := e.Stream.timeSlot; e.Has(slot) {
		return e.Vals[slot].Num
	}
	return 0
}

// errPacked is for bytes that AppendPacked can't have written for this stream.
const errPacked constError = "unpacking an event: the bytes are damaged, or of another schema"

// Unpack reads exactly what AppendPacked wrote for the same stream. Strings in e
// alias b; e.Vals is reused where it is large enough.
func Unpack(s *Stream, b []byte, e *Event) error {
	n := len(s.Fields)
	if cap(e.Vals) < n {
		e.Vals = make([]Value, n)
	}
	*e = Event{Stream: s, Vals: e.Vals[:n]}
	clear(e.Vals)
	u := unpacker{b: b}
	e.Present = u.uvarint()
	if n < 64 && e.Present>>n != 0 {
		return errPacked
	}
	for slot := range s.Fields {
		if e.Present&(1<<slot) != 0 {
			u.value(&s.Fields[slot], &e.Vals[slot])
		}
	}
	delta := u.varint()
	e.Time = e.packedTime() + delta
	if u.bad || len(u.b) != 0 {
		return errPacked
	}
	return nil
}

// unpacker takes values from b, until one is bad.
type unpacker struct {
	b   []byte
	bad bool
}

func (u *unpacker) value(f *Field, v *Value) {
	switch f.Type {
	case TypeString:
		v.Str = u.text(u.uvarint())
	case TypeEnum:
		index := u.uvarint()
		switch {
		case index > uint64(len(f.Values)):
			u.bad = true
		case index == 0:
			v.Num, v.Str = -1, u.text(u.uvarint())
		default:
			v.Num, v.Str = int64(index-1), f.Values[index-1]
		}
	case TypeCurrency:
		v.Str = u.text(3)
		c, ok := ParseCurrency(v.Str)
		v.Num = int64(c)
		u.bad = u.bad || !ok
	case TypeBool:
		if text := u.text(1); text != "" {
			v.Num = int64(text[0])
			u.bad = u.bad || v.Num > 1
		}
	default:
		v.Num = u.varint()
	}
}

func (u *unpacker) text(n uint64) string {
	if n > uint64(len(u.b)) {
		u.bad = true
		return ""
	}
	s := alias(u.b[:n])
	u.b = u.b[n:]
	return s
}

// uvarint accepts the shortest form only, so that an event has one form.
func (u *unpacker) uvarint() uint64 {
	x, n := binary.Uvarint(u.b)
	if n <= 0 || n > 1 && u.b[n-1] == 0 {
		u.bad = true
		u.b = nil
		return 0
	}
	u.b = u.b[n:]
	return x
}

func (u *unpacker) varint() int64 {
	x := u.uvarint()
	return int64(x>>1) ^ -int64(x&1)
}
