package rules

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/refundguard/refundguard/rules/event"
)

// maxSteps bounds the instructions of a condition's patterns, and maxMatched the
// text that they are held against: RE2 takes a time that is at most the product
// of both, which work bounds.
const (
	maxSteps   = 2_000
	maxMatched = 4 << 10
)

const faultMatched = "limit: matches reads texts of at most 4 KiB"

// work bounds what a rule does with texts: its condition, exceptions and messages
// share maxWork, each operation evenly. So no rule takes a millisecond for a
// refund, and which refunds it can't judge depends on them alone, never on the
// machine.
type work struct {
	operations int // on texts, in all of the rule
}

// The costs are for each byte that is read, and for each byte and step of a
// pattern; regexp searches large patterns in a slower way. They are nanoseconds
// of a slow machine over the worst of texts.
const (
	maxWork       = 600_000
	costRead      = 15
	costStep      = 10
	costStepLarge = 24
	largePattern  = 500

	faultWork = "limit: the texts are too long for all that the rule does with them"
)

func (w *work) beyond(cost int) bool { return cost*w.operations > maxWork }

// patternSteps is how many instructions a pattern is made of.
func patternSteps(pattern string) int {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0 // the caller has compiled it
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return maxSteps + 1
	}
	return len(program.Inst)
}

func (c *compiler) matches(n ast.Node, x operand, xn Value, pattern *regexp.Regexp, steps int) operand {
	xf, w, each := x.fn, c.work, steps*costStep
	if steps > largePattern {
		each = steps * costStepLarge
	}
	return c.fold(operand{node: n, typ: typeBool, fn: func(f *frame, e *event.Event) Value {
		v := xf(f, e)
		if v.unusable() {
			return v.orNil(xn)
		}
		if len(v.Str) > maxMatched {
			return FaultValue(faultMatched)
		}
		if w.beyond(each * len(v.Str)) {
			return FaultValue(faultWork)
		}
		return boolValue(pattern.MatchString(v.Str))
	}}, x)
}

// textual is contains, startsWith, endsWith and matches.
func (c *compiler) textual(n *ast.BinaryNode) operand {
	onNil := c.nilMatch(n)
	x, y := c.expr(n.Left), c.expr(n.Right)
	if x.typ == typeBad || y.typ == typeBad {
		return bad(n)
	}
	for _, o := range []operand{x, y} {
		if o.typ != typeText {
			return c.failAt(o, n.Operator+" needs text, not "+o.typ.String(), "")
		}
	}
	xn, yn := c.need(x, onNil), c.need(y, onNil)
	c.work.operations++
	w := c.work
	test := map[string]func(string, string) bool{
		"contains": strings.Contains, "startsWith": strings.HasPrefix, "endsWith": strings.HasSuffix,
	}[n.Operator]
	if n.Operator == "matches" {
		if !y.konst {
			return c.failAt(y, "the pattern of matches must be written out", `write matches "^…$"`)
		}
		pattern, err := regexp.Compile(y.value.Str)
		if err != nil {
			return c.failAt(y, "the pattern is wrong: "+strings.TrimPrefix(err.Error(), "error parsing regexp: "), "patterns are RE2: no back-references, no look-around")
		}
		steps := patternSteps(y.value.Str)
		if *c.steps += steps; *c.steps > maxSteps {
			return c.failAt(y, fmt.Sprintf("the patterns of the condition take more steps than the limit of %d", maxSteps), "write simpler patterns: each {n} counts n times")
		}
		return c.matches(n, x, xn, pattern, steps)
	}
	xf, yf := x.fn, y.fn
	return c.fold(operand{node: n, typ: typeBool, fn: func(f *frame, e *event.Event) Value {
		a := xf(f, e)
		if a.unusable() {
			return a.orNil(xn)
		}
		b := yf(f, e)
		if b.unusable() {
			return b.orNil(yn)
		}
		if w.beyond(costRead * (len(a.Str) + len(b.Str))) {
			return FaultValue(faultWork)
		}
		return boolValue(test(a.Str, b.Str))
	}}, x, y)
}
