package ruletest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/yamltree"
)

// source is one test file and the faults found in it.
type source struct {
	name  string // as errors show it
	lines []string
	errs  rules.Errors
}

// fault makes an error of a place in the file.
func (s *source) fault(p place, message, hint string) *rules.Error {
	e := &rules.Error{File: s.name, Line: p.line, Column: p.column, Message: message, Hint: hint}
	if p.line >= 1 && p.line <= len(s.lines) {
		e.Snippet = strings.TrimRight(s.lines[p.line-1], "\r")
	}
	return e
}

// char is the character at a place; 0 if there is none.
func (s *source) char(p place) rune {
	if p.line < 1 || p.line > len(s.lines) {
		return 0
	}
	line := []rune(s.lines[p.line-1])
	if p.column < 1 || p.column > len(line) {
		return 0
	}
	return line[p.column-1]
}

func (s *source) fail(p place, message, hint string) {
	s.errs = append(s.errs, s.fault(p, message, hint))
}

// parse gives the file's top node; nil where there is none or it is faulty.
func (s *source) parse(text string) (node ast.Node) {
	defer func() {
		if p := recover(); p != nil { // a library must not take the process down over a file
			s.fail(place{}, fmt.Sprintf("the YAML can't be read: %v", p), "")
			node = nil
		}
	}()
	tokens := lexer.Tokenize(text)
	if deep := yamltree.TooDeep(tokens); deep != nil {
		s.fail(placeOf(deep), fmt.Sprintf("YAML: more than %d levels in one another", yamltree.MaxDepth), "")
		return nil
	}
	f, err := parser.Parse(tokens, 0)
	if err != nil {
		s.syntax(err)
		return nil
	}
	for _, doc := range f.Docs {
		if doc.Body == nil {
			continue
		}
		if node != nil {
			s.fail(at(doc.Body), "a test file holds one YAML document", "remove the line ---, or make two files of it")
			return node
		}
		node = doc.Body
	}
	return node
}

func (s *source) syntax(err error) {
	var syntax *yaml.SyntaxError
	if !errors.As(err, &syntax) || syntax.Token == nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		s.fail(place{}, "the YAML can't be read: "+first, "")
		return
	}
	s.fail(placeOf(syntax.Token), "YAML: "+syntax.Message, "check the indentation and the brackets, and put a text that holds ': ' or starts with { or [ in single quotes")
}

func placeOf(t *token.Token) place { return place{t.Position.Line, t.Position.Column} }

// at is where a node starts.
func at(n ast.Node) place {
	p := yamltree.Start(n)
	return place{p.Line, p.Column}
}

// pair is one key of a mapping.
type pair struct {
	key   string
	at    place
	value ast.Node
}

// mapping gives the pairs of a mapping; what names it in errors.
func (s *source) mapping(n ast.Node, what string) []pair {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	case *ast.NullNode:
		return nil
	default:
		s.fail(at(n), what+" is "+describe(n)+", not a mapping", "write it as lines of key: value, or as {key: value, …}")
		return nil
	}
	pairs := make([]pair, 0, len(values))
	seen := map[string]bool{}
	for _, v := range values {
		key, ok := s.scalar(v.Key, "a key of "+what)
		if !ok {
			continue
		}
		if seen[key.text] {
			s.fail(key.at, "the key "+key.text+" is there twice", "remove one of them")
			continue
		}
		seen[key.text] = true
		pairs = append(pairs, pair{key.text, key.at, v.Value})
	}
	return pairs
}

// sequence gives the entries of a list.
func (s *source) sequence(n ast.Node, what string) []ast.Node {
	switch n := n.(type) {
	case *ast.SequenceNode:
		return n.Values
	case *ast.NullNode:
		return nil
	}
	s.fail(at(n), what+" is "+describe(n)+", not a list", "write it as [a, b] or as lines that start with -")
	return nil
}

// scalarKind says how a single value is written.
type scalarKind uint8

const (
	scalarText scalarKind = iota // in quotes, a block, or plain words
	scalarNumber
	scalarBool
	scalarNull
)

// scalar is one single value.
type scalar struct {
	kind   scalarKind
	text   string // as it is meant; numbers and booleans as they are written
	quoted bool
	at     place
}

// scalar gives a single value.
func (s *source) scalar(n ast.Node, what string) (scalar, bool) {
	v := scalar{at: at(n)}
	switch n := n.(type) {
	case *ast.StringNode:
		v.text = n.Value
		v.quoted = n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType
	case *ast.LiteralNode:
		v.text, v.quoted = n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		v.kind, v.text = scalarNumber, n.GetToken().Value
	case *ast.BoolNode:
		v.kind, v.text = scalarBool, n.Token.Value
	case *ast.NullNode:
		v.kind = scalarNull
	default:
		s.fail(v.at, what+" is "+describe(n)+", not a single value", "")
		return v, false
	}
	return v, true
}

// word gives a single value that must be there.
func (s *source) word(n ast.Node, what string) (scalar, bool) {
	v, ok := s.scalar(n, what)
	if ok && (v.kind == scalarNull || v.text == "") {
		s.fail(v.at, what+" is empty", "")
		return v, false
	}
	return v, ok
}

// words gives a list of single values. One alone may stand without brackets.
func (s *source) words(n ast.Node, what string) ([]scalar, bool) {
	if _, ok := n.(*ast.StringNode); ok {
		w, ok := s.word(n, what)
		return []scalar{w}, ok
	}
	before := len(s.errs)
	list := []scalar{}
	for _, item := range s.sequence(n, what) {
		if w, ok := s.word(item, "an entry of "+what); ok {
			list = append(list, w)
		}
	}
	return list, len(s.errs) == before
}

func describe(n ast.Node) string {
	return yamltree.Describe(n, "test files don't have (use defaults)")
}

// unknown reports a key that is not among the known ones.
func (s *source) unknown(p pair, what string, known []string) {
	s.fail(p.at, "unknown key "+p.key+" of "+what, meant(p.key, known, what+" has "+strings.Join(known, ", ")))
}

// meant is the "did you mean" of a name; other where no known one is near.
func meant(name string, known []string, other string) string {
	best, bestDistance := "", max(1, (len(name)+1)/3)
	for _, k := range known {
		if k == name+"_id" {
			return "did you mean " + k + "?"
		}
		if d := levenshtein.Distance(strings.ToLower(name), strings.ToLower(k), nil); d <= bestDistance && (best == "" || d < bestDistance) {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return other
	}
	return "did you mean " + best + "?"
}
