package settings

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// place is a position in the file; both count from 1.
type place struct{ line, column int }

// source is a file's text, with the spans that must not be shown.
type source struct {
	file  string
	lines []string
	masks map[int][]mask // by line

	// parsed says that masks hold every secret. Until then, all but keys is
	// hidden: which value is a secret can't be told.
	parsed bool
	keys   map[string]bool
}

// mask hides runes [from, to) of a line.
type mask struct{ from, to int }

func newSource(file string, content []byte) *source {
	text := strings.ReplaceAll(string(content), "\r\n", "\n")
	return &source{file: file, lines: strings.Split(text, "\n"), masks: map[int][]mask{}, keys: map[string]bool{}}
}

// hide keeps a value's text out of every snippet.
func (s *source) hide(at place, text string) {
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		from := at.column - 1
		if i > 0 {
			from = 0
		}
		s.masks[at.line+i] = append(s.masks[at.line+i], mask{from, from + len([]rune(line))})
	}
}

// maxSnippet is how many characters of a line are shown before the caret.
const maxSnippet = 120

// locate gives a fault its place and snippet.
func (s *source) locate(f *Fault, at place) {
	f.Where, f.Line, f.Column = s.file, at.line, at.column
	if at.line < 1 || at.line > len(s.lines) || strings.TrimSpace(s.lines[at.line-1]) == "" {
		return
	}
	line, caret := s.shown(at)
	if caret > maxSnippet || len([]rune(line)) > 2*maxSnippet {
		return
	}
	number := fmt.Sprintf("%4d | ", at.line)
	// A caret stands under its character only behind the same tabs.
	pad := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, string([]rune(line)[:caret]))
	f.Snippet = number + line + "\n" + strings.Repeat(" ", len(number)) + pad + "^"
}

// word is what a snippet of unparsed text hides, unless it is a key's name.
var word = regexp.MustCompile(`[^\s:,\[\]{}"'#]+`)

// shown is a line without secrets, and where the caret goes.
func (s *source) shown(at place) (line string, caret int) {
	runes := []rune(s.lines[at.line-1])
	caret = min(max(at.column-1, 0), len(runes))
	masks := s.masks[at.line]
	slices.SortFunc(masks, func(a, b mask) int { return cmp.Compare(a.from, b.from) })
	var b strings.Builder
	next, moved := 0, 0
	for _, m := range masks {
		from, to := min(max(m.from, next), len(runes)), min(m.to, len(runes))
		if to <= from {
			continue
		}
		b.WriteString(string(runes[next:from]) + Hidden)
		if caret >= to {
			moved += len(Hidden) - (to - from)
		} else if caret > from {
			moved += from - caret
		}
		next = to
	}
	b.WriteString(string(runes[next:]))
	line = b.String()
	if i := strings.Index(line, " #"); i >= 0 { // a comment may hold an old password
		line = strings.TrimRight(line[:i], " \t")
	}
	if !s.parsed {
		line = word.ReplaceAllStringFunc(line, func(w string) string {
			if s.keys[w] || w == "-" {
				return w
			}
			return strings.Repeat("*", len([]rune(w)))
		})
	}
	return line, min(caret+moved, len([]rune(line)))
}
