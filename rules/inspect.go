package rules

import (
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// This file serves the commands that tell people about rules. It reads a draft
// as the compiler does and changes nothing: whoever changes draft, compiler or
// chain keeps it compiling, and its tests say what it must go on to find.

// Reading is what one rule reads, macros expanded. Each list is in order of
// first appearance, without repeats.
type Reading struct {
	Rule       *Rule     `json:"-"`
	Condition  string    `json:"condition"`          // canonical text, macros expanded
	Fields     []string  `json:"fields"`             // of the event at hand; refunded and amount_base included
	Original   []string  `json:"original,omitempty"` // of the payment; "" where only its being known counts
	Lists      []ListUse `json:"lists,omitempty"`
	Macros     []string  `json:"macros,omitempty"`     // names
	Exceptions []string  `json:"exceptions,omitempty"` // canonical conditions
	Missing    []string  `json:"missing,omitempty"`    // what can be nil where the condition needs it
	Past       []Past    `json:"past,omitempty"`       // in the condition and its exceptions first, then those that only messages show

	Message         string `json:"message,omitempty"` // both as written
	CustomerMessage string `json:"customer_message,omitempty"`
}

// Past is one past-events expression, taken apart.
type Past struct {
	Text        string    `json:"text"` // canonical
	Stream      string    `json:"stream"`
	By          []PastKey `json:"by"`
	Where       string    `json:"where,omitempty"`
	Within      int64     `json:"within_ms,omitempty"`
	Delayed     int64     `json:"delayed_ms,omitempty"`
	Ever        bool      `json:"ever,omitempty"`
	Aggregate   string    `json:"aggregate"` // its name in the language
	Field       string    `json:"field,omitempty"`
	MessageOnly bool      `json:"message_only,omitempty"`
}

// ListUse is a list that a condition reads.
type ListUse struct {
	Name   string `json:"name"`
	File   string `json:"file"` // that its values stand in
	Values int    `json:"values"`
}

// PastKey says that a past event's field equals an expression over the event at
// hand.
type PastKey struct {
	Theirs string `json:"theirs"`
	Ours   string `json:"ours"`
}

// Inspect loads a set as Load does, and says what each of its rules reads, in
// the order of the files.
func Inspect(dir string, o Options) (*Set, []Reading, error) {
	set, err := Load(dir, o)
	if err != nil {
		return nil, nil, err
	}
	f, err := openFolder(dir)
	if err != nil {
		return nil, nil, asErrors(err)
	}
	d, err := readDraft(f, o)
	if err != nil {
		return nil, nil, err
	}
	d.parseMacros()
	readings := make([]Reading, len(d.rules))
	for i, rd := range d.rules {
		readings[i] = d.inspect(rd)
	}
	return set, readings, nil
}

// RuleFiles lists the rule files of a folder, sorted, as paths; of a file, the
// file.
func RuleFiles(dir string) ([]string, error) {
	f, err := openFolder(dir)
	if err != nil {
		return nil, asErrors(err)
	}
	names, err := f.names()
	if err != nil {
		return nil, asErrors(err)
	}
	for i, name := range names {
		names[i] = f.shown(name)
	}
	return names, nil
}

func (d *draft) inspect(rd *ruleDraft) Reading {
	i := &inspector{c: d.newCompiler(newBuilder(), rd.ID, rd.On, true), r: &Reading{Rule: rd.Rule, Fields: []string{}}}
	i.r.Condition = i.text(&rd.when)
	for j := range rd.exceptions {
		if rd.exceptions[j].when.file != nil {
			i.r.Exceptions = append(i.r.Exceptions, i.text(&rd.exceptions[j].when))
		}
	}
	i.r.Missing = d.missing(rd)
	i.r.Message, i.r.CustomerMessage = rd.message.value, rd.customerMessage.value
	i.inMessage = true
	if rd.hasMessage {
		i.template(&rd.message)
	}
	if rd.hasCustomMessage {
		i.template(&rd.customerMessage)
	}
	return *i.r
}

// missing compiles the condition anew, to hear what can be missing in it.
func (d *draft) missing(rd *ruleDraft) (names []string) {
	before := d.errs
	defer func() { d.errs = before }()
	c := d.newCompiler(newBuilder(), rd.ID, rd.On, false)
	c.missed = func(what string, keys []string) {
		if len(keys) == 0 {
			keys = []string{what}
		}
		for _, key := range keys {
			addOnce(&names, key)
		}
	}
	c.condition(&rd.when)
	return names
}

// inspector walks the conditions of one rule.
type inspector struct {
	c         *compiler
	r         *Reading
	inMessage bool // only past events count
}

// text walks a whole condition and gives its canonical text.
func (i *inspector) text(t *text) string {
	i.c.text = t
	tree, fault := parseText(t, "")
	if fault != nil {
		return t.value
	}
	i.walk(tree)
	return i.c.print(tree, 0)
}

func (i *inspector) template(t *text) {
	rest := t.value
	for {
		_, after, found := strings.Cut(rest, "{{")
		end := endOfExpr(after)
		if !found || end < 0 {
			return
		}
		i.text(&text{file: t.file, value: after[:end]})
		rest = after[end+2:]
	}
}

func (i *inspector) walk(n ast.Node) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		i.name(n)
	case *ast.ChainNode:
		i.walk(n.Node)
	case *ast.MemberNode:
		i.member(n)
	case *ast.UnaryNode:
		i.walk(n.Node)
	case *ast.BinaryNode:
		i.walk(n.Left)
		i.walk(n.Right)
	case *ast.ConditionalNode:
		i.walk(n.Cond)
		i.walk(n.Exp1)
		i.walk(n.Exp2)
	case *ast.ArrayNode:
		i.walkAll(n.Nodes)
	case *ast.BuiltinNode:
		i.walkAll(n.Arguments)
	case *ast.CallNode:
		if root, parts, ok := chain(n); ok && len(parts) > 0 {
			i.past(n, root, parts)
			return
		}
		i.walkAll(n.Arguments)
	}
}

func (i *inspector) walkAll(nodes []ast.Node) {
	for _, n := range nodes {
		i.walk(n)
	}
}

func (i *inspector) name(n *ast.IdentifierNode) {
	if m := i.c.macroBody(n); m != nil {
		i.note(&i.r.Macros, n.Value)
		back := i.c.enter(m)
		i.walk(m.tree)
		back()
		return
	}
	if n.Value == "original" {
		i.note(&i.r.Original, "")
		return
	}
	i.note(&i.r.Fields, n.Value)
}

func (i *inspector) member(n *ast.MemberNode) {
	inner := n.Node
	if chain, ok := inner.(*ast.ChainNode); ok {
		inner = chain.Node
	}
	root, ok := inner.(*ast.IdentifierNode)
	switch {
	case ok && root.Value == "original":
		i.note(&i.r.Original, name(n.Property))
	case ok && root.Value == "lists":
		i.list(name(n.Property))
	default:
		i.walk(inner)
	}
}

func (i *inspector) list(name string) {
	seen := slices.ContainsFunc(i.r.Lists, func(l ListUse) bool { return l.Name == name })
	l := i.c.d.lists[name]
	if seen || l == nil || i.inMessage {
		return
	}
	use := ListUse{Name: name, Values: len(l.values)}
	if l.file != nil {
		use.File = l.file.name
	}
	i.r.Lists = append(i.r.Lists, use)
}

// past takes a past-events expression apart. Only its key reads the event at
// hand.
func (i *inspector) past(n ast.Node, root *ast.IdentifierNode, parts []part) {
	p := Past{Text: i.c.print(n, 0), Stream: root.Value, MessageOnly: i.inMessage}
	for _, part := range parts {
		switch stepOf(part.name) {
		case stepBy:
			p.By = i.by(part.args)
		case stepWhere:
			i.where(part.args)
			if len(part.args) == 1 {
				p.Where = i.c.print(part.args[0], 0)
			}
		case stepWindow:
			p.Ever = part.name == "ever"
			p.Within = span(part.args)
		case stepDelayed:
			p.Delayed = span(part.args)
		case stepAggregate:
			p.Aggregate = part.name
			if len(part.args) > 0 {
				p.Field = i.c.print(part.args[0], 0)
			}
		}
	}
	if !slices.ContainsFunc(i.r.Past, func(seen Past) bool { return seen.Text == p.Text }) {
		i.r.Past = append(i.r.Past, p)
	}
}

func (i *inspector) by(args []ast.Node) (keys []PastKey) {
	for _, arg := range args {
		m, ok := arg.(*ast.MapNode)
		if !ok {
			keys = append(keys, PastKey{i.c.print(arg, 0), i.c.print(arg, 0)})
			i.walk(arg)
			continue
		}
		for _, pair := range m.Pairs {
			if pair, ok := pair.(*ast.PairNode); ok {
				keys = append(keys, PastKey{name(pair.Key), i.c.print(pair.Value, 0)})
				i.walk(pair.Value)
			}
		}
	}
	return keys
}

// where finds lists and macros. The fields in a where(…) are not ours.
func (i *inspector) where(args []ast.Node) {
	inner := inspector{c: i.c, r: &Reading{}, inMessage: i.inMessage}
	inner.walkAll(args)
	for _, l := range inner.r.Lists {
		i.list(l.Name)
	}
	for _, m := range inner.r.Macros {
		i.note(&i.r.Macros, m)
	}
}

func span(args []ast.Node) int64 {
	if len(args) == 1 {
		if s, ok := args[0].(*ast.StringNode); ok {
			ms, _ := parseDuration(s.Value)
			return ms
		}
	}
	return 0
}

func (i *inspector) note(to *[]string, name string) {
	if !i.inMessage {
		addOnce(to, name)
	}
}

func addOnce(to *[]string, name string) {
	if !slices.Contains(*to, name) {
		*to = append(*to, name)
	}
}
