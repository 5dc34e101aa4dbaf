package rulefmt

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// width is how long lines should be at most, where they can be broken.
const width = 100

// role says what a node is in a rule file.
type role uint8

const (
	anything role = iota
	wholeFile
	ruleList
	oneRule
	listTable
	macroTable
	exceptionList
	oneException
	isCondition
	tagList
)

// order of keys. Those that are not named come after, in their own order.
var order = map[role][]string{
	wholeFile: {"lists", "macros", "rules", "policy"},
	oneRule: {
		"id", "description", "on", "when", "on_missing", "exceptions", "action", "score", "severity", "mode", "on_trip",
		"reason", "message", "customer_message", "tags", "owner",
	},
	oneException: {"when", "reason", "owner", "expires"},
}

// roleOf is the role of an entry's value in a node of this role.
func roleOf(in role, key string) role {
	switch in {
	case wholeFile:
		switch key {
		case "lists":
			return listTable
		case "macros":
			return macroTable
		case "rules":
			return ruleList
		}
	case ruleList:
		return oneRule
	case oneRule:
		switch key {
		case "when":
			return isCondition
		case "exceptions":
			return exceptionList
		case "tags":
			return tagList
		}
	case exceptionList:
		return oneException
	case oneException:
		if key == "when" {
			return isCondition
		}
	case macroTable:
		return isCondition
	}
	return anything
}

// printer writes lines.
type printer struct {
	lines []string
}

func (p *printer) add(indent int, text string) {
	if text == "" {
		p.lines = append(p.lines, "")
		return
	}
	p.lines = append(p.lines, strings.Repeat(" ", indent)+text)
}

func (p *printer) addAll(indent int, texts []string) {
	for _, t := range texts {
		p.add(indent, t)
	}
}

// block writes the entries of a mapping or of a sequence.
func (p *printer) block(n *node, indent int, r role) {
	entries := sorted(n, r)
	for i, e := range entries {
		if e.value.kind == mapping && e.key == "" && !p.short(e, indent, r) && len(e.value.entries) > 0 {
			e.hoist(roleOf(r, e.key))
		}
		if i > 0 && (r == wholeFile || r == ruleList || e.apart && r != oneRule) {
			p.add(0, "")
		}
		if r == oneRule {
			e.before = slices.DeleteFunc(e.before, func(line string) bool { return line == "" })
		}
		p.addAll(indent, e.before)
		p.entry(n, e, indent, r)
	}
	if len(n.foot) > 0 && (r == ruleList || r == wholeFile) {
		p.add(0, "")
	}
	p.addAll(indent, n.foot)
}

// hoist takes the comments that stand between an item's - and its first key
// above the -.
func (e *entry) hoist(r role) {
	first := sorted(e.value, r)[0]
	e.before = append(e.before, first.before...)
	first.before = nil
	if e.after != "" {
		e.before = append(e.before, e.after)
		e.after = ""
	}
}

// short says whether an item's collection stands on the item's line.
func (p *printer) short(e *entry, indent int, r role) bool {
	_, ok := flowText(e, indent, roleOf(r, e.key))
	return ok
}

func (p *printer) entry(n *node, e *entry, indent int, r role) {
	lead := "- "
	if n.kind == mapping {
		lead = keyText(e.key) + ": "
	}
	v := e.value
	inner := roleOf(r, e.key)
	after := ""
	if e.after != "" {
		after = " " + e.after
	}
	if v.kind != scalar {
		if flow, ok := flowText(e, indent+utf8.RuneCountInString(lead), inner); ok {
			p.add(indent, lead+flow+after)
			return
		}
		if n.kind == sequence && v.kind == mapping {
			start := len(p.lines)
			p.block(v, indent+2, inner)
			p.lines[start] = strings.Repeat(" ", indent) + "- " + p.lines[start][indent+2:]
			return
		}
		p.add(indent, strings.TrimSuffix(lead, " ")+after)
		p.block(v, indent+2, inner)
		return
	}
	room := width - indent - utf8.RuneCountInString(lead)
	t := text{}
	if inner == isCondition {
		t = conditionText(v, max(room, width/2))
	} else {
		t = scalarText(v, width-indent-2, false)
	}
	p.add(indent, strings.TrimRight(lead+t.inline, " ")+after)
	p.addAll(indent+2, t.block)
}

// flowText writes a collection on one line, where it was written so, or holds
// a few tags; false where it is a block.
func flowText(e *entry, column int, r role) (string, bool) {
	n := e.value
	if n.kind == scalar {
		return "", false
	}
	if len(n.entries) == 0 {
		return emptyFlow(n), true
	}
	if !n.flow && r != tagList || hasComments(n) {
		return "", false
	}
	if r == oneRule || r == ruleList || r == oneException || r == exceptionList || r == macroTable {
		return "", false
	}
	s, ok := flow(n)
	return s, ok && column+utf8.RuneCountInString(s) <= width
}

func emptyFlow(n *node) string {
	if n.kind == mapping {
		return "{}"
	}
	return "[]"
}

func flow(n *node) (string, bool) {
	if n.kind == scalar {
		t := scalarText(n, width, true)
		return t.inline, true
	}
	if len(n.entries) == 0 {
		return emptyFlow(n), true
	}
	var parts []string
	for _, e := range n.entries {
		s, ok := flow(e.value)
		if !ok {
			return "", false
		}
		if n.kind == mapping {
			s = strings.TrimRight(keyText(e.key)+": "+s, " ")
		}
		parts = append(parts, s)
	}
	if n.kind == mapping {
		return "{" + strings.Join(parts, ", ") + "}", true
	}
	return "[" + strings.Join(parts, ", ") + "]", true
}

func hasComments(n *node) bool {
	if len(n.foot) > 0 {
		return true
	}
	for _, e := range n.entries {
		if len(e.before) > 0 || e.after != "" || hasComments(e.value) {
			return true
		}
	}
	return false
}

func keyText(key string) string {
	if isPlain(key, true) || isNumber(key) {
		return key
	}
	return quote(key)
}

// isNumber is for keys that YAML takes for numbers: their text is what counts.
func isNumber(key string) bool {
	return key != "" && strings.Trim(key, "0123456789") == ""
}

// sorted is a node's entries in canonical order.
func sorted(n *node, r role) []*entry {
	keys, ok := order[r]
	if !ok || n.kind != mapping {
		return n.entries
	}
	rank := func(e *entry) int {
		if i := slices.Index(keys, e.key); i >= 0 {
			return i
		}
		return len(keys)
	}
	out := slices.Clone(n.entries)
	slices.SortStableFunc(out, func(a, b *entry) int { return rank(a) - rank(b) })
	return out
}
