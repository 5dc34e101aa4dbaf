package rules

import (
	"fmt"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/refundguard/refundguard/rules/event"
)

// aggregates are those of the language; 0 for those that are not available yet.
var aggregates = map[string]Aggregate{
	"count": Count, "sum": Sum, "avg": Avg, "distinct": Distinct,
	"min": 0, "max": 0, "stddev": 0, "first": 0, "last": 0, "since_last": 0,
}

// readAggregate reads the end of a past-events expression.
func (p *pastExpr) readAggregate(part part) bool {
	c := p.c
	p.aggregate = aggregates[part.name]
	switch {
	case p.aggregate == 0:
		c.fail(part.node, part.name+"() is not available yet", "count(), sum(f), avg(f) and distinct(f) are")
		return false
	case p.aggregate == Count && len(part.args) > 0:
		c.fail(part.args[0], "count() takes nothing", "to count different values: distinct(f); to count some events only: .where(…)")
		return false
	case p.aggregate == Count:
		p.result = typeInt
		p.text += ".count()"
		return true
	case len(part.args) != 1:
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

// setColumn finds what the series must keep for the aggregate.
func (p *pastExpr) setColumn(name string, at *ast.IdentifierNode, slot int) bool {
	f := &p.stream.Fields[slot]
	p.column = &Column{Field: f.Name, slot: slot, typ: f.Type}
	if p.aggregate == Distinct {
		p.column.Kind, p.result = ColumnHash, typeInt
		return true
	}
	switch f.Type {
	case event.TypeMoney:
		p.column.Kind, p.result = ColumnMoney, typeMoney
	case event.TypeNumber:
		p.column.Kind, p.result = ColumnNumber, typeDecimal
	case event.TypeInt:
		p.column.Kind, p.result = ColumnInt, typeInt
	default:
		p.c.fail(at, fmt.Sprintf("%s needs a number, and %s is %s", name, f.Name, typeOf(f.Type)), "to count its different values: distinct("+f.Name+")")
		return false
	}
	if p.aggregate == Avg {
		p.result, p.nilOnNone = typeFloat, true
	}
	return true
}
