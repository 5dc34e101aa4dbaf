package rulefmt

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/parser/lexer"

	"github.com/refundguard/refundguard/rules"
)

// condition gives a condition its canonical form: and, or, not in words, double
// quotes, one space around operators. Line breaks and comments stay; lines are
// indented by their brackets. A single line that is longer than width is broken
// before its outermost and or or. What can't be parsed stays as it is.
func condition(source string, width int) string {
	source = strings.TrimSpace(source)
	before, ok := meaning(source)
	if !ok {
		return source
	}
	p := conditionPrinter{runes: []rune(source)}
	if !p.print("") {
		return source
	}
	out := p.out.String()
	if !strings.Contains(out, "\n") && utf8.RuneCountInString(out) > width && !p.comments {
		if word := p.outermost(); word != "" {
			p = conditionPrinter{runes: []rune(source)}
			p.print(word)
			out = p.out.String()
		}
	}
	// A condition says who gets money: nothing is taken on trust.
	if after, ok := meaning(out); !ok || after != before {
		return source
	}
	return out
}

// meaning is a text that two conditions share if and only if they are the same
// but for spelling.
func meaning(condition string) (text string, ok bool) {
	defer func() {
		if recover() != nil { // the parser is a library's
			ok = false
		}
	}()
	tree, err := parser.Parse(condition)
	if err != nil || rules.IsLarge(tree.Node) {
		return "", false
	}
	ast.Walk(&tree.Node, oneSpelling{})
	return tree.Node.String(), true
}

type oneSpelling struct{}

func (oneSpelling) Visit(n *ast.Node) {
	words := map[string]string{"&&": "and", "||": "or", "!": "not"}
	switch n := (*n).(type) {
	case *ast.UnaryNode:
		if w, ok := words[n.Operator]; ok {
			n.Operator = w
		}
	case *ast.BinaryNode:
		if w, ok := words[n.Operator]; ok {
			n.Operator = w
		}
	}
}

// conditionPrinter writes tokens one after the other.
type conditionPrinter struct {
	runes    []rune
	out      strings.Builder
	open     []rune // brackets; '?' for a ternary's question mark
	comments bool
	mapColon bool     // the colon at hand stands between a key and a value
	tops     []string // and, or and ? outside of all brackets
}

// print writes everything. Before each wrap, a word such as "and", that stands
// outside of brackets it starts a line.
func (p *conditionPrinter) print(wrap string) bool {
	tokens, err := lexer.Lex(file.NewSource(string(p.runes)))
	if err != nil {
		return false
	}
	previous, at := lexer.Token{Kind: lexer.EOF}, 0
	for _, t := range tokens {
		last := t.Kind == lexer.EOF
		from := t.From
		if last {
			from = len(p.runes)
		}
		text := p.spell(t)
		breaks := p.gap(string(p.runes[at:from]), previous.Kind == lexer.EOF, last)
		if last {
			break
		}
		if len(p.open) == 0 && t.Kind == lexer.Operator && (text == "and" || text == "or" || text == "?") {
			p.tops = append(p.tops, text)
			breaks = breaks || text == wrap
		}
		unary := p.isUnary(previous)
		p.close(text, t)
		switch {
		case breaks:
			p.out.WriteByte('\n')
			if previous.Kind != lexer.EOF {
				p.out.WriteString(p.indent(text))
			}
		case p.spaced(previous, t, text):
			p.out.WriteByte(' ')
		}
		p.out.WriteString(text)
		p.push(text, t)
		previous, at = t, t.To
		previous.Value = text
		if unary && (text == "-" || text == "+") {
			previous.Value = "unary"
		}
	}
	return true
}

// outermost is the word before which a long condition is broken; "" for none.
func (p *conditionPrinter) outermost() string {
	word := ""
	for _, w := range p.tops {
		if w == "?" {
			return ""
		}
		if word != "or" {
			word = w
		}
	}
	return word
}

// gap writes the comments between two tokens, and says whether a line ended
// there.
func (p *conditionPrinter) gap(text string, first, last bool) (breaks bool) {
	fresh := first // nothing stands on the line yet
	for text != "" {
		switch {
		case strings.HasPrefix(text, "//"):
			comment, rest, _ := strings.Cut(text, "\n")
			p.comment(strings.TrimRight(comment, " \t\r"), breaks, fresh)
			text, breaks, fresh = rest, true, false
		case strings.HasPrefix(text, "/*"):
			comment, rest, _ := strings.Cut(text, "*/")
			p.comment(comment+"*/", breaks, fresh)
			text, breaks, fresh = rest, false, false
		default:
			if text[0] == '\n' && !fresh {
				breaks = true
			}
			text = text[1:]
		}
	}
	return breaks && !last
}

func (p *conditionPrinter) comment(text string, ownLine, fresh bool) {
	p.comments = true
	switch {
	case fresh:
	case ownLine:
		p.out.WriteByte('\n')
		p.out.WriteString(p.indent("and"))
	default:
		p.out.WriteByte(' ')
	}
	p.out.WriteString(text)
}

// indent is what stands before a line that starts with this token.
func (p *conditionPrinter) indent(text string) string {
	depth := 0
	for _, b := range p.open {
		if b != '?' {
			depth++
		}
	}
	switch text {
	case "and", "or", ")", "]", "}":
	default:
		if depth == 0 {
			depth++ // a line that goes on
		}
	}
	return strings.Repeat("  ", depth)
}

func (p *conditionPrinter) push(text string, t lexer.Token) {
	switch {
	case t.Kind == lexer.Bracket && strings.Contains("([{", text):
		p.open = append(p.open, rune(text[0]))
	case t.Kind == lexer.Operator && text == "?":
		p.open = append(p.open, '?')
	}
}

// close takes back what a closing bracket or a ternary's colon ends, before it
// is written.
func (p *conditionPrinter) close(text string, t lexer.Token) {
	switch {
	case t.Kind == lexer.Bracket && strings.Contains(")]}", text):
		for len(p.open) > 0 {
			top := p.open[len(p.open)-1]
			p.open = p.open[:len(p.open)-1]
			if top != '?' {
				return
			}
		}
	case t.Kind == lexer.Operator && text == ":" && len(p.open) > 0:
		top := p.open[len(p.open)-1]
		p.mapColon = top == '{'
		if top == '?' {
			p.open = p.open[:len(p.open)-1]
		}
	}
}

func (p *conditionPrinter) isUnary(previous lexer.Token) bool {
	switch previous.Kind {
	case lexer.EOF, lexer.Operator:
		return true
	case lexer.Bracket:
		return strings.Contains("([{", previous.Value)
	}
	return false
}

// spaced says whether a space stands between two tokens.
func (p *conditionPrinter) spaced(previous, t lexer.Token, text string) bool {
	switch {
	case previous.Kind == lexer.EOF:
		return p.out.Len() > 0 // after a comment
	case t.Kind == lexer.Operator && (text == "." || text == "?." || text == "," || text == ".."):
		return false
	case previous.Kind == lexer.Operator && (previous.Value == "." || previous.Value == "?." || previous.Value == ".." || previous.Value == "unary"):
		return false
	case t.Kind == lexer.Operator && text == ":":
		return !p.mapColon
	case t.Kind == lexer.Bracket && strings.Contains(")]}", text):
		return false
	case previous.Kind == lexer.Bracket && strings.Contains("([{", previous.Value):
		return false
	case t.Kind == lexer.Bracket && (text == "(" || text == "["):
		return previous.Kind == lexer.Operator
	}
	return true
}

// spell is a token's canonical text.
func (p *conditionPrinter) spell(t lexer.Token) string {
	source := string(p.runes[min(t.From, len(p.runes)):min(t.To, len(p.runes))])
	switch t.Kind {
	case lexer.Operator:
		switch source {
		case "&&":
			return "and"
		case "||":
			return "or"
		case "!":
			return "not"
		}
	case lexer.String:
		if strings.HasPrefix(source, "'") && !strings.Contains(t.Value, `"`) {
			return strconv.Quote(t.Value)
		}
	}
	return source
}
