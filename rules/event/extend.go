package event

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// StreamConfig is what a configuration says of a stream: topic and fields of a
// built-in one, or all of a new one. Every stream has a field occurred_at, and
// a new one its id field, whether Fields lists them or not.
type StreamConfig struct {
	Topic  string                 `koanf:"topic"` // new streams: their name, if it is missing
	ID     string                 `koanf:"id"`    // new streams: name of the id field
	Key    string                 `koanf:"key"`   // new streams: recommended record key
	Doc    string                 `koanf:"doc"`   // new streams
	Fields map[string]FieldConfig `koanf:"fields"`
}

// FieldConfig is what a configuration says of a field. Of a built-in field only
// From can be changed, and Required be set.
type FieldConfig struct {
	Type     string   `koanf:"type"`
	From     string   `koanf:"from"` // dotted path in the record, e.g. payload.amt
	Required bool     `koanf:"required"`
	Values   []string `koanf:"values"` // type enum
	Strict   bool     `koanf:"strict"` // type enum: refuse values that are not listed
	Doc      string   `koanf:"doc"`
}

// Extend adds what a configuration says to s. It reports every fault, not only
// the first; after an error s must not be used.
func (s *Schema) Extend(cfg map[string]StreamConfig) error {
	x := extension{schema: s}
	for _, name := range slices.Sorted(maps.Keys(cfg)) {
		c := cfg[name]
		if st := s.Stream(name); st != nil {
			x.builtin(st, &c)
		} else {
			x.declare(name, &c)
		}
	}
	x.topics()
	return errors.Join(x.errs...)
}

// extension collects the faults of a configuration.
type extension struct {
	schema *Schema
	errs   []error
}

func (x *extension) fault(at, format string, args ...any) {
	x.errs = append(x.errs, fmt.Errorf("streams.%s: "+format, append([]any{at}, args...)...))
}

// builtin extends a stream that exists.
func (x *extension) builtin(st *Stream, c *StreamConfig) {
	if c.ID != "" || c.Key != "" || c.Doc != "" {
		x.fault(st.Name, "id, key and doc of a built-in stream are fixed; only topic and fields can be set")
	}
	if c.Topic != "" {
		st.Topic = c.Topic
	}
	var added []Field
	for _, name := range slices.Sorted(maps.Keys(c.Fields)) {
		fc := c.Fields[name]
		if slot := st.Slot(name); slot >= 0 {
			x.change(st, &st.Fields[slot], &fc)
		} else if f, ok := x.field(st.Name, name, &fc, st); ok {
			added = append(added, f)
		}
	}
	st.Fields = append(st.Fields, requiredFirst(added)...)
	x.finish(st)
}

// change applies a configuration to a field that exists.
func (x *extension) change(st *Stream, f *Field, fc *FieldConfig) {
	at := st.Name + ".fields." + f.Name
	if fc.Type != "" && fc.Type != f.TypeName() {
		x.fault(at, "the type of this built-in field is %s and can't be changed to %q; to read another value give the field a new name, and its path in from", f.TypeName(), fc.Type)
	}
	if len(fc.Values) > 0 || fc.Strict || fc.Doc != "" {
		x.fault(at, "values, strict and doc of a built-in field are fixed; only from and required can be set")
	}
	if fc.From != "" {
		f.From = x.path(at, fc.From)
	}
	f.Required = f.Required || fc.Required
}

// declare adds a new stream.
func (x *extension) declare(name string, c *StreamConfig) {
	if !x.nameable(name, "stream", name) {
		return
	}
	if c.ID == "" {
		x.fault(name, "is not a built-in stream%s; to declare a new one write the name of its id field: id: %s_id",
			didYouMean(name, x.streamNames()), strings.TrimSuffix(name, "s"))
		return
	}
	st := &Stream{Name: name, Topic: c.Topic, Key: c.Key, Doc: c.Doc}
	if st.Topic == "" {
		st.Topic = name
	}
	fields := maps.Clone(c.Fields)
	if fields == nil {
		fields = map[string]FieldConfig{}
	}
	head := []Field{
		x.implied(name, c.ID, typeID, fields),
		x.implied(name, timeField, TypeTime.String(), fields),
	}
	if c.ID == timeField {
		x.fault(name, "id: occurred_at can't be the id field; every stream has it as its time")
		return
	}
	var others []Field
	for _, n := range slices.Sorted(maps.Keys(fields)) {
		fc := fields[n]
		if f, ok := x.field(name, n, &fc, nil); ok {
			others = append(others, f)
		}
	}
	st.Fields = append(head, requiredFirst(others)...)
	if st.Key != "" && !slices.ContainsFunc(st.Fields, func(f Field) bool { return f.Name == st.Key }) {
		x.fault(name, "key: %s is not a field of the stream%s", st.Key, didYouMean(st.Key, fieldNames(st)))
	}
	x.schema.Streams = append(x.schema.Streams, st)
	x.finish(st)
}

// implied takes the field that a stream must have out of fields, or makes it.
func (x *extension) implied(stream, name, typeName string, fields map[string]FieldConfig) Field {
	fc := fields[name]
	delete(fields, name)
	at := stream + ".fields." + name
	if fc.Type == "" || fc.Type == "string" && typeName == typeID {
		fc.Type = typeName
	}
	if fc.Type != typeName {
		x.fault(at, "type: %q can't be; this field of the stream is of type %s", fc.Type, typeName)
		fc.Type = typeName
	}
	fc.Required = true
	if name == timeField && fc.Doc == "" {
		fc.Doc = "when it happened"
	}
	f, _ := x.field(stream, name, &fc, nil)
	return f
}

// field makes a new field; st is the built-in stream that it is added to, or
// nil.
func (x *extension) field(stream, name string, fc *FieldConfig, st *Stream) (Field, bool) {
	at := stream + ".fields." + name
	f := Field{Name: name, Required: fc.Required, Values: fc.Values, Strict: fc.Strict, Doc: fc.Doc}
	if !x.nameable(at, "field", name) {
		return f, false
	}
	t := slices.Index(typeNames[:], fc.Type)
	switch {
	case fc.Type == typeID:
		f.Type, f.ID = TypeString, true
	case t > 0:
		f.Type = Type(t)
	case fc.Type == "" && st != nil:
		x.fault(at, "is not a built-in field of %s%s; to add a field write its type: %s", stream, didYouMean(name, fieldNames(st)), listTypes())
		return f, false
	case fc.Type == "":
		x.fault(at, "has no type; write type: and one of %s", listTypes())
		return f, false
	default:
		x.fault(at, "type: %q is not a type%s; the types are %s", fc.Type, didYouMean(fc.Type, append(typeNames[1:], typeID)), listTypes())
		return f, false
	}
	x.values(at, &f)
	if fc.From != "" {
		f.From = x.path(at, fc.From)
	}
	return f, true
}

// values checks what belongs to enums only.
func (x *extension) values(at string, f *Field) {
	if f.Type != TypeEnum {
		if len(f.Values) > 0 || f.Strict {
			x.fault(at, "values and strict are for type enum, not %s; write type: enum or leave them out", f.TypeName())
		}
		return
	}
	if len(f.Values) == 0 {
		x.fault(at, "an enum needs its values; write values: [first, second]")
	}
	for i, v := range f.Values {
		if v == "" || slices.Contains(f.Values[:i], v) {
			x.fault(at, "values: %q is empty or listed twice", v)
		}
	}
}

// requiredFirst orders fields as built-in streams do.
func requiredFirst(fields []Field) []Field {
	slices.SortStableFunc(fields, func(a, b Field) int {
		switch {
		case a.Required == b.Required:
			return 0
		case a.Required:
			return -1
		}
		return 1
	})
	return fields
}
