package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"sort"

	"github.com/goccy/go-yaml/ast"

	"github.com/refundguard/refundguard/rules/yamltree"
)

// list is a set of texts that conditions ask by lists.NAME.
type list struct {
	name     text
	file     *file // that the values stand in; nil where it can't be read
	values   map[string]entry
	networks *networks // see networksOf
	allNets  int8      // 1: nothing but networks, -1: other values; 0: nobody has looked
	used     bool
	faults   int
}

// entry is one value of a list.
type entry struct {
	expires      int64 // Unix milliseconds from which on it isn't in the list; never: math.MaxInt64
	line, column int32
}

const never = math.MaxInt64

// maxListFaults is how many faulty values of one list are shown.
const maxListFaults = 10

// has says whether a value is in the list at a time. That time is an event's,
// never the clock's: the same event gives the same answer again.
func has(values map[string]entry, value string, t int64) bool {
	e, ok := values[value]
	return ok && t < e.expires
}

// add enters a value. Of two that are the same the one that lasts counts.
func (l *list) add(value string, e entry) {
	if old, ok := l.values[value]; !ok || old.expires < e.expires {
		l.values[value] = e
	}
}

// at makes an error of one entry; nil where enough of them were shown.
func (l *list) at(e entry, message, hint string) *Error {
	l.faults++
	if l.faults > maxListFaults {
		return nil
	}
	offset := l.file.offset(int(e.line), int(e.column))
	if l.file != l.name.file { // a CSV file, whose reader counts bytes
		offset = l.file.offset(int(e.line), 1) + int(e.column) - 1
	}
	line, column, snippet := l.file.place(offset)
	return &Error{File: l.file.name, Line: line, Column: column, Message: "list " + l.name.value + ": " + message, Hint: hint, Snippet: snippet}
}

// failEntry reports an entry, unless enough of its list were.
func (d *draft) failEntry(l *list, e entry, message, hint string) {
	if err := l.at(e, message, hint); err != nil {
		d.errs = append(d.errs, err)
	}
}

// fingerprint changes with the content: a series whose where(…) reads the list
// is another one once the list is.
func (l *list) fingerprint() string {
	values := make([]string, 0, len(l.values))
	for v := range l.values {
		values = append(values, v)
	}
	sort.Strings(values)
	h := sha256.New()
	for _, v := range values {
		if e := l.values[v].expires; e != never {
			fmt.Fprintf(h, "%d@", e)
		}
		fmt.Fprintf(h, "%d:%s", len(v), v)
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

func (d *draft) readLists(r *reader, n ast.Node) {
	for _, p := range r.mapping(n, "lists") {
		if !r.name(p.key, "a list's") {
			continue
		}
		if first, ok := d.lists[p.key.value]; ok {
			r.errs = append(r.errs, p.key.report("", 0, fmt.Sprintf("list %s is already defined in %s", p.key.value, first.name.file.name), "rename one of them, or put their values together"))
			continue
		}
		l := &list{name: p.key, values: map[string]entry{}}
		d.lists[p.key.value] = l
		if _, ok := p.value.(*ast.SequenceNode); ok {
			l.file = r.file
			for _, item := range r.sequence(p.value, "list "+p.key.value) {
				d.readListValue(r, l, item)
			}
		} else {
			d.readListFile(r, l, p.value)
		}
		d.warnExpired(l)
	}
}

// readListValue reads one value of an inline list: a text, or
// {value: x, expires: 2026-12-31, note: why}.
func (d *draft) readListValue(r *reader, l *list, n ast.Node) {
	what := "a value of list " + l.name.value
	p := yamltree.Start(n)
	e := entry{expires: never, line: int32(p.Line), column: int32(p.Column)}
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
	default:
		if t, ok := r.text(n, what); ok {
			l.add(t.value, e)
		}
		return
	}
	value, found := "", false
	for _, p := range r.mapping(n, what) {
		t, ok := r.text(p.value, p.key.value)
		if !ok {
			continue
		}
		switch p.key.value {
		case "value":
			value, found = t.value, true
		case "expires":
			if e.expires, ok = parseExpiry(t.value); !ok {
				r.errs = append(r.errs, t.report("", 0, fmt.Sprintf("expires can't be %q", t.value), expiryHint))
			}
		case "note":
		default:
			r.errs = append(r.errs, p.key.report("", 0, "unknown key "+p.key.value+" of a list's value", suggestOr(p.key.value, listColumns, "it has value, expires and note")))
		}
	}
	if !found {
		r.fail(n, what+" has no value", "write {value: …, expires: 2026-12-31, note: …}, or the value alone")
		return
	}
	l.add(value, e)
}

// readListFile reads {file: lists/x.csv}.
func (d *draft) readListFile(r *reader, l *list, n ast.Node) {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
	default:
		r.fail(n, "list "+l.name.value+" is "+describe(n)+", not a list of values", "write [a, b], or {file: lists/"+l.name.value+".csv}")
		return
	}
	found := false
	for _, p := range r.mapping(n, "list "+l.name.value) {
		found = true
		if p.key.value != "file" {
			r.errs = append(r.errs, p.key.report("", 0, "unknown key "+p.key.value+" of a list", suggestOr(p.key.value, []string{"file"}, "a list is [a, b] or {file: …}")))
			continue
		}
		t, ok := r.text(p.value, "file")
		if !ok {
			continue
		}
		if err := d.readCSV(l, t); err != nil {
			r.errs = append(r.errs, t.report("", 0, fmt.Sprintf("list %s: %s can't be read: %v", l.name.value, t.value, err), "the path is relative to the rule folder, and stays inside it"))
		}
	}
	if !found {
		r.fail(n, "list "+l.name.value+" names no file", "write {file: lists/"+l.name.value+".csv}")
	}
}

// warnExpired warns of values that are in the list no more, at the first of
// them.
func (d *draft) warnExpired(l *list) {
	n, first := 0, entry{}
	for _, e := range l.values {
		if e.expires > d.now {
			continue
		}
		n++
		if n == 1 || e.line < first.line || e.line == first.line && e.column < first.column {
			first = e
		}
	}
	if n == 0 {
		return
	}
	if e := l.at(first, fmt.Sprintf("%d of %d values have expired and are ignored", n, len(l.values)), "remove them, or give them a later date"); e != nil {
		e.Warning = true
		d.errs = append(d.errs, e)
	}
}
