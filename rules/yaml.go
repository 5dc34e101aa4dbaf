package rules

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

// reader walks the YAML of one file and gathers its faults.
type reader struct {
	file *file
	errs Errors
}

// parse gives the file's top node; nil where there is none.
func (r *reader) parse() (node ast.Node) {
	defer func() {
		if p := recover(); p != nil { // a library must not take the process down over a file
			r.errs = append(r.errs, &Error{File: r.file.name, Message: fmt.Sprintf("the YAML can't be read: %v", p)})
			node = nil
		}
	}()
	tokens := lexer.Tokenize(r.file.data)
	if deep := yamltree.TooDeep(tokens); deep != nil {
		r.errs = append(r.errs, r.at(deep.Position, fmt.Sprintf("YAML: more than %d levels in one another", yamltree.MaxDepth)))
		return nil
	}
	f, err := parser.Parse(tokens, 0)
	if err != nil {
		r.syntax(err)
		return nil
	}
	for _, doc := range f.Docs {
		if doc.Body == nil {
			continue
		}
		if node != nil {
			r.fail(doc.Body, "a rule file holds one YAML document", "remove the line ---, or make two files of it")
			return node
		}
		node = doc.Body
	}
	return node
}

func (r *reader) syntax(err error) {
	var syntax *yaml.SyntaxError
	if !errors.As(err, &syntax) || syntax.Token == nil {
		r.errs = append(r.errs, &Error{File: r.file.name, Message: "the YAML can't be read: " + firstLine(err.Error())})
		return
	}
	e := r.at(syntax.Token.Position, "YAML: "+syntax.Message)
	if strings.Contains(syntax.Message, "not allowed in this context") {
		e.Hint = "check the indentation, and put a value that holds ': ' in single quotes"
	}
	if strings.Contains(syntax.Message, "flow map") {
		e.Hint = "put a text that starts with { in quotes"
	}
	r.errs = append(r.errs, e)
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// at makes an error of a YAML position.
func (r *reader) at(p *token.Position, message string) *Error {
	line, column, snippet := r.file.place(r.file.offset(p.Line, p.Column))
	return &Error{File: r.file.name, Line: line, Column: column, Message: message, Snippet: snippet}
}

func (r *reader) fail(n ast.Node, message, hint string) {
	e := r.at(yamltree.Start(n), message)
	e.Hint = hint
	r.errs = append(r.errs, e)
}

// pair is one key of a mapping.
type pair struct {
	key   text
	value ast.Node
}

// mapping gives the pairs of a mapping; what is the name of the thing in errors.
func (r *reader) mapping(n ast.Node, what string) []pair {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		r.fail(n, what+" is "+describe(n)+", not a mapping", "write it as lines of key: value")
		return nil
	}
	var pairs []pair
	for _, v := range values {
		key, ok := r.text(v.Key, "a key of "+what)
		if !ok {
			continue
		}
		pairs = append(pairs, pair{key, v.Value})
	}
	return pairs
}

// sequence gives the entries of a sequence.
func (r *reader) sequence(n ast.Node, what string) []ast.Node {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		r.fail(n, what+" is "+describe(n)+", not a list", "write it as [a, b] or as lines that start with -")
		return nil
	}
	return s.Values
}

// text gives a scalar, whatever YAML takes it for: numbers and booleans are
// taken as they are written.
func (r *reader) text(n ast.Node, what string) (text, bool) {
	p := yamltree.Start(n)
	t := text{file: r.file, start: r.file.offset(p.Line, p.Column)}
	switch n := n.(type) {
	case *ast.StringNode:
		t.value = n.Value
	case *ast.LiteralNode:
		t.value = n.Value.Value
		t.start, t.block = r.file.offset(n.Start.Position.Line+1, 1), true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		t.value = n.GetToken().Value
	case *ast.NullNode:
		r.fail(n, what+" is empty", "")
		return t, false
	default:
		hint := ""
		switch n.(type) {
		case *ast.MappingNode, *ast.TagNode, *ast.SequenceNode:
			hint = "put the text in single quotes: YAML reads a { or [ or ! at its start otherwise"
		}
		r.fail(n, what+" is "+describe(n)+", not a text", hint)
		return t, false
	}
	return t, true
}

func describe(n ast.Node) string {
	return yamltree.Describe(n, "rule files don't have (use macros)")
}
