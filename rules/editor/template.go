package editor

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Template is a rule to begin with.
type Template struct {
	Name string
	Doc  string
	rule string // ID stands for the rule's id, LIST for its list's name, CODE for its reason
	list bool   // it reads a list of its own
}

// Templates lists them.
func Templates() []Template {
	return []Template{
		{Name: "velocity", Doc: "many refunds by one customer in a short time", rule: `- id: ID
  description: The fifth refund, or a later one, that a customer asks for within a week.
  when: refunds.by(customer_id).within("7d").count() >= 4
  on_missing: skip # a guest
  action: review
  severity: medium
  mode: shadow # until its hits look right
  reason: CODE
  message: "{{customer_id}} asked for {{refunds.by(customer_id).within('7d').count()}} refunds in the 7 days before this one"
  customer_message: Your refund needs a short check.
  tags: [velocity]
  owner: risk
`},
		{Name: "ring", Doc: "many customers behind one device", rule: `- id: ID
  description: A device from which three customers or more asked for refunds within a week before.
  when: refunds.by(device_id).within("7d").distinct(customer_id) >= 3
  on_missing: skip # no device is known
  action: review
  severity: high
  mode: shadow # until its hits look right
  reason: CODE
  message: "{{refunds.by(device_id).within('7d').distinct(customer_id)}} customers asked for refunds on device {{device_id}} in 7 days"
  customer_message: Your refund needs a short check.
  tags: [ring]
  owner: risk
`},
		{Name: "original", Doc: "a refund that does not fit the payment", rule: `- id: ID
  description: The refunds of a payment together are more than the payment.
  when: |
    original != nil
    and currency == original.currency
    and refunded + amount > original.amount
  on_missing: review # refunds in two currencies: somebody must look
  action: review
  severity: high
  mode: shadow # until its hits look right
  reason: CODE
  message: "{{amount}} {{currency}} on top of {{refunded}}, of a payment of {{original.amount}}"
  customer_message: Your refund needs a short check.
  tags: [original]
  owner: risk
`},
		{Name: "list", Doc: "values that are known to be bad", list: true, rule: `- id: ID
  description: The money is to go to a card, wallet or account that is on the list.
  when: instrument_id in lists.LIST
  on_missing: skip # no instrument is named
  action: review
  severity: high
  mode: shadow # until its hits look right
  reason: CODE
  message: "{{instrument_id}} is on the list LIST"
  customer_message: Your refund needs a short check.
  tags: [list]
  owner: risk
`},
		{Name: "amount", Doc: "large amounts without a second factor", rule: `- id: ID
  description: More than 500, and not confirmed by a second factor.
  when: amount > 500 and not mfa
  on_missing: skip # channels that don't say
  action: review
  severity: medium
  mode: shadow # until its hits look right
  reason: CODE
  message: "{{amount}} {{currency}} without a second factor"
  customer_message: Please confirm this refund in the app.
  tags: [amount]
  owner: risk
`},
	}
}

// AddTo appends the rule, under an id, to the content of a rule file, which may
// be empty. All else in the file stays as it is. The caller checks the result.
func (t Template) AddTo(source []byte, id string) ([]byte, error) {
	if len(bytes.TrimSpace(source)) == 0 {
		source = []byte(Modeline + "\n\n")
	}
	list := strings.Map(func(r rune) rune {
		if r == '-' || r == '.' {
			return '_'
		}
		return r
	}, id)
	if list != "" && list[0] >= '0' && list[0] <= '9' {
		list = "list_" + list
	}
	rule := strings.NewReplacer("ID", id, "LIST", list, "CODE", strings.ToUpper(list)).Replace(t.rule)
	out := string(source)
	if t.list {
		var err error
		if out, err = insert(out, "lists", list+": [replace_me]\n"); err != nil {
			return nil, err
		}
	}
	out, err := insert(out, "rules", rule)
	return []byte(out), err
}

// insert puts an entry at the end of a section.
func insert(source, section, entry string) (out string, err error) {
	defer func() {
		if recover() != nil { // the parser is a library's
			err = errors.New("its YAML can't be read")
		}
	}()
	file, err := parser.ParseBytes([]byte(source), 0)
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return "", fmt.Errorf("its YAML can't be read: %s", first)
	}
	var top []*ast.MappingValueNode
	for _, doc := range file.Docs {
		switch body := doc.Body.(type) {
		case *ast.MappingNode:
			if body.IsFlowStyle {
				return "", errors.New("it is written as { }; run refundguard rules fmt -w on it first")
			}
			top = body.Values
		case *ast.MappingValueNode:
			top = []*ast.MappingValueNode{body}
		case nil, *ast.NullNode:
		default:
			return "", errors.New("it is not a rule file: it has no sections")
		}
	}
	lines := strings.SplitAfter(source, "\n")
	if n := len(lines) - 1; lines[n] == "" {
		lines = lines[:n]
	} else {
		lines[n] += "\n"
	}
	for i, s := range top {
		if s.Key.GetToken().Value != section {
			continue
		}
		indent, err := indentOf(s.Value)
		if err != nil {
			return "", fmt.Errorf("%s: is %w; run refundguard rules fmt -w on it first", section, err)
		}
		end := len(lines)
		if i+1 < len(top) {
			end = top[i+1].Key.GetToken().Position.Line - 1
		}
		for end > 0 && (strings.TrimSpace(lines[end-1]) == "" || lines[end-1][0] == '#') {
			end--
		}
		gap := ""
		if section == "rules" && end > s.Key.GetToken().Position.Line {
			gap = "\n"
		}
		return strings.Join(lines[:end], "") + gap + indented(entry, indent) + strings.Join(lines[end:], ""), nil
	}
	if section == "lists" && len(top) > 0 { // they come first
		at := top[0].Key.GetToken().Position.Line - 1
		above := at
		for above > 0 && lines[above-1][0] == '#' {
			above--
		}
		if above > 0 { // else the comment is the file's own
			at = above
		}
		return strings.Join(lines[:at], "") + section + ":\n" + indented(entry, 2) + "\n" + strings.Join(lines[at:], ""), nil
	}
	gap := ""
	if n := len(lines); n > 0 && strings.TrimSpace(lines[n-1]) != "" {
		gap = "\n"
	}
	return strings.Join(lines, "") + gap + section + ":\n" + indented(entry, 2), nil
}

// indentOf is how far the entries of a section are indented.
func indentOf(n ast.Node) (int, error) {
	switch n := n.(type) {
	case *ast.SequenceNode:
		if n.IsFlowStyle {
			return 0, errors.New("written as [ ]")
		}
		return n.Start.Position.Column - 1, nil
	case *ast.MappingNode:
		if n.IsFlowStyle {
			return 0, errors.New("written as { }")
		}
		return n.Values[0].Key.GetToken().Position.Column - 1, nil
	case *ast.MappingValueNode:
		return n.Key.GetToken().Position.Column - 1, nil
	case *ast.NullNode:
		return 2, nil
	}
	return 0, errors.New("neither a list nor a mapping")
}

func indented(text string, by int) string {
	pad := strings.Repeat(" ", by)
	return pad + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+pad) + "\n"
}
