package rules

import (
	"github.com/expr-lang/expr/ast"
	"github.com/refundguard/refundguard/rules/event"
)

// vtype is the type of an expression as the checker knows it.
type vtype uint8

const (
	typeBad vtype = iota // already reported: goes with everything
	typeNil              // the literal nil
	typeBool
	typeInt
	typeDecimal
	typeFloat
	typeMoney
	typeText
	typeTime
	typeList   // lists.NAME or an array
	typeRecord // original
)

var typeNames = [...]string{"?", "nil", "true or false", "a number", "a number", "a number", "money", "text", "a time", "a list", "a record"}

func (t vtype) String() string { return typeNames[t] }

func (t vtype) number() bool { return t >= typeInt && t <= typeMoney }

// typeOf is the type that a field has in conditions.
func typeOf(t event.Type) vtype {
	switch t {
	case event.TypeMoney:
		return typeMoney
	case event.TypeNumber:
		return typeDecimal
	case event.TypeInt:
		return typeInt
	case event.TypeBool:
		return typeBool
	case event.TypeTime:
		return typeTime
	}
	return typeText
}

// operand is a checked and compiled expression.
type operand struct {
	node     ast.Node
	text     *text // that node stands in
	typ      vtype
	field    *event.Field // the field that it reads, for its known values
	fn       fn
	konst    bool      // its value is always value
	value    Value     // with konst
	below    *Value    // of a literal with more decimals than money has: the decimal below it
	maybe    bool      // it may be nil
	path     string    // its canonical text, where a test against nil can tell of it
	keys     []string  // past events: what is nil where the value is
	branches []operand // of ?:, instead of maybe's cause
	site     *text     // that at stands in; nil: text
	at       ast.Node  // where to point at; nil: node
	list     *list     // typeList: lists.NAME
}

func constant(n ast.Node, t vtype, v Value) operand {
	return operand{node: n, typ: t, konst: true, value: v, fn: func(*frame, *event.Event) Value { return v }}
}

// bad stands for an expression that was refused.
func bad(n ast.Node) operand {
	return operand{node: n, fn: func(*frame, *event.Event) Value { return Value{} }}
}
