// Package yamltree holds what all readers of rule files and their tests ask of
// the YAML parser's tokens and nodes.
package yamltree

import (
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// MaxDepth bounds brackets in brackets, and dashes and tags in a row: the
// parser's time grows with the square of their number, and its stack with it.
const MaxDepth = 50

// TooDeep is the token that goes too deep; nil if none does.
func TooDeep(tokens token.Tokens) *token.Token {
	depth, row := 0, 0
	named := false // the token before was & or *, and this is its name
	for _, t := range tokens {
		nested := false
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType, token.AliasType:
			nested = true
		}
		switch {
		case nested:
			row++
		case !named:
			row = 0
		}
		named = t.Type == token.AnchorType || t.Type == token.AliasType
		if depth > MaxDepth || row > MaxDepth {
			return t
		}
	}
	return nil
}

// Describe says what a node is, for errors; anchors tells what the files have in
// place of anchors and aliases.
func Describe(n ast.Node, anchors string) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "empty"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "a YAML anchor or alias, which " + anchors
	case *ast.TagNode:
		return "a YAML tag"
	}
	return "a single value"
}

// Start is where a node starts. A block mapping's own token is its first colon,
// so its first key counts.
func Start(n ast.Node) *token.Position {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken().Position
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken().Position
	}
	return n.GetToken().Position
}
