package rules

import (
	"strings"

	"github.com/refundguard/refundguard/rules/event"
)

// maxRendered bounds a rendered message: fields can be 4 KiB each.
const maxRendered = 8 << 10

// template is a message: texts, and expressions between them.
type template struct {
	pieces []piece
}

// piece is a text and the expression after it, nil at the end.
type piece struct {
	text string
	expr fn
}

// append renders the message. Whatever can't be computed shows as nil.
func (t *template) append(dst []byte, f *frame, e *event.Event) []byte {
	start := len(dst)
	for i := range t.pieces {
		dst = append(dst, t.pieces[i].text...)
		if t.pieces[i].expr != nil {
			dst = t.pieces[i].expr(f, e).appendText(dst)
		}
		if len(dst)-start > maxRendered {
			return []byte(strings.ToValidUTF8(string(dst[:start+maxRendered]), ""))
		}
	}
	return dst
}

// template compiles a message. Its expressions are checked as conditions are,
// but nobody is warned of values that may be missing.
func (c *compiler) template(t *text) *template {
	c.text, c.scope = t, inMessage
	out := &template{}
	rest, at := t.value, 0 // at: runes before rest
	for {
		before, after, found := strings.Cut(rest, "{{")
		if !found {
			out.pieces = append(out.pieces, piece{text: rest})
			return out
		}
		start := at + len([]rune(before)) + 2
		n := endOfExpr(after)
		if n < 0 {
			*c.errs = append(*c.errs, t.report(c.rule, start-2, "{{ is not closed", "close it with }}"))
			return out
		}
		out.pieces = append(out.pieces, piece{text: before, expr: c.inner(t, start, after[:n])})
		rest = after[n+2:]
		at = start + len([]rune(after[:n])) + 2
	}
}

// inner compiles one {{ expression }}. Its faults are shown where it stands.
func (c *compiler) inner(t *text, start int, source string) fn {
	faults := len(*c.errs)
	part := &text{file: t.file, start: t.start, block: t.block, value: source, outer: t.value, from: start}
	o, ok := c.whole(part)
	if !ok {
		return nil
	}
	if o.typ == typeList || o.typ == typeRecord {
		c.failAt(o, "a message can't show "+o.typ.String(), "show one of its fields, such as original.amount")
	}
	if hasFault((*c.errs)[faults:]) {
		return nil
	}
	return o.fn
}

// endOfExpr finds the }} that ends an expression, outside of quotes.
func endOfExpr(s string) int {
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		switch ch := s[i]; {
		case quote != 0 && ch == '\\' && quote != '`':
			i++
		case quote != 0:
			if ch == quote {
				quote = 0
			}
		case ch == '"' || ch == '\'' || ch == '`':
			quote = ch
		case ch == '}' && strings.HasPrefix(s[i:], "}}"):
			return i
		}
	}
	return -1
}
