package event

// Type is the type of a field.
type Type uint8

// The types of fields, as [Type.String] names them. All are exact; there is no binary floating point in a
// record.
const (
	TypeString   Type = iota + 1 // UTF-8 text
	TypeMoney                    // number or string, at most 4 decimals, > 0 and < 10^14, with the record's currency
	TypeCurrency                 // ISO 4217 code
	TypeTime                     // RFC 3339 with a zone, or Unix milliseconds; floored to milliseconds
	TypeBool                     // true or false
	TypeEnum                     // one of Field.Values; others are kept as read unless Strict
	TypeInt                      // 64-bit integer
	TypeNumber                   // signed number with at most 4 decimals
)

// typeNames are the names that configurations use, by Type.
var typeNames = [...]string{
	TypeString: "string", TypeMoney: "money", TypeCurrency: "currency", TypeTime: "time",
	TypeBool: "bool", TypeEnum: "enum", TypeInt: "int", TypeNumber: "number",
}

// String is the name of t in configurations and documentation.
func (t Type) String() string {
	if int(t) >= len(typeNames) {
		return ""
	}
	return typeNames[t]
}

// typeID is the name of TypeString with Field.ID.
const typeID = "id"

// MaxFields is how many fields one stream can have.
const MaxFields = 64

// Field is one field of a stream.
type Field struct {
	Name     string
	Type     Type
	Required bool
	Values   []string // TypeEnum: the known values
	Strict   bool     // TypeEnum: an unknown value is refused
	ID       bool     // TypeString: an identifier, 1 to 256 bytes
	From     []string // path of object keys in the record; nil: Name itself
	Doc      string
}

// TypeName is the name of the field's type in configurations and documentation:
// that of Type, or "id" for an identifier.
func (f *Field) TypeName() string {
	if f.ID {
		return typeID
	}
	return f.Type.String()
}

// path is where the field is found in a record.
func (f *Field) path() []string {
	if len(f.From) == 0 {
		return []string{f.Name}
	}
	return f.From
}

// Stream is a Kafka topic with a schema. Slot 0 is the id field. It does not
// change once a Decoder or a rule set has been made of it.
type Stream struct {
	Name   string
	Topic  string
	Key    string // recommended record key
	Doc    string
	Fields []Field

	slots        map[string]int
	timeSlot     int
	currencySlot int
}

// timeField is the field that every stream has.
const timeField = "occurred_at"

// index makes the lookups of a stream whose Fields are complete.
func (s *Stream) index() {
	s.slots = make(map[string]int, len(s.Fields))
	s.currencySlot = -1
	for i := range s.Fields {
		s.slots[s.Fields[i].Name] = i
		if s.Fields[i].Type == TypeCurrency {
			s.currencySlot = i
		}
	}
	s.timeSlot = s.slots[timeField]
}

// Slot is the index of the named field, or -1.
func (s *Stream) Slot(name string) int {
	if i, ok := s.slots[name]; ok {
		return i
	}
	return -1
}

// TimeSlot is the slot of occurred_at: the time as it was sent. Event.Time may
// differ from it, where an event was stamped in the future.
func (s *Stream) TimeSlot() int { return s.timeSlot }

// CurrencySlot is the slot of the stream's one currency field, in which all its
// amounts are; -1 if it has none.
func (s *Stream) CurrencySlot() int { return s.currencySlot }

// Schema is a set of streams.
type Schema struct {
	Streams []*Stream // built-in ones first, in the order of Builtin, then declared ones by name
}

// Stream is the named stream, or nil.
func (s *Schema) Stream(name string) *Stream {
	for _, st := range s.Streams {
		if st.Name == name {
			return st
		}
	}
	return nil
}
