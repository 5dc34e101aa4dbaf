package rules

import (
	"fmt"
	"sort"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/refundguard/refundguard/rules/event"
)

// aggregates are those of the language, by name.
var aggregates = map[string]Aggregate{
	"count": Count, "sum": Sum, "avg": Avg, "distinct": Distinct, "min": Min, "max": Max,
	"stddev": Stddev, "first": First, "last": Last, "since_last": SinceLast,
}

const aggregateForms = "count(), sum(f), avg(f), min(f), max(f), stddev(f), distinct(f), first(f), last(f) or since_last()"

// aggregateDocs say what the aggregates give, in the order of the documentation.
var aggregateDocs = []Function{
	{"count", "count()", "how many events; 0 where there are none"},
	{"sum", "sum(f)", "their sum, exact; 0 where there are none"},
	{"avg", "avg(f)", "the sum divided by how many events have f; nil where none has"},
	{"min", "min(f)", "the smallest value; nil where no event has f"},
	{"max", "max(f)", "the greatest value; nil where no event has f"},
	{"stddev", "stddev(f)", "the standard deviation of the whole population; nil where no event has f"},
	{"distinct", "distinct(f)", "how many different values; 0 where there are none"},
	{"first", "first(f)", "f of the earliest event that has it; nil where none has"},
	{"last", "last(f)", "f of the latest event that has it; nil where none has"},
	{"since_last", "since_last()", "the seconds since the latest event; nil where there is none"},
}

// Aggregates lists the aggregates of past events, for help and completion.
func Aggregates() []Function { return append([]Function(nil), aggregateDocs...) }

func aggregateNames() []string {
	names := make([]string, 0, len(aggregates))
	for name := range aggregates {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// readAggregate reads the end of a past-events expression.
func (p *pastExpr) readAggregate(part part) bool {
	c := p.c
	p.aggregate = aggregates[part.name]
	if p.aggregate == Count || p.aggregate == SinceLast {
		return p.readBare(part)
	}
	if len(part.args) != 1 {
		c.fail(part.node, part.name+"(…) takes one field", part.name+"(amount)")
		return false
	}
	id, ok := part.args[0].(*ast.IdentifierNode)
	if !ok {
		c.fail(part.args[0], part.name+"(…) takes the name of a field", part.name+"(amount)")
		return false
	}
	slot := p.stream.Slot(id.Value)
	if slot < 0 {
		c.fail(id, p.source+" has no field "+id.Value, suggestOr(id.Value, fieldNames(p.stream), "its fields: "+strings.Join(fieldNames(p.stream), ", ")))
		return false
	}
	p.text += "." + part.name + "(" + id.Value + ")"
	return p.setColumn(part.name, id, slot)
}

// readBare reads an aggregate of whole events.
func (p *pastExpr) readBare(part part) bool {
	if len(part.args) > 0 {
		hint := "to count different values: distinct(f); to count some events only: .where(…)"
		if p.aggregate == SinceLast {
			hint = "to choose among the events: .where(…)"
		}
		p.c.fail(part.args[0], part.name+"() takes nothing", hint)
		return false
	}
	p.text += "." + part.name + "()"
	p.result = typeInt
	if p.aggregate == SinceLast {
		p.result, p.nilOnNone = typeDecimal, true
	}
	return true
}

// setColumn finds what the series must keep for the aggregate.
func (p *pastExpr) setColumn(name string, at *ast.IdentifierNode, slot int) bool {
	f := &p.stream.Fields[slot]
	p.column = &Column{Field: f.Name, slot: slot, typ: f.Type}
	if p.aggregate == Distinct {
		p.column.Kind, p.result = ColumnHash, typeInt
		return true
	}
	p.column.Kind, p.result = columnOf(f.Type), typeOf(f.Type)
	p.nilOnNone = p.aggregate != Sum
	single := p.aggregate == First || p.aggregate == Last
	if single {
		p.field = f
	}
	switch {
	case single, p.result.number():
	case p.result == typeTime && (p.aggregate == Min || p.aggregate == Max):
	default:
		wants, hint := "a number", "to count its different values: distinct("+f.Name+")"
		if p.aggregate == Min || p.aggregate == Max {
			wants, hint = "a number or a time", "first("+f.Name+") and last("+f.Name+") go by time"
		}
		p.c.fail(at, fmt.Sprintf("%s needs %s, and %s is %s", name, wants, f.Name, typeOf(f.Type)), hint)
		return false
	}
	if p.aggregate == Avg || p.aggregate == Stddev {
		p.result = typeFloat
	}
	return true
}

// columnOf is how a series keeps a field whose value it must give back.
func columnOf(t event.Type) ColumnKind {
	switch t {
	case event.TypeMoney:
		return ColumnMoney
	case event.TypeNumber:
		return ColumnNumber
	case event.TypeInt:
		return ColumnInt
	case event.TypeTime:
		return ColumnTime
	case event.TypeBool:
		return ColumnBool
	}
	return ColumnText
}
