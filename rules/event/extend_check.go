package event

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/agext/levenshtein"
)

// maxPath is how many names a from can have.
const maxPath = 8

// reserved are the names that mean something else in a condition.
var reserved = []string{
	"original", "refunded", "lists", "amount_base", "updates", "hits", "decisions",
	"true", "false", "nil", "and", "or", "not", "in", "contains", "matches", "let", "if", "else",
}

// nameable checks that a condition can use a name as it is.
func (x *extension) nameable(at, what, name string) bool {
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || i > 0 && (c == '_' || isDigit(c)) {
			continue
		}
		x.fault(at, "%q is no name for a %s; write small letters, digits and _, beginning with a letter, and the record's own spelling in from", name, what)
		return false
	}
	switch {
	case name == "" || len(name) > 64:
		x.fault(at, "a name for a %s has 1 to 64 letters", what)
		return false
	case slices.Contains(reserved, name):
		x.fault(at, "%s has a meaning of its own in conditions; choose another name, and write the record's own spelling in from", name)
		return false
	}
	return true
}

// path splits a from.
func (x *extension) path(at, from string) []string {
	path := strings.Split(from, ".")
	if len(path) > maxPath {
		x.fault(at, "from: %q has %d names; at most %d can be followed", from, len(path), maxPath)
	}
	for _, name := range path {
		if name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == '"' || r == '\\' }) {
			x.fault(at, "from: %q is no path; write the names of nested objects with dots between them, e.g. payload.amt", from)
			break
		}
	}
	return path
}

// finish checks a stream as a whole.
func (x *extension) finish(st *Stream) {
	if len(st.Fields) > MaxFields {
		x.fault(st.Name, "has %d fields; at most %d can be read, so leave some out", len(st.Fields), MaxFields)
		return
	}
	x.currencies(st)
	x.paths(st)
	st.index()
}

// currencies makes sure that it is clear which currency an amount is in.
func (x *extension) currencies(st *Stream) {
	money, currency := "", ""
	for i := range st.Fields {
		f := &st.Fields[i]
		switch {
		case f.Type == TypeMoney:
			money = f.Name
		case f.Type == TypeCurrency && currency != "":
			x.fault(st.Name+".fields."+f.Name, "a stream has one currency, and %s is it; write type: string for this one", currency)
		case f.Type == TypeCurrency:
			currency = f.Name
		}
	}
	if money != "" && currency == "" {
		x.fault(st.Name+".fields."+money, "an amount needs its currency; add a field: currency: {type: currency}, or write type: number")
	}
}

// paths makes sure that no two fields read the same value, or one the inside of
// the other's.
func (x *extension) paths(st *Stream) {
	for i := range st.Fields {
		f := &st.Fields[i]
		for j := range st.Fields[:i] {
			g := &st.Fields[j]
			a, b := f.path(), g.path()
			if n := min(len(a), len(b)); slices.Equal(a[:n], b[:n]) {
				x.fault(st.Name+".fields."+f.Name, "reads %q, and %s reads %q; a value belongs to one field only",
					strings.Join(a, "."), g.Name, strings.Join(b, "."))
			}
		}
	}
}

// topics makes sure that each topic is read as one stream.
func (x *extension) topics() {
	for i, st := range x.schema.Streams {
		if !isTopic(st.Topic) {
			x.fault(st.Name, "topic: %q is no name of a topic; Kafka allows 1 to 249 letters, digits, dots, _ and -", st.Topic)
		}
		for _, other := range x.schema.Streams[:i] {
			if st.Topic == other.Topic {
				x.fault(st.Name, "topic: %s is the topic of %s already; a topic is one stream", st.Topic, other.Name)
			}
		}
	}
}

func isTopic(name string) bool {
	if name == "" || len(name) > 249 || name == "." || name == ".." {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	})
}

func (x *extension) streamNames() (names []string) {
	for _, st := range x.schema.Streams {
		names = append(names, st.Name)
	}
	return names
}

func fieldNames(st *Stream) (names []string) {
	for i := range st.Fields {
		names = append(names, st.Fields[i].Name)
	}
	return names
}

func listTypes() string { return typeID + ", " + strings.Join(typeNames[1:], ", ") }

// didYouMean is " (did you mean X?)" for the name most like what was written, or
// "" if none is.
func didYouMean(name string, known []string) string {
	best, bestDistance := "", max(1, len(name)/3)+1
	for _, k := range known {
		if n := levenshtein.Distance(name, k, nil); n < bestDistance {
			best, bestDistance = k, n
		}
	}
	if best == "" {
		return ""
	}
	return " (did you mean " + best + "?)"
}
