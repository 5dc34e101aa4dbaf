package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/refundguard/refundguard/cmd/refundguard/settings"
	"github.com/refundguard/refundguard/rules/event"
)

var labelColumns = []string{"refund_id", "label", "at", "by", "note"}

// requiredColumns is how many of labelColumns a file must have.
const requiredColumns = 3

// maxLabelFile bounds a file, which is read whole.
const maxLabelFile = 256 << 20

// Limits of a row's texts: an id's, and what a topic takes easily.
const (
	maxIDBytes   = 256
	maxNoteBytes = 4096
)

// labelRow is a label and the place of its refund_id.
type labelRow struct {
	*event.Label
	line, column int
	bad          bool // it has a fault, and is here for its refund to be looked up
}

// labelFile is a file of labels, as far as it is right.
type labelFile struct {
	name   string
	rows   []labelRow
	faults settings.Faults
	broken bool // a fault is of more than its row, so none can be left out

	at  map[string]int // where each column is
	now time.Time
}

// readLabelFile reads a CSV with a header. Its faults are all that are in it; an
// error means that it could not be read at all.
func readLabelFile(name string, in io.Reader, now time.Time) (*labelFile, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxLabelFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxLabelFile {
		return nil, fmt.Errorf("%s is larger than %d MiB: split it", name, maxLabelFile>>20)
	}
	f := &labelFile{name: name, now: now, at: map[string]int{}}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		f.whole(1+bytes.Count(data[:firstInvalid(data)], []byte("\n")), 1, "not UTF-8 text", "save it as CSV in UTF-8")
		return f, nil
	}
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = -1
	r.ReuseRecord = true
	for {
		record, err := r.Read()
		var syntax *csv.ParseError
		switch {
		case err == io.EOF:
			if len(f.at) == 0 && !f.broken {
				f.whole(1, 1, "the file has no header", "begin it with a line "+strings.Join(labelColumns, ","))
			}
			return f, nil
		case errors.As(err, &syntax):
			f.whole(syntax.StartLine, max(syntax.Column, 1), "not CSV: "+syntax.Err.Error(), `write a quote inside a quoted value twice ("")`)
			return f, nil // what follows may have been taken for part of this row
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", name, err)
		case len(f.at) == 0:
			if f.header(r, record); f.broken {
				return f, nil
			}
		default:
			f.row(r, record)
		}
	}
}

func firstInvalid(data []byte) int {
	for i := 0; i < len(data); {
		c, n := utf8.DecodeRune(data[i:])
		if c == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(data)
}

func (f *labelFile) fault(line, column int, message, hint string) {
	f.faults = append(f.faults, &settings.Fault{Where: f.name, Line: line, Column: column, Message: message, Hint: hint})
}

// whole is a fault that makes all of the file doubtful.
func (f *labelFile) whole(line, column int, message, hint string) {
	f.fault(line, column, message, hint)
	f.broken = true
}

// header finds the columns. One that isn't known may be one that was meant.
func (f *labelFile) header(r *csv.Reader, record []string) {
	known := "the columns are refund_id, label, at and, if you like, by and note; separated by commas"
	for i, cell := range record {
		name := strings.TrimSpace(cell)
		line, column := r.FieldPos(i)
		if _, twice := f.at[name]; twice {
			f.whole(line, column, fmt.Sprintf("the column %s is there twice", name), "remove one")
		} else if !slices.Contains(labelColumns, name) {
			f.whole(line, column, fmt.Sprintf("unknown column %q", name), known)
		}
		f.at[name] = i
	}
	for _, name := range labelColumns[:requiredColumns] {
		if _, ok := f.at[name]; !ok {
			f.whole(1, 1, "the column "+name+" is missing", known)
		}
	}
}

// row takes a row if nothing is wrong with it.
func (f *labelFile) row(r *csv.Reader, record []string) {
	before := len(f.faults)
	line, column := r.FieldPos(0)
	if len(record) != len(f.at) {
		f.fault(line, column, fmt.Sprintf("%s, and the header has %d", count(len(record), "value"), len(f.at)), "write one value, which may be empty, for each column; quote values with commas")
	}
	cell := func(name string) (text string, fault func(message, hint string)) {
		i, ok := f.at[name]
		if !ok || i >= len(record) {
			return "", nil
		}
		line, column := r.FieldPos(i)
		return record[i], func(message, hint string) { f.fault(line, column, name+" "+message, hint) }
	}
	for i, text := range record {
		if line, column := r.FieldPos(i); strings.ContainsAny(text, "\r\n") {
			f.whole(line, column, "a value goes on in the next line", "close its quotes, or write it in one line")
		} else if strings.ContainsFunc(text, unicode.IsControl) {
			f.fault(line, column, "a value holds a control character", "remove it")
		}
	}
	l := &event.Label{Source: event.LabelByImport, Weight: event.LabelWeight(event.LabelByImport)}
	for _, text := range []struct {
		name     string
		to       *string
		min, max int
	}{{"refund_id", &l.RefundID, 1, maxIDBytes}, {"by", &l.By, 0, maxIDBytes}, {"note", &l.Note, 0, maxNoteBytes}} {
		value, fault := cell(text.name)
		if *text.to = strings.Clone(value); fault != nil && (len(value) < text.min || len(value) > text.max) {
			fault(fmt.Sprintf("has %d bytes", len(value)), fmt.Sprintf("write %d to %d", text.min, text.max))
		}
	}
	if value, fault := cell("label"); fault != nil {
		switch l.Label = strings.TrimSpace(value); l.Label {
		case event.LabelFraud, event.LabelLegit:
		default:
			fault(fmt.Sprintf("can't be %q", cut(value, 40)), "write fraud or legit")
		}
	}
	if value, fault := cell("at"); fault != nil {
		at, ok := parseAt(strings.TrimSpace(value))
		switch l.At = at; {
		case !ok:
			fault(fmt.Sprintf("can't be %q", cut(value, 40)), "write when it was known, such as 2026-01-31T12:00:00Z, or milliseconds since 1970")
		case at > f.now.UnixMilli():
			fault(fmt.Sprintf("is %q, which is in the future", cut(value, 40)), "write when it was known")
		}
	}
	if len(l.RefundID) == 0 || len(l.RefundID) > maxIDBytes {
		return
	}
	l.Label = strings.Clone(l.Label)
	l.LabelID = event.LabelID(l.Source, l.RefundID, l.Label, strconv.FormatInt(l.At, 10), l.By, l.Note)
	line, column = r.FieldPos(f.at["refund_id"])
	f.rows = append(f.rows, labelRow{l, line, column, len(f.faults) > before})
}

// parseAt reads a time as records write it: RFC 3339, or Unix milliseconds.
func parseAt(text string) (int64, bool) {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return ms, ms >= 1e11 && ms < 1e14 // else they are seconds, or nanoseconds
	}
	t, err := time.Parse(time.RFC3339, text)
	return t.UnixMilli(), err == nil && t.UnixMilli() > 0
}

// leave takes rows out: those that are bad, and those of which says tells
// something, as their fault.
func (f *labelFile) leave(says func(labelRow) (message, hint string)) {
	f.rows = slices.DeleteFunc(f.rows, func(r labelRow) bool {
		message, hint := says(r)
		if message != "" {
			f.fault(r.line, r.column, message, hint)
		}
		return message != "" || r.bad
	})
}
