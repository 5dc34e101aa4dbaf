package rulefmt

import (
	"slices"
	"strings"

	"github.com/goccy/go-yaml/token"
)

// comment is one comment of the source, with its #.
type comment struct {
	text         string
	line, column int
	own          bool // it has its line for itself
}

func findComments(source string, tokens token.Tokens) (all []comment) {
	lines := strings.Split(source, "\n")
	for _, t := range tokens {
		if t.Type != token.CommentType {
			continue
		}
		c := comment{text: "#" + strings.TrimRight(t.Value, " \t\r"), line: t.Position.Line, column: t.Position.Column}
		if c.line-1 < len(lines) {
			c.own = strings.HasPrefix(strings.TrimSpace(lines[c.line-1]), "#")
		}
		all = append(all, c)
	}
	return all
}

// attach gives each comment to the entry that it speaks of: one behind an entry
// to that entry; one on its own line to what comes next, or, where it is
// indented deeper than that, to the end of what it is in. The comments at the
// top of the file, up to a blank line, stay at the top: they are returned.
func attach(top *node, comments []comment, source string) (head []string) {
	lines := strings.Split(source, "\n")
	blank := func(line int) bool { return line >= 1 && line <= len(lines) && strings.TrimSpace(lines[line-1]) == "" }
	unfold(top, comments)
	all := inOrder(top, nil)
	for i := 0; i < len(comments); i++ {
		c := comments[i]
		if !c.own {
			e := lastBefore(all, c.line)
			if e == nil { // behind a document's ---
				head = append(head, c.text)
				continue
			}
			if e.after == "" {
				e.after = c.text
			} else {
				e.before = append(e.before, c.text)
			}
			continue
		}
		next := firstAfter(all, c.line)
		if in := homeOf(lastBefore(all, c.line), next, c); in != nil {
			if len(in.foot) > 0 && blank(c.line-1) {
				in.foot = append(in.foot, "")
			}
			in.foot = append(in.foot, c.text)
			continue
		}
		if len(next.before) == 0 {
			next.apart = blank(c.line - 1)
		} else if blank(c.line - 1) {
			next.before = append(next.before, "")
		}
		next.before = append(next.before, c.text)
		last := i+1 == len(comments) || comments[i+1].line > next.line
		if last && blank(next.line-1) {
			next.before = append(next.before, "")
		}
	}
	for _, e := range all {
		if len(e.before) == 0 {
			e.apart = blank(e.line - 1)
		}
	}
	return append(head, takeHead(all)...)
}

// takeHead takes the file's own comment from its first entry.
func takeHead(all []*entry) (head []string) {
	if len(all) == 0 {
		return nil
	}
	first := all[0]
	if end := slices.Index(first.before, ""); end >= 0 {
		head, first.before = first.before[:end], first.before[end+1:]
		return head
	}
	for len(first.before) > 0 && strings.Contains(first.before[0], "yaml-language-server:") {
		head, first.before = append(head, first.before[0]), first.before[1:]
	}
	return head
}

// unfold turns flow collections that hold comments into blocks.
func unfold(n *node, comments []comment) {
	if n == nil {
		return
	}
	if n.flow && n.last > n.line {
		for _, c := range comments {
			if c.line >= n.line && c.line < n.last {
				n.flow = false
			}
		}
	}
	for _, e := range n.entries {
		unfold(e.value, comments)
	}
}

// inOrder lists the entries of blocks, outer ones first.
func inOrder(n *node, all []*entry) []*entry {
	if n == nil || n.flow {
		return all
	}
	for _, e := range n.entries {
		all = inOrder(e.value, append(all, e))
	}
	return all
}

func lastBefore(all []*entry, line int) (found *entry) {
	for _, e := range all {
		if e.line <= line {
			found = e
		}
	}
	return found
}

func firstAfter(all []*entry, line int) *entry {
	for _, e := range all {
		if e.line > line {
			return e
		}
	}
	return nil
}

// homeOf is the block that a comment on its own line ends; nil: it belongs to
// the next entry.
func homeOf(previous, next *entry, c comment) *node {
	if previous == nil {
		return nil
	}
	if next != nil && (c.column <= next.column || slices.Contains(next.path, previous.value)) {
		return nil
	}
	home := previous.path[0]
	for _, n := range previous.path {
		if n.column <= c.column {
			home = n
		}
	}
	if next != nil && home == next.path[len(next.path)-1] {
		return nil
	}
	return home
}
