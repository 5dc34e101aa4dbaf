package settings

import (
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// start is a node's first token; a mapping's own is the colon of its first key.
func start(node ast.Node) *token.Token {
	switch n := node.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return start(n.Values[0])
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return node.GetToken()
}

// scalarText is a scalar's text: of a number, as written in the file, so that
// nothing is lost on the way to an exact decimal.
func scalarText(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode, *ast.NullNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// hideAll keeps everything below a node out of snippets.
func (d *document) hideAll(node ast.Node) {
	ast.Walk(visitor(func(n ast.Node) {
		if tag, ok := n.(*ast.TagNode); ok {
			d.loaded.source.hide(placeOf(tag.Start), tag.Start.Origin)
		}
		if _, ok := scalarText(n); ok && n.Type() != ast.NullType {
			token := n.GetToken()
			if literal, ok := n.(*ast.LiteralNode); ok {
				token = literal.Value.GetToken()
			}
			d.loaded.source.hide(placeOf(token), token.Origin)
		}
	}), node)
}

type visitor func(ast.Node)

func (v visitor) Visit(node ast.Node) ast.Visitor {
	v(node)
	return v
}

// describe names what a node is, without its value.
func describe(node ast.Node) string {
	switch node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a section"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "empty"
	}
	return "a single value"
}

// wants names what a scalar of this shape is written as.
func wants(shape reflect.Type) string {
	if shape.Kind() == reflect.Pointer {
		shape = shape.Elem()
	}
	switch {
	case shape == duration:
		return "a duration"
	case shape.Kind() == reflect.Bool:
		return "true or false"
	case reflect.Zero(shape).CanInt(), reflect.Zero(shape).CanUint(), reflect.Zero(shape).CanFloat():
		return "a number"
	}
	return "a text"
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// name is a path for messages.
func name(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

// lastKey is a path's last key, without list numbers.
func lastKey(path string) string {
	path = path[strings.LastIndexByte(path, '.')+1:]
	key, _, _ := strings.Cut(path, "[")
	return key
}
