package settings

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a configuration file. The parser's time and memory grow with the
// square of the nesting, so that is looked at before it starts.
const (
	maxFile   = 128 << 10
	maxOpen   = 64  // brackets open at one place
	maxIndent = 256 // characters of indentation
)

// document reads a YAML file along a struct's shape. It is koanf's provider and
// parser in one.
type document struct {
	loader Loader
	shape  reflect.Type
	loaded *Loaded
	faults Faults
}

// ReadBytes is koanf's Provider.
func (d *document) ReadBytes() ([]byte, error) {
	return []byte(strings.Join(d.loaded.source.lines, "\n")), nil
}

// Read is koanf's Provider; it is not used, since there is a parser.
func (d *document) Read() (map[string]any, error) {
	return nil, errors.New("a document is read through its parser")
}

// Marshal is koanf's Parser.
func (d *document) Marshal(m map[string]any) ([]byte, error) { return yaml.Marshal(m) }

// Unmarshal is koanf's Parser. It never fails: what is wrong is in faults, and
// left out of the result.
func (d *document) Unmarshal(content []byte) (map[string]any, error) {
	empty := map[string]any{}
	if len(content) > maxFile {
		d.fault(place{}, "", fmt.Sprintf("is larger than %d bytes", maxFile), "")
		return empty, nil
	}
	if at, deep := tooDeep(content); deep {
		d.fault(at, "", "is nested too deeply", fmt.Sprintf("at most %d open brackets, and %d columns of indentation", maxOpen, maxIndent))
		return empty, nil
	}
	file, err := parse(content)
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			d.fault(placeOf(syntax.GetToken()), "", "not YAML: "+withoutText(syntax.GetMessage()), "")
		} else {
			d.fault(place{}, "", "not YAML", "")
		}
		return empty, nil
	}
	d.loaded.source.parsed = true
	var root ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			d.hideAll(doc.Body)
			d.fault(placeOf(start(doc.Body)), "", "a second document begins here", "one file is one document; remove the line with ---")
			break
		}
		root = doc.Body
	}
	if root == nil {
		return empty, nil
	}
	if m, ok := d.value(root, d.shape, ""); ok {
		return m.(map[string]any), nil
	}
	return empty, nil
}

// tooDeep finds the first place that is nested beyond the bounds. Brackets in
// quoted text count too: no setting holds that many.
func tooDeep(content []byte) (place, bool) {
	open, at, indenting := 0, place{1, 0}, true
	for _, c := range content {
		at.column++
		switch c {
		case '[', '{':
			open++
		case ']', '}':
			open = max(0, open-1)
		case '\n':
			at, indenting = place{at.line + 1, 0}, true
		}
		indenting = indenting && strings.IndexByte("\n \t-?:!&*|>", c) >= 0
		if open > maxOpen || indenting && at.column > maxIndent {
			return at, true
		}
	}
	return place{}, false
}

// withoutText leaves out what a parser's message quotes: it may be a secret.
func withoutText(message string) string {
	message, _, _ = strings.Cut(message, `"`)
	return strings.TrimRight(strings.ReplaceAll(message, "\t", `\t`), ": ")
}

// parse turns a panic of the YAML parser, on text that nobody writes on
// purpose, into an error.
func parse(content []byte) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			file, err = nil, fmt.Errorf("the YAML parser gave up: %v", p)
		}
	}()
	return parser.ParseBytes(content, 0, parser.AllowDuplicateMapKey())
}

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{t.Position.Line, t.Position.Column}
}

func (d *document) fault(at place, key, message, hint string) {
	f := &Fault{Key: key, Message: message, Hint: hint}
	d.loaded.source.locate(f, at)
	d.faults = append(d.faults, f)
}

// sorted renders snippets once more, now that all secrets are known, and sorts.
func (d *document) sorted() Faults {
	for _, f := range d.faults {
		f.Snippet = ""
		d.loaded.source.locate(f, place{f.Line, f.Column})
	}
	d.faults.Sort()
	return d.faults
}

// value reads one node of the given shape. It returns false where there is
// nothing to take: the value is null, or wrong and reported.
func (d *document) value(node ast.Node, shape reflect.Type, path string) (any, bool) {
	at := placeOf(start(node))
	switch n := node.(type) {
	case *ast.NullNode:
		return nil, false
	case *ast.AnchorNode, *ast.AliasNode:
		d.hideAll(node)
		d.fault(at, path, name(path)+": anchors and aliases are not supported", "write the value out")
		return nil, false
	case *ast.TagNode:
		if n.Start == nil || n.Start.Value != "!!str" || kindOf(shape) != scalar {
			d.hideAll(node)
			d.fault(at, path, name(path)+": YAML tags are not supported", "write the plain value")
			return nil, false
		}
		return d.value(n.Value, shape, path)
	}
	switch kindOf(shape) {
	case section:
		return d.section(node, shape, path)
	case table:
		return d.table(node, shape, path)
	case list:
		return d.list(node, shape, path)
	case sections:
		return d.sections(node, shape, path)
	}
	text, ok := scalarText(node)
	if !ok {
		d.hideAll(node)
		hint := ""
		if describe(node) == "a section" && shape.Kind() == reflect.String {
			hint = "a text with a colon in it needs quotes here"
		}
		d.fault(at, path, fmt.Sprintf("%s: wants %s, and this is %s", name(path), wants(shape), describe(node)), hint)
		return nil, false
	}
	last := lastKey(path)
	value, err := parseScalar(shape, last, text)
	if err != nil {
		d.fault(at, path, fmt.Sprintf("%s: %v", name(path), err), "")
		return nil, false
	}
	return value, true
}

// entries returns a mapping's keys and values, or reports that it is none.
func (d *document) entries(node ast.Node, path, what string) ([]*ast.MappingValueNode, bool) {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	d.hideAll(node)
	d.fault(placeOf(start(node)), path, fmt.Sprintf("%s: wants %s, and this is %s", name(path), what, describe(node)), "")
	return nil, false
}

// key returns an entry's key, or reports that it can't be one or is a repeat.
func (d *document) key(e *ast.MappingValueNode, path string, seen map[string]int) (string, place, bool) {
	at := placeOf(e.Key.GetToken())
	text, ok := scalarText(e.Key)
	if !ok || e.Key.IsMergeKey() {
		d.hideAll(e)
		d.fault(at, "", fmt.Sprintf("%s: this can't be a key", name(path)), "write a plain word")
		return "", at, false
	}
	if line, repeated := seen[text]; repeated {
		d.hideAll(e.Value)
		d.fault(at, join(path, text), fmt.Sprintf("%q is set twice, here and in line %d", join(path, text), line), "remove one")
		return "", at, false
	}
	seen[text] = at.line
	return text, at, true
}

// plainWord is what a mistyped key looks like.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

func (d *document) section(node ast.Node, shape reflect.Type, path string) (any, bool) {
	entries, ok := d.entries(node, path, "a section of keys")
	if !ok {
		return nil, false
	}
	fields, seen, m := fieldsOf(shape), map[string]int{}, map[string]any{}
	for _, e := range entries {
		key, at, ok := d.key(e, path, seen)
		if !ok {
			continue
		}
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == key })
		if i < 0 {
			d.hideAll(e.Value)
			if !plainWord.MatchString(key) || e.Value.Type() == ast.NullType { // perhaps a stray value: not to be repeated
				d.hideAll(e)
				d.fault(at, "", name(path)+": this is no key", "known here: "+strings.Join(names(fields), ", "))
				continue
			}
			d.fault(at, join(path, key), fmt.Sprintf("unknown key %q", join(path, key)), d.suggest(key, path, names(fields)))
			continue
		}
		d.set(m, key, e.Value, at, fields[i].shape, join(path, key))
	}
	return m, true
}

func (d *document) table(node ast.Node, shape reflect.Type, path string) (any, bool) {
	if _, one := scalarText(node); one && keysOf(shape) != nil {
		m := map[string]any{}
		for _, key := range keysOf(shape) {
			d.set(m, key, node, placeOf(start(node)), shape.Elem(), join(path, key))
		}
		return m, true
	}
	entries, ok := d.entries(node, path, "names, each with its value")
	if !ok {
		return nil, false
	}
	seen, m := map[string]int{}, map[string]any{}
	for _, e := range entries {
		if key, at, ok := d.key(e, path, seen); ok {
			d.set(m, key, e.Value, at, shape.Elem(), join(path, key))
		}
	}
	return m, true
}

func (d *document) set(m map[string]any, key string, node ast.Node, at place, shape reflect.Type, path string) {
	if concealed(key) {
		d.hideAll(node)
	}
	if value, ok := d.value(node, shape, path); ok {
		m[key] = value
		d.loaded.places[path] = at
	}
}

func (d *document) list(node ast.Node, shape reflect.Type, path string) (any, bool) {
	nodes := []ast.Node{node} // one value is a list of one
	if sequence, ok := node.(*ast.SequenceNode); ok {
		nodes = sequence.Values
	}
	items := []any{}
	for i, n := range nodes {
		at := fmt.Sprintf("%s[%d]", path, i)
		if _, ok := n.(*ast.NullNode); ok {
			d.fault(placeOf(n.GetToken()), at, at+": is empty", "write a value, or remove the line")
		} else if item, ok := d.value(n, shape.Elem(), at); ok {
			items = append(items, item)
			d.loaded.places[at] = placeOf(start(n))
		}
	}
	return items, true
}

func (d *document) sections(node ast.Node, shape reflect.Type, path string) (any, bool) {
	nodes := []ast.Node{node} // one section is a list of one
	if sequence, ok := node.(*ast.SequenceNode); ok {
		nodes = sequence.Values
	}
	items := []any{}
	for i, n := range nodes {
		at := fmt.Sprintf("%s[%d]", path, i)
		value, ok := d.value(n, shape.Elem(), at)
		if !ok {
			continue
		}
		item := d.loader.item(shape.Elem())
		overlay(item, value.(map[string]any))
		items = append(items, item)
		d.loaded.places[at] = placeOf(start(n))
	}
	return items, true
}

// overlay puts what was read over an item's defaults.
func overlay(under, over map[string]any) {
	for key, value := range over {
		inner, isMap := value.(map[string]any)
		below, hasMap := under[key].(map[string]any)
		if isMap && hasMap {
			overlay(below, inner)
		} else {
			under[key] = value
		}
	}
}

// suggest says what the author of an unknown key may have meant.
func (d *document) suggest(key, path string, siblings []string) string {
	if ours, ok := d.loader.Renamed[key]; ok {
		return fmt.Sprintf("here it is called %q", ours)
	}
	if best := nearest(key, siblings); best != "" {
		return didYouMean(best)
	}
	if elsewhere := find(d.shape, key, ""); elsewhere != "" {
		return fmt.Sprintf("did you mean %q? (look at the indentation)", elsewhere)
	}
	return "known here: " + strings.Join(siblings, ", ")
}

// find returns the path of a key of this name, below shape.
func find(shape reflect.Type, key, path string) string {
	for _, f := range fieldsOf(shape) {
		at := join(path, f.name)
		if f.name == key && path != "" {
			return at
		}
		if kindOf(f.shape) == section {
			if found := find(f.shape, key, at); found != "" {
				return found
			}
		}
	}
	return ""
}
