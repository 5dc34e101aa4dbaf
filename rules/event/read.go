package event

import (
	"fmt"
	"strconv"
	"unsafe"
)

// reader reads one JSON object member by member. The first error stops it: from
// then on it has no members and its values are zero.
type reader struct {
	data  []byte
	i     int
	first bool   // nothing of the present object or array was read yet
	name  string // of the member in hand, for errors
	err   *RecordError
}

// parse reads all of data as one object. What read keeps shares one copy of
// data.
func parse(data []byte, what string, read func(r *reader)) error {
	copied := string(data)
	r := &reader{data: unsafe.Slice(unsafe.StringData(copied), len(copied))}
	r.i = skipSpace(r.data, 0)
	if r.i >= len(r.data) || r.data[r.i] != '{' {
		r.err = notObject(r.data, r.i)
	}
	read(r)
	if r.err == nil {
		if r.i = skipSpace(r.data, r.i); r.i < len(r.data) {
			r.err = trailing(r.data, r.i)
		}
	}
	if r.err != nil {
		return fmt.Errorf("reading %s, byte %d: %w", what, r.err.Offset, r.err)
	}
	return nil
}

// require refuses a record without a member that it can't do without.
func (r *reader) require(name string, present bool) {
	if r.err == nil && !present {
		r.err = &RecordError{Code: CodeMissingField, Field: name, Offset: r.i, Message: "is missing, null or empty"}
	}
}

func (r *reader) fault(i int, f fault) {
	if r.err == nil {
		r.err = syntaxError(r.data, i, f, DefaultLimits().MaxDepth)
	}
}

func (r *reader) wrong(expected string) {
	if r.err == nil {
		r.err = &RecordError{Code: CodeWrongType, Field: r.name, Offset: r.i,
			Message: "is " + kindAt(r.data, r.i) + "; expected " + expected}
	}
}

// peek is the first byte of the value in hand, 0 after an error.
func (r *reader) peek() byte {
	if r.err != nil {
		return 0
	}
	if r.i >= len(r.data) {
		r.fault(r.i, faultEnd)
		return 0
	}
	return r.data[r.i]
}

// isNull takes a null.
func (r *reader) isNull() bool {
	if r.peek() != 'n' {
		return false
	}
	r.skip()
	return true
}

// open begins an object or array; null has no members.
func (r *reader) open(c byte) bool {
	if r.isNull() {
		return false
	}
	if r.peek() != c {
		if c == '{' {
			r.wrong("an object")
		} else {
			r.wrong("an array")
		}
		return false
	}
	r.i++
	r.first = true
	return true
}

// more is true while there is another element before the closing byte.
func (r *reader) more(closing byte, f fault) bool {
	if r.err != nil {
		return false
	}
	r.i = skipSpace(r.data, r.i)
	first := r.first
	r.first = false
	switch {
	case r.i < len(r.data) && r.data[r.i] == closing:
		r.i++
		return false
	case first:
		return true
	case r.i < len(r.data) && r.data[r.i] == ',':
		r.i = skipSpace(r.data, r.i+1)
		return true
	}
	r.fault(r.i, orEnd(r.data, r.i, f))
	return false
}

// element moves to the next element of an array.
func (r *reader) element() bool { return r.more(']', faultArray) }

// member moves to the value of an object's next member, whose name it gives.
func (r *reader) member() (name string, ok bool) {
	if !r.more('}', faultObject) {
		return "", false
	}
	if r.i >= len(r.data) || r.data[r.i] != '"' {
		r.fault(r.i, orEnd(r.data, r.i, faultKey))
		return "", false
	}
	name = r.text()
	r.i = skipSpace(r.data, r.i)
	if r.err == nil && (r.i >= len(r.data) || r.data[r.i] != ':') {
		r.fault(r.i, orEnd(r.data, r.i, faultColon))
	}
	if r.err != nil {
		return "", false
	}
	r.i = skipSpace(r.data, r.i+1)
	r.name = name
	return name, true
}

// skip checks a value that nobody needs.
func (r *reader) skip() {
	if r.err != nil {
		return
	}
	next, f := skipValue(r.data, r.i, DefaultLimits().MaxDepth)
	if f != fine {
		r.fault(next, f)
		return
	}
	r.i = next
}

// text reads a string; null is "".
func (r *reader) text() string {
	if r.isNull() {
		return ""
	}
	if r.peek() != '"' {
		r.wrong("a string")
		return ""
	}
	end, escaped, f := scanString(r.data, r.i+1)
	if f != fine {
		r.fault(end, f)
		return ""
	}
	text := r.data[r.i+1 : end]
	if escaped {
		var ok bool
		if text, ok = unescape(make([]byte, 0, len(text)), text); !ok {
			r.fault(r.i, faultSurrogate)
			return ""
		}
	}
	r.i = end + 1
	return alias(text)
}

// number is the text of a number.
func (r *reader) number() []byte {
	c := r.peek()
	if c != '-' && !isDigit(c) {
		r.wrong("a number")
		return nil
	}
	n := numberLen(r.data[r.i:])
	if n == 0 {
		r.fault(r.i, faultNumber)
		return nil
	}
	r.i += n
	return r.data[r.i-n : r.i]
}

// int reads an integer; null is 0, and so it is for the next three.
func (r *reader) int(bitSize int) int64 {
	if r.isNull() {
		return 0
	}
	text := r.number()
	if r.err != nil {
		return 0
	}
	n, err := strconv.ParseInt(alias(text), 10, bitSize)
	if err != nil {
		r.value(text, "is not an integer of "+strconv.Itoa(bitSize)+" bits")
	}
	return n
}

func (r *reader) bool() bool {
	if r.isNull() {
		return false
	}
	c := r.peek()
	if c != 't' && c != 'f' {
		r.wrong("true or false")
		return false
	}
	r.skip()
	return c == 't'
}

func (r *reader) time() int64 {
	if r.isNull() {
		return 0
	}
	text := r.text()
	ms, ok := parseTime([]byte(text))
	if !ok {
		r.value([]byte(text), "is not a time of RFC 3339")
	}
	return ms
}

func (r *reader) money() Money {
	if r.isNull() {
		return 0
	}
	text := r.text()
	m, err := ParseMoney([]byte(text))
	if err != nil {
		r.value([]byte(text), err.Error())
	}
	return m
}

// currency reads a code; null is no currency.
func (r *reader) currency() Currency {
	text := r.text()
	c, ok := ParseCurrency(text)
	if !ok && text != "" {
		r.value([]byte(text), problemCurrency.Error())
	}
	return c
}

// value refuses a value of the right type.
func (r *reader) value(text []byte, problem string) {
	if r.err == nil {
		r.err = &RecordError{Code: CodeInvalidValue, Field: r.name, Offset: r.i, Message: excerpt(text) + " " + problem}
	}
}
