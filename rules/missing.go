package rules

import (
	"fmt"
	"strings"
)

// need says that an operator needs the operand's value, and gives what the
// operator results in where it is nil. From here on it isn't.
func (c *compiler) need(o operand, inWhereValue Value) Value {
	if c.scope == inWhere {
		return inWhereValue
	}
	what := c.nameOf(o)
	c.mayMiss(o)
	if o.path != "" {
		c.known = append(c.known, "+"+o.path)
	}
	for _, key := range o.keys {
		c.known = append(c.known, "+"+key)
	}
	return Value{Kind: kindMissing, Str: what}
}

// mayMiss warns of an operand that is needed and may be nil. What ?: gives is
// nil where its branch is.
func (c *compiler) mayMiss(o operand) {
	if len(o.branches) > 0 {
		for _, branch := range o.branches {
			c.mayMiss(branch)
		}
		return
	}
	what := c.nameOf(o)
	if o.maybe && c.missed != nil {
		c.missed(what, o.keys)
	}
	if o.path != "" && c.known.isNil(o.path) {
		c.failAt(o, what+" is certainly nil here", "a test before it says so: turn the test round, or remove this part")
		return
	}
	if !o.maybe || c.scope != inCondition || c.silent {
		return
	}
	guard := what
	if o.field != nil && o.field.Required && strings.HasPrefix(what, "original.") {
		guard = "original"
	}
	if len(o.keys) > 0 {
		guard = strings.Join(o.keys, " != nil and ")
	}
	then := "fails"
	if c.holds {
		then = "holds the refund for review"
	}
	e := c.warning(o, strings.ReplaceAll(guard, " != nil and ", " or ")+" may be missing, and the rule then "+then,
		fmt.Sprintf("say on_missing: review or on_missing: skip, or guard it: %s != nil and …", guard))
	e.Warning = !c.strict
}

// report makes an error of the operand's place.
func (o operand) report(rule, message, hint string) *Error {
	at, in := o.at, o.text
	if at == nil {
		at = o.node
	}
	if o.site != nil {
		in = o.site
	}
	return in.report(rule, at.Location().From, message, hint)
}

// nameOf is an operand's canonical text, as far as it is short enough to read.
func (c *compiler) nameOf(o operand) string {
	if o.path != "" {
		return o.path
	}
	before := c.text
	c.text = o.text
	defer func() { c.text = before }()
	if what := c.print(o.node, 0); len(what) <= 80 {
		return what
	}
	return "a value"
}
