package rules

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/refundguard/refundguard/rules/event"
)

// derivedStreams are streams that the program makes of others.
var derivedStreams = []string{"updates", "hits", "decisions"}

// source is the schema of a stream's events; nil for what is no stream.
func (d *draft) source(name string) *event.Stream {
	switch name {
	case "updates":
		return d.schema.Stream("transactions")
	case "hits":
		return d.hits
	case "decisions":
		return d.decisions
	}
	return d.schema.Stream(name)
}

const pastForm = `past events are written STREAM.by(customer_id).within("7d").count()`

// part is one call of a past-events chain, such as by(customer_id).
type part struct {
	name string
	args []ast.Node
	node ast.Node // where the name stands
}

// chain takes a chain apart. ok is false where it is not made of calls only.
func chain(n ast.Node) (root *ast.IdentifierNode, parts []part, ok bool) {
	for {
		switch m := n.(type) {
		case *ast.IdentifierNode:
			for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
				parts[i], parts[j] = parts[j], parts[i]
			}
			return m, parts, true
		case *ast.CallNode:
			callee, isMember := m.Callee.(*ast.MemberNode)
			if !isMember || callee.Optional {
				return nil, nil, false
			}
			property, isName := callee.Property.(*ast.StringNode)
			if !isName {
				return nil, nil, false
			}
			parts = append(parts, part{property.Value, m.Arguments, property})
			n = callee.Node
		default:
			return nil, nil, false
		}
	}
}

// past checks a past-events expression and gives it a slot.
func (c *compiler) past(n ast.Node) operand {
	root, parts, ok := chain(n)
	if !ok {
		return c.fail(n, "this can't be called", pastForm)
	}
	if c.scope == inWhere || c.scope == inKey {
		return c.fail(root, "past events can't be nested", "compare two past-events expressions with each other instead")
	}
	stream := c.d.source(root.Value)
	if stream == nil {
		return c.fail(root, "unknown stream "+root.Value, suggestOr(root.Value, c.streamNames(), "streams: "+strings.Join(c.streamNames(), ", ")))
	}
	p := pastExpr{c: c, source: root.Value, stream: stream, text: root.Value}
	if !p.read(root, parts) {
		return bad(n)
	}
	expressions, wide := c.b.expressions, len(c.b.wide)
	slot := c.b.feature(&p)
	if expressions == maxFeatures && c.b.expressions > maxFeatures {
		c.fail(n, fmt.Sprintf("the set has more different past-events expressions than the limit of %d: this is the first beyond it", maxFeatures), "each is computed for every refund: share windows between rules")
	}
	if len(c.b.wide) > wide {
		c.fail(n, fmt.Sprintf("%s: more fields are aggregated than the limit of %d", p.series, maxColumns), "aggregate fewer fields of one stream")
	}
	maybe := p.nilOnNone || len(p.keyPaths) > 0
	if p.nilOnNone {
		p.keyPaths = nil // it can be nil with any key
	}
	return operand{
		node: n, at: root, typ: p.result, path: p.text, keys: p.keyPaths, field: p.field,
		maybe: maybe && !c.known.notNil(p.text),
		fn:    func(f *frame, _ *event.Event) Value { return f.features[slot] },
	}
}

func (c *compiler) streamNames() []string {
	var names []string
	for _, st := range c.d.schema.Streams {
		names = append(names, st.Name)
	}
	return append(names, derivedStreams...)
}

// pastExpr is a past-events expression while it is read.
type pastExpr struct {
	c         *compiler
	source    string
	stream    *event.Stream
	text      string // canonical, as far as it is read
	series    string // canonical name of the series
	keys      []keyPart
	keyExprs  []keyExpr
	keyText   []string // ours
	theirs    []string
	keyPaths  []string // what may be nil on the way to the key; "" for what has no name
	where     fn
	mayFail   bool // where can
	within    int64
	delayed   int64
	ever      bool
	aggregate Aggregate
	column    *Column
	field     *event.Field // whose values the expression has; nil: numbers of its own
	result    vtype
	nilOnNone bool // nil, not 0, where there are no events
}

// order of a chain's parts; window is within or ever.
const (
	stepBy = iota
	stepWhere
	stepWindow
	stepDelayed
	stepAggregate
	stepEnd
)

func (p *pastExpr) read(root *ast.IdentifierNode, parts []part) bool {
	c, step := p.c, stepBy
	var at ast.Node = root
	ok := true
	for _, part := range parts {
		at = part.node
		next := stepOf(part.name)
		switch {
		case next < 0:
			c.fail(at, fmt.Sprintf("unknown part %s of a past-events expression", part.name), suggestOr(part.name, partNames(), pastForm))
			return false
		case step == stepBy && next != stepBy:
			c.fail(at, "by(…) is missing before "+part.name, "say whose events: "+p.source+".by(customer_id)…")
			return false
		case step <= stepWindow && next > stepWindow:
			c.fail(at, "a window is missing before "+part.name, `say since when: .within("7d") or .ever()`)
			return false
		case next < step || next == stepDelayed && p.ever:
			c.fail(at, part.name+" can't stand here", "the order is by, where, within and delayed or ever, and one aggregate")
			return false
		}
		step = next + 1
		switch next {
		case stepBy:
			ok = p.readBy(part)
		case stepWhere:
			ok = p.readWhere(part)
		case stepWindow:
			ok = p.readWindow(part)
		case stepDelayed:
			p.delayed, ok = p.duration(part)
		case stepAggregate:
			ok = p.readAggregate(part)
		}
		if !ok {
			return false
		}
	}
	if step <= stepAggregate {
		c.fail(at, "the expression has no aggregate", "end it with "+aggregateForms)
		return false
	}
	if p.within > maxWindow-p.delayed {
		c.fail(at, "the window is longer than the limit of 10 years, within and delayed together", "for all there is write .ever()")
		return false
	}
	return true
}

func stepOf(name string) int {
	switch name {
	case "by":
		return stepBy
	case "where":
		return stepWhere
	case "within", "ever":
		return stepWindow
	case "delayed":
		return stepDelayed
	}
	if _, ok := aggregates[name]; ok {
		return stepAggregate
	}
	return -1
}

func partNames() []string {
	names := []string{"by", "where", "within", "ever", "delayed"}
	return append(names, aggregateNames()...)
}

// listVersions tells series apart whose lists have changed. Those that the rest
// of the rule reads don't matter to what is kept.
func listVersions(lists []*list) string {
	var b strings.Builder
	for _, l := range lists {
		fmt.Fprintf(&b, " #%s=%s", l.name.value, l.fingerprint())
	}
	return b.String()
}

// readBy reads by(a, b) and by({theirs: ours}).
func (p *pastExpr) readBy(part part) bool {
	c := p.c
	defer func() { p.series = p.source + ".by(" + strings.Join(p.theirs, ", ") + ")" }()
	if len(part.args) == 0 {
		c.fail(part.node, "by() names no field", "say whose events: by(customer_id)")
		return false
	}
	var texts []string
	if m, ok := part.args[0].(*ast.MapNode); ok && len(part.args) == 1 && len(m.Pairs) > 0 {
		plain := true
		for _, pair := range m.Pairs {
			text, same, ok := p.readPair(pair.(*ast.PairNode))
			if !ok {
				return false
			}
			texts, plain = append(texts, text), plain && same
		}
		if !plain {
			p.text += ".by({" + strings.Join(texts, ", ") + "})"
			return true
		}
		texts = p.keyText
	} else {
		for _, arg := range part.args {
			id, ok := arg.(*ast.IdentifierNode)
			if !ok {
				c.fail(arg, "by(…) takes names of fields", "for anything else write by({their_field: your_expression})")
				return false
			}
			if !p.addKey(id, id.Value, id) {
				return false
			}
			texts = append(texts, id.Value)
		}
	}
	p.text += ".by(" + strings.Join(texts, ", ") + ")"
	return true
}

// readPair reads theirs: ours. same says that both are one name.
func (p *pastExpr) readPair(pair *ast.PairNode) (text string, same, ok bool) {
	key, isName := pair.Key.(*ast.StringNode)
	if !isName {
		p.c.fail(pair.Key, "the left side must be a field of "+p.source, "by({their_field: your_expression})")
		return "", false, false
	}
	if !p.addKey(key, key.Value, pair.Value) {
		return "", false, false
	}
	ours := p.keyText[len(p.keyText)-1]
	return key.Value + ": " + ours, key.Value == ours, true
}

// addKey adds one field of theirs, and the expression of ours that it equals.
func (p *pastExpr) addKey(at ast.Node, theirs string, ours ast.Node) bool {
	c := p.c
	slot := p.stream.Slot(theirs)
	if slot < 0 {
		c.fail(at, p.source+" has no field "+theirs, suggest(theirs, fieldNames(p.stream)))
		return false
	}
	if id, ok := ours.(*ast.IdentifierNode); ok && id.Value == theirs && c.stream.Slot(theirs) < 0 && c.macroBody(id) == nil {
		c.fail(ours, "a "+c.subject()+" has no field "+theirs, fmt.Sprintf("say what of the %s it equals: by({%s: …})", c.subject(), theirs))
		return false
	}
	field := &p.stream.Fields[slot]
	sub := *c
	sub.scope, sub.known = inKey, append(facts(nil), c.known...)
	o := sub.expr(ours)
	if o.typ == typeBad {
		return false
	}
	if o.typ != typeOf(field.Type) {
		c.failAt(o, fmt.Sprintf("%s is %s, and this is %s", theirs, typeOf(field.Type), o.typ), "")
		return false
	}
	if o.maybe {
		p.keyPaths = append(p.keyPaths, c.nameOf(o))
	}
	p.theirs = append(p.theirs, theirs)
	p.keys = append(p.keys, keyPart{slot, field.Type})
	p.keyExprs = append(p.keyExprs, keyExpr{o.fn, field.Type})
	p.keyText = append(p.keyText, c.print(ours, 0))
	return true
}

// readWhere compiles the condition over the past event.
func (p *pastExpr) readWhere(part part) bool {
	c := p.c
	if len(part.args) != 1 {
		c.fail(part.node, "where(…) takes one condition", `where(reason == "not_received")`)
		return false
	}
	sub := *c
	sub.scope, sub.stream, sub.original, sub.known, sub.lists = inWhere, p.stream, nil, nil, nil
	faults := len(*c.errs)
	o := sub.expr(part.args[0])
	if o.typ == typeBad || len(*c.errs) > faults && hasFault((*c.errs)[faults:]) {
		return false
	}
	if o.typ != typeBool {
		c.failAt(o, "where(…) needs a condition, not "+o.typ.String(), `where(reason == "not_received")`)
		return false
	}
	if o.konst {
		c.warning(o, fmt.Sprintf("where(…) is always %v", o.value.isTrue()), "")
	}
	p.where, p.mayFail = o.fn, c.mayFail(part.args[0])
	where := ".where(" + c.print(part.args[0], 0) + ")"
	p.text += where
	p.series += where + listVersions(sub.lists)
	return true
}

func hasFault(errs Errors) bool {
	for _, e := range errs {
		if !e.Warning {
			return true
		}
	}
	return false
}

func (p *pastExpr) readWindow(part part) bool {
	if part.name == "within" {
		var ok bool
		p.within, ok = p.duration(part)
		return ok
	}
	if len(part.args) > 0 {
		p.c.fail(part.node, "ever() takes nothing", `for a part of the past: .within("7d")`)
		return false
	}
	p.ever = true
	p.text += ".ever()"
	return true
}

// maxWindow is 10 years.
const maxWindow = 10 * 366 * 24 * 3_600_000

var unitMillis = map[byte]int64{'s': 1_000, 'm': 60_000, 'h': 3_600_000, 'd': 86_400_000, 'w': 7 * 86_400_000}

func (p *pastExpr) duration(part part) (ms int64, ok bool) {
	c := p.c
	const hint = `a duration is a text such as "30m", "24h", "7d" or "4w"`
	if len(part.args) != 1 {
		c.fail(part.node, part.name+"(…) takes one duration", hint)
		return 0, false
	}
	s, isText := part.args[0].(*ast.StringNode)
	if !isText {
		c.fail(part.args[0], part.name+"(…) needs a duration", hint)
		return 0, false
	}
	ms, ok = parseDuration(s.Value)
	if !ok {
		c.fail(s, quote(s.Value)+" is not a duration", hint+", at most 10 years")
		return 0, false
	}
	p.text += "." + part.name + "(" + quote(s.Value) + ")"
	return ms, true
}

// parseDuration reads a whole number and a unit: s, m, h, d or w.
func parseDuration(s string) (ms int64, ok bool) {
	if len(s) < 2 {
		return 0, false
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	ms = int64(n) * unitMillis[s[len(s)-1]]
	return ms, err == nil && s[0] != '0' && ms > 0 && ms <= maxWindow
}
