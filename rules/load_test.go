package rules

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

const ruleA = "rules: [{id: a, action: review, on_missing: skip, when: 'device_id in lists.bad'}]\n"

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "b.yml", "lists: {bad: {file: lists/bad.csv}}\npolicy: {review_at: 5}\n")
	write(t, dir, "a.yaml", ruleA)
	write(t, dir, "a_test.yaml", "not: a rule file")
	write(t, dir, ".hidden.yaml", "not: a rule file")
	write(t, dir, "notes.txt", "nothing")
	write(t, dir, "lists/bad.csv", "\ufeffdevice_id,note\n# a comment\nd1,\"one, two\"\n  d2  \n\n\"d\"\"3\"\n")
	s, err := Load(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(s.Version, "sha256:") || len(s.Version) != len("sha256:")+64 {
		t.Errorf("version %q", s.Version)
	}
	for device, want := range map[string]string{"d1": "hit", "d2": "hit", `d"3`: "hit", "device_id": "no", "one": "no", "# a comment": "no"} {
		if got := verdict(evaluate(t, s, Input{Event: refund(t, "device_id="+device)}, nil)); got != want {
			t.Errorf("%s: %s, want %s", device, got, want)
		}
	}

	again, err := Load(dir, Options{})
	if err != nil || again.Version != s.Version {
		t.Errorf("the version of the same files differs: %v", err)
	}
	write(t, dir, "lists/bad.csv", "d1\n")
	changed, err := Load(dir, Options{})
	if err != nil || changed.Version == s.Version {
		t.Errorf("a list's content does not change the version: %v", err)
	}
	write(t, dir, "notes.txt", "something")
	if same, _ := Load(dir, Options{}); same.Version != changed.Version {
		t.Error("a file that is not read changes the version")
	}
}

// TestFullExample has every key of a rule file.
func TestFullExample(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "lists/blocked_devices.csv", "device_id\nd1\n")
	write(t, dir, "a.yaml", `
lists:
  blocked_devices: {file: lists/blocked_devices.csv}
  trusted_merchants: [mer_1, mer_2]
macros:
  repeat_refunder: refunds.by(customer_id).within("7d").count() >= 5
rules:
  - id: refund-velocity
    description: Many refunds by one customer in a week
    when: repeat_refunder and amount_base > 20 and merchant_id not in lists.trusted_merchants and device_id not in lists.blocked_devices
    action: review            # approve | review | reject | alert
    score: 40                 # instead of, or beside, an action
    severity: high            # low | medium (default) | high | critical
    reason: VELOCITY_CUSTOMER # stable code, for machines
    message: "{{customer_id}} asked for {{refunds.by(customer_id).within('7d').count()}} refunds in 7 days"
    customer_message: Your refund needs a short check.
    on_missing: skip          # review (default) | skip: what a missing value means
    mode: live                # live | shadow | off
    tags: [velocity]
    owner: risk-ops
    on: refunds
policy:
  review_at: 40
  reject_at: 80
`)
	s, err := Load(dir, Options{Strict: true})
	if err != nil || len(s.Warnings) > 0 {
		t.Fatal(err, s)
	}
	in := Input{Event: refund(t, "amount=21 USD", "customer_id=c1", "merchant_id=m1", "device_id=d2")}
	r := evaluate(t, s, in, past{`refunds.by(customer_id).within("7d").count()`: IntValue(6)})
	if len(r.Hits) != 1 || r.Hits[0].Message != "c1 asked for 6 refunds in 7 days" || r.CustomerMessage != "Your refund needs a short check." {
		t.Errorf("%+v", r)
	}
	rule := s.Rules[0]
	if rule.Action != ActionReview || rule.Severity != High || rule.Owner != "risk-ops" || len(rule.Tags) != 1 || rule.Line != 8 || rule.OnMissing != MissingSkip {
		t.Errorf("%+v", rule)
	}
}

func TestASetServesManyGoroutines(t *testing.T) {
	s := mustLoad(t, one(`device_id matches "^d" and refunds.by(customer_id).where(lower(reason) in ["other"]).ever().count() > 1`))
	in := Input{Event: refund(t, "device_id=d1", "customer_id=c1", "reason=other")}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			v := s.NewEvaluator()
			for range 200 {
				v.Begin(&in)
				v.Values()[0] = IntValue(2)
				if r := v.Run(false); len(r.Hits) != 1 || !s.Series[0].Match(in.Event) {
					t.Error("no hit")
				}
			}
		})
	}
	wg.Wait()
}

func TestVersionDependsOnNamesAndContentOnly(t *testing.T) {
	files := fstest.MapFS{"a.yaml": {Data: []byte("rules: [{id: a, action: review, when: amount > 5}]")}}
	s, err := LoadFS(files, "somewhere", Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "a.yaml", string(files["a.yaml"].Data))
	for _, path := range []string{dir, filepath.Join(dir, "a.yaml")} {
		other, err := Load(path, Options{})
		if err != nil || other.Version != s.Version {
			t.Errorf("%s: another version (%v)", path, err)
		}
	}
}

func TestWhatCantBeLoaded(t *testing.T) {
	rule := []byte("rules: [{id: a, action: review, when: amount > 5}]")
	for name, files := range map[string]fstest.MapFS{
		"no rule files":     {"a.txt": {Data: rule}},
		"no rules":          {"a.yaml": {Data: []byte("# nothing\n")}, "b.yaml": {Data: []byte("rules:\n")}},
		"duplicate id":      {"a.yaml": {Data: rule}, "b.yaml": {Data: rule}},
		"two policies":      {"a.yaml": {Data: append(rule, "\npolicy: {review_at: 5}\n"...)}, "b.yaml": {Data: []byte("policy: {review_at: 5}")}},
		"duplicate list":    {"a.yaml": {Data: append(rule, "\nlists: {a: [x]}\n"...)}, "b.yaml": {Data: []byte("lists: {a: [x]}")}},
		"duplicate macro":   {"a.yaml": {Data: append(rule, "\nmacros: {a: mfa}\n"...)}, "b.yaml": {Data: []byte("macros: {a: mfa}")}},
		"not UTF-8":         {"a.yaml": {Data: []byte("rules: [{id: a, action: review, when: \"amount > 5 or ip == '\xff'\"}]")}},
		"two documents":     {"a.yaml": {Data: append(rule, "\n---\nrules: []\n"...)}},
		"an alias":          {"a.yaml": {Data: []byte("rules: [{id: &x a, action: review, when: *x}]")}},
		"a list of the top": {"a.yaml": {Data: []byte("- a\n")}},
		"too large":         {"a.yaml": {Data: append(rule, make([]byte, maxRuleFile)...)}},
		"a macro bomb":      {"a.yaml": {Data: []byte("macros: {a: mfa and mfa and mfa and mfa, b: a and a and a and a, c: b and b and b and b, d: c and c and c and c, e: d and d and d and d}\nrules: [{id: a, action: review, when: e}]")}},
		"too many parts":    {"a.yaml": {Data: []byte("rules: [{id: a, action: review, when: '" + strings.Repeat("mfa or ", 300) + "mfa'}]")}},
		"too long":          {"a.yaml": {Data: []byte("rules: [{id: a, action: review, when: '" + strings.Repeat("(", maxCondition) + "'}]")}},
		"a broken csv":      {"a.yaml": {Data: append(rule, "\nlists: {a: {file: a.csv}}\n"...)}, "a.csv": {Data: []byte("\"x\ny")}},
		"brackets":          {"a.yaml": {Data: bytes.Repeat([]byte("["), 1<<19)}},
		"mappings":          {"a.yaml": {Data: bytes.Repeat([]byte("{a: "), 1<<17)}},
		"dashes":            {"a.yaml": {Data: bytes.Repeat([]byte("- "), 1<<18)}},
		"keys":              {"a.yaml": {Data: bytes.Repeat([]byte("? "), 1<<18)}},
		"tags":              {"a.yaml": {Data: bytes.Repeat([]byte("!a "), 1<<18)}},
		"anchors":           {"a.yaml": {Data: bytes.Repeat([]byte("&a "), 1<<18)}},
		"aliases":           {"a.yaml": {Data: bytes.Repeat([]byte("*a "), 1<<18)}},
	} {
		_, err := LoadFS(files, "", Options{})
		var faults Errors
		if !errors.As(err, &faults) || len(faults) == 0 {
			t.Errorf("%s: %v", name, err)
		}
		for _, f := range faults {
			if f.Message == "" || strings.Contains(f.Error(), "ast.") {
				t.Errorf("%s: %q", name, f.Error())
			}
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "nowhere"), Options{}); err == nil {
		t.Error("a missing folder is loaded")
	}
}

// TestByteOrderMark: some editors begin files with one.
func TestByteOrderMark(t *testing.T) {
	s := mustLoad(t, "\ufeff"+one("amount > 5"))
	if len(s.Rules) != 1 {
		t.Errorf("%d rules", len(s.Rules))
	}
}

// TestMacrosHideNoField: where(…) reads the fields of other streams, too, and a
// macro of such a name would silently stand for something else there.
func TestMacrosHideNoField(t *testing.T) {
	for name, stream := range map[string]string{"amount": "refunds", "status": "transactions", "kind": "complaints", "severity": "hits", "outcome": "decisions"} {
		_, err := loadText(t, "macros: {"+name+": device_id}\n"+one("amount > 5"))
		if err == nil || !strings.Contains(err.Error(), "macro "+name+" has the name of a field of "+stream) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhoHoldsRefunds: only a live rule that does more than alert holds what it
// fails on, and only of such a rule may the checker say so.
func TestWhoHoldsRefunds(t *testing.T) {
	for does, holds := range map[string]bool{
		"action: review":                  true,
		"action: alert, score: 1":         true,
		"action: alert":                   false,
		"action: review, mode: shadow":    false,
		"score: 1, mode: shadow":          false,
		"action: review, mode: 'off'":     false,
		"action: alert, on: transactions": false,
	} {
		s := mustLoad(t, "rules: [{id: r, when: device_id == \"x\", "+does+"}]")
		if got := strings.Contains(s.Warnings.Error(), "holds the refund"); got != holds {
			t.Errorf("%s: %s", does, s.Warnings.Error())
		}
	}
}

func TestErrorsAsJSON(t *testing.T) {
	_, err := loadText(t, one("custmer_id == 'x'"))
	var faults Errors
	if !errors.As(err, &faults) {
		t.Fatal(err)
	}
	faults[0].File = "rules.yaml"
	var b strings.Builder
	if err := faults.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	want := `[
  {
    "file": "rules.yaml",
    "line": 6,
    "column": 7,
    "rule": "r",
    "message": "unknown name custmer_id",
    "hint": "did you mean customer_id?",
    "snippet": "      custmer_id == 'x'"
  }
]
`
	if b.String() != want {
		t.Errorf("got %s", b.String())
	}
	b.Reset()
	if err := Errors(nil).WriteJSON(&b); err != nil || b.String() != "[]\n" {
		t.Errorf("no faults: %q, %v", b.String(), err)
	}
}

func TestWatcher(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.yaml", ruleA+"lists: {bad: {file: lists/bad.csv}}\n")
	write(t, dir, "lists/bad.csv", "d1\n")
	w := NewWatcher(dir, Options{}, nil)
	poll := func(what string, wantChanged, wantErr bool) *Set {
		t.Helper()
		set, changed, err := w.Poll()
		if changed != wantChanged || (err != nil) != wantErr || (set != nil) != (wantChanged && !wantErr) {
			t.Fatalf("%s: set %v, changed %v, error %v", what, set != nil, changed, err)
		}
		return set
	}
	first := poll("the first time", true, false)
	poll("nothing changed", false, false)

	write(t, dir, "lists/bad.csv", "d2\n")
	if set := poll("a list changed", true, false); set.Version == first.Version {
		t.Error("the version stayed")
	}
	write(t, dir, "a.yaml", "rules: [{id: a")
	poll("a file is broken", true, true)
	poll("it is still broken", false, false)
	write(t, dir, "a.yaml", ruleA+"lists: {bad: {file: lists/bad.csv}}\n")
	poll("it is as before", true, false)
	if err := os.Remove(filepath.Join(dir, "lists/bad.csv")); err != nil {
		t.Fatal(err)
	}
	poll("the list is gone", true, true)
	write(t, dir, "lists/bad.csv", "d1\n")
	if set := poll("the list is back", true, false); set.Version != first.Version {
		t.Error("the same content has another version")
	}
	write(t, dir, "b.yaml", "rules: [{id: b, action: review, when: amount > 5}]")
	if set := poll("a new file", true, false); len(set.Rules) != 2 {
		t.Errorf("%d rules", len(set.Rules))
	}

	w = NewWatcher(dir, Options{}, first)
	poll("another set is running", true, false)
	current, err := Load(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	w = NewWatcher(dir, Options{}, current)
	poll("the set is running", false, false)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	poll("the folder is gone", true, true)
	poll("it is still gone", false, false)
}
