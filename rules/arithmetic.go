package rules

import (
	"fmt"

	"github.com/expr-lang/expr/ast"
	"github.com/refundguard/refundguard/rules/event"
)

func (c *compiler) arithmetic(n *ast.BinaryNode) operand {
	x, y := c.expr(n.Left), c.expr(n.Right)
	if x.typ == typeBad || y.typ == typeBad {
		return bad(n)
	}
	typ, message, hint := arithmeticType(n.Operator, x.typ, y.typ)
	if typ == typeBad {
		return c.fail(n, message, hint)
	}
	if c.scope == inWhere && (n.Operator == "/" || n.Operator == "%") {
		return c.fail(n, "where(…) has no "+n.Operator, "multiply the other side instead: a > 2 * b")
	}
	if y.konst && y.value.float() == 0 && (n.Operator == "/" || n.Operator == "%") {
		return c.failAt(y, faultZero, "")
	}
	op := map[string]func(x, y Value) Value{"+": add, "-": subtract, "*": multiply, "/": divide, "%": modulo}[n.Operator]
	xn, yn := c.need(x, Value{}), c.need(y, Value{})
	xf, yf := x.fn, y.fn
	return c.fold(operand{node: n, typ: typ, maybe: c.nilIn(x, y), fn: func(f *frame, e *event.Event) Value {
		a := xf(f, e)
		if a.unusable() {
			return a.orNil(xn)
		}
		b := yf(f, e)
		if b.unusable() {
			return b.orNil(yn)
		}
		return op(a, b)
	}}, x, y)
}

// arithmeticType is the type of a result; typeBad with what is wrong.
func arithmeticType(op string, x, y vtype) (typ vtype, message, hint string) {
	if x == typeTime || y == typeTime {
		return timeArithmetic(op, x, y)
	}
	if !x.number() || !y.number() {
		hint := ""
		if x == typeText && y == typeText && op == "+" {
			hint = "texts can't be joined in conditions; messages can hold several {{ }}"
		}
		if x == typeNil || y == typeNil {
			hint = "test with == nil, or give a value instead: (x ?? 0)"
		}
		return typeBad, fmt.Sprintf("%s needs numbers, not %s and %s", op, x, y), hint
	}
	switch op {
	case "+", "-":
		if x == typeFloat || y == typeFloat {
			return typeFloat, "", ""
		}
		return max(x, y), "", ""
	case "*":
		if x == typeMoney && y == typeMoney {
			return typeBad, "money can't be multiplied by money", "one side must be a number"
		}
		if x == typeInt {
			return y, "", ""
		}
		if y == typeInt {
			return x, "", ""
		}
		return typeFloat, "", ""
	case "/":
		if y == typeMoney && x != typeMoney && x != typeFloat {
			return typeBad, "a number can't be divided by money", "money can be divided by money or by a number"
		}
		return typeFloat, "", ""
	}
	if x != typeInt || y != typeInt {
		return typeBad, "% needs whole numbers", ""
	}
	return typeInt, "", ""
}

// timeArithmetic: a time and a number of seconds, or the seconds between two
// times.
func timeArithmetic(op string, x, y vtype) (typ vtype, message, hint string) {
	seconds := func(t vtype) bool { return t == typeInt || t == typeDecimal || t == typeFloat }
	switch {
	case op == "-" && x == typeTime && y == typeTime:
		return typeDecimal, "", ""
	case op == "-" && x == typeTime && seconds(y), op == "+" && x == typeTime && seconds(y), op == "+" && seconds(x) && y == typeTime:
		return typeTime, "", ""
	}
	return typeBad, fmt.Sprintf("%s does not work with %s and %s", op, x, y), "the seconds between two times: occurred_at - original.occurred_at < hours(1)"
}
