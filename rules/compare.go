package rules

import (
	"fmt"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/refundguard/refundguard/rules/event"
)

// outcomes of a comparison as a set of bits: less, equal, greater.
var comparisons = map[string]uint{"==": 2, "!=": 5, "<": 1, "<=": 3, ">": 4, ">=": 6}

func (c *compiler) comparison(n *ast.BinaryNode) operand {
	x, y := c.expr(n.Left), c.expr(n.Right)
	if x.typ == typeBad || y.typ == typeBad {
		return bad(n)
	}
	equality := n.Operator == "==" || n.Operator == "!="
	if x.typ == typeNil || y.typ == typeNil {
		if !equality {
			return c.fail(n, "nil can't be compared with "+n.Operator, "nil is tested with == nil and != nil")
		}
		return c.nilComparison(n, x, y)
	}
	c.timeLiteral(&x, y)
	c.timeLiteral(&y, x)
	if x.typ == typeBad || y.typ == typeBad {
		return bad(n)
	}
	if !canCompare(x.typ, y.typ) {
		return c.fail(n, fmt.Sprintf("%s can't be compared with %s", x.typ, y.typ), mismatchHint(x, y))
	}
	if !equality && (x.typ == typeText || x.typ == typeBool) {
		return c.fail(n, x.typ.String()+" can't be compared with "+n.Operator, "only == and != work here")
	}
	c.checkValue(x, y)
	c.checkValue(y, x)
	xn, yn := c.need(x, boolValue(false)), c.need(y, boolValue(false))
	return c.fold(operand{node: n, typ: typeBool, fn: compareFn(n.Operator, x, y, xn, yn)}, x, y)
}

func canCompare(a, b vtype) bool {
	if a.number() || b.number() {
		return a.number() && b.number()
	}
	return a == b && (a == typeText || a == typeBool || a == typeTime)
}

func mismatchHint(x, y operand) string {
	switch {
	case x.typ == typeRecord || y.typ == typeRecord:
		return "compare one of its fields, such as original.amount"
	case x.typ == typeList || y.typ == typeList:
		return "write x in lists.NAME"
	case x.typ == typeTime || y.typ == typeTime:
		return `a time is written "2026-01-31T00:00:00Z"`
	case x.konst && x.typ == typeText || y.konst && y.typ == typeText:
		return "numbers and true and false are written without quotes"
	case x.typ == typeText || y.typ == typeText:
		return "text is written in double quotes"
	}
	return ""
}

// nilComparison is x == nil or x != nil. It is the only one that doesn't need
// the value.
func (c *compiler) nilComparison(n *ast.BinaryNode, x, y operand) operand {
	if x.typ == typeNil {
		x, y = y, x
	}
	if x.typ == typeList {
		return c.failAt(x, "a list is never nil", "")
	}
	isNil := n.Operator == "=="
	if x.field != nil && x.field.Required && x.path == x.field.Name && c.scope != inMessage {
		c.warning(x, fmt.Sprintf("%s is never nil: this is always %v", x.path, !isNil), "")
	}
	xf := x.fn
	return c.fold(operand{node: n, typ: typeBool, fn: func(f *frame, e *event.Event) Value {
		v := xf(f, e)
		if v.broken() {
			return v
		}
		return boolValue((v.Kind == KindNil) == isNil)
	}}, x, y)
}

// timeLiteral turns a text literal that is compared with a time into a time.
func (c *compiler) timeLiteral(x *operand, other operand) {
	if other.typ != typeTime || x.typ != typeText || !x.konst {
		return
	}
	t, err := time.Parse(time.RFC3339, x.value.Str)
	if err != nil {
		*x = c.failAt(*x, quote(x.value.Str)+" is not a time", `write it with its zone: "2026-01-31T00:00:00Z"`)
		return
	}
	text := x.text
	*x = constant(x.node, typeTime, Value{Kind: KindTime, Num: t.UnixMilli()})
	x.text = text
}

// checkValue warns of a literal that the field never has.
func (c *compiler) checkValue(field, literal operand) {
	if field.field == nil || !literal.konst || literal.typ != typeText {
		return
	}
	value := literal.value.Str
	switch field.field.Type {
	case event.TypeCurrency:
		if _, ok := event.ParseCurrency(value); !ok {
			c.warning(literal, quote(value)+" is not a currency of ISO 4217: "+field.path+" is never equal to it", "codes are upper-case, such as USD")
		}
	case event.TypeEnum:
		for _, v := range field.field.Values {
			if v == value {
				return
			}
		}
		hint := suggestOr(value, field.field.Values, "it is one of "+strings.Join(field.field.Values, ", "))
		if field.field.Strict {
			c.failAt(literal, fmt.Sprintf("%s is never %s", field.path, quote(value)), hint)
			return
		}
		c.warning(literal, fmt.Sprintf("%s is not a known value of %s", quote(value), field.path), hint)
	}
}

// compareFn compiles a comparison of two numbers, times, texts or truths.
func compareFn(op string, x, y operand, xn, yn Value) fn {
	set := comparisons[op]
	xf, yf := x.fn, y.fn
	if x.typ == typeText {
		return equalText(xf, y, yf, xn, yn, op == "==")
	}
	if y.below != nil {
		return compareFine(xf, y, xn, set)
	}
	if x.below != nil {
		return compareFine(yf, x, yn, set>>2|set&2|set&1<<2)
	}
	if y.konst {
		return compareConst(xf, x.typ, y.value, xn, set)
	}
	return func(f *frame, e *event.Event) Value {
		a := xf(f, e)
		if a.unusable() {
			return a.orNil(xn)
		}
		b := yf(f, e)
		if b.unusable() {
			return b.orNil(yn)
		}
		return compareValues(a, b, set)
	}
}

// compareConst compares with a literal, which most comparisons do. Two values of
// the same scale and no currency of the literal's own compare as integers.
func compareConst(xf fn, t vtype, b Value, xn Value, set uint) fn {
	if t == typeMoney || t == typeDecimal {
		if n, ok := mulInt(b.Num, scale); ok && b.Kind == KindInt {
			b = Value{Kind: KindDecimal, Num: n}
		}
	}
	same, also := KindFault, KindFault // no value that gets there has this kind
	switch b.Kind {
	case KindInt:
		same = KindInt
	case KindDecimal:
		same, also = KindDecimal, KindMoney
	}
	return func(f *frame, e *event.Event) Value {
		a := xf(f, e)
		if a.unusable() {
			return a.orNil(xn)
		}
		if a.Kind == same || a.Kind == also {
			return boolValue(set>>uint(compareInts(a.Num, b.Num)+1)&1 != 0)
		}
		return compareValues(a, b, set)
	}
}

// compareFine compares with a literal that lies between two amounts of money, so
// that an exact value is never equal to it.
func compareFine(xf fn, literal operand, xn Value, set uint) fn {
	between, below := literal.value, *literal.below
	return func(f *frame, e *event.Event) Value {
		a := xf(f, e)
		if a.unusable() {
			return a.orNil(xn)
		}
		if a.Kind == KindFloat {
			return compareValues(a, between, set)
		}
		order, fault := compareNumbers(a, below)
		if fault != "" {
			return FaultValue(fault)
		}
		if order == 0 {
			order = -1
		}
		return boolValue(set>>uint(order+1)&1 != 0)
	}
}

func compareValues(a, b Value, set uint) Value {
	if a.Kind == KindBool || a.Kind == KindTime {
		return boolValue(set>>uint(compareInts(a.Num, b.Num)+1)&1 != 0)
	}
	order, fault := compareNumbers(a, b)
	if fault != "" {
		return FaultValue(fault)
	}
	return boolValue(set>>uint(order+1)&1 != 0)
}

func equalText(xf fn, y operand, yf fn, xn, yn Value, equal bool) fn {
	if y.konst {
		b := y.value.Str
		return func(f *frame, e *event.Event) Value {
			a := xf(f, e)
			if a.unusable() {
				return a.orNil(xn)
			}
			return boolValue((a.Str == b) == equal)
		}
	}
	return func(f *frame, e *event.Event) Value {
		a := xf(f, e)
		if a.unusable() {
			return a.orNil(xn)
		}
		b := yf(f, e)
		if b.unusable() {
			return b.orNil(yn)
		}
		return boolValue((a.Str == b.Str) == equal)
	}
}

// in is x in lists.NAME, x in [a, b] and x in 1..5.
func (c *compiler) in(n *ast.BinaryNode) operand {
	onNil := c.nilMatch(n)
	x := c.expr(n.Left)
	if x.typ == typeNil {
		return c.failAt(x, "nil is in no list", "test it with == nil")
	}
	switch right := n.Right.(type) {
	case *ast.ArrayNode:
		return c.inArray(n, x, right, onNil)
	case *ast.BinaryNode:
		if right.Operator == ".." {
			return c.inRange(n, x, right, onNil)
		}
	}
	y := c.expr(n.Right)
	if x.typ == typeBad || y.typ == typeBad {
		return bad(n)
	}
	if y.typ != typeList {
		return c.failAt(y, "in needs a list, not "+y.typ.String(), `write x in lists.NAME, x in ["a", "b"] or x in 1..5; for a part of a text: contains`)
	}
	if x.typ != typeText {
		return c.failAt(x, "lists hold text, and this is "+x.typ.String(), "write x in [1, 2]")
	}
	if y.list.allNetworks() {
		c.warning(y, "the list holds networks, and in compares texts: no address is in it", "write in_cidr("+c.nameOf(x)+", lists."+y.list.name.value+")")
	}
	xn := c.need(x, onNil)
	xf, values := x.fn, y.list.values
	return operand{node: n, typ: typeBool, fn: func(f *frame, e *event.Event) Value {
		v := xf(f, e)
		if v.unusable() {
			return v.orNil(xn)
		}
		return boolValue(has(values, v.Str, e.Time))
	}}
}

func (c *compiler) inArray(n *ast.BinaryNode, x operand, array *ast.ArrayNode, onNil Value) operand {
	if len(array.Nodes) == 0 {
		return c.fail(array, "the list is empty: nothing is in it", "")
	}
	xn := c.need(x, onNil)
	var items []fn
	var nils []Value
	konst := []operand{x}
	mark := len(c.known)
	for _, item := range array.Nodes {
		y := c.expr(item)
		if y.typ == typeBad || x.typ == typeBad {
			return bad(n)
		}
		c.timeLiteral(&y, x)
		if y.typ == typeNil || !canCompare(x.typ, y.typ) {
			return c.failAt(y, fmt.Sprintf("%s can't be in a list with %s", x.typ, y.typ), mismatchHint(x, y))
		}
		c.checkValue(x, y)
		yn := c.need(y, onNil)
		c.known = c.known[:mark] // an earlier item may have ended the search
		konst = append(konst, y)
		items, nils = append(items, y.fn), append(nils, yn)
	}
	xf, same := x.fn, sameNumbers
	if x.typ == typeText {
		same = sameTexts
	}
	// x is computed once, not for each item: it can hold another in, and that one
	// a third.
	return c.fold(operand{node: n, typ: typeBool, fn: func(f *frame, e *event.Event) Value {
		a := xf(f, e)
		if a.unusable() {
			return a.orNil(xn)
		}
		for i, item := range items {
			b := item(f, e)
			if b.unusable() {
				return b.orNil(nils[i])
			}
			if v := same(a, b); v.unusable() || v.Num != 0 {
				return v
			}
		}
		return boolValue(false)
	}}, konst...)
}

func sameNumbers(a, b Value) Value { return compareValues(a, b, 1<<1) } // see comparisons

func sameTexts(a, b Value) Value { return boolValue(a.Str == b.Str) }

func (c *compiler) inRange(n *ast.BinaryNode, x operand, r *ast.BinaryNode, onNil Value) operand {
	low, high := c.expr(r.Left), c.expr(r.Right)
	if x.typ == typeBad || low.typ == typeBad || high.typ == typeBad {
		return bad(n)
	}
	if x.typ != typeInt || low.typ != typeInt || high.typ != typeInt || !low.konst || !high.konst {
		return c.fail(r, "a range holds whole numbers that are written out", "for others write x >= 1 and x <= 5")
	}
	if low.value.Num > high.value.Num {
		return c.fail(r, "the range is empty: it ends before it begins", "")
	}
	xn := c.need(x, onNil)
	xf, from, to := x.fn, low.value.Num, high.value.Num
	return c.fold(operand{node: n, typ: typeBool, fn: func(f *frame, e *event.Event) Value {
		v := xf(f, e)
		if v.unusable() {
			return v.orNil(xn)
		}
		return boolValue(v.Num >= from && v.Num <= to)
	}}, x)
}
