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

// function is one row of the catalogue: exactly one of one, two and many is
// set, or none where the compiler has a place of its own for the function.
type function struct {
	signature string
	doc       string
	args      []argument
	open      bool  // any number of arguments, like the last one
	gives     vtype // typeBad: what its arguments are
	one       func(Value) Value
	two       func(x, y Value) Value // folds them where the function is open
	many      func([4]Value) Value   // three or four arguments
	maybe     bool                   // it may give nil
}

// argument says what a function takes.
type argument struct {
	is    func(vtype) bool
	wants string
}

var (
	aNumber = argument{vtype.number, "a number"}
	aPlain  = argument{func(t vtype) bool { return t == typeInt || t == typeDecimal || t == typeFloat }, "a number"}
	aWhole  = argument{func(t vtype) bool { return t == typeInt }, "a whole number"}
	aText   = argument{func(t vtype) bool { return t == typeText }, "text"}
	aMoney  = argument{func(t vtype) bool { return t == typeMoney || t == typeFloat }, "money"}
)

// functions is the catalogue: everything that a condition can call. All need
// their arguments: a nil one makes the rule miss a value.
var functions = map[string]*function{
	"abs":           {signature: "abs(x)", doc: "x without its sign", args: []argument{aNumber}, one: absolute},
	"ceil":          {signature: "ceil(x)", doc: "the whole number that is not below x", args: []argument{aNumber}, gives: typeInt, one: func(v Value) Value { return whole(v, math.Ceil, 1) }},
	"days":          {signature: "days(n)", doc: "n days in seconds, for differences of times and since_last()", args: []argument{aPlain}, one: seconds(86_400)},
	"distance_km":   {signature: "distance_km(lat1, lon1, lat2, lon2)", doc: "the kilometres between two places in degrees; nil where one is not on the globe", args: []argument{aPlain, aPlain, aPlain, aPlain}, gives: typeFloat, many: distance, maybe: true},
	"floor":         {signature: "floor(x)", doc: "the whole number that is not above x", args: []argument{aNumber}, gives: typeInt, one: func(v Value) Value { return whole(v, math.Floor, 0) }},
	"hash_bucket":   {signature: "hash_bucket(text, n)", doc: "a number from 0 to n-1, always the same for the same text: hash_bucket(customer_id, 100) < 5 is a fixed 5 % of customers", args: []argument{aText, aWhole}, gives: typeInt, two: hashBucket},
	"hour":          {signature: "hour(t, tz)", doc: "the hour of the day, 0 to 23, in a time zone such as \"Europe/Berlin\""},
	"hours":         {signature: "hours(n)", doc: "n hours in seconds", args: []argument{aPlain}, one: seconds(3_600)},
	"in_cidr":       {signature: "in_cidr(ip, lists.NAME)", doc: "whether the address is in one of the list's networks, IPv4 or IPv6; nil where ip is no address"},
	"len":           {signature: "len(text)", doc: "the number of its characters", args: []argument{aText}, gives: typeInt, one: func(v Value) Value { return IntValue(int64(utf8.RuneCountInString(v.Str))) }},
	"lower":         {signature: "lower(text)", doc: "the text in lower case", args: []argument{aText}, gives: typeText, one: textual(strings.ToLower)},
	"max":           {signature: "max(x, y, …)", doc: "the greatest; amounts must be of one currency", args: []argument{aNumber, aNumber}, open: true, two: func(x, y Value) Value { return pick(x, y, 1) }},
	"min":           {signature: "min(x, y, …)", doc: "the smallest; amounts must be of one currency", args: []argument{aNumber, aNumber}, open: true, two: func(x, y Value) Value { return pick(x, y, -1) }},
	"minutes":       {signature: "minutes(n)", doc: "n minutes in seconds", args: []argument{aPlain}, one: seconds(60)},
	"ratio":         {signature: "ratio(x, y)", doc: "x / y, and nil where y is 0", args: []argument{aNumber, aNumber}, gives: typeFloat, two: divideOrNil, maybe: true},
	"same_currency": {signature: "same_currency(x, y)", doc: "whether two amounts can be added and compared; an empty sum goes with any", args: []argument{aMoney, aMoney}, gives: typeBool, two: sameCurrency},
	"trim":          {signature: "trim(text)", doc: "the text without white space around it", args: []argument{aText}, gives: typeText, one: textual(strings.TrimSpace)},
	"upper":         {signature: "upper(text)", doc: "the text in upper case", args: []argument{aText}, gives: typeText, one: textual(strings.ToUpper)},
	"weekday":       {signature: "weekday(t, tz)", doc: "the day of the week, 1 (Monday) to 7 (Sunday), in a time zone such as \"Europe/Berlin\""},
	"zscore":        {signature: "zscore(x, mean, sd)", doc: "(x - mean) / sd: how unusual x is; nil where sd is 0", args: []argument{aNumber, aNumber, aNumber}, gives: typeFloat, many: zscore, maybe: true},
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
	switch name {
	case "in_cidr":
		return c.inCIDR(n, arguments)
	case "hour", "weekday":
		return c.zoned(n, name, arguments)
	}
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
		if want := fd.args[min(i, len(fd.args)-1)]; args[i].typ != typeBad && !want.is(args[i].typ) {
			c.failAt(args[i], fmt.Sprintf("%s takes %s, not %s", name, want.wants, args[i].typ), "it is called as "+fd.signature)
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
	if len(args) < len(fd.args) || len(args) > len(fd.args) && !fd.open {
		return c.fail(n, fmt.Sprintf("%s has %d arguments here", name, len(args)), "it is called as "+fd.signature)
	}
	if name == "hash_bucket" && args[1].konst && args[1].value.Num < 1 {
		return c.failAt(args[1], faultBuckets, "it is called as "+fd.signature)
	}
	o := operand{node: n, typ: typ, maybe: c.nilIn(args...)}
	if fd.maybe {
		o.path = c.print(n, 0)
		o.maybe = !c.known.notNil(o.path)
	}
	switch {
	case fd.one != nil && args[0].typ == typeText:
		c.work.operations++
		o.fn = applyText(fd.one, args[0].fn, nils[0], c.work)
	case fd.one != nil:
		o.fn = applyOne(fd.one, args[0].fn, nils[0])
	case fd.two != nil:
		o.fn = applyTwo(fd.two, args, nils)
	default:
		o.fn = applyMany(fd.many, args, nils)
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

func applyMany(call func([4]Value) Value, args []operand, nils []Value) fn {
	fns := make([]fn, len(args))
	for i := range args {
		fns[i] = args[i].fn
	}
	return func(f *frame, e *event.Event) Value {
		var values [4]Value
		for i, arg := range fns {
			v := arg(f, e)
			if v.unusable() {
				return v.orNil(nils[i])
			}
			values[i] = v
		}
		return call(values)
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

// applyText is applyOne for what reads a text.
func applyText(call func(Value) Value, x fn, xn Value, w *work) fn {
	return func(f *frame, e *event.Event) Value {
		v := x(f, e)
		if v.unusable() {
			return v.orNil(xn)
		}
		if w.beyond(costRead * len(v.Str)) {
			return FaultValue(faultWork)
		}
		return call(v)
	}
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
