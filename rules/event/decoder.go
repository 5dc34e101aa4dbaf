package event

import (
	"math/bits"
	"unsafe"
)

// Limits bound what a record may be. A limit that is 0 or less is the default.
type Limits struct {
	MaxBytes      int // of a record
	MaxDepth      int // of nested objects and arrays, the record itself included
	MaxFieldBytes int // of one field that the schema reads
}

// DefaultLimits are 64 KiB a record, 16 levels, 4 KiB a field.
func DefaultLimits() Limits {
	return Limits{MaxBytes: 64 << 10, MaxDepth: 16, MaxFieldBytes: 4 << 10}
}

// Decoder reads the records of one stream. One goroutine at a time may use it.
type Decoder struct {
	stream   *Stream
	limits   Limits
	root     *object
	required uint64 // bits of the slots that must be present
	record   uint64 // number of the record in hand, for key.seen
	arena    []byte // unescaped strings; a full one is left to the collector
}

// arenaBytes is the size of the pieces that unescaped strings are kept in.
const arenaBytes = 64 << 10

// NewDecoder makes a decoder for a stream whose fields won't change any more.
func NewDecoder(s *Stream, l Limits) *Decoder {
	def := DefaultLimits()
	if l.MaxBytes <= 0 {
		l.MaxBytes = def.MaxBytes
	}
	if l.MaxDepth <= 0 {
		l.MaxDepth = def.MaxDepth
	}
	if l.MaxFieldBytes <= 0 {
		l.MaxFieldBytes = def.MaxFieldBytes
	}
	d := &Decoder{stream: s, limits: l, root: newObject(s)}
	for i := range s.Fields {
		if s.Fields[i].Required {
			d.required |= 1 << i
		}
	}
	return d
}

// Decode reads one record into ev, whose Vals are reused where they are large
// enough. Strings in ev alias data, so data must not change while ev is in use.
// After a refusal ev holds the fields that were read before the fault.
func (d *Decoder) Decode(data []byte, ev *Event) *RecordError {
	n := len(d.stream.Fields)
	if cap(ev.Vals) < n {
		ev.Vals = make([]Value, n)
	}
	*ev = Event{Stream: d.stream, Vals: ev.Vals[:n]}
	clear(ev.Vals)
	d.record++

	if len(data) > d.limits.MaxBytes {
		return d.tooLarge(len(data))
	}
	i := skipSpace(data, 0)
	if i >= len(data) || data[i] != '{' {
		return notObject(data, i)
	}
	i, err := d.object(data, i+1, d.root, 1, ev)
	if err != nil {
		return err
	}
	if i = skipSpace(data, i); i < len(data) {
		return trailing(data, i)
	}
	if missing := d.required &^ ev.Present; missing != 0 {
		return d.missing(bits.TrailingZeros64(missing), len(data))
	}
	ev.Time = ev.Vals[d.stream.timeSlot].Num
	return nil
}

// object reads the members of an object from behind its opening brace.
func (d *Decoder) object(data []byte, i int, o *object, depth int, ev *Event) (int, *RecordError) {
	if depth > d.limits.MaxDepth {
		return i, d.fault(data, i-1, faultDepth)
	}
	guess := &o.first
	i = skipSpace(data, i)
	if i < len(data) && data[i] == '}' {
		return i + 1, nil
	}
	for {
		if i >= len(data) || data[i] != '"' {
			return i, d.fault(data, i, faultKey)
		}
		start := i
		// Most records of a topic have the same members in the same order, so
		// the name that came next last time is tried first.
		index := *guess
		if o.keys[index].spelledAt(data, i+1) {
			i += len(o.keys[index].spelled)
		} else {
			end, escaped, f := scanString(data, i+1)
			if f != fine {
				return end, d.fault(data, end, f)
			}
			index = d.findKey(o, data[i+1:end], escaped)
			if i = skipSpace(data, end+1); i >= len(data) || data[i] != ':' {
				return i, d.fault(data, i, faultColon)
			}
		}
		i++
		if i < len(data) && data[i] <= ' ' {
			i = skipSpace(data, i)
		}
		if index < 0 {
			var f fault
			if i, f = skipValue(data, i, d.limits.MaxDepth-depth); f != fine {
				return i, d.fault(data, i, f)
			}
		} else {
			k := &o.keys[index]
			if k.seen == d.record {
				return i, duplicate(k, start)
			}
			k.seen = d.record
			*guess = index
			guess = &k.next
			var err *RecordError
			if i, err = d.value(data, i, k, depth, ev); err != nil {
				return i, err
			}
		}
		if i < len(data) && data[i] <= ' ' {
			i = skipSpace(data, i)
		}
		switch {
		case i < len(data) && data[i] == ',':
			i++
			if i < len(data) && data[i] <= ' ' {
				i = skipSpace(data, i)
			}
		case i < len(data) && data[i] == '}':
			return i + 1, nil
		default:
			return i, d.fault(data, i, faultObject)
		}
	}
}

// findKey is the index of a scanned key in o, or -1. Names are compared as
// JSON means them: "am\u006funt" is amount.
func (d *Decoder) findKey(o *object, name []byte, escaped bool) int {
	if !escaped {
		return o.find(name)
	}
	name, ok := d.unescape(name)
	if !ok {
		return -1 // no schema has half of a surrogate pair in a name
	}
	d.arena = d.arena[:len(d.arena)-len(name)]
	return o.find(name)
}

// value reads the value at i as what k says.
func (d *Decoder) value(data []byte, i int, k *key, depth int, ev *Event) (int, *RecordError) {
	if i >= len(data) {
		return i, d.fault(data, i, faultEnd)
	}
	c := data[i]
	if c == 'n' {
		next, f := skipLiteral(data, i)
		if f != fine {
			return i, d.fault(data, i, f)
		}
		return next, nil
	}
	if k.sub != nil {
		if c != '{' {
			return i, wrongObject(data, i, k)
		}
		return d.object(data, i+1, k.sub, depth+1, ev)
	}
	f, v := k.field, &ev.Vals[k.slot]
	var next int
	var err *RecordError
	switch {
	case c == '"':
		end, escaped, fl := scanString(data, i+1)
		if fl != fine {
			return end, d.fault(data, end, fl)
		}
		text := data[i+1 : end]
		if escaped {
			var ok bool
			if text, ok = d.unescape(text); !ok {
				return i, surrogate(f, i)
			}
		}
		if len(text) > d.limits.MaxFieldBytes {
			return i, d.fieldTooLarge(f, len(text), i)
		}
		if p := convertText(f, v, text); p != noProblem {
			return i, refuse(data, f, p, text, i)
		}
		ev.Present |= 1 << k.slot
		return end + 1, nil
	case c == '-' || isDigit(c):
		next, err = d.numberValue(data, i, f, v)
	default:
		next, err = d.literalValue(data, i, f, v)
	}
	if err != nil {
		return i, err
	}
	ev.Present |= 1 << k.slot
	return next, nil
}

// numberValue reads the number at i as a field.
func (d *Decoder) numberValue(data []byte, i int, f *Field, v *Value) (int, *RecordError) {
	dec, n := scanDecimal(data[i:])
	if n == 0 {
		return i, d.fault(data, i, faultNumber)
	}
	if n > d.limits.MaxFieldBytes {
		return i, d.fieldTooLarge(f, n, i)
	}
	if p := convertNumber(f, v, &dec); p != noProblem {
		return i, refuse(data, f, p, data[i:i+n], i)
	}
	return i + n, nil
}

// literalValue reads true or false at i, or says why what is there is refused.
func (d *Decoder) literalValue(data []byte, i int, f *Field, v *Value) (int, *RecordError) {
	if c := data[i]; c == '{' || c == '[' {
		return i, wrongType(data, i, f)
	}
	next, fl := skipLiteral(data, i)
	if fl != fine {
		return i, d.fault(data, i, fl)
	}
	if f.Type != TypeBool {
		return i, wrongType(data, i, f)
	}
	if data[i] == 't' {
		v.Num = 1
	}
	return next, nil
}

// unescape keeps what an escaped string means in the arena.
func (d *Decoder) unescape(text []byte) ([]byte, bool) {
	if cap(d.arena)-len(d.arena) < len(text) {
		d.arena = make([]byte, 0, max(arenaBytes, len(text)))
	}
	start := len(d.arena)
	buf, ok := unescape(d.arena, text)
	if !ok {
		return nil, false
	}
	d.arena = buf
	return buf[start:len(buf):len(buf)], true
}

// alias is text as a string that shares its bytes.
func alias(text []byte) string { return unsafe.String(unsafe.SliceData(text), len(text)) }
