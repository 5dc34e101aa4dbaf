package rules

import (
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
)

// Error is one fault of a rule set. Line and Column count from 1, Column in
// characters; Line 0 is a fault of the whole file, File "" one of the set.
type Error struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Rule    string `json:"rule,omitempty"` // id, where the fault is in a rule
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`    // what to write instead
	Snippet string `json:"snippet,omitempty"` // the source line
	Warning bool   `json:"warning,omitempty"`
}

// Error prints the fault on several lines: place and message, the source line,
// a caret under the fault, a hint.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
		}
		b.WriteString(": ")
	}
	if e.Warning {
		b.WriteString("warning: ")
	}
	if e.Rule != "" {
		fmt.Fprintf(&b, "rule %q: ", e.Rule)
	}
	b.WriteString(e.Message)
	if e.Snippet != "" && e.Line > 0 {
		fmt.Fprintf(&b, "\n  | %s\n  | %s^", e.Snippet, caretPad(e.Snippet, e.Column))
	}
	if e.Hint != "" {
		b.WriteString("\n  = " + e.Hint)
	}
	return b.String()
}

// caretPad is what stands before the caret: tabs stay tabs, so that it lines up
// whatever their width is.
func caretPad(line string, column int) string {
	var b strings.Builder
	n := 1
	for _, r := range line {
		if n >= column {
			break
		}
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
		n++
	}
	for ; n < column; n++ {
		b.WriteByte(' ')
	}
	return b.String()
}

// Errors are all the faults of a rule set, by file and place.
type Errors []*Error

func (e Errors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "\n")
}

// WriteText prints the faults for people, one after the other.
func (e Errors) WriteText(w io.Writer) error {
	for _, err := range e {
		if _, werr := fmt.Fprintln(w, err.Error()); werr != nil {
			return werr
		}
	}
	return nil
}

// WriteJSON prints the faults as one JSON array, empty without faults.
func (e Errors) WriteJSON(w io.Writer) error {
	if e == nil {
		e = Errors{}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode([]*Error(e))
}

// tidy sorts the faults by place and drops repeats: a fault of a macro shows
// once, however many rules use it.
func (e Errors) tidy() Errors {
	sort.SliceStable(e, func(i, j int) bool {
		a, b := e[i], e[j]
		if a.File != b.File {
			return a.File < b.File
		}
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Column < b.Column
	})
	type place struct {
		file, message string
		line, column  int
	}
	seen := map[place]bool{}
	out := e[:0]
	for _, err := range e {
		p := place{err.File, err.Message, err.Line, err.Column}
		if !seen[p] {
			seen[p] = true
			out = append(out, err)
		}
	}
	return out
}
