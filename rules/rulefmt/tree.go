package rulefmt

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/refundguard/refundguard/rules/yamltree"
)

// kind is what a node is.
type kind uint8

const (
	scalar kind = iota
	mapping
	sequence
)

// style is how a scalar was written.
type style uint8

const (
	plain style = iota // a text without quotes
	quoted
	literal // |
	folded  // >
	other   // a number, true, false, null: kept as it is written
)

// node is a YAML value with the comments that belong to its entries.
type node struct {
	kind       kind
	style      style
	value      string // of a scalar
	broken     string // of a scalar without quotes: its value with line breaks as they were written; "": it has none
	null       bool
	lines      int  // how many lines a scalar took, roughly
	flow       bool // [a, b], {a: b}
	line, last int  // of a flow collection: where it starts and ends
	column     int  // of its entries
	entries    []*entry
	foot       []string // comments after the last entry
}

// entry is one key of a mapping or one item of a sequence.
type entry struct {
	key          string // "" in a sequence
	value        *node
	line, column int
	before       []string // comment lines above it; "" is a blank one
	after        string   // comment behind it
	apart        bool     // a blank line stood above it, and above its comments
	path         []*node  // what it is in, outermost first
}

// parse reads one YAML document; nil where there is nothing in it.
func parse(source string) (top *node, comments []comment, err error) {
	defer func() {
		if p := recover(); p != nil { // a library must not take the process down over a file
			top, err = nil, fmt.Errorf("the YAML can't be read: %v", p)
		}
	}()
	tokens := lexer.Tokenize(source)
	if err := refused(tokens); err != nil {
		return nil, nil, err
	}
	comments = findComments(source, tokens)
	f, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, nil, syntaxError(err)
	}
	for _, doc := range f.Docs {
		if doc.Body == nil {
			continue
		}
		if _, ok := doc.Body.(*ast.NullNode); ok {
			continue
		}
		if top != nil {
			return nil, nil, &Error{Line: yamltree.Start(doc.Body).Line, Message: "a rule file holds one YAML document"}
		}
		b := builder{}
		if top = b.node(doc.Body); b.err != nil {
			return nil, nil, b.err
		}
	}
	return top, comments, nil
}

func refused(tokens token.Tokens) error {
	for _, t := range tokens {
		switch t.Type {
		case token.TagType, token.AnchorType, token.AliasType, token.MergeKeyType, token.DirectiveType:
			return &Error{Line: t.Position.Line, Message: "rule files have no YAML anchors, aliases, tags or directives"}
		}
	}
	if t := yamltree.TooDeep(tokens); t != nil {
		return &Error{Line: t.Position.Line, Message: fmt.Sprintf("more than %d levels in one another", yamltree.MaxDepth)}
	}
	return nil
}

func syntaxError(err error) error {
	var e *yaml.SyntaxError
	if errors.As(err, &e) && e.Token != nil {
		return &Error{Line: e.Token.Position.Line, Message: "YAML: " + e.Message}
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return &Error{Message: "YAML: " + text}
}

// builder turns the parser's nodes into ours. It keeps the first fault.
type builder struct {
	path []*node
	err  error
}

func (b *builder) node(n ast.Node) *node {
	switch n := n.(type) {
	case *ast.MappingNode:
		out := &node{kind: mapping, flow: n.IsFlowStyle}
		if n.IsFlowStyle && n.Start != nil && n.End != nil {
			out.line, out.last = n.Start.Position.Line, n.End.Position.Line
		}
		b.pairs(out, n.Values)
		return out
	case *ast.MappingValueNode:
		out := &node{kind: mapping}
		b.pairs(out, []*ast.MappingValueNode{n})
		return out
	case *ast.SequenceNode:
		out := &node{kind: sequence, flow: n.IsFlowStyle}
		if n.IsFlowStyle && n.Start != nil && n.End != nil {
			out.line, out.last = n.Start.Position.Line, n.End.Position.Line
		}
		b.items(out, n)
		return out
	}
	return b.scalar(n)
}

func (b *builder) pairs(out *node, values []*ast.MappingValueNode) {
	b.path = append(b.path, out)
	defer func() { b.path = b.path[:len(b.path)-1] }()
	for _, v := range values {
		key := b.scalar(v.Key)
		if key.style == literal || key.style == folded || strings.Contains(key.value, "\n") {
			b.fail(v.Key, "a key must be a simple name")
		}
		at := v.Key.GetToken().Position
		b.add(out, &entry{key: key.value, line: at.Line, column: at.Column}, v.Value)
	}
}

func (b *builder) items(out *node, n *ast.SequenceNode) {
	b.path = append(b.path, out)
	defer func() { b.path = b.path[:len(b.path)-1] }()
	for i, v := range n.Values {
		at := yamltree.Start(v)
		if i < len(n.Entries) && n.Entries[i].Start != nil && !n.IsFlowStyle {
			at = n.Entries[i].Start.Position
		}
		b.add(out, &entry{line: at.Line, column: at.Column}, v)
	}
}

func (b *builder) add(out *node, e *entry, value ast.Node) {
	if len(out.entries) == 0 {
		out.column = e.column
	}
	e.path = append([]*node(nil), b.path...)
	out.entries = append(out.entries, e)
	e.value = b.node(value)
}

func (b *builder) scalar(n ast.Node) *node {
	out := &node{kind: scalar}
	switch n := n.(type) {
	case *ast.StringNode:
		out.value = n.Value
		if t := n.GetToken(); t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType {
			out.style = quoted
		}
		out.lines = strings.Count(strings.TrimSpace(n.GetToken().Origin), "\n") + 1
		if out.style == plain && out.lines > 1 {
			out.broken = n.GetToken().Origin
		}
	case *ast.LiteralNode:
		out.value, out.style = n.Value.Value, literal
		if strings.HasPrefix(n.Start.Value, ">") {
			out.style = folded
			out.broken = n.Value.GetToken().Origin
		}
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		out.value, out.style = n.GetToken().Value, other
	case *ast.NullNode:
		out.style, out.null = other, true
		if len(b.path) > 0 && (b.path[len(b.path)-1].kind == sequence || b.path[len(b.path)-1].flow) {
			out.value = "null"
		}
	default:
		b.fail(n, "this kind of YAML has no place in a rule file")
	}
	return out
}

func (b *builder) fail(n ast.Node, message string) {
	if b.err == nil {
		b.err = &Error{Line: yamltree.Start(n).Line, Message: message}
	}
}
