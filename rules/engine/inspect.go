package engine

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/window"
)

// Contents is what the header of a saved state says of it.
type Contents struct {
	Version  int           `json:"version"`
	Newest   int64         `json:"newest_event"`    // event time, Unix milliseconds
	Received int64         `json:"newest_received"` // Kafka timestamp, likewise
	Series   []SavedSeries `json:"series"`

	schema *event.Schema // nil: it is of another one
	names  map[uint32]string
}

// SavedSeries is one series of a saved state.
type SavedSeries struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns,omitempty"`
	Since   int64    `json:"since,omitempty"`   // event time from which on it is complete; 0: always was
	Filling bool     `json:"filling,omitempty"` // it was being filled, and will be anew
}

// Inspect reads the header of a saved state. The schema names streams, if it is
// the one that the state was made with.
func Inspect(head []byte, schema *event.Schema) (*Contents, error) {
	var h header
	if err := json.Unmarshal(head, &h); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSaved, err)
	}
	c := &Contents{Version: h.Version, Newest: h.Newest, Received: h.Received, names: map[uint32]string{}}
	if h.Schema == fingerprint(schema) {
		c.schema = schema
	}
	for i := range h.Stores {
		s := &h.Stores[i]
		of := SavedSeries{Name: s.Series, Filling: s.Filling}
		if s.Since > 0 {
			of.Since = s.Since
		}
		for _, column := range s.Columns {
			of.Columns = append(of.Columns, column.Field)
		}
		c.Series = append(c.Series, of)
		c.names[uint32(s.ID)] = s.Series
	}
	return c, nil
}

// SavedEntry is a key of a saved state with one part of its value, to be read by
// people and programs.
type SavedEntry struct {
	Kind     string   `json:"kind"` // id, transaction, update, refunded, window
	Of       string   `json:"of,omitempty"`
	Day      string   `json:"day,omitempty"` // from which on its time of being kept counts; of a window, of the save
	ID       string   `json:"id,omitempty"`
	Key      []string `json:"key,omitempty"` // of a window: its fields, numbers as their bytes
	Status   string   `json:"status,omitempty"`
	Amount   string   `json:"amount,omitempty"`
	Currency string   `json:"currency,omitempty"`
	Events   int      `json:"events,omitempty"` // kept one by one
	Bytes    int      `json:"bytes"`
}

// Entry explains a key and a part of its value.
func (c *Contents) Entry(key, part []byte) (SavedEntry, error) {
	if len(key) < keyHead {
		return SavedEntry{}, ErrSaved
	}
	group, name := groupOf(key), key[keyHead:]
	e := SavedEntry{Bytes: len(part), ID: string(name)}
	switch key[0] {
	case kindID, kindOriginal, kindUpdate:
		e.Of, e.Day = c.stream(int(group>>16)), dayText(group)
		e.Kind = map[byte]string{kindID: "id", kindOriginal: "transaction", kindUpdate: "update"}[key[0]]
		if key[0] == kindUpdate {
			if len(name) < 8 {
				return e, ErrSaved
			}
			e.ID = string(name[:len(name)-8])
			_, n := binary.Varint(part)
			_, m := binary.Varint(part[max(n, 0):])
			if n <= 0 || m <= 0 {
				return e, ErrSaved
			}
			e.Status = string(part[n+m:])
		}
	case kindRefunded:
		r, err := decodeReserved(part)
		if err != nil {
			return e, err
		}
		e.Kind, e.Day, e.Amount, e.Currency = "refunded", dayText(group), event.Money(r.amount).String(), r.currency.String()
	case kindWindow:
		e.Kind, e.ID, e.Key, e.Of = "window", "", fieldsOf(name), c.names[group]
		if e.Of == "" {
			e.Of = "a series that is gone"
		}
		if len(part) < 2 {
			return e, ErrSaved
		}
		e.Day = dayText(uint32(binary.LittleEndian.Uint16(part)))
		var ok bool
		if e.Events, ok = window.SavedEvents(part[2:]); !ok {
			return e, ErrSaved
		}
	default:
		return e, ErrSaved
	}
	return e, nil
}

func dayText(group uint32) string {
	return time.Unix(int64(group&0xffff)*dayMS/1000, 0).UTC().Format(time.DateOnly)
}

func (c *Contents) stream(i int) string {
	if c.schema == nil || i >= len(c.schema.Streams) {
		return "stream " + strconv.Itoa(i)
	}
	return c.schema.Streams[i].Name
}

// fieldsOf takes the key of a window apart.
func fieldsOf(key []byte) (fields []string) {
	for len(key) > 0 {
		n, size := binary.Uvarint(key)
		if size <= 0 || n > uint64(len(key)-size) {
			return append(fields, fmt.Sprintf("%x", key))
		}
		field := key[size : size+int(n)]
		key = key[size+int(n):]
		if utf8.Valid(field) {
			fields = append(fields, string(field))
		} else {
			fields = append(fields, fmt.Sprintf("%x", field))
		}
	}
	return fields
}
