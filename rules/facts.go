package rules

import (
	"strings"

	"github.com/expr-lang/expr/ast"
)

// facts are what is known of paths at a place in a condition: "+x" says that x
// is not nil there, "-x" that it is.
type facts []string

func (f facts) has(fact string) bool {
	for _, k := range f {
		if k == fact {
			return true
		}
	}
	return false
}

// notNil says that the path can't be nil here. What original holds can't be
// read off a nil original.
func (f facts) notNil(path string) bool {
	if f.has("+" + path) {
		return true
	}
	if path == "transaction_id" && f.notNil("original") {
		return true // it is what original was found by
	}
	if path != "original" {
		return false
	}
	for _, k := range f {
		if strings.HasPrefix(k, "+original.") {
			return true
		}
	}
	return false
}

// isNil says that the path is certainly nil here.
func (f facts) isNil(path string) bool {
	return f.has("-"+path) || strings.HasPrefix(path, "original.") && f.has("-original")
}

// learn is what follows from a condition: when it is true, and when it is
// false. Macros are looked through.
func (c *compiler) learn(n ast.Node) (whenTrue, whenFalse facts) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		if m := c.macroBody(n); m != nil {
			back := c.enter(m)
			defer back()
			return c.learn(m.tree)
		}
		// a bare field is true or false here, so it isn't nil
		return facts{"+" + n.Value}, facts{"+" + n.Value}
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			t, f := c.learn(n.Node)
			return f, t
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "==", "!=":
			path := c.nilTest(n)
			if path == "" {
				return nil, nil
			}
			if n.Operator == "==" {
				return facts{"-" + path}, facts{"+" + path}
			}
			return facts{"+" + path}, facts{"-" + path}
		case "and", "&&":
			lt, lf := c.learn(n.Left)
			rt, rf := c.learn(n.Right)
			return join(lt, rt), meet(lf, rf)
		case "or", "||":
			lt, lf := c.learn(n.Left)
			rt, rf := c.learn(n.Right)
			return meet(lt, rt), join(lf, rf)
		}
	}
	return nil, nil
}

// nilTest is the path that a comparison with the literal nil tests; "" for any
// other comparison.
func (c *compiler) nilTest(n *ast.BinaryNode) string {
	if _, ok := n.Right.(*ast.NilNode); ok {
		return c.pathOf(n.Left)
	}
	if _, ok := n.Left.(*ast.NilNode); ok {
		return c.pathOf(n.Right)
	}
	return ""
}

// pathOf is the canonical text of what can be narrowed: a name, a member of
// original, a past-events expression; "" for anything else.
func (c *compiler) pathOf(n ast.Node) string {
	switch n := n.(type) {
	case *ast.ChainNode:
		return c.pathOf(n.Node)
	case *ast.IdentifierNode:
		if m := c.macroBody(n); m != nil {
			back := c.enter(m)
			defer back()
			return c.pathOf(m.tree)
		}
		return n.Value
	case *ast.MemberNode, *ast.CallNode:
		return c.print(n, 0)
	}
	return ""
}

func join(a, b facts) facts {
	return append(append(facts(nil), a...), b...)
}

func meet(a, b facts) facts {
	var both facts
	for _, k := range a {
		if b.has(k) {
			both = append(both, k)
		}
	}
	return both
}
