package rules

import (
	"fmt"
	"sort"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// maxFeatures bounds what one refund can cost.
const maxFeatures = 1_000

// compile makes the set of what was read.
func (d *draft) compile(o Options) (*Set, error) {
	convert, err := newConverter(o)
	if err != nil {
		return nil, err
	}
	d.parseMacros()
	stores := newStores()
	s := d.compileOn("refunds", stores, o)
	s.Policy = d.policy
	payments := d.compileOn("transactions", stores, o)
	stores.finish()
	s.Series, payments.Series = stores.series, stores.series
	s.convert, payments.convert = convert, convert
	if len(payments.Rules) > 0 {
		s.Transactions = payments
	}
	if len(s.Rules) == 0 && len(payments.Rules) > 0 {
		d.errs = append(d.errs, &Error{Message: "no rule is on refunds: every refund would be approved", Hint: "write at least one, with mode: off if need be", Warning: true})
	}
	d.checkUnused(o.Strict)
	d.errs = d.errs.tidy()
	if hasFault(d.errs) {
		return nil, d.errs
	}
	s.Warnings = d.errs
	return s, nil
}

// compileOn compiles the rules on one stream.
func (d *draft) compileOn(stream string, stores *stores, o Options) *Set {
	st := d.schema.Stream(stream)
	s := &Set{
		Version: d.folder.version(), files: d.folder.tried(),
		fields: schemaSlots{amount: st.Slot("amount"), currency: st.Slot("currency")},
	}
	b := newBuilder()
	b.stores = stores
	for _, rd := range d.rules {
		if rd.On != stream {
			continue
		}
		target := b
		if rd.Mode == Off {
			target = newBuilder() // checked like the others, but nothing is kept for it
		}
		d.compileRule(rd, target, o.Strict)
		s.Rules = append(s.Rules, rd.Rule)
		if rd.Mode != Off {
			s.active, s.conds = append(s.active, rd.Rule), append(s.conds, rd.cond)
		}
	}
	b.finish(s)
	return s
}

func (d *draft) newCompiler(b *builder, rule, on string, strict bool) *compiler {
	c := &compiler{
		d: d, b: b, rule: rule, on: on, strict: strict, errs: &d.errs, stream: d.schema.Stream(on), steps: new(int), work: new(work),
		runes: map[*text][]rune{}, groups: map[*text]map[int]int{},
	}
	if on == "refunds" {
		c.original = d.schema.Stream("transactions")
	}
	return c
}

func (d *draft) compileRule(rd *ruleDraft, b *builder, strict bool) {
	w := new(work)
	b.live = rd.Mode == Live
	next := func() *compiler {
		c := d.newCompiler(b, rd.ID, rd.On, strict)
		c.work = w
		return c
	}
	if rd.when.file != nil && len(rd.when.value) <= maxCondition {
		c := next()
		c.silent, c.holds = rd.saysOnMissing, rd.Mode == Live && !rd.AlertOnly()
		rd.cond = c.condition(&rd.when)
	}
	for i := range rd.exceptions {
		d.compileException(rd, i, next())
	}
	if rd.hasMessage {
		rd.Rule.message = next().template(&rd.message)
	}
	if rd.hasCustomMessage {
		rd.Rule.customerMessage = next().template(&rd.customerMessage)
	}
}

// parseMacros parses the macros, refuses those that use themselves, and
// measures the others.
func (d *draft) parseMacros() {
	names := make([]string, 0, len(d.macros))
	for name := range d.macros {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		m := d.macros[name]
		if len(m.body.value) > maxCondition {
			d.errs = append(d.errs, m.body.report("", 0, fmt.Sprintf("longer than the limit of %d bytes", maxCondition), ""))
			continue
		}
		tree, fault := parseText(&m.body, "")
		if fault != nil {
			d.errs = append(d.errs, fault)
			continue
		}
		m.tree = tree
	}
	state := map[string]int{}
	for _, name := range names {
		d.measureMacro(name, state, nil)
	}
}

// measureMacro visits what a macro is made of, depth first. state is 1 while a
// macro is being visited, 2 after.
func (d *draft) measureMacro(name string, state map[string]int, path []string) {
	m := d.macros[name]
	if m.tree == nil || state[name] == 2 {
		return
	}
	path = append(path, name)
	if state[name] == 1 {
		d.errs = append(d.errs, m.body.report("", 0, "it uses itself: "+strings.Join(path, " → "), "write one of them out"))
		m.tree = nil
		return
	}
	state[name] = 1
	ast.Walk(&m.tree, visitor(func(n ast.Node) {
		if id, ok := n.(*ast.IdentifierNode); ok && d.macros[id.Value] != nil {
			d.measureMacro(id.Value, state, path)
		}
	}))
	state[name] = 2
	if m.tree != nil {
		c := d.newCompiler(nil, "", "refunds", false)
		m.size = c.size(m.tree)
	}
}

type visitor func(ast.Node)

func (v visitor) Visit(n *ast.Node) { v(*n) }

// checkUnused warns of lists and macros that no rule uses. Those macros are
// compiled all the same, as if a rule on refunds used them, so that their faults
// show.
func (d *draft) checkUnused(strict bool) {
	faulty := hasFault(d.errs) // then what isn't used may be what a faulty name stands for
	for name, m := range d.macros {
		if m.used || m.tree == nil {
			continue
		}
		if !faulty {
			d.errs = append(d.errs, m.name.warn("macro "+name+" is not used", "remove it"))
		}
		if m.size <= maxNodes {
			c := d.newCompiler(newBuilder(), "", "refunds", strict)
			c.scope = inMessage
			c.text = &m.body
			c.expr(m.tree)
		}
	}
	for name, l := range d.lists {
		if !l.used && !faulty {
			d.errs = append(d.errs, l.name.warn("list "+name+" is not used", "remove it"))
		}
	}
}

func (t *text) warn(message, hint string) *Error {
	e := t.report("", 0, message, hint)
	e.Warning = true
	return e
}
