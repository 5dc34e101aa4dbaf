package rules

import (
	"fmt"
	"math/big"
	"sort"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/refundguard/refundguard/rules/event"
)

// number is a literal: a decimal as it was written.
func (c *compiler) number(n ast.Node) operand {
	if i, ok := n.(*ast.IntegerNode); ok {
		return constant(n, typeInt, IntValue(int64(i.Value)))
	}
	written := strings.ReplaceAll(c.source(n), "_", "")
	f, err := strconv.ParseFloat(written, 64)
	exact, ok := new(big.Rat).SetString(written)
	if err != nil || !ok {
		return c.fail(n, "the number can't be read", "write it as 129.90")
	}
	if exact.IsInt() && exact.Num().IsInt64() {
		return constant(n, typeInt, IntValue(exact.Num().Int64()))
	}
	exact.Mul(exact, big.NewRat(scale, 1))
	if exact.IsInt() && exact.Num().IsInt64() {
		return constant(n, typeDecimal, Value{Kind: KindDecimal, Num: exact.Num().Int64()})
	}
	o := constant(n, typeFloat, floatValue(f, 0))
	if below := new(big.Int).Div(exact.Num(), exact.Denom()); below.IsInt64() {
		o.below = &Value{Kind: KindDecimal, Num: below.Int64()}
	}
	return o
}

func (c *compiler) identifier(n *ast.IdentifierNode) operand {
	name := n.Value
	if m := c.d.macros[name]; m != nil {
		m.used = true
		if m.tree == nil {
			return bad(n) // reported with the macro
		}
		back := c.enter(m)
		o := c.expr(m.tree)
		back()
		o.site, o.at = c.text, n // what doesn't fit here is this place's fault
		return o
	}
	if c.scope == inWhere {
		if slot := c.stream.Slot(name); slot >= 0 {
			return c.field(n, c.stream, slot)
		}
		if name == "original" || name == "refunded" || name == "amount_base" || c.d.schema.Stream("refunds").Slot(name) >= 0 {
			return c.fail(n, fmt.Sprintf("%s is not a field of %s: where(…) sees only the past event", name, c.stream.Name), suggest(name, fieldNames(c.stream)))
		}
		return c.unknown(n, fieldNames(c.stream))
	}
	if c.original == nil && (name == "original" || name == "refunded") {
		hint := "the payment's own fields are written as they are: amount, status, …"
		if c.text.macro != "" {
			hint = "rule " + c.rule + ", which is on transactions, uses the macro"
		}
		return c.fail(n, name+" is not available in rules on transactions: it belongs to a refund", hint)
	}
	switch name {
	case "original":
		return operand{node: n, typ: typeRecord, path: name, maybe: !c.known.notNil(name), fn: func(f *frame, _ *event.Event) Value {
			if f.original == nil {
				return Value{}
			}
			return boolValue(true) // only nil tests get here
		}}
	case "refunded":
		return c.named(n, typeMoney, func(f *frame, _ *event.Event) Value { return f.refunded })
	case "amount_base":
		c.b.baseUsed = true
		return c.named(n, typeMoney, func(f *frame, _ *event.Event) Value { return f.base })
	case "lists":
		return c.fail(n, "lists is not a value", "write x in lists.NAME")
	}
	if slot := c.stream.Slot(name); slot >= 0 {
		return c.field(n, c.stream, slot)
	}
	if c.d.source(name) != nil {
		return c.fail(n, name+" is a stream, not a value", fmt.Sprintf(`write %s.by(customer_id).within("7d").count()`, name))
	}
	if functions[name] != nil {
		return c.fail(n, name+" is a function", "write "+functions[name].signature)
	}
	return c.unknown(n, c.names())
}

// named is a value of the frame that may be nil.
func (c *compiler) named(n *ast.IdentifierNode, t vtype, f fn) operand {
	return operand{node: n, typ: t, path: n.Value, maybe: !c.known.notNil(n.Value), fn: f}
}

func (c *compiler) unknown(n *ast.IdentifierNode, known []string) operand {
	hint := suggest(n.Value, known)
	if hint == "" {
		switch n.Value {
		case "$env", "now", "today":
			hint = "conditions see the " + c.subject() + " only; for the present time use occurred_at"
		case "null", "None", "NULL", "undefined":
			hint = "write nil"
		case "True", "TRUE", "False", "FALSE":
			hint = "write " + strings.ToLower(n.Value)
		default:
			hint = "text is written in double quotes"
			if c.scope == inWhere {
				hint = "a past event's fields here: " + strings.Join(known, ", ")
			}
		}
	}
	return c.fail(n, "unknown name "+n.Value, hint)
}

// names are all names that a condition can use.
func (c *compiler) names() []string {
	names := append(fieldNames(c.stream), "amount_base", "lists")
	if c.original != nil {
		names = append(names, "original", "refunded")
	}
	names = append(names, c.streamNames()...)
	macros := make([]string, 0, len(c.d.macros))
	for m := range c.d.macros {
		macros = append(macros, m)
	}
	sort.Strings(macros)
	return append(names, macros...)
}

func fieldNames(s *event.Stream) []string {
	names := make([]string, len(s.Fields))
	for i := range s.Fields {
		names[i] = s.Fields[i].Name
	}
	return names
}

// field reads a field of the event at hand.
func (c *compiler) field(n ast.Node, s *event.Stream, slot int) operand {
	f := &s.Fields[slot]
	currency := currencySlot(s)
	typ := f.Type
	path := f.Name
	return operand{
		node: n, typ: typeOf(typ), field: f, path: path,
		maybe: !f.Required && !c.known.notNil(path),
		fn: func(_ *frame, e *event.Event) Value {
			if e.Present&(1<<uint(slot)) == 0 {
				return Value{}
			}
			return fieldValue(e, slot, typ, currency)
		},
	}
}

// currencySlot is the slot of the stream's currency, or -1.
func currencySlot(s *event.Stream) int {
	for i := range s.Fields {
		if s.Fields[i].Type == event.TypeCurrency {
			return i
		}
	}
	return -1
}

// member is original.x or lists.NAME.
func (c *compiler) member(n *ast.MemberNode) operand {
	property, ok := n.Property.(*ast.StringNode)
	if !ok {
		return c.fail(n, "conditions have no indexes", "write a name after a dot: original.amount")
	}
	inner := n.Node
	if chain, ok := inner.(*ast.ChainNode); ok {
		inner = chain.Node
	}
	root, ok := inner.(*ast.IdentifierNode)
	if !ok {
		return c.fail(n, "."+property.Value+" can't be taken of this", "only original and lists have members")
	}
	switch {
	case root.Value == "lists":
		return c.listMember(n, property)
	case root.Value == "original" && c.original != nil:
		return c.originalMember(n, property)
	case root.Value == "original":
		return c.identifier(root)
	case c.d.source(root.Value) != nil:
		return c.past(n)
	}
	o := c.identifier(root)
	if o.typ == typeBad {
		return o
	}
	return c.fail(n, root.Value+" has no members", "only original and lists have members")
}

func (c *compiler) listMember(n *ast.MemberNode, property *ast.StringNode) operand {
	l := c.d.lists[property.Value]
	if l == nil {
		names := make([]string, 0, len(c.d.lists))
		for name := range c.d.lists {
			names = append(names, name)
		}
		sort.Strings(names)
		return c.fail(property, "unknown list "+property.Value, suggestOr(property.Value, names, "define it under lists:"))
	}
	l.used = true
	c.lists = append(c.lists, l)
	return operand{node: n, typ: typeList, list: l}
}

func (c *compiler) originalMember(n *ast.MemberNode, property *ast.StringNode) operand {
	slot := c.original.Slot(property.Value)
	if slot < 0 {
		return c.fail(property, "a transaction has no field "+property.Value, suggest(property.Value, fieldNames(c.original)))
	}
	f := &c.original.Fields[slot]
	path := "original." + f.Name
	typ, currency := f.Type, currencySlot(c.original)
	return operand{
		node: n, typ: typeOf(typ), field: f, path: path,
		maybe: !c.known.notNil(path) && !(f.Required && c.known.notNil("original")),
		fn: func(fr *frame, _ *event.Event) Value {
			if fr.original == nil || fr.original.Present&(1<<uint(slot)) == 0 {
				return Value{}
			}
			return fieldValue(fr.original, slot, typ, currency)
		},
	}
}
