package settings

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Section is a configuration for printing: keys in the order of their structs,
// secrets hidden.
type Section []Item

// Item is one key of a Section. Value is a Section, a []any of them, or a
// scalar or list of scalars.
type Item struct {
	Key   string
	Value any
}

// Show turns a struct into what may be printed. Every secret is Hidden, and so
// is what may hold one: the values of headers, and of a URL all but its host.
func Show(config any) Section {
	return show(reflect.ValueOf(config), "").(Section)
}

func show(v reflect.Value, key string) any {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		return show(v.Elem(), key)
	}
	switch kindOf(v.Type()) {
	case section:
		s := Section{}
		for _, f := range fieldsOf(v.Type()) {
			s = append(s, Item{f.name, show(v.FieldByIndex(f.index), f.name)})
		}
		return s
	case table:
		s := Section{}
		for _, k := range v.MapKeys() {
			s = append(s, Item{k.String(), show(v.MapIndex(k), hiddenBelow(key, k.String()))})
		}
		slices.SortFunc(s, func(a, b Item) int { return strings.Compare(a.Key, b.Key) })
		return s
	case list, sections:
		items := make([]any, v.Len())
		for i := range items {
			items[i] = show(v.Index(i), key)
		}
		return items
	}
	if secret(key) && !v.IsZero() {
		return Hidden
	}
	return showScalar(v)
}

// hiddenBelow is the key by which a table's value is judged: headers may hold
// credentials under any name.
func hiddenBelow(table, key string) string {
	if table == "headers" {
		return "secret"
	}
	return key
}

func showScalar(v reflect.Value) any {
	switch value := v.Interface().(type) {
	case time.Duration:
		return FormatDuration(value)
	case encoding.TextMarshaler:
		if text, err := value.MarshalText(); err == nil {
			return string(text)
		}
	case fmt.Stringer:
		return value.String()
	}
	if v.Kind() == reflect.String && strings.Contains(v.String(), "://") {
		return hideURL(v.String())
	}
	return v.Interface()
}

// hideURL leaves a URL's scheme and host.
func hideURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return Hidden
	}
	shown := u.Scheme + "://" + u.Host
	if u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		shown += "/" + Hidden
	}
	return shown
}

// YAML writes a section; origin, if not nil, is asked for a comment for each
// key that holds a value.
func (s Section) YAML(origin func(key string) string) ([]byte, error) {
	w := writer{origin: origin}
	w.section(s, "", "")
	return w.out.Bytes(), w.err
}

type writer struct {
	out    bytes.Buffer
	origin func(key string) string
	err    error
}

// section writes one line per key; the first of a list item follows its dash.
func (w *writer) section(s Section, path, indent string) {
	for i, item := range s {
		if i > 0 || !bytes.HasSuffix(w.out.Bytes(), []byte("- ")) {
			w.out.WriteString(indent)
		}
		w.out.WriteString(w.scalar(item.Key) + ":")
		w.value(item.Value, join(path, item.Key), indent)
	}
}

func (w *writer) value(value any, path, indent string) {
	items, isList := value.([]any)
	nested, isSection := value.(Section)
	switch {
	case isSection && len(nested) > 0:
		w.out.WriteByte('\n')
		w.section(nested, path, indent+"  ")
		return
	case isList && hasSections(items):
		w.out.WriteByte('\n')
		for i, item := range items {
			w.out.WriteString(indent + "  - ")
			w.section(item.(Section), fmt.Sprintf("%s[%d]", path, i), indent+"    ")
		}
		return
	case isSection:
		w.out.WriteString(" {}")
	case isList:
		texts := make([]string, len(items))
		for i, item := range items {
			texts[i] = w.scalar(item)
		}
		w.out.WriteString(" [" + strings.Join(texts, ", ") + "]")
	default:
		w.out.WriteString(" " + w.scalar(value))
	}
	if w.origin != nil {
		w.out.WriteString(" # " + w.origin(path))
	}
	w.out.WriteByte('\n')
}

// scalar is a value's YAML on one line; a JSON string is YAML too.
func (w *writer) scalar(value any) string {
	text, isText := value.(string)
	if isText && !strings.ContainsAny(text, ",[]{}#\n\r") {
		out, err := yaml.Marshal(text)
		if err == nil && bytes.Count(out, []byte("\n")) == 1 {
			return strings.TrimSuffix(string(out), "\n")
		}
	}
	out, err := json.Marshal(value)
	if err != nil && w.err == nil {
		w.err = err
	}
	return string(out)
}

func hasSections(v any) bool {
	items, _ := v.([]any)
	return len(items) > 0 && reflect.TypeOf(items[0]) == reflect.TypeFor[Section]()
}

// MarshalJSON keeps the order of the keys.
func (s Section) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, item := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(item.Key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(item.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", item.Key, err)
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Keys lists the paths of all values, in order.
func (s Section) Keys() (keys []string) { return s.keys("") }

func (s Section) keys(path string) (keys []string) {
	for _, item := range s {
		at := join(path, item.Key)
		switch v := item.Value.(type) {
		case Section:
			keys = append(keys, v.keys(at)...)
			continue
		case []any:
			if hasSections(v) {
				for i, inner := range v {
					keys = append(keys, inner.(Section).keys(fmt.Sprintf("%s[%d]", at, i))...)
				}
				continue
			}
		}
		keys = append(keys, at)
	}
	return keys
}
