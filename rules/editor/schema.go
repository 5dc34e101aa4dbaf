// Package editor serves those who write rule files: a JSON Schema for their
// editor, and rules to begin with.
package editor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// SchemaFile is the name that Modeline gives the schema's file.
const SchemaFile = "rules.schema.json"

// Modeline is the first line of a rule file that tells editors its schema,
// which lies beside it.
const Modeline = "# yaml-language-server: $schema=" + SchemaFile

// object is a JSON object.
type object = map[string]any

// Schema is the JSON Schema (2020-12) of rule files. The streams' fields stand
// in the documentation of conditions.
func Schema(s *event.Schema) []byte {
	doc := object{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "refundguard rule file",
		"description": "Rules on refunds and transactions. `refundguard rules check` says more than an editor can.",
		"type":        "object", "additionalProperties": false,
		"properties": object{
			"lists":  section("Values that conditions ask for by lists.NAME.", object{"type": []string{"object", "null"}, "propertyNames": ref("name"), "additionalProperties": ref("list")}),
			"macros": section("Named parts of conditions.", object{"type": []string{"object", "null"}, "propertyNames": ref("name"), "additionalProperties": object{"anyOf": []object{ref("condition"), {"type": "number"}}}}),
			"rules":  section("The rules. Their order means nothing.", object{"type": []string{"array", "null"}, "items": ref("rule")}),
			"policy": section("What the score of a refund, the sum of its hits' scores, leads to. A rule set has one.", policy()),
		},
		"$defs": object{
			"name":      object{"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
			"condition": condition(s),
			"list":      list(),
			"rule":      rule(),
			"exception": exception(),
			"expires": object{"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T.+(Z|[+-][0-9]{2}:[0-9]{2}))?$",
				"description": "The last day, as 2026-12-31, or a time with its zone."},
			"scalar": object{"type": []string{"string", "number", "boolean"}},
		},
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(doc); err != nil {
		panic("editor: a schema of plain values can't be written: " + err.Error())
	}
	return out.Bytes()
}

func ref(name string) object { return object{"$ref": "#/$defs/" + name} }

func section(doc string, o object) object {
	o["description"] = doc
	return o
}

func policy() object {
	threshold := func(doc string) object {
		return object{"type": "integer", "minimum": 1, "maximum": 1_000_000, "description": doc}
	}
	return object{
		"type": []string{"object", "null"}, "additionalProperties": false,
		"properties": object{
			"review_at": threshold("The score from which on a refund is held for review."),
			"reject_at": threshold("The score from which on a refund is rejected."),
		},
	}
}

func list() object {
	return object{
		"description": "Values, or a CSV file of them.",
		"anyOf": []object{
			{"type": "array", "items": object{"anyOf": []object{ref("scalar"), {
				"type": "object", "additionalProperties": false, "required": []string{"value"},
				"properties": object{
					"value":   section("The value, or a network such as 10.0.0.0/8 for in_cidr.", ref("scalar")),
					"expires": ref("expires"),
					"note":    section("For people.", ref("scalar")),
				},
			}}}},
			{"type": "object", "additionalProperties": false, "required": []string{"file"}, "properties": object{
				"file": object{"type": "string", "description": "A CSV file inside the rule folder: a column of values, and if its first line says so expires and note."},
			}},
		},
	}
}

// key is one key of a rule.
type key struct {
	name   string
	doc    string
	values []choice // an enumeration
	schema object   // else
	normal string   // the default
}

type choice struct{ value, doc string }

// ruleKeys is the table that the schema of a rule is written from.
var ruleKeys = []key{
	{name: "id", doc: "The rule's name in decisions and alerts; unique in the set.", schema: object{"type": []string{"string", "number"}, "pattern": `^[A-Za-z0-9._-]{1,128}$`}},
	{name: "description", doc: "What the rule looks for, for people.", schema: ref("scalar")},
	{name: "on", doc: "Whose events the rule judges. Rules on transactions can only alert.", normal: "refunds",
		values: []choice{{"refunds", "each refund request"}, {"transactions", "each payment; action: alert only"}}},
	{name: "when", doc: "The condition: the rule hits where it is true.", schema: ref("condition")},
	{name: "on_missing", doc: "What it means that a value which the condition needs is missing.", normal: "review",
		values: []choice{{"review", "the refund is held"}, {"skip", "the rule is left out, and the decision lists it as skipped"}}},
	{name: "exceptions", doc: "Where a hit does not count.", schema: object{"type": "array", "maxItems": 50, "items": ref("exception")}},
	{name: "action", doc: "What a hit does.", values: []choice{
		{"approve", "a trust rule: approves the refund, unless a reject rule hits, a rule fails or the score reaches reject_at"},
		{"review", "holds the refund for an analyst"}, {"reject", "rejects it, whatever other rules say"},
		{"alert", "writes an alert; the outcome stays as it is"}}},
	{name: "score", doc: "Points, instead of an action or beside it: see policy. Negative ones speak for the refund.",
		schema: object{"type": "integer", "minimum": -1_000_000, "maximum": 1_000_000}},
	{name: "severity", doc: "How bad a hit is. It sets the deadline of a review.", normal: "medium",
		values: []choice{{"low", ""}, {"medium", ""}, {"high", ""}, {"critical", ""}}},
	{name: "mode", doc: "Whether the rule acts.", normal: "live",
		values: []choice{{"live", "it acts"}, {"shadow", "its hits are recorded and decide nothing"}, {"off", "it is only checked"}}},
	{name: "on_trip", doc: "What becomes of a live rule that holds more refunds than limits.max_hold_share.", normal: "keep",
		values: []choice{{"keep", "it goes on; an alert tells of it"}, {"shadow", "it acts as in shadow until it is reset or its file changes; not for reject rules and critical ones"}}},
	{name: "reason", doc: "A stable code, for machines, such as VELOCITY_CUSTOMER.", schema: object{"type": "string", "pattern": `^\S{0,128}$`}},
	{name: "message", doc: "For colleagues; {{ }} holds any expression.", schema: object{"type": []string{"string", "number", "boolean"}, "maxLength": 2000}},
	{name: "customer_message", doc: "What the customer may be told; {{ }} holds any expression.", schema: object{"type": []string{"string", "number", "boolean"}, "maxLength": 2000}},
	{name: "tags", doc: "Words to find the rule by.", schema: object{"type": "array", "items": ref("scalar")}},
	{name: "owner", doc: "Who answers for the rule.", schema: ref("scalar")},
}

func (k key) write() object {
	o := object{}
	for name, v := range k.schema {
		o[name] = v
	}
	o["description"] = k.doc
	if len(k.values) > 0 {
		values, docs := make([]string, len(k.values)), make([]string, len(k.values))
		for i, v := range k.values {
			values[i], docs[i] = v.value, v.doc
			if v.doc != "" {
				o["description"] = fmt.Sprintf("%s\n- %s: %s", o["description"], v.value, v.doc)
			}
		}
		o["enum"], o["markdownEnumDescriptions"] = values, docs
	}
	if k.normal != "" {
		o["default"] = k.normal
	}
	return o
}

func rule() object {
	properties := object{}
	for _, k := range ruleKeys {
		properties[k.name] = k.write()
	}
	return object{
		"type": "object", "additionalProperties": false, "properties": properties,
		"required": []string{"id", "when"},
		"anyOf":    []object{{"required": []string{"action"}}, {"required": []string{"score"}}},
		"if":       object{"properties": object{"on": object{"const": "transactions"}}, "required": []string{"on"}},
		"then": object{
			"properties": object{"action": object{"const": "alert"}, "score": false, "customer_message": false, "on_trip": false},
			"required":   []string{"action"},
		},
	}
}

func exception() object {
	return object{
		"type": "object", "additionalProperties": false, "required": []string{"when", "reason"},
		"properties": object{
			"when":    section("Where it is true, a hit of the rule does not count.", ref("condition")),
			"reason":  section("Why, for people and the decision.", ref("scalar")),
			"owner":   section("Who answers for it.", ref("scalar")),
			"expires": ref("expires"),
		},
	}
}

// condition documents the language, since no schema can check it.
func condition(s *event.Schema) object {
	var b strings.Builder
	b.WriteString("A condition over the event at hand, its past and your lists, such as\n\n" +
		"    refunds.by(customer_id).within(\"7d\").count() >= 5 and amount > 20\n\n")
	for _, name := range []string{"refunds", "transactions"} {
		st := s.Stream(name)
		title := "Fields of the refund"
		if name == "transactions" {
			title = "Fields of the payment, written original.amount and so on (in rules on: transactions without original)"
		}
		fmt.Fprintf(&b, "%s (* is always there):\n\n", title)
		for i := range st.Fields {
			f := &st.Fields[i]
			fmt.Fprintf(&b, "- %s%s: %s%s\n", f.Name, star(f.Required), f.Doc, values(f))
		}
		b.WriteByte('\n')
	}
	b.WriteString("Also: refunded (of the same payment, before), amount_base, lists.NAME and your macros.\n\n")
	var streams []string
	for _, st := range s.Streams {
		streams = append(streams, st.Name)
	}
	fmt.Fprintf(&b, "Past events: STREAM.by(FIELD, …).where(CONDITION).within(\"7d\").delayed(\"7d\").AGGREGATE, or .ever() for a window. Streams: %s, updates, hits, decisions.\n"+
		"Aggregates: count(), sum(f), avg(f), min(f), max(f), stddev(f), distinct(f), first(f), last(f), since_last().\n\nFunctions:\n\n", strings.Join(streams, ", "))
	for _, f := range rules.Functions() {
		fmt.Fprintf(&b, "- %s: %s\n", f.Signature, f.Doc)
	}
	return object{
		"type": []string{"string", "boolean"}, "maxLength": 16 << 10,
		"description":         "A condition over the event at hand, its past and your lists: rules/README.md is its manual.",
		"markdownDescription": b.String(),
		"examples": []string{
			`refunds.by(customer_id).within("7d").count() >= 5`,
			`refunds.by(device_id).within("7d").distinct(customer_id) >= 3`,
			`original != nil and refunded + amount > original.amount`,
			`customer_id in lists.trusted`,
		},
	}
}

func star(required bool) string {
	if required {
		return "*"
	}
	return ""
}

func values(f *event.Field) string {
	if len(f.Values) == 0 {
		return ""
	}
	return " (" + strings.Join(f.Values, ", ") + ")"
}
