package rules

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"
	"strings"
	"unicode/utf8"

	"crypto/sha256"

	"github.com/goccy/go-yaml/ast"
)

// list is a set of texts that conditions ask by lists.NAME.
type list struct {
	name   text
	values map[string]struct{}
	used   bool
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
		l := &list{name: p.key, values: map[string]struct{}{}}
		d.lists[p.key.value] = l
		if _, ok := p.value.(*ast.SequenceNode); ok {
			for _, item := range r.sequence(p.value, "list "+p.key.value) {
				if t, ok := r.text(item, "a value of list "+p.key.value); ok {
					l.values[t.value] = struct{}{}
				}
			}
			continue
		}
		d.readListFile(r, l, p.value)
	}
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

// readCSV takes the first column of a CSV file. Lines that start with # are
// comments; a first line whose first cell is "value" or the name of a field is a
// header.
func (d *draft) readCSV(l *list, t text) error {
	if !fs.ValidPath(t.value) || t.value == "." {
		return errors.New("not a path inside the rule folder")
	}
	data, err := d.folder.content(t.value, maxListFile)
	if err != nil {
		return err
	}
	if !utf8.Valid(data) {
		return errors.New("it is not UTF-8 text")
	}
	in := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	in.FieldsPerRecord = -1
	in.Comment = '#'
	in.ReuseRecord = true
	for first := true; ; first = false {
		record, err := in.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		value := strings.TrimSpace(record[0])
		if value == "" || first && (value == "value" || d.isField(value)) {
			continue
		}
		l.values[strings.Clone(value)] = struct{}{}
	}
}

func (d *draft) isField(name string) bool {
	for _, st := range d.schema.Streams {
		if st.Slot(name) >= 0 {
			return true
		}
	}
	return false
}
