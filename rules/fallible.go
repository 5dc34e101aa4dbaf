package rules

import "github.com/expr-lang/expr/ast"

// mayFail reports whether a condition over a past event can fail at all:
// comparisons and logic can't.
func (c *compiler) mayFail(n ast.Node) bool {
	v := fallible{c: c}
	ast.Walk(&n, &v)
	return v.found
}

type fallible struct {
	c     *compiler
	found bool
}

func (v *fallible) Visit(n *ast.Node) {
	switch n := (*n).(type) {
	case *ast.BinaryNode:
		switch n.Operator {
		case "==", "!=", "<", "<=", ">", ">=", "and", "&&", "or", "||", "in", "??", "contains", "startsWith", "endsWith", "..":
		default:
			v.found = true
		}
	case *ast.UnaryNode:
		v.found = v.found || n.Operator != "not" && n.Operator != "!"
	case *ast.CallNode, *ast.BuiltinNode:
		v.found = true
	case *ast.IdentifierNode:
		if m := v.c.macroBody(n); m != nil {
			v.found = v.found || v.c.mayFail(m.tree)
		}
	}
}
