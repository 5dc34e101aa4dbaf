package rules

import (
	"fmt"

	"github.com/expr-lang/expr/ast"
	"github.com/refundguard/refundguard/rules/event"
)

// unusable says that an operator can't work with the value: it is nil, or
// broken.
func (v Value) unusable() bool { return v.Kind-1 >= KindFault-1 } // nil wraps round

// orNil is what an operator results in when an operand is unusable.
func (v Value) orNil(onNil Value) Value {
	if v.Kind == KindNil {
		return onNil
	}
	return v
}

func (c *compiler) unary(n *ast.UnaryNode) operand {
	if inner, ok := n.Node.(*ast.BinaryNode); ok && inner.Operator == "??" && !c.bracketed(n, inner) {
		return c.fail(n, n.Operator+" and ?? can't be mixed without brackets", coalesceHint(n))
	}
	c.negated = negatedOperator(n)
	x := c.expr(n.Node)
	switch n.Operator {
	case "not", "!":
		return c.not(n, x)
	case "+":
		return c.fail(n, "a + before a value does nothing", "remove it")
	}
	if x.typ == typeBad {
		return x
	}
	if !x.typ.number() {
		return c.fail(n, "- needs a number, not "+x.typ.String(), "")
	}
	xn := c.need(x, Value{})
	xf := x.fn
	return c.fold(operand{node: n, typ: x.typ, maybe: c.nilIn(x), fn: func(f *frame, e *event.Event) Value {
		v := xf(f, e)
		if v.unusable() {
			return v.orNil(xn)
		}
		return negate(v)
	}}, x)
}

// negatedOperator is the in, contains, … of x not in y; nil for not (x in y).
// The parser gives both places to the operator.
func negatedOperator(n *ast.UnaryNode) *ast.BinaryNode {
	inner, ok := n.Node.(*ast.BinaryNode)
	if !ok || inner.Location() != n.Location() {
		return nil
	}
	return inner
}

// nilMatch is what in, contains, … give for a nil in where(…): false, and so it
// is for not in, not contains, ….
func (c *compiler) nilMatch(n *ast.BinaryNode) Value {
	if c.negated == n {
		return Value{}
	}
	return boolValue(false)
}

func (c *compiler) not(n ast.Node, x operand) operand {
	if !c.truth(x, "not") {
		return bad(n)
	}
	xn := c.need(x, Value{})
	xf := x.fn
	return c.fold(operand{node: n, typ: typeBool, maybe: c.nilIn(x), fn: func(f *frame, e *event.Event) Value {
		v := xf(f, e)
		if v.unusable() {
			return v.orNil(xn)
		}
		return boolValue(v.Num == 0)
	}}, x)
}

// truth checks that an operand of and, or, not or ?: is true or false.
func (c *compiler) truth(x operand, op string) bool {
	if x.typ == typeBad {
		return false
	}
	if x.typ == typeBool {
		return true
	}
	c.failAt(x, op+" needs true or false, not "+x.typ.String(), truthHint(x))
	return false
}

func truthHint(x operand) string {
	if x.typ == typeRecord {
		return "write original != nil"
	}
	return "compare it with something, such as … > 5"
}

// nilIn says whether an operator gives nil for a nil operand: in where(…) it
// does, elsewhere the rule is missing a value then.
func (c *compiler) nilIn(operands ...operand) bool {
	if c.scope != inWhere {
		return false
	}
	for _, o := range operands {
		if o.maybe {
			return true
		}
	}
	return false
}

// fold computes at load what can't change. A constant that fails is a fault of
// the rule.
func (c *compiler) fold(o operand, parts ...operand) operand {
	o.text = c.text
	for _, p := range parts {
		if !p.konst || p.typ == typeBad {
			return o
		}
	}
	v := o.fn(nil, nil)
	if v.Kind == KindFault {
		return c.failAt(o, v.Str, "")
	}
	k := constant(o.node, o.typ, v)
	k.at = o.at
	return k
}

func (c *compiler) binary(n *ast.BinaryNode) operand {
	if fault, hint := c.trap(n); fault != "" {
		return c.fail(n, fault, hint)
	}
	switch n.Operator {
	case "and", "&&", "or", "||":
		return c.logic(n)
	case "??":
		return c.coalesce(n)
	case "==", "!=", "<", "<=", ">", ">=":
		return c.comparison(n)
	case "in":
		return c.in(n)
	case "contains", "startsWith", "endsWith", "matches":
		return c.textual(n)
	case "+", "-", "*", "/", "%":
		return c.arithmetic(n)
	case "..":
		return c.fail(n, "a range can only stand after in", "write x in 1..5")
	case "**", "^":
		return c.fail(n, "conditions have no powers", "write x * x")
	}
	return c.fail(n, "conditions have no operator "+n.Operator, "")
}

func coalesceHint(n *ast.UnaryNode) string {
	op := n.Operator
	if op == "not" {
		op += " "
	}
	return fmt.Sprintf("write %s(x ?? y) or (%sx) ?? y", op, op)
}

// trap finds what reads in another way than it is parsed.
func (c *compiler) trap(n *ast.BinaryNode) (message, hint string) {
	for _, side := range []ast.Node{n.Left, n.Right} {
		if inner, ok := side.(*ast.BinaryNode); ok && n.Operator != "??" && inner.Operator == "??" && !c.bracketed(n, inner) {
			return "?? and " + n.Operator + " can't be mixed without brackets", "?? binds first: write (x ?? y) " + n.Operator + " z"
		}
	}
	inner, ok := n.Left.(*ast.UnaryNode)
	if !ok || c.bracketed(n, inner) {
		return "", ""
	}
	if n.Operator == "??" {
		return inner.Operator + " and ?? can't be mixed without brackets", coalesceHint(inner)
	}
	if inner.Operator != "not" && inner.Operator != "!" {
		return "", ""
	}
	switch n.Operator {
	case "and", "&&", "or", "||":
		return "", ""
	case "in", "contains", "startsWith", "endsWith", "matches":
		return inner.Operator + " binds before " + n.Operator, "write x not " + n.Operator + " …, or not (x " + n.Operator + " …)"
	}
	return inner.Operator + " binds before " + n.Operator, "write not (x " + n.Operator + " y)"
}

// logic is and and or. What the left side learns holds on the right.
func (c *compiler) logic(n *ast.BinaryNode) operand {
	stop, word := int64(0), "and" // the value of the left side that ends it
	if n.Operator == "or" || n.Operator == "||" {
		stop, word = 1, "or"
	}
	x := c.expr(n.Left)
	okX := c.truth(x, word)
	xn := c.need(x, boolValue(false))
	mark := len(c.known)
	whenTrue, whenFalse := c.learn(n.Left)
	if word == "and" {
		c.known = append(c.known, whenTrue...)
	} else {
		c.known = append(c.known, whenFalse...)
	}
	y := c.expr(n.Right)
	okY := c.truth(y, word)
	yn := c.need(y, boolValue(false))
	c.known = c.known[:mark]
	if !okX || !okY {
		return bad(n)
	}
	xf, yf := x.fn, y.fn
	fn := func(f *frame, e *event.Event) Value {
		v := xf(f, e)
		if v.unusable() {
			v = v.orNil(xn)
			if v.unusable() {
				return v
			}
		}
		if v.Num == stop {
			return v
		}
		v = yf(f, e)
		if v.unusable() {
			return v.orNil(yn)
		}
		return v
	}
	if x.konst && x.value.Num == stop {
		return constant(n, typeBool, x.value)
	}
	if x.konst != y.konst {
		c.constantPart(x, word, stop)
		c.constantPart(y, word, stop)
	}
	return c.fold(operand{node: n, typ: typeBool, fn: fn}, x, y)
}

// constantPart warns of one side of and or or that never changes.
func (c *compiler) constantPart(o operand, word string, stop int64) {
	if !o.konst || c.scope == inMessage {
		return
	}
	message := fmt.Sprintf("this part is always %v", o.value.isTrue())
	if o.value.Num == stop {
		c.warning(o, message+", and with it all that "+word+" joins here", "")
	} else {
		c.warning(o, message+": it changes nothing", "remove it")
	}
}

// coalesce is x ?? y.
func (c *compiler) coalesce(n *ast.BinaryNode) operand {
	x := c.expr(n.Left)
	mark := len(c.known)
	y := c.expr(n.Right)
	c.known = c.known[:mark]
	if x.typ == typeBad || y.typ == typeBad {
		return bad(n)
	}
	typ, ok := unify(x.typ, y.typ)
	if !ok || typ == typeList || typ == typeRecord {
		return c.fail(n, fmt.Sprintf("?? gives %s or %s", x.typ, y.typ), "both sides must be of one type")
	}
	if x.typ == typeNil {
		return y
	}
	xf, yf := x.fn, y.fn
	field := x.field
	if y.field != field && !y.konst {
		field = nil
	}
	return c.fold(operand{node: n, typ: typ, maybe: y.maybe || y.typ == typeNil, field: field, fn: func(f *frame, e *event.Event) Value {
		v := xf(f, e)
		if v.Kind == KindNil {
			return yf(f, e)
		}
		return v
	}}, x, y)
}

// unify is the type of a value that is of one of two types.
func unify(a, b vtype) (vtype, bool) {
	switch {
	case a == b || b == typeNil:
		return a, true
	case a == typeNil:
		return b, true
	case a.number() && b.number():
		return max(a, b), true
	}
	return typeBad, false
}

// conditional is c ? x : y.
func (c *compiler) conditional(n *ast.ConditionalNode) operand {
	if !n.Ternary {
		return c.fail(n.Cond, "conditions have no if", "write condition ? a : b")
	}
	cond := c.expr(n.Cond)
	ok := c.truth(cond, "?:")
	cn := c.need(cond, boolValue(false))
	whenTrue, whenFalse := c.learn(n.Cond)
	mark := len(c.known)
	c.known = append(c.known, whenTrue...)
	x := c.expr(n.Exp1)
	c.known = append(c.known[:mark], whenFalse...)
	y := c.expr(n.Exp2)
	c.known = c.known[:mark]
	if !ok || x.typ == typeBad || y.typ == typeBad {
		return bad(n.Cond)
	}
	typ, ok := unify(x.typ, y.typ)
	if !ok || typ == typeList || typ == typeRecord {
		return c.fail(n.Cond, fmt.Sprintf("?: gives %s or %s", x.typ, y.typ), "both must be of one type")
	}
	cf, xf, yf := cond.fn, x.fn, y.fn
	// What is learned of a value in one branch is not known after it, so there is
	// nothing certain to say of a branch that is nil.
	branches := []operand{x, y}
	for i := range branches {
		if branches[i].typ == typeNil {
			branches[i].maybe = true
		}
	}
	return c.fold(operand{node: n, at: n.Cond, branches: branches, typ: typ, maybe: x.maybe || y.maybe || x.typ == typeNil || y.typ == typeNil, fn: func(f *frame, e *event.Event) Value {
		v := cf(f, e)
		if v.unusable() {
			v = v.orNil(cn)
			if v.unusable() {
				return v
			}
		}
		if v.Num != 0 {
			return xf(f, e)
		}
		return yf(f, e)
	}}, cond, x, y)
}
