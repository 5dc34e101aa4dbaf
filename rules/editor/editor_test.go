package editor_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/editor"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/rulefmt"
)

var update = flag.Bool("update", false, "rewrite the schema beside the starter rules")

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(editor.Schema(event.Builtin())))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("rules.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("rules.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate reads YAML as an editor does.
func validate(t *testing.T, s *jsonschema.Schema, source string) error {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(source), &v); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

func TestSchemaFitsWhatLoads(t *testing.T) {
	s := compile(t)
	loaded := 0
	for _, pattern := range []string{"../starter/*.yaml", "../testdata/*.yaml", "../../pipeline/integration/testdata/rules/*.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if _, err := rules.Load(path, rules.Options{}); err != nil {
				continue
			}
			loaded++
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate(t, s, string(source)); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if loaded < 5 {
		t.Errorf("only %d files load", loaded)
	}
}

const plain = "rules:\n  - id: a\n    when: amount > 5\n    action: review\n"

// TestSchemaAndCheckerAgree: what one of them refuses, so does the other.
func TestSchemaAndCheckerAgree(t *testing.T) {
	s := compile(t)
	for _, c := range []struct {
		change string // a line of the rule, or a whole file
		fine   bool
	}{
		{"score: 40", true}, {"score: -5", true}, {"score: 1.5", false}, {"score: 1000001", false},
		{"severity: low", true}, {"severity: urgent", false},
		{"mode: shadow", true}, {"mode: off", true}, {"mode: on", false},
		{"on_missing: skip", true}, {"on_missing: hold", false},
		{"on_trip: shadow", true}, {"on_trip: off", false},
		{"on: refunds", true}, {"on: transactions", false}, {"on: complaints", false}, // action: review is not for transactions
		{"reason: A_CODE", true}, {"reason: two words", false},
		{"tags: [a, 5]", true}, {"tags: a", false},
		{"owner: risk", true}, {"owner: [risk]", false},
		{"description: 5", true}, {"severty: low", false},
		{"exceptions: [{when: mfa == true, reason: ours, owner: me, expires: 2099-12-31}]", true},
		{"exceptions: [{when: mfa == true}]", false}, {"exceptions: [{reason: x}]", false},
		{"exceptions: [{when: mfa == true, reason: x, until: 2099-12-31}]", false},
		{"exceptions: [{when: mfa == true, reason: x, expires: tomorrow}]", false},
		{"message: " + strings.Repeat("x", 2001), false},
		{plain, true},
		{plain + "policy: {review_at: 40, reject_at: 80}\n", true}, {plain + "policy: {review_at: 0}\n", false}, {plain + "policy: {hold_at: 5}\n", false},
		{plain + "lists: {a: [x, 5, {value: y, expires: 2099-12-31, note: z}]}\n", true}, {plain + "lists: {a: x}\n", false}, {plain + "lists: {3a: [x]}\n", false}, {plain + "lists: {a: {path: x}}\n", false},
		{plain + "macros: {m: amount > 5}\n", true}, {plain + "macros: {m: [x]}\n", false},
		{plain + "macros:\n", true}, {plain + "rulez: []\n", false},
		{"rules: [{id: a, when: mfa == true}]\n", false}, {"rules: [{id: a, action: review}]\n", false}, {"rules: [{when: mfa == true, action: review}]\n", false},
		{"rules: [{id: a b, when: mfa == true, action: review}]\n", false}, {"rules: [{id: a, when: mfa == true, action: hold}]\n", false},
		{"rules: [{id: a, when: amount > 5, action: alert, on: transactions}]\n", true},
		{"rules: [{id: a, when: amount > 5, action: alert, score: 5, on: transactions}]\n", false},
		{"rules: [{id: a, when: amount > 5, action: alert, customer_message: x, on: transactions}]\n", false},
		{"rules: [{id: a, when: amount > 5, action: alert, on_trip: keep, on: transactions}]\n", false},
		{"rules: [{id: 123, when: amount > 5, action: alert}]\n", true},
		{plain + "macros: {m: 500, n: -0.5, o: true}\n", true},
	} {
		source := c.change
		if !strings.Contains(source, "\n") {
			source = plain + "    " + source + "\n"
		}
		path := filepath.Join(t.TempDir(), "a.yaml")
		if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		_, loading := rules.Load(path, rules.Options{})
		validating := validate(t, s, source)
		if (loading == nil) != c.fine || (validating == nil) != c.fine {
			t.Errorf("fine: %v for\n%s\nthe checker says %v\nthe schema says %v", c.fine, source, loading, validating)
		}
	}
}

// TestSchemaHasAllKeys holds the schema against the keys that the checker names.
func TestSchemaHasAllKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(path, []byte(plain+"    no_such_key_at_all: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := rules.Load(path, rules.Options{})
	var faults rules.Errors
	if !errors.As(err, &faults) || len(faults) != 1 {
		t.Fatal(err)
	}
	var schema struct {
		Defs struct {
			Rule struct{ Properties map[string]any } `json:"rule"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(editor.Schema(event.Builtin()), &schema); err != nil {
		t.Fatal(err)
	}
	keys := strings.Split(strings.TrimPrefix(faults[0].Hint, "a rule has "), ", ")
	for _, key := range keys {
		if schema.Defs.Rule.Properties[key] == nil {
			t.Errorf("the schema lacks the key %s", key)
		}
	}
	if len(keys) != len(schema.Defs.Rule.Properties) {
		t.Errorf("the schema has %d keys, and the checker %v", len(schema.Defs.Rule.Properties), keys)
	}
}

func TestTemplates(t *testing.T) {
	schema := compile(t)
	dir := t.TempDir()
	var all []byte
	for _, tpl := range editor.Templates() {
		source, err := tpl.AddTo(nil, "my-"+tpl.Name)
		if err != nil {
			t.Fatal(err)
		}
		if all, err = tpl.AddTo(all, "my-"+tpl.Name); err != nil {
			t.Fatal(err)
		}
		for _, content := range [][]byte{source, all} {
			path := filepath.Join(dir, "a.yaml")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			set, err := rules.Load(path, rules.Options{Strict: true})
			if err != nil || len(set.Warnings) > 0 {
				t.Errorf("%s: %v %v", tpl.Name, err, set)
			}
			if formatted, err := rulefmt.Format(content); err != nil || !bytes.Equal(formatted, content) {
				t.Errorf("%s is not in canonical form: %v\n%s", tpl.Name, err, content)
			}
			if err := validate(t, schema, string(content)); err != nil {
				t.Errorf("%s: %v", tpl.Name, err)
			}
			if !bytes.HasPrefix(content, []byte(editor.Modeline+"\n")) {
				t.Errorf("%s has no modeline", tpl.Name)
			}
		}
	}
}

func TestAddToLeavesTheRestAlone(t *testing.T) {
	list := editor.Templates()[3]
	for _, c := range []struct{ before, want string }{
		{"# mine\nrules:\n- id: a   # odd\n  when: x\n\n# policy\npolicy: {review_at: 5}", "# mine\nlists:\n  n: [replace_me]\n\nrules:\n- id: a   # odd\n  when: x\n\n- id: n\n"},
		{"lists:\n    a: [x]\nrules:\n", "lists:\n    a: [x]\n    n: [replace_me]\nrules:\n  - id: n\n"},
		{"# only a comment\n", "# only a comment\n\nlists:\n  n: [replace_me]\n\nrules:\n  - id: n\n"},
	} {
		got, err := list.AddTo([]byte(c.before), "n")
		if err != nil || !strings.HasPrefix(string(got), c.want) {
			t.Errorf("%q gave %v\n%s", c.before, err, got)
		}
		if strings.Contains(c.before, "# policy") && !strings.HasSuffix(string(got), "\n\n# policy\npolicy: {review_at: 5}\n") {
			t.Errorf("%q gave\n%s", c.before, got)
		}
	}
	for _, bad := range []string{"rules: []", "rules: [", "{rules: 5}", "- a", "rules: 5", "lists: [a]"} {
		if got, err := list.AddTo([]byte(bad), "n"); err == nil {
			t.Errorf("%q gave\n%s", bad, got)
		}
	}
}

// TestStarterSchema: the starter rules name a schema that lies beside them, and
// it is that of the built-in streams.
func TestStarterSchema(t *testing.T) {
	const path = "../starter/" + editor.SchemaFile
	want := editor.Schema(event.Builtin())
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what refundguard rules schema prints (go test -update rewrites it): %v", path, err)
	}
	files, err := rules.RuleFiles("../starter")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if source, err := os.ReadFile(file); err != nil || !bytes.HasPrefix(source, []byte(editor.Modeline+"\n")) {
			t.Errorf("%s does not begin with the line %s (%v)", file, editor.Modeline, err)
		}
	}
}
