package settings

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/knadh/koanf/v2"
)

// environment reads variables along a struct's shape. It is koanf's provider,
// and sees what was loaded below it, because a variable can set one key of one
// item of a list.
type environment struct {
	loader  Loader
	shape   reflect.Type
	loaded  *Loaded
	environ []string
	below   *koanf.Koanf
	faults  Faults
}

// ReadBytes is koanf's Provider; variables are no file.
func (e *environment) ReadBytes() ([]byte, error) {
	return nil, errors.New("the environment is not a file")
}

// step is one key, or one number in a list of sections.
type step struct {
	key   string
	index int // with key ""
	item  reflect.Type
}

// variable is one that sets a value.
type variable struct {
	name, text string
	steps      []step
	shape      reflect.Type
}

// Read is koanf's Provider. It never fails: what is wrong is in faults.
func (e *environment) Read() (map[string]any, error) {
	tree := e.below.Raw()
	if e.loader.Prefix == "" {
		return tree, nil
	}
	var variables []variable
	for _, pair := range e.environ {
		name, text, _ := strings.Cut(pair, "=")
		rest, ok := strings.CutPrefix(name, e.loader.Prefix)
		if !ok {
			continue
		}
		steps, shape, ok := e.resolve(rest, e.shape, tree, "")
		switch {
		case ok && text != "":
			variables = append(variables, variable{name, text, steps, shape})
		case ok: // set to nothing, as compose files do with ${VARIABLE:-}
		case e.loader.Ignore != nil && e.loader.Ignore(name):
		default:
			e.fault(name, "", "no such setting", e.suggest(rest, tree))
		}
	}
	slices.SortFunc(variables, func(a, b variable) int { return compareSteps(a.steps, b.steps) })
	for i, v := range variables {
		if i > 0 && compareSteps(v.steps, variables[i-1].steps) == 0 {
			e.fault(v.name, "", "sets the same key as "+variables[i-1].name, "remove one")
			continue
		}
		e.apply(tree, v)
	}
	return tree, nil
}

func (e *environment) fault(variable, key, message, hint string) {
	e.faults = append(e.faults, &Fault{Where: variable, Key: key, Message: message, Hint: hint})
}

func (e *environment) suggest(rest string, tree any) string {
	best := nearest(rest, e.known(e.shape, tree, ""))
	if best == "" {
		return "a setting's variable is its path in upper case, joined by _"
	}
	return didYouMean(e.loader.Prefix + best)
}

func compareSteps(a, b []step) int {
	return slices.CompareFunc(a, b, func(x, y step) int {
		return cmp.Or(cmp.Compare(x.key, y.key), cmp.Compare(x.index, y.index))
	})
}

// resolve finds the key that the rest of a variable's name stands for.
func (e *environment) resolve(rest string, shape reflect.Type, tree any, path string) ([]step, reflect.Type, bool) {
	switch kindOf(shape) {
	case section:
		fields := fieldsOf(shape)
		slices.SortFunc(fields, func(a, b field) int { return cmp.Compare(len(b.name), len(a.name)) })
		for _, f := range fields {
			after, ok := cutName(rest, upper(f.name))
			if !ok {
				continue
			}
			steps, leaf, ok := e.resolve(after, f.shape, child(tree, f.name), join(path, f.name))
			if ok {
				return append([]step{{key: f.name}}, steps...), leaf, true
			}
		}
	case table:
		if rest == "" && keysOf(shape) != nil {
			return nil, shape, true
		}
		for _, key := range e.keys(rest, tree, path) {
			after, ok := cutName(rest, upper(key))
			if !ok {
				continue
			}
			steps, leaf, ok := e.resolve(after, shape.Elem(), child(tree, key), join(path, key))
			if ok {
				return append([]step{{key: key}}, steps...), leaf, true
			}
		}
	case sections:
		item := step{item: shape.Elem()} // without a number: the first
		number, after, _ := strings.Cut(rest, "_")
		if n, err := strconv.Atoi(number); err == nil && n >= 0 {
			item.index, rest = n, after
		}
		steps, leaf, ok := e.resolve(rest, shape.Elem(), at(tree, item.index), path)
		return append([]step{item}, steps...), leaf, ok
	default:
		return nil, shape, rest == ""
	}
	return nil, nil, false
}

// keys are what the beginning of a variable's name can stand for in a table:
// the keys that there are, then new ones, the shortest first.
func (e *environment) keys(rest string, tree any, path string) (keys []string) {
	if m, ok := tree.(map[string]any); ok {
		for key := range m {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	for i := 1; i <= len(rest); i++ {
		if i == len(rest) || rest[i] == '_' {
			key := rest[:i]
			if !slices.Contains(e.loader.UpperKeys, path) {
				key = strings.ToLower(key)
			}
			keys = append(keys, key)
		}
	}
	return keys
}

// cutName cuts one name from the beginning of a variable's.
func cutName(rest, name string) (string, bool) {
	after, ok := strings.CutPrefix(rest, name)
	if !ok || name == "" || after != "" && after[0] != '_' {
		return "", false
	}
	return strings.TrimPrefix(after, "_"), true
}

func upper(key string) string {
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(key))
}

func child(tree any, key string) any {
	m, _ := tree.(map[string]any)
	return m[key]
}

func at(tree any, index int) any {
	if items, ok := tree.([]any); ok && index < len(items) {
		return items[index]
	}
	return nil
}

// apply sets one value in the tree.
func (e *environment) apply(tree map[string]any, v variable) {
	path, node := "", any(tree)
	for i, s := range v.steps {
		if s.item != nil {
			path += fmt.Sprintf("[%d]", s.index)
			node = node.([]any)[s.index]
			continue
		}
		path = join(path, s.key)
		m := node.(map[string]any)
		switch {
		case i == len(v.steps)-1:
			value, err := e.parse(v, lastKey(path))
			if err != nil {
				e.fault(v.name, path, err.Error(), "")
				return
			}
			m[s.key] = value
			e.loaded.origins[path] = "environment " + v.name
			for _, key := range keysOf(v.shape) {
				e.loaded.origins[join(path, key)] = e.loaded.origins[path]
			}
		case v.steps[i+1].item != nil:
			items, _ := m[s.key].([]any)
			index := v.steps[i+1].index
			if index > len(items) {
				e.fault(v.name, path, fmt.Sprintf("is number %d of %s, which has %d", index, path, len(items)), "numbers begin at 0, without gaps")
				return
			}
			if index == len(items) {
				items = append(items, e.loader.item(v.steps[i+1].item))
			}
			m[s.key] = items
		default:
			if _, ok := m[s.key].(map[string]any); !ok {
				m[s.key] = map[string]any{}
			}
		}
		node = m[s.key]
	}
}

func (e *environment) parse(v variable, name string) (any, error) {
	switch kindOf(v.shape) {
	case scalar:
		return parseScalar(v.shape, name, v.text)
	case table: // one value for all keys
		m := map[string]any{}
		for _, key := range keysOf(v.shape) {
			value, err := parseScalar(v.shape.Elem(), name, v.text)
			if err != nil {
				return nil, err
			}
			m[key] = value
		}
		return m, nil
	}
	items := []any{}
	for text := range strings.SplitSeq(v.text, ",") {
		item, err := parseScalar(v.shape.Elem(), name, strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// known lists the variables that there are, for suggestions.
func (e *environment) known(shape reflect.Type, tree any, prefix string) (names []string) {
	switch kindOf(shape) {
	case section:
		for _, f := range fieldsOf(shape) {
			inner := prefix + upper(f.name)
			if k := kindOf(f.shape); k == section || k == table || k == sections {
				inner += "_"
			}
			names = append(names, e.known(f.shape, child(tree, f.name), inner)...)
		}
	case table:
		m, _ := tree.(map[string]any)
		for key := range m {
			inner := prefix + upper(key)
			if kindOf(shape.Elem()) == section {
				inner += "_"
			}
			names = append(names, e.known(shape.Elem(), m[key], inner)...)
		}
		slices.Sort(names)
	case sections:
		names = append(e.known(shape.Elem(), nil, prefix+"0_"), e.known(shape.Elem(), nil, prefix)...)
	default:
		names = []string{prefix}
	}
	return names
}
