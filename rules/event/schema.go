package event

// Type is the type of a field.
type Type uint8

// The types of fields. All are exact; there is no binary floating point in a
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

// MaxFields is how many fields one stream can have.
const MaxFields = 64

// Field is one field of a stream.
type Field struct {
	Name     string
	Type     Type
	Required bool
	Values   []string // TypeEnum: the known values
	Strict   bool     // TypeEnum: an unknown value is refused
	From     []string // path of object keys in the record; nil: Name itself
	Doc      string
}

// Stream is a Kafka topic with a schema. Slot 0 is the id field. It does not
// change once a Decoder or a rule set has been made of it.
type Stream struct {
	Name   string
	Topic  string
	Key    string // recommended record key
	Doc    string
	Fields []Field

	slots map[string]int
}

// Slot is the index of the named field, or -1.
func (s *Stream) Slot(name string) int {
	if i, ok := s.slots[name]; ok {
		return i
	}
	return -1
}

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
