package rules

import (
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser/operator"
)

// print is an expression's canonical text: one way to write each operator,
// double quotes, macros expanded, brackets where they are needed, numbers as
// they were written. above is the precedence of the operator around it.
func (c *compiler) print(n ast.Node, above int) string {
	switch n := n.(type) {
	case *ast.NilNode:
		return "nil"
	case *ast.BoolNode:
		return strconv.FormatBool(n.Value)
	case *ast.IntegerNode, *ast.FloatNode:
		return c.source(n)
	case *ast.StringNode:
		return quote(n.Value)
	case *ast.IdentifierNode:
		if m := c.macroBody(n); m != nil {
			back := c.enter(m)
			defer back()
			return c.print(m.tree, above)
		}
		return n.Value
	case *ast.ChainNode:
		return c.print(n.Node, above)
	case *ast.MemberNode:
		return c.print(n.Node, precedenceMember) + "." + name(n.Property)
	case *ast.CallNode:
		return c.print(n.Callee, precedenceMember) + c.printAll("(", n.Arguments, ")")
	case *ast.BuiltinNode:
		return n.Name + c.printAll("(", n.Arguments, ")")
	case *ast.ArrayNode:
		return c.printAll("[", n.Nodes, "]")
	case *ast.MapNode:
		return c.printAll("{", n.Pairs, "}")
	case *ast.PairNode:
		return name(n.Key) + ": " + c.print(n.Value, 0)
	case *ast.UnaryNode:
		op := n.Operator
		if inner := negatedOperator(n); inner != nil {
			p := operator.Binary[inner.Operator].Precedence
			return bracket(p < above, c.print(inner.Left, p)+" not "+inner.Operator+" "+c.print(inner.Right, p+1))
		}
		if op == "!" || op == "not" {
			op = "not "
		}
		return bracket(op == "not " && above >= precedenceEqual, op+c.print(n.Node, precedenceUnary))
	case *ast.ConditionalNode:
		return bracket(above > 0, c.print(n.Cond, 1)+" ? "+c.print(n.Exp1, 1)+" : "+c.print(n.Exp2, 1))
	case *ast.BinaryNode:
		return c.printBinary(n, above)
	}
	return "…"
}

const (
	precedenceEqual  = 20
	precedenceUnary  = 90
	precedenceMember = 1000
)

func (c *compiler) printBinary(n *ast.BinaryNode, above int) string {
	op, p := n.Operator, operator.Binary[n.Operator].Precedence
	switch op {
	case "&&":
		op = "and"
	case "||":
		op = "or"
	}
	if op == ".." {
		return c.print(n.Left, p) + ".." + c.print(n.Right, p)
	}
	// ?? does not mix with other operators without brackets
	needs := p < above || op == "??" && above > 0 && above != p
	return bracket(needs, c.print(n.Left, p)+" "+op+" "+c.print(n.Right, p+1))
}

func (c *compiler) printAll(open string, nodes []ast.Node, end string) string {
	texts := make([]string, len(nodes))
	for i, n := range nodes {
		texts[i] = c.print(n, 0)
	}
	return open + strings.Join(texts, ", ") + end
}

func bracket(needed bool, s string) string {
	if needed {
		return "(" + s + ")"
	}
	return s
}

// name is a property's or key's name.
func name(n ast.Node) string {
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value
	}
	return "…"
}

// quote writes a text in double quotes, as conditions read it back.
func quote(s string) string { return strconv.Quote(s) }
