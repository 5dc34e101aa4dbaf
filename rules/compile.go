package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	exprfile "github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/parser/lexer"
	"github.com/refundguard/refundguard/rules/event"
)

// maxNodes bounds a condition, macros expanded, and with it the time that its
// evaluation can take.
const maxNodes = 500

var faultNodes = fmt.Sprintf("the condition has more parts than the limit of %d, macros expanded", maxNodes)

const hintNodes = "split the rule, or put values in a list"

// IsLarge says that a parsed expression has more parts than a condition can. Ask
// before walking or printing what others wrote: the parser makes a < b < c of
// a < b and b < c, with one and the same b, so that a short text can stand for a
// tree that nobody lives to see the end of.
func IsLarge(n ast.Node) (large bool) {
	type enough struct{}
	defer func() {
		switch p := recover().(type) {
		case nil:
		case enough:
			large = true
		default:
			panic(p)
		}
	}()
	count := 0
	ast.Walk(&n, visitor(func(ast.Node) {
		if count++; count > maxNodes {
			panic(enough{}) // a walk has no other way out
		}
	}))
	return false
}

// scope says where an expression stands.
type scope uint8

const (
	inCondition scope = iota // a nil that is needed makes the rule miss a value
	inMessage                // likewise, but nobody is warned: it shows as nil
	inKey                    // of a lookup: nil makes the key nil
	inWhere                  // over a past event: comparisons with nil are false
)

// compiler checks one expression and compiles it to closures. Macros and
// where(…) are compiled in place, each in its own scope and text.
type compiler struct {
	d        *draft
	b        *builder
	rule     string
	on       string // the stream of the present event
	text     *text
	root     ast.Node // of the condition
	scope    scope
	stream   *event.Stream // whose fields names stand for
	original *event.Stream // nil where there is no original
	known    facts
	negated  *ast.BinaryNode // see negatedOperator
	silent   bool            // the rule says what a missing value means
	holds    bool            // the rule holds the refund when it fails
	steps    *int            // of the condition's patterns so far
	work     *work           // of the whole rule
	strict   bool
	errs     *Errors
	lists    []*list                          // those that were read
	missed   func(what string, keys []string) // is told of what may be nil where it is needed; nil: nobody is
	runes    map[*text][]rune
	groups   map[*text]map[int]int
}

// parseText parses a condition. Faults come back at their place in the text.
func parseText(t *text, rule string) (tree ast.Node, fault *Error) {
	defer func() {
		if p := recover(); p != nil { // the parser is a library's
			tree, fault = nil, t.report(rule, 0, "the condition can't be parsed", "write it in a simpler way")
		}
	}()
	if strings.TrimSpace(t.value) == "" {
		return nil, t.report(rule, 0, "the condition is empty", "write what makes the rule hit, such as amount > 500")
	}
	parsed, err := parser.Parse(t.value)
	if err == nil && IsLarge(parsed.Node) {
		return nil, t.report(rule, parsed.Node.Location().From, faultNodes, hintNodes)
	}
	if err == nil {
		return parsed.Node, nil
	}
	var e *exprfile.Error
	if !errors.As(err, &e) {
		return nil, t.report(rule, 0, err.Error(), "")
	}
	message, hint := explainSyntax(e.Message)
	return nil, t.report(rule, faultPlace(t.value, e), message, hint)
}

// faultPlace is where a syntax error is: behind the text where it ended too
// early, and at a number that is too large, behind which the parser stands.
func faultPlace(value string, e *exprfile.Error) int {
	if strings.HasPrefix(e.Message, "unexpected token EOF") {
		return utf8.RuneCountInString(strings.TrimRight(value, " \t\r\n")) // a block's last line break is none of its text
	}
	place := e.From
	if strings.Contains(e.Message, "literal") {
		tokens, err := lexer.Lex(exprfile.NewSource(value))
		if err != nil {
			return place
		}
		for _, t := range tokens {
			if t.Kind == lexer.Number && t.From < e.From {
				place = t.From
			}
		}
	}
	return place
}

var tokenText = regexp.MustCompile(`unexpected token (\w+)(?:\((".*")\))?`)

// explainSyntax turns the parser's messages into an analyst's words.
func explainSyntax(message string) (text, hint string) {
	if m := tokenText.FindStringSubmatch(message); m != nil {
		if m[1] == "EOF" {
			return "the condition ends too early", "a value or a closing bracket is missing"
		}
		hints := map[string]string{
			`"="`: "compare with ==", `"AND"`: "write and", `"OR"`: "write or", `"NOT"`: "write not", `"&"`: "write and",
			`"IN"`: "write in", `"is"`: "write == nil or != nil", `"IS"`: "write == nil or != nil", `"|"`: "write or", `">"`: "not equal is !=", `"#"`: "comments in a condition start with //",
		}
		return "unexpected " + m[2], hints[m[2]]
	}
	if strings.Contains(message, "cannot be mixed") {
		return "?? can't be mixed with other operators", "put brackets around it: (x ?? 0) > 5"
	}
	if strings.Contains(message, "value out of range") || strings.Contains(message, "invalid integer literal") || strings.Contains(message, "too large") {
		return "the number is too large", "numbers go up to 9223372036854775807"
	}
	return message, ""
}

// fail reports a fault at a node, and stands for it.
func (c *compiler) fail(n ast.Node, message, hint string) operand {
	*c.errs = append(*c.errs, c.text.report(c.rule, n.Location().From, message, hint))
	return bad(n)
}

// failAt is fail at an operand, which may stand in another text.
func (c *compiler) failAt(o operand, message, hint string) operand {
	*c.errs = append(*c.errs, o.report(c.rule, message, hint))
	b := bad(o.node)
	b.text, b.site, b.at = o.text, o.site, o.at
	return b
}

func (c *compiler) warning(o operand, message, hint string) *Error {
	e := o.report(c.rule, message, hint)
	e.Warning = true
	*c.errs = append(*c.errs, e)
	return e
}

// enter goes on in a macro's text; the result goes back.
func (c *compiler) enter(m *macro) func() {
	before := c.text
	c.text = &m.body
	return func() { c.text = before }
}

// macroBody is the macro that a name stands for; nil for other names.
func (c *compiler) macroBody(n *ast.IdentifierNode) *macro {
	if m := c.d.macros[n.Value]; m != nil && m.tree != nil {
		return m
	}
	return nil
}

// source is the text that a node was read from, as far as its location goes.
func (c *compiler) source(n ast.Node) string {
	runes, ok := c.runes[c.text]
	if !ok {
		runes = []rune(c.text.value)
		c.runes[c.text] = runes
	}
	loc := n.Location()
	return string(runes[min(loc.From, len(runes)):min(loc.To, len(runes))])
}

// subject is what the present event is called in messages.
func (c *compiler) subject() string { return strings.TrimSuffix(c.on, "s") }

// bracketed says whether two operators stand in different brackets.
func (c *compiler) bracketed(a, b ast.Node) bool {
	groups, ok := c.groups[c.text]
	if !ok {
		groups = bracketGroups(c.text.value)
		c.groups[c.text] = groups
	}
	return groups[a.Location().From] != groups[b.Location().From]
}

// bracketGroups gives each token, by its place, the number of the innermost
// bracket around it.
func bracketGroups(value string) map[int]int {
	tokens, err := lexer.Lex(exprfile.NewSource(value))
	groups := map[int]int{}
	if err != nil {
		return groups // the parser has reported it
	}
	stack, next := []int{0}, 0
	for _, t := range tokens {
		if t.Kind == lexer.Bracket && strings.Contains(")]}", t.Value) && len(stack) > 1 {
			stack = stack[:len(stack)-1]
		}
		groups[t.From] = stack[len(stack)-1]
		if t.Kind == lexer.Bracket && strings.Contains("([{", t.Value) {
			next++
			stack = append(stack, next)
		}
	}
	return groups
}

// expr checks and compiles a node. It never fails: what is wrong is reported
// and stands as an operand that goes with everything.
func (c *compiler) expr(n ast.Node) operand {
	o := c.dispatch(n)
	if o.text == nil {
		o.text = c.text
	}
	return o
}

func (c *compiler) dispatch(n ast.Node) operand {
	switch n := n.(type) {
	case *ast.NilNode:
		return constant(n, typeNil, Value{})
	case *ast.BoolNode:
		return constant(n, typeBool, boolValue(n.Value))
	case *ast.IntegerNode, *ast.FloatNode:
		return c.number(n)
	case *ast.StringNode:
		return constant(n, typeText, Value{Kind: KindString, Str: n.Value})
	case *ast.IdentifierNode:
		return c.identifier(n)
	case *ast.ChainNode:
		return c.expr(n.Node)
	case *ast.MemberNode:
		return c.member(n)
	case *ast.UnaryNode:
		return c.unary(n)
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.ConditionalNode:
		return c.conditional(n)
	case *ast.CallNode:
		return c.call(n)
	case *ast.BuiltinNode:
		return c.function(n, n.Name, n.Arguments)
	case *ast.ArrayNode:
		return c.fail(n, "a list can only stand after in", "write x in [1, 2]")
	}
	what, hint := refused(n)
	return c.fail(n, what, hint)
}

// refused says why a kind of node is not part of the language, and what to
// write instead.
func refused(n ast.Node) (message, hint string) {
	switch n.(type) {
	case *ast.PredicateNode, *ast.PointerNode:
		return "conditions have no closures", `to count events write refunds.by(customer_id).within("7d").count()`
	case *ast.VariableDeclaratorNode:
		return "conditions have no let", "name the part under macros:"
	case *ast.SequenceNode:
		return "a condition is one expression", "join the parts by and"
	case *ast.MapNode, *ast.PairNode:
		return "a map can only stand in by({…})", "by({their_field: your_field})"
	case *ast.SliceNode:
		return "conditions have no slices", "use startsWith, endsWith, contains or matches"
	case *ast.BytesNode:
		return "conditions have no byte strings", `write "…"`
	}
	return fmt.Sprintf("conditions have no %T", n), ""
}

// size counts nodes with macros expanded, up to just above maxNodes.
func (c *compiler) size(n ast.Node) int {
	v := sizer{c: c}
	ast.Walk(&n, &v)
	return v.n
}

type sizer struct {
	c *compiler
	n int
}

func (v *sizer) Visit(n *ast.Node) {
	v.n++
	if id, ok := (*n).(*ast.IdentifierNode); ok {
		if m := v.c.macroBody(id); m != nil {
			v.n += m.size
		}
	}
	v.n = min(v.n, maxNodes+1)
}

// condition compiles a whole condition to a rule's fn.
func (c *compiler) condition(t *text) fn {
	o, ok := c.whole(t)
	if !ok {
		return nil
	}
	switch {
	case o.typ == typeBad:
		return nil
	case o.typ == typeNil:
		c.failAt(o, "the condition is always nil", "")
		return nil
	case o.typ != typeBool:
		c.failAt(o, "the condition is "+o.typ.String()+", not true or false", truthHint(o))
		return nil
	case o.konst:
		c.warning(o, fmt.Sprintf("the condition is always %v", o.value.isTrue()), "")
	default:
		c.contradiction(c.root)
	}
	c.need(o, Value{})
	return o.fn
}

// whole parses and compiles a text.
func (c *compiler) whole(t *text) (operand, bool) {
	c.text = t
	tree, fault := parseText(t, c.rule)
	if fault != nil {
		*c.errs = append(*c.errs, fault)
		return operand{}, false
	}
	if c.size(tree) > maxNodes {
		c.fail(tree, faultNodes, hintNodes)
		return operand{}, false
	}
	c.root = tree
	return c.expr(tree), true
}
