package settings

import (
	"encoding"
	"reflect"
	"strings"
)

const tag = "koanf"

// kind is how a Go type is written in a file.
type kind uint8

const (
	scalar   kind = iota + 1
	section       // a struct: fixed keys
	table         // a map: keys of the user's choice
	list          // of scalars
	sections      // a list of sections
)

var (
	unmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	marshaler   = reflect.TypeFor[encoding.TextMarshaler]()
)

func kindOf(t reflect.Type) kind {
	if reflect.PointerTo(t).Implements(unmarshaler) {
		return scalar
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kindOf(t.Elem())
	case reflect.Struct:
		return section
	case reflect.Map:
		return table
	case reflect.Slice:
		if kindOf(t.Elem()) == section {
			return sections
		}
		return list
	}
	return scalar
}

// keyed is a table whose keys are known. One value in its place is that of all
// of them.
type keyed interface{ Keys() []string }

// keysOf are those of a keyed table; nil for any other type.
func keysOf(t reflect.Type) []string {
	if k, ok := reflect.Zero(t).Interface().(keyed); ok && kindOf(t) == table {
		return k.Keys()
	}
	return nil
}

// field is one key of a section.
type field struct {
	name  string
	index []int
	shape reflect.Type
}

// fieldsOf returns a section's keys in the order of its struct; an embedded
// struct that is squashed gives its own.
func fieldsOf(t reflect.Type) (fields []field) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get(tag), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
		case options == "squash":
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				fields = append(fields, inner)
			}
		case name != "":
			fields = append(fields, field{name: name, index: f.Index, shape: f.Type})
		}
	}
	return fields
}

func names(fields []field) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return names
}

// allKeys are the names of all keys, at any depth.
func allKeys(t reflect.Type) (keys []string) {
	switch kindOf(t) {
	case section:
		for _, f := range fieldsOf(t) {
			keys = append(append(keys, f.name), allKeys(f.shape)...)
		}
	case table, sections:
		keys = allKeys(t.Elem())
	}
	return keys
}

// plain turns a value into the maps and lists that koanf merges.
func plain(v reflect.Value) any {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		return plain(v.Elem())
	}
	if (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.IsNil() {
		return nil
	}
	switch kindOf(v.Type()) {
	case section:
		m := map[string]any{}
		for _, f := range fieldsOf(v.Type()) {
			if inner := plain(v.FieldByIndex(f.index)); inner != nil {
				m[f.name] = inner
			}
		}
		return m
	case table:
		m := map[string]any{}
		for _, key := range v.MapKeys() {
			if inner := plain(v.MapIndex(key)); inner != nil {
				m[key.String()] = inner
			}
		}
		return m
	case list, sections:
		items := make([]any, v.Len())
		for i := range items {
			items[i] = plain(v.Index(i))
		}
		return items
	}
	if v.Type().Implements(marshaler) {
		if text, err := v.Interface().(encoding.TextMarshaler).MarshalText(); err == nil {
			return string(text)
		}
	}
	return v.Interface()
}

// concealed reports whether a key's value must not be shown in the file's
// lines: a URL may hold a token, and a header any credential.
func concealed(name string) bool {
	return secret(name) || name == "url" || name == "headers"
}

// secret reports whether a key's value must never be shown.
func secret(name string) bool {
	if strings.HasSuffix(name, "_file") {
		return false
	}
	for _, word := range []string{"password", "secret", "secrets", "token", "key"} {
		if name == word || strings.HasSuffix(name, "_"+word) {
			return true
		}
	}
	return false
}
