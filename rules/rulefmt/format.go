// Package rulefmt gives rule files their canonical form, so that a change shows
// in a diff as what it is: keys in one order, one way to quote, conditions with
// and, or, not and double quotes, a blank line between rules, lines of at most
// 100 characters where they can be broken. Comments stay with what they speak of.
package rulefmt

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error is why a file can't be formatted. Nothing was changed.
type Error struct {
	Line    int // 0: none
	Message string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Message
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Message)
}

// Format is the canonical form of a rule file. It means the same: the result
// is read back and compared, keys, values, conditions and comments. Formatting
// it again changes nothing. The file need not be a valid rule file, but it must
// be YAML without anchors and tags.
func Format(source []byte) ([]byte, error) {
	in := strings.TrimPrefix(strings.ReplaceAll(string(source), "\r\n", "\n"), "\ufeff")
	if err := checkText(in); err != nil {
		return nil, err
	}
	out, err := format(in)
	if err != nil {
		return nil, err
	}
	for stable, round := false, 0; !stable; round++ {
		again, err := format(out)
		switch {
		case err != nil:
			return nil, &Error{Message: "the canonical form can't be read back, which is a fault of this program: " + err.Error()}
		case round == 4:
			return nil, &Error{Message: "the canonical form is not stable, which is a fault of this program"}
		}
		stable, out = again == out, again
	}
	if err := same(in, out); err != nil {
		return nil, err
	}
	return []byte(out), nil
}

// checkText refuses what no YAML holds.
func checkText(s string) error {
	line := 1
	for _, r := range s {
		switch {
		case r == '\n':
			line++
		case r == utf8.RuneError || r < ' ' && r != '\t' || r == 0x7f:
			return &Error{Line: line, Message: "a control character, or bytes that are not UTF-8 text"}
		}
	}
	return nil
}

func format(source string) (string, error) {
	top, comments, err := parse(source)
	if err != nil {
		return "", err
	}
	p := &printer{}
	if top == nil || top.kind != mapping {
		if top != nil {
			return "", &Error{Line: top.line, Message: "a rule file is a mapping: rules: …"}
		}
		for _, c := range comments {
			p.add(0, c.text)
		}
	} else {
		if top.flow {
			top.flow = false
		}
		head := attach(top, comments, source)
		p.addAll(0, head)
		if len(head) > 0 {
			p.add(0, "")
		}
		p.block(top, 0, wholeFile)
	}
	if len(p.lines) == 0 {
		return "", nil
	}
	return strings.Join(tidy(p.lines), "\n") + "\n", nil
}

// tidy drops blank lines at both ends.
func tidy(lines []string) []string {
	for len(lines) > 0 && lines[0] == "" {
		lines = lines[1:]
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// same compares what two files say.
func same(a, b string) error {
	one, oneComments, err := parse(a)
	if err != nil {
		return err
	}
	two, twoComments, err := parse(b)
	if err != nil {
		return &Error{Message: "the canonical form can't be read back, which is a fault of this program: " + err.Error()}
	}
	if canonical(one, wholeFile) != canonical(two, wholeFile) {
		return &Error{Message: "the canonical form would mean something else, which is a fault of this program"}
	}
	sortComments(oneComments)
	sortComments(twoComments)
	for i, c := range oneComments {
		if i >= len(twoComments) || twoComments[i].text != c.text {
			return &Error{Line: c.line, Message: "a comment would be lost here: put it on a line of its own above what it speaks of"}
		}
	}
	if len(oneComments) != len(twoComments) {
		return &Error{Message: "the canonical form has more comments, which is a fault of this program"}
	}
	return nil
}

func sortComments(all []comment) {
	slices.SortStableFunc(all, func(a, b comment) int { return strings.Compare(a.text, b.text) })
}

// canonical is a text that two nodes share if and only if they mean the same.
func canonical(n *node, r role) string {
	if n == nil {
		return ""
	}
	if n.kind == scalar {
		value := n.value
		if r == isCondition && n.style != other {
			value = strings.TrimSpace(value)
			if m, ok := meaning(value); ok {
				value = m
			}
		}
		if n.null {
			return "null"
		}
		return strconv.Quote(value)
	}
	parts := make([]string, len(n.entries))
	for i, e := range n.entries {
		parts[i] = strconv.Quote(e.key) + "=" + canonical(e.value, roleOf(r, e.key))
	}
	if n.kind == mapping {
		sort.Strings(parts)
	}
	return fmt.Sprint(n.kind, parts)
}
