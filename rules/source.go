package rules

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// file is one source file, as it was read.
type file struct {
	name string // as errors show it
	data string

	source string // names the content

	starts []int // of the lines, once they were asked for
	last   struct{ line, column, offset int }
}

// lines are the offsets at which lines start.
func (f *file) lines() []int {
	if f.starts == nil {
		f.starts = []int{0}
		for i := range len(f.data) {
			if f.data[i] == '\n' {
				f.starts = append(f.starts, i+1)
			}
		}
	}
	return f.starts
}

// place turns a byte offset into a line and a column, both from 1, and the text
// of that line.
func (f *file) place(offset int) (line, column int, text string) {
	offset = min(max(offset, 0), len(f.data))
	start := strings.LastIndexByte(f.data[:offset], '\n') + 1
	end := len(f.data)
	if i := strings.IndexByte(f.data[start:], '\n'); i >= 0 {
		end = start + i
	}
	line, _ = slices.BinarySearch(f.lines(), start)
	line++
	column = utf8.RuneCountInString(f.data[start:offset]) + 1
	return line, column, strings.TrimRight(f.data[start:end], "\r")
}

// offset is the byte offset of a line and a column, both from 1. Of one line it
// goes on from the place that was asked for last: a list of many values can be
// one line.
func (f *file) offset(line, column int) int {
	starts := f.lines()
	if line > len(starts) {
		return len(f.data)
	}
	at, reached := starts[max(line, 1)-1], 1
	if f.last.line == line && f.last.column <= column {
		at, reached = f.last.offset, f.last.column
	}
	for ; reached < column && at < len(f.data) && f.data[at] != '\n'; reached++ {
		_, size := utf8.DecodeRuneInString(f.data[at:])
		at += size
	}
	f.last.line, f.last.column, f.last.offset = line, reached, at
	return at
}

// text is one scalar of a file, or a part of one: its value, and where it
// stands. The scalar may be quoted, folded or indented in the file.
type text struct {
	file  *file
	value string
	start int    // byte offset of the scalar; of the first line of a block scalar
	block bool   // a block scalar: | or >
	outer string // the scalar that value is a part of; "" where it is all of it
	from  int    // rune index of value in outer
	macro string // the macro whose body this is; "" for none
}

// offset finds the byte offset in the file of the value's rune with this index,
// by reading the value and its source side by side. They differ in white space,
// in quotes and in escapes only; where they seem to differ in more, the place
// found so far is as near as it gets.
func (t *text) offset(index int) int {
	src, value := t.file.data, t.value
	if t.outer != "" {
		value, index = t.outer, index+t.from
	}
	at := t.start
	quote := byte(0)
	if !t.block && at < len(src) && (src[at] == '\'' || src[at] == '"') {
		quote = src[at]
		at++
	}
	last := at
	for _, r := range value {
		if isSpace(r) {
			if index == 0 {
				return at
			}
			if at < len(src) && isSpace(rune(src[at])) {
				at++
			} else if quote == '"' && at < len(src) && src[at] == '\\' {
				at += escapeLen(src[at:])
			}
			index--
			continue
		}
		for at < len(src) && isSpace(rune(src[at])) {
			at++
		}
		size := sourceLen(src[at:], r, quote)
		if size == 0 {
			return last
		}
		if index == 0 {
			return at
		}
		index--
		last = at
		at += size
	}
	return at
}

func isSpace(r rune) bool { return r == ' ' || r == '\n' || r == '\t' || r == '\r' }

// sourceLen is how many bytes of src spell the rune r; 0: they don't.
func sourceLen(src string, r rune, quote byte) int {
	if src == "" {
		return 0
	}
	if quote == '"' && src[0] == '\\' {
		return escapeLen(src)
	}
	if quote == '\'' && r == '\'' {
		if strings.HasPrefix(src, "''") {
			return 2
		}
		return 0
	}
	got, size := utf8.DecodeRuneInString(src)
	if got != r {
		return 0
	}
	return size
}

// escapeLen is the length of the double-quoted scalar's escape that src starts
// with.
func escapeLen(src string) int {
	if len(src) < 2 {
		return len(src)
	}
	n := 2
	switch src[1] {
	case 'x':
		n = 4
	case 'u':
		n = 6
	case 'U':
		n = 10
	}
	return min(n, len(src))
}

// report makes an error of a place in the value, a rune index.
func (t *text) report(rule string, index int, message, hint string) *Error {
	offset := t.offset(index)
	line, column, snippet := t.file.place(offset)
	if strings.TrimSpace(snippet) == "" { // an empty block: its beginning says more than the blank line behind it
		line, column, snippet = t.file.place(len(strings.TrimRight(t.file.data[:offset], " \t\r\n")))
	}
	if t.macro != "" { // whatever rule uses it
		rule, message = "", "macro "+t.macro+": "+message
	}
	return &Error{File: t.file.name, Line: line, Column: column, Rule: rule, Message: message, Hint: hint, Snippet: snippet}
}
