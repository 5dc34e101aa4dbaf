package rules

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"
)

// listColumns are the columns of a list's file that mean something.
var listColumns = []string{"value", "expires", "note"}

// readCSV reads a list's file. Lines that start with # are comments. The first
// line is a header if it names one of listColumns, or if its first cell is the
// name of a field; without one there are values only, in the first column.
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
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	l.file = &file{name: d.folder.shown(t.value), data: string(data)}
	in := csv.NewReader(strings.NewReader(l.file.data))
	in.FieldsPerRecord = -1
	in.Comment = '#'
	in.ReuseRecord = true
	var at columns
	for first := true; ; first = false {
		record, err := in.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if first && d.isHeader(record) {
			at = d.readHeader(l, in, record)
			continue
		}
		if first {
			at = columns{value: 0, expires: -1}
			d.checkHeadless(l, in, record)
		}
		d.readRow(l, in, record, at)
	}
}

// columns says where a file has what.
type columns struct {
	value, expires int // -1: nowhere
}

func (d *draft) isHeader(record []string) bool {
	if d.isField(strings.TrimSpace(record[0])) {
		return true
	}
	return slices.ContainsFunc(record, func(cell string) bool {
		return slices.Contains(listColumns, strings.TrimSpace(cell))
	})
}

func (d *draft) isField(name string) bool {
	for _, st := range d.schema.Streams {
		if st.Slot(name) >= 0 {
			return true
		}
	}
	return false
}

// readHeader finds the columns. Others than those that mean something are for
// people, but one that was meant to be expires must not be taken for such.
func (d *draft) readHeader(l *list, in *csv.Reader, record []string) columns {
	at := columns{value: 0, expires: -1}
	for i, cell := range record {
		switch cell = strings.TrimSpace(cell); {
		case cell == "value":
			at.value = i
		case cell == "expires":
			at.expires = i
		case cell != "note" && !d.isField(cell) && suggest(cell, listColumns) == "did you mean expires?":
			d.failEntry(l, entryAt(in, i), "unknown column "+cell, "did you mean expires?")
		}
	}
	return at
}

// checkHeadless warns of dates that nobody reads.
func (d *draft) checkHeadless(l *list, in *csv.Reader, record []string) {
	for i, cell := range record[1:] {
		if _, ok := parseExpiry(strings.TrimSpace(cell)); ok {
			if e := l.at(entryAt(in, i+1), "the file has no header, so this date means nothing", "begin it with a line value,expires,note"); e != nil {
				e.Warning = true
				d.errs = append(d.errs, e)
			}
			return
		}
	}
}

func (d *draft) readRow(l *list, in *csv.Reader, record []string, at columns) {
	if at.value >= len(record) {
		return
	}
	value := strings.TrimSpace(record[at.value])
	if value == "" {
		return
	}
	e := entryAt(in, at.value)
	if at.expires >= 0 && at.expires < len(record) {
		if cell := strings.TrimSpace(record[at.expires]); cell != "" {
			var ok bool
			if e.expires, ok = parseExpiry(cell); !ok {
				d.failEntry(l, entryAt(in, at.expires), fmt.Sprintf("expires can't be %q", cell), expiryHint)
				return
			}
		}
	}
	l.add(strings.Clone(value), e)
}

// entryAt is an entry without an end, at the place of a field of the row that
// was read last.
func entryAt(in *csv.Reader, field int) entry {
	line, column := in.FieldPos(field)
	return entry{expires: never, line: int32(line), column: int32(column)}
}
