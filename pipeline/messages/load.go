package messages

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/yamltree"
)

// Bounds of a file.
const (
	maxFile      = 1 << 20
	maxLanguages = 64
	maxLanguage  = 35  // bytes of a language's name
	maxReason    = 128 // as of rules
	maxText      = 512
	maxFaults    = 20 // that are shown
)

// file is one that is being read.
type file struct {
	name      string
	lines     []string
	languages map[string]texts
	errs      []error
}

func loadFile(name string) (map[string]texts, error) {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() { // a pipe would be waited for
		err = errors.New("this is no file")
	}
	if err != nil {
		return nil, fmt.Errorf("file is %q: %w", name, err)
	}
	in, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("file is %q: %w", name, err)
	}
	defer in.Close()
	content, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("file is %q: %w", name, err)
	}
	return load(name, string(content))
}

// load reads the languages of a file. The error joins its faults.
func load(name, content string) (map[string]texts, error) {
	f := &file{name: name, languages: map[string]texts{}}
	switch {
	case len(content) > maxFile:
		f.fault(0, 0, fmt.Sprintf("it is larger than %d MiB", maxFile>>20), "")
	case !utf8.ValidString(content):
		f.fault(0, 0, "it is not UTF-8", "save it as UTF-8")
	default:
		content = strings.ReplaceAll(content, "\r\n", "\n")
		f.lines = strings.Split(content, "\n")
		f.read(content)
	}
	if len(f.errs) > maxFaults {
		f.errs = append(f.errs[:maxFaults], fmt.Errorf("file: %s: and %d more", name, len(f.errs)-maxFaults))
	}
	return f.languages, errors.Join(f.errs...)
}

func (f *file) fault(line, column int, message, hint string) {
	e := &rules.Error{File: f.name, Line: line, Column: column, Message: message, Hint: hint}
	if line >= 1 && line <= len(f.lines) && len(f.lines[line-1]) <= maxText {
		e.Snippet = f.lines[line-1]
	}
	f.errs = append(f.errs, fmt.Errorf("file: %w", e))
}

func (f *file) fail(n ast.Node, message, hint string) {
	at := yamltree.Start(n)
	f.fault(at.Line, at.Column, message, hint)
}

// read fills languages.
func (f *file) read(content string) {
	defer func() {
		if p := recover(); p != nil { // a library must not take the process down over a file
			f.fault(0, 0, fmt.Sprintf("the YAML can't be read: %v", p), "")
		}
	}()
	tokens := lexer.Tokenize(content)
	if deep := yamltree.TooDeep(tokens); deep != nil {
		f.fault(deep.Position.Line, deep.Position.Column, fmt.Sprintf("YAML: more than %d levels in one another", yamltree.MaxDepth), "")
		return
	}
	parsed, err := parser.Parse(tokens, 0)
	if err != nil {
		var syntax *yaml.SyntaxError
		at, message := token.Position{}, err.Error()
		if errors.As(err, &syntax) && syntax.Token != nil {
			at, message = *syntax.Token.Position, syntax.Message
		}
		message, _, _ = strings.Cut(message, "\n")
		f.fault(at.Line, at.Column, "YAML: "+message, "check the indentation, and put a text in quotes that holds ': ' or starts with {")
		return
	}
	seen := false
	for _, doc := range parsed.Docs {
		if doc.Body == nil {
			continue
		}
		if seen {
			f.fail(doc.Body, "a second document begins here", "one file is one document: remove the line ---")
			return
		}
		seen = true
		f.mapping(doc.Body, "the file", "languages", f.readLanguage)
	}
	if len(f.languages) == 0 && len(f.errs) == 0 {
		f.fault(0, 0, "it has no language", `write en: {default: {in_review: "…"}}`)
	}
}

// mapping gives each key of one with its value.
func (f *file) mapping(n ast.Node, what, keys string, each func(key string, at, value ast.Node)) {
	var entries []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = append(entries, n)
	default:
		f.fail(n, what+" is "+describe(n)+", not a mapping of "+keys, "write it as lines of key: value")
	}
	for _, e := range entries {
		if key, ok := scalar(e.Key); ok {
			each(key, e.Key, e.Value)
		} else {
			f.fail(e.Key, "a key of "+what+" is "+describe(e.Key), "write a plain word")
		}
	}
}

var languageTag = regexp.MustCompile(`^[a-z]{2,3}(-[a-z0-9]{2,8})*$`)

func (f *file) readLanguage(key string, at, value ast.Node) {
	language := normal(key)
	switch {
	case len(key) > maxLanguage || !languageTag.MatchString(language):
		f.fail(at, fmt.Sprintf("%.40q is no language", key), "write a tag such as en, de or pt-BR")
		return
	case f.languages[language] != nil:
		f.fail(at, fmt.Sprintf("the language %s is there twice", language), "make one of them")
		return
	case len(f.languages) == maxLanguages:
		f.fail(at, fmt.Sprintf("more than %d languages", maxLanguages), "")
		return
	}
	t := texts{}
	f.languages[language] = t
	f.mapping(value, "the language "+key, "reasons", func(reason string, at, value ast.Node) {
		if reason != "next" {
			f.readReason(t, place{reason: reason}, statuses, at, value)
			return
		}
		f.mapping(value, "next", "reasons", func(reason string, at, value ast.Node) {
			f.readReason(t, place{next: true, reason: reason}, nextStatuses, at, value)
		})
	})
}

// readReason reads a text, or one for each status.
func (f *file) readReason(t texts, p place, known []string, at, value ast.Node) {
	if p.reason == "" || len(p.reason) > maxReason || strings.ContainsAny(p.reason, " \t\n") {
		f.fail(at, fmt.Sprintf("%.40q is no reason", p.reason), fmt.Sprintf("write a code such as RULE_FAILED, of at most %d bytes, or default", maxReason))
		return
	}
	if _, ok := scalar(value); ok && p.reason != byStatus {
		f.readText(t, p, at, value)
		return
	}
	f.mapping(value, p.reason, "statuses", func(status string, at, value ast.Node) {
		if p.status = status; !slices.Contains(known, status) {
			f.fail(at, fmt.Sprintf("%.40q is no status here", status), "write one of "+strings.Join(known, ", "))
			return
		}
		f.readText(t, p, at, value)
	})
}

func (f *file) readText(t texts, p place, at, value ast.Node) {
	text, ok := scalar(value)
	if !ok {
		f.fail(value, "the text is "+describe(value)+", not a text", "put it in quotes: YAML reads a { or [ or ! at its start otherwise")
		return
	}
	_, twice := t[p]
	switch trimmed := strings.TrimSpace(text); {
	case twice:
		f.fail(at, "this text is there twice", "remove one of them")
	case trimmed == "":
		f.fail(value, "the text is empty", "write one, or remove the key: the built-in text is used then")
	case len(trimmed) > maxText:
		f.fail(value, fmt.Sprintf("the text has %d bytes", len(trimmed)), fmt.Sprintf("at most %d: some customers read it on a watch", maxText))
	case strings.ContainsFunc(trimmed, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }):
		f.fail(value, "the text holds a control character", "remove it")
	default:
		t[p] = f.template(value, trimmed)
	}
}

// template cuts a text at its values. A brace that is none of them is a fault.
func (f *file) template(n ast.Node, text string) (t template) {
	for rest := text; ; {
		brace := strings.IndexAny(rest, "{}")
		if brace < 0 {
			return append(t, rest)
		}
		inner, after, closed := strings.Cut(strings.TrimPrefix(rest[brace:], "{{"), "}}")
		name := strings.TrimSpace(inner)
		if !slices.Contains(values, name) || !closed || !strings.HasPrefix(rest[brace:], "{{") {
			at := f.brace(n, strings.Count(text[:len(text)-len(rest)], "{")+strings.Count(text[:len(text)-len(rest)], "}"))
			f.fault(at.Line, at.Column, "this is no value that a text can show",
				"in braces stand "+strings.Join(values, ", ")+", such as {{eta}}; other braces can't be shown")
			return append(t, rest)
		}
		t, rest = append(t, rest[:brace], name), after
	}
}

// brace is where the brace after so many others stands, in the file from the
// beginning of a text; the beginning itself where it is written by an escape.
func (f *file) brace(n ast.Node, before int) token.Position {
	start := yamltree.Start(n)
	at := token.Position{Line: start.Line, Column: start.Column}
	for line := start.Line; line >= 1 && line <= len(f.lines) && line < start.Line+maxText; line++ {
		for column, r := range []rune(f.lines[line-1]) {
			if r != '{' && r != '}' || line == start.Line && column+1 < start.Column {
				continue
			}
			if before == 0 {
				return token.Position{Line: line, Column: column + 1}
			}
			before--
		}
	}
	return at
}

// scalar is a single value as it is written, whatever YAML takes it for.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func describe(n ast.Node) string {
	return yamltree.Describe(n, "files of messages don't have (write the text out)")
}
