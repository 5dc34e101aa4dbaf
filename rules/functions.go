package rules

import (
	"fmt"
	"math"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/refundguard/refundguard/rules/event"
)

// Function describes one function of the language.
type Function struct {
	Name      string
	Signature string
	Doc       string
}

// function is one row of the catalogue: exactly one of one and two is set.
type function struct {
	signature string
	doc       string
	takes     func(vtype) bool // its arguments
	wants     string
	gives     vtype // typeBad: what its arguments are
	one       func(Value) Value
	two       func(x, y Value) Value // folds any number of arguments, two at least
	exactly   int                    // with two: how many arguments; 0: any number
	maybe     bool                   // it may give nil
}

func isNumber(t vtype) bool { return t.number() }
func isText(t vtype) bool   { return t == typeText }
func isPlain(t vtype) bool  { return t == typeInt || t == typeDecimal || t == typeFloat }

// functions is the catalogue: everything that a condition can call. All need
// their arguments: a nil one makes the rule miss a value.
var functions = map[string]*function{
	"abs":     {signature: "abs(x)", doc: "x without its sign", takes: isNumber, wants: "a number", one: absolute},
	"ceil":    {signature: "ceil(x)", doc: "the whole number that is not below x", takes: isNumber, wants: "a number", gives: typeInt, one: func(v Value) Value { return whole(v, math.Ceil, 1) }},
	"days":    {signature: "days(n)", doc: "n days in seconds, for differences of times and since_last()", takes: isPlain, wants: "a number", one: seconds(86_400)},
	"floor":   {signature: "floor(x)", doc: "the whole number that is not above x", takes: isNumber, wants: "a number", gives: typeInt, one: func(v Value) Value { return whole(v, math.Floor, 0) }},
	"hours":   {signature: "hours(n)", doc: "n hours in seconds", takes: isPlain, wants: "a number", one: seconds(3_600)},
	"len":     {signature: "len(text)", doc: "the number of its characters", takes: isText, wants: "text", gives: typeInt, one: func(v Value) Value { return IntValue(int64(utf8.RuneCountInString(v.Str))) }},
	"lower":   {signature: "lower(text)", doc: "the text in lower case", takes: isText, wants: "text", gives: typeText, one: textual(strings.ToLower)},
	"max":     {signature: "max(x, y, …)", doc: "the greatest; amounts must be of one currency", takes: isNumber, wants: "a number", two: func(x, y Value) Value { return pick(x, y, 1) }},
	"min":     {signature: "min(x, y, …)", doc: "the smallest; amounts must be of one currency", takes: isNumber, wants: "a number", two: func(x, y Value) Value { return pick(x, y, -1) }},
	"minutes": {signature: "minutes(n)", doc: "n minutes in seconds", takes: isPlain, wants: "a number", one: seconds(60)},
	"ratio":   {signature: "ratio(x, y)", doc: "x / y, and nil where y is 0", takes: isNumber, wants: "a number", gives: typeFloat, two: ratio, exactly: 2, maybe: true},
	"trim":    {signature: "trim(text)", doc: "the text without white space around it", takes: isText, wants: "text", gives: typeText, one: textual(strings.TrimSpace)},
	"upper":   {signature: "upper(text)", doc: "the text in upper case", takes: isText, wants: "text", gives: typeText, one: textual(strings.ToUpper)},
}

// Functions lists the functions that conditions can call, by name.
func Functions() []Function {
	list := make([]Function, 0, len(functions))
	for name, f := range functions {
		list = append(list, Function{Name: name, Signature: f.signature, Doc: f.doc})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

func (c *compiler) call(n *ast.CallNode) operand {
	if callee, ok := n.Callee.(*ast.IdentifierNode); ok {
		return c.function(n, callee.Value, n.Arguments)
	}
	return c.past(n)
}

func (c *compiler) function(n ast.Node, name string, arguments []ast.Node) operand {
	fd := functions[name]
	if fd == nil {
		return c.unknownFunction(n, name, arguments)
	}
	args := make([]operand, len(arguments))
	nils := make([]Value, len(arguments))
	typ, ok := fd.gives, true
	for i, a := range arguments {
		args[i] = c.expr(a)
		ok = ok && args[i].typ != typeBad
		if args[i].typ != typeBad && !fd.takes(args[i].typ) {
			c.failAt(args[i], fmt.Sprintf("%s takes %s, not %s", name, fd.wants, args[i].typ), "it is called as "+fd.signature)
			ok = false
		}
		nils[i] = c.need(args[i], Value{})
		if fd.gives == typeBad {
			typ = max(typ, args[i].typ)
		}
	}
	if !ok {
		return bad(n)
	}
	if fd.one != nil && len(args) != 1 || fd.two != nil && (len(args) < 2 || fd.exactly > 0 && len(args) != fd.exactly) {
		return c.fail(n, fmt.Sprintf("%s has %d arguments here", name, len(args)), "it is called as "+fd.signature)
	}
	o := operand{node: n, typ: typ, maybe: fd.maybe || c.nilIn(args...), fn: applyTwo(fd.two, args, nils)}
	if fd.one != nil {
		o.fn = applyOne(fd.one, args[0].fn, nils[0])
	}
	return c.fold(o, args...)
}

func (c *compiler) unknownFunction(n ast.Node, name string, arguments []ast.Node) operand {
	names := make([]string, 0, len(functions))
	for f := range functions {
		names = append(names, f)
	}
	sort.Strings(names)
	switch name {
	case "now", "date", "duration", "timezone":
		return c.fail(n, "conditions have no "+name+"()", `they see event time only: compare occurred_at, or write occurred_at - original.occurred_at < hours(1)`)
	case "count", "sum", "avg", "mean", "distinct", "first", "last", "median":
		return c.fail(n, name+"() is an aggregate of past events", `write refunds.by(customer_id).within("7d").count()`)
	}
	for _, a := range arguments {
		if _, ok := a.(*ast.PredicateNode); ok {
			what, hint := refused(a)
			return c.fail(n, what, hint)
		}
	}
	if c.d.macros[name] != nil {
		return c.fail(n, name+" is a macro, not a function", "write it without brackets")
	}
	return c.fail(n, "unknown function "+name, suggestOr(name, names, "functions: "+strings.Join(names, ", ")))
}

func applyOne(call func(Value) Value, x fn, xn Value) fn {
	return func(f *frame, e *event.Event) Value {
		v := x(f, e)
		if v.unusable() {
			return v.orNil(xn)
		}
		return call(v)
	}
}

func applyTwo(call func(x, y Value) Value, args []operand, nils []Value) fn {
	fns := make([]fn, len(args))
	for i := range args {
		fns[i] = args[i].fn
	}
	return func(f *frame, e *event.Event) Value {
		var acc Value
		for i, arg := range fns {
			v := arg(f, e)
			if v.unusable() {
				return v.orNil(nils[i])
			}
			if i == 0 {
				acc = v
			} else if acc = call(acc, v); acc.broken() {
				return acc
			}
		}
		return acc
	}
}

func absolute(v Value) Value {
	if v.Kind == KindFloat {
		return floatValue(math.Abs(v.float()), v.Currency)
	}
	if v.Num < 0 {
		return negate(v)
	}
	return v
}

// whole rounds down or up; for exact values up is 1 or 0.
func whole(v Value, round func(float64) float64, up int64) Value {
	switch v.Kind {
	case KindInt:
		return v
	case KindFloat:
		f := round(v.float())
		if math.Abs(f) >= 1<<63 {
			return FaultValue(faultOverflow)
		}
		return IntValue(int64(f))
	}
	n, rest := v.Num/scale, v.Num%scale
	if rest < 0 {
		n--
	}
	if rest != 0 {
		n += up
	}
	return IntValue(n)
}

func seconds(unit int64) func(Value) Value {
	return func(v Value) Value { return multiply(v, IntValue(unit)) }
}

func textual(change func(string) string) func(Value) Value {
	return func(v Value) Value { return Value{Kind: KindString, Str: change(v.Str)} }
}

func pick(x, y Value, order int) Value {
	got, fault := compareNumbers(y, x)
	if fault != "" {
		return FaultValue(fault)
	}
	if got == order {
		return y
	}
	return x
}

func ratio(x, y Value) Value {
	v := divide(x, y)
	if v.Kind == KindFault && v.Str == faultZero {
		return Value{}
	}
	return v
}
