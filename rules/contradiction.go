package rules

import (
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// contradiction warns of a condition whose parts can't all be true: amount > 500
// and amount < 100. It compares what and joins with literals; conditions are
// pure, so two places with the same canonical text have one value.
func (c *compiler) contradiction(tree ast.Node) {
	bounds := map[string]*bound{}
	c.conjuncts(tree, func(n *ast.BinaryNode) bool {
		path := c.pathOf(n.Left)
		if path == "" {
			return true
		}
		b := bounds[path]
		if b == nil {
			b = &bound{}
			bounds[path] = b
			if strings.HasSuffix(path, ".count()") {
				b.low = &limit{IntValue(0), false, "a count is never below 0"}
			}
		}
		text := c.print(n, 0)
		other := b.add(c, n, text)
		if other == "" {
			return true
		}
		o := operand{node: n, text: c.text}
		hint := "it can't be together with " + other
		if strings.HasPrefix(other, "a count") {
			hint = other
		}
		c.warning(o, "the condition is never true: "+text, hint)
		return false // one is enough
	})
}

// conjuncts calls see with each comparison that and joins, macros looked
// through, until it says no.
func (c *compiler) conjuncts(n ast.Node, see func(*ast.BinaryNode) bool) bool {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		if m := c.macroBody(n); m != nil {
			back := c.enter(m)
			defer back()
			return c.conjuncts(m.tree, see)
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "&&":
			return c.conjuncts(n.Left, see) && c.conjuncts(n.Right, see)
		case "==", "<", "<=", ">", ">=", "in":
			return see(n)
		}
	}
	return true
}

// bound is what is known of one value so far.
type bound struct {
	low, high *limit
	texts     []string // one of them; nil: any
	from      string   // the part that says so
}

// limit is one end of a value's range.
type limit struct {
	value  Value
	strict bool
	from   string
}

// add takes one more comparison, and gives the one that it contradicts; "" for
// none.
func (b *bound) add(c *compiler, n *ast.BinaryNode, text string) string {
	if texts := literalTexts(n); texts != nil {
		return b.addTexts(texts, text)
	}
	v, ok := c.literal(n.Right)
	if !ok || n.Operator == "in" {
		return ""
	}
	strict := n.Operator == "<" || n.Operator == ">"
	if n.Operator != "<" && n.Operator != "<=" {
		if b.low == nil || beyond(b.low, v, strict, -1) {
			b.low = &limit{v, strict, text}
		}
	}
	if n.Operator != ">" && n.Operator != ">=" {
		if b.high == nil || beyond(b.high, v, strict, 1) {
			b.high = &limit{v, strict, text}
		}
	}
	if b.low == nil || b.high == nil {
		return ""
	}
	order, _ := compareNumbers(b.low.value, b.high.value)
	if order < 0 || order == 0 && !b.low.strict && !b.high.strict {
		return ""
	}
	if b.low.from == text {
		return b.high.from
	}
	return b.low.from
}

// beyond says that a new limit is the narrower one. side is -1 for lower ends.
func beyond(old *limit, v Value, strict bool, side int) bool {
	order, _ := compareNumbers(old.value, v)
	return order == side || order == 0 && strict
}

func (b *bound) addTexts(texts []string, text string) string {
	if b.texts == nil {
		b.texts, b.from = texts, text
		return ""
	}
	var both []string
	for _, t := range texts {
		if slices.Contains(b.texts, t) {
			both = append(both, t)
		}
	}
	if both == nil {
		return b.from
	}
	b.texts = both
	return ""
}

// literalTexts are those that == or in allow; nil where they aren't literals.
func literalTexts(n *ast.BinaryNode) []string {
	if s, ok := n.Right.(*ast.StringNode); ok && n.Operator == "==" {
		return []string{s.Value}
	}
	array, ok := n.Right.(*ast.ArrayNode)
	if !ok || n.Operator != "in" {
		return nil
	}
	var texts []string
	for _, item := range array.Nodes {
		s, ok := item.(*ast.StringNode)
		if !ok {
			return nil
		}
		texts = append(texts, s.Value)
	}
	return texts
}

// literal is a number that is written out, a minus before it included.
func (c *compiler) literal(n ast.Node) (Value, bool) {
	switch n := n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		return c.number(n).value, true
	case *ast.UnaryNode:
		if v, ok := c.literal(n.Node); ok && n.Operator == "-" {
			return negate(v), true
		}
	}
	return Value{}, false
}
