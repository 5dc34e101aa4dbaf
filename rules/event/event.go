// Package event holds what travels: streams and their schemas, decoded
// records, exact money, and the records that refundguard writes.
//
// It knows nothing of Kafka or of rules. Everything that must agree on a field
// (decoding, validation, rule types, ClickHouse columns, documentation) reads
// the one table that [Builtin] returns.
package event

// Value is one decoded field. What it means is said by its Field's Type:
//
//	TypeString    Str
//	TypeEnum      Str as read; Num is the index in Field.Values, -1 when unknown
//	TypeMoney     Num in 1/10,000 of the currency's unit (a Money)
//	TypeNumber    Num in 1/10,000, signed
//	TypeInt       Num
//	TypeBool      Num is 0 or 1
//	TypeTime      Num in Unix milliseconds
//	TypeCurrency  Str is the code, Num is the Currency
//
// Str may alias the bytes of the record that it was decoded from.
type Value struct {
	Str string
	Num int64
}

// Event is one decoded record of a stream. Values are found by slot: the index
// of the field in the stream's Fields. A slot whose bit in Present is clear is
// nil in rules, whatever Vals holds there.
type Event struct {
	Stream  *Stream
	Present uint64 // bit i: the field of slot i is present
	Time    int64  // event time in Unix milliseconds, as decided (see TimeSlot for what was sent)
	Vals    []Value
}

// ID is the event's own id, the value of slot 0.
func (e *Event) ID() string { return e.Vals[0].Str }

// Has reports whether the field of this slot is present. Slot -1 never is.
func (e *Event) Has(slot int) bool { return slot >= 0 && e.Present&(1<<uint(slot)) != 0 }

// Str is the text of the field of this slot, or "" if it is missing.
func (e *Event) Str(slot int) string {
	if !e.Has(slot) {
		return ""
	}
	return e.Vals[slot].Str
}
