package event

import "strings"

// Clone is a copy of e that shares no memory with the record that e was decoded
// from, nor with e.
func (e *Event) Clone() *Event {
	c := &Event{Stream: e.Stream, Present: e.Present, Time: e.Time, Vals: make([]Value, len(e.Vals))}
	size := 0
	for slot := range e.Vals {
		if e.Has(slot) {
			size += len(e.Vals[slot].Str)
		}
	}
	// One piece of memory for all strings; it doesn't move, since it is large
	// enough.
	var text strings.Builder
	text.Grow(size)
	for slot := range e.Vals {
		if !e.Has(slot) {
			continue
		}
		start := text.Len()
		text.WriteString(e.Vals[slot].Str)
		c.Vals[slot] = Value{Str: text.String()[start:], Num: e.Vals[slot].Num}
	}
	return c
}
