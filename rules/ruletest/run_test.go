package ruletest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/ruletest"
)

func TestWhatAPathMeans(t *testing.T) {
	dir := folder(t, oneRule, oneTest)
	other := strings.ReplaceAll(oneRule, "id: large", "id: other")
	for name, text := range map[string]string{"other.yaml": other, "other_test.yml": strings.ReplaceAll(oneTest, "[large]", "[other]"),
		".hidden_test.yaml": "x", "notes_test.txt": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		path          string
		files, passed int
	}{
		{"", 2, 0}, // each hits, and the other's test doesn't expect it
		{"refunds.yaml", 1, 1},
		{"other.yaml", 1, 1},
		{"refunds_test.yaml", 1, 0},
	} {
		rep := run(t, filepath.Join(dir, c.path), nil)
		if len(rep.Files) != c.files || rep.Passed != c.passed || rep.OK != (c.passed > 0) {
			t.Errorf("%q: %d files, %d passed, OK %v", c.path, len(rep.Files), rep.Passed, rep.OK)
		}
	}
	if rep := run(t, dir, regexp.MustCompile("lar")); rep.Failed != 2 {
		t.Errorf("%d failed", rep.Failed)
	}
}

const (
	oneRule = "rules:\n  - {id: large, when: amount > 500, action: review}\n"
	oneTest = "tests:\n  - name: large ones wait\n    events:\n      - {refund: r1, amount: 501, expect: {hits: [large]}}\n"
)

func TestNothingToRun(t *testing.T) {
	dir := folder(t, oneRule, oneTest)
	if _, err := ruletest.Run(dir, ruletest.Options{Run: regexp.MustCompile("nope")}); !errors.Is(err, ruletest.ErrNoTests) {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, "refunds_test.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := ruletest.Run(dir, ruletest.Options{}); !errors.Is(err, ruletest.ErrNoTests) {
		t.Error(err)
	}
	rep := run(t, folder(t, "rules:\n  - {id: a, when: amont > 5, score: 1}\n", oneTest), nil)
	for name, write := range map[string]func(io.Writer) error{
		"text": func(w io.Writer) error { return rep.WriteText(w, true) }, "json": rep.WriteJSON, "junit": rep.WriteJUnit,
	} {
		var b strings.Builder
		if err := write(&b); err != nil || rep.OK || rep.Failed != 1 || !strings.Contains(b.String(), "did you mean amount?") {
			t.Errorf("%s: %v\n%s", name, err, b.String())
		}
	}
	if _, err := ruletest.Run(filepath.Join(dir, "nope"), ruletest.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestDeclaredStreams uses fields and streams of a configuration, some of them
// read from deep inside the record.
func TestDeclaredStreams(t *testing.T) {
	schema := event.Builtin()
	if err := schema.Extend(map[string]event.StreamConfig{
		"refunds": {Fields: map[string]event.FieldConfig{
			"coupon": {Type: "string", From: "payload.extra.coupon"}, "units": {Type: "int", From: "payload.units", Required: true},
			"booked_at": {Type: "time"}, "weight": {Type: "number"},
		}},
		"logins": {ID: "login_id", Fields: map[string]event.FieldConfig{"customer_id": {Type: "id"}, "failed": {Type: "bool", Required: true}}},
	}); err != nil {
		t.Fatal(err)
	}
	dir := folder(t, `
rules:
  - {id: logins, when: logins.by(customer_id).where(failed).within("1h").count() >= 2, on_missing: skip, score: 1}
  - {id: coupon, when: coupon == "42" and units == 3, on_missing: skip, score: 1}
`, `
tests:
  - name: both
    events:
      - {at: 0s, login: 'l{n}', customer_id: ann, repeat: 2, every: 1m}
      - {at: 0s, logins: other, customer_id: ann, failed: false}
      - {at: 5m, refund: r1, customer_id: ann, coupon: 42, units: 3, booked_at: +2m, weight: -1.5,
         expect: {hits: [coupon, logins], values: {occurred_at - booked_at: 180, weight: -1.5}}}
      - {at: 6m, refund: r2, customer_id: ann, units: '{n}', repeat: 3, expect: {hits: [logins]}}
      - {at: 6m, refund: r3, units: , expect: {dead_letter: MISSING_FIELD}}
`)
	rep, err := ruletest.Run(dir, ruletest.Options{Rules: rules.Options{Schema: schema}})
	if err != nil {
		t.Fatal(err)
	}
	if !rep.OK {
		var b strings.Builder
		_ = rep.WriteText(&b, false)
		t.Error(b.String())
	}
}

// TestValuesChangeNothing: what a test asks for must not count as a hit, nor show
// among what the rules themselves read.
func TestValuesChangeNothing(t *testing.T) {
	const events = `
tests:
  - name: a day
    events:
      - {at: 0s, transaction: t1, customer_id: ann, repeat: 5, every: 1m}
      - {at: 1s, refund: a, customer_id: ann, amount: 70, repeat: 9, every: 1h, expect: {outcome: approve ASK}}
`
	rulesText, err := os.ReadFile("testdata/good-streams/refunds.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var seen [2]string
	for i, ask := range []string{"", ", values: {hits.by(customer_id).ever().count(): , refunds.by(ip).ever().count(): , amount * 2: }"} {
		rep := run(t, folder(t, string(rulesText), strings.Replace(events, "ASK", ask, 1)), nil)
		var b strings.Builder
		for _, c := range rep.Coverage {
			fmt.Fprintln(&b, c.Rule, c.Hits)
		}
		fmt.Fprintln(&b, rep.Ruleset)
		d := *rep.Files[0].Tests[0].Failures[0].Decision
		if (len(d.Values) == 3) != (i == 1) {
			t.Error(d.Values)
		}
		d.Values = nil
		fmt.Fprintf(&b, "%+v", d)
		seen[i] = b.String()
	}
	if seen[0] != seen[1] || !strings.Contains(seen[0], "any-shadow 8\n") {
		t.Errorf("%s\n\n%s", seen[0], seen[1])
	}
}

// TestStrict: what may be missing is no fault of an expression that a test asks
// for.
func TestStrict(t *testing.T) {
	dir := folder(t, oneRule, strings.Replace(oneTest, "hits: [large]", "hits: [large], values: {device_id: , original.amount: , amount_base: 501}", 1))
	rep, err := ruletest.Run(dir, ruletest.Options{Rules: rules.Options{Strict: true}})
	if err != nil || !rep.OK {
		t.Errorf("%v, %+v", err, rep)
	}
}

func TestRulesNamedAsProbes(t *testing.T) {
	rep := run(t, folder(t, strings.Replace(oneRule, "large", "ruletest.value.0", 1), oneTest), nil)
	if rep.OK || len(rep.Errors) != 1 || !strings.Contains(rep.Errors.Error(), "rename the rule") {
		t.Errorf("%+v", rep)
	}
}

func TestTwiceTheSame(t *testing.T) {
	var first string
	for range 3 {
		var b bytes.Buffer
		rep := run(t, "testdata/bad", nil)
		if err := errors.Join(rep.WriteText(&b, true), rep.WriteJSON(&b), rep.WriteJUnit(&b)); err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = b.String()
		} else if b.String() != first {
			t.Fatal("two runs differ")
		}
	}
}

// FuzzFile: no file can crash the runner or keep it busy.
func FuzzFile(f *testing.F) {
	for _, pattern := range []string{"testdata/*/*_test.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(data))
		}
	}
	rulesText, err := os.ReadFile("testdata/good/refunds.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 || regexp.MustCompile(`[0-9]{4}`).MatchString(strings.ReplaceAll(text, "2026", "")) {
			return // repeats that only take long
		}
		rep, err := ruletest.Run(folder(t, string(rulesText), text), ruletest.Options{})
		if err != nil || len(rep.Errors) > 0 {
			t.Fatalf("%v, %v", err, rep.Errors)
		}
		var b bytes.Buffer
		if err := errors.Join(rep.WriteText(&b, true), rep.WriteJSON(&b), rep.WriteJUnit(&b)); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkFile runs a file of 10,000 events, each on a line of its own; an
// iteration reads and checks the file, too.
func BenchmarkFile(b *testing.B) {
	const events = 10_000
	var text strings.Builder
	text.WriteString("tests:\n")
	for i := range events {
		if i%500 == 0 {
			fmt.Fprintf(&text, "  - name: test %d\n    events:\n", i)
		}
		if i%4 == 0 {
			fmt.Fprintf(&text, "      - {at: %ds, transaction: t%d, customer_id: c%d, amount: 100}\n", i, i, i%50)
		} else {
			fmt.Fprintf(&text, "      - {at: %ds, refund: r%d, transaction_id: t%d, customer_id: c%d, amount: 1, expect: {hits_exclude: [over]}}\n", i, i, i/4*4, i%50)
		}
	}
	benchmark(b, events, text.String())
}

// BenchmarkRepeat is the engine's own share: the same events, written in a few
// lines.
func BenchmarkRepeat(b *testing.B) {
	benchmark(b, 20_000, `
tests:
  - name: repeats
    events:
      - {at: 0s, transaction: 't{n}', customer_id: 'c{n}', amount: 100, repeat: 5000, every: 4s}
      - {at: 1s, refund: 'r{n}', transaction_id: 't{n}', customer_id: 'c{n}', amount: 1, repeat: 15000, every: 1s, expect: {hits_exclude: [over]}}
`)
}

func benchmark(b *testing.B, events int, text string) {
	rulesText, err := os.ReadFile("testdata/good/refunds.yaml")
	if err != nil {
		b.Fatal(err)
	}
	dir := folder(b, string(rulesText), text)
	for b.Loop() {
		if rep := run(b, dir, nil); !rep.OK || rep.Events != events {
			var out strings.Builder
			_ = rep.WriteText(&out, false)
			b.Fatal(out.String()[:min(2000, out.Len())])
		}
	}
	b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// TestFeaturesWithoutARuleToReadThem: nobody computes them, so that expecting
// one can't pass.
func TestFeaturesWithoutARuleToReadThem(t *testing.T) {
	const rule = "rules:\n  - {id: many, when: refunds.by(customer_id).within(\"1d\").count() > 5, on_missing: skip, action: review}\n"
	const test = "tests:\n  - name: x\n    events:\n      - {transaction: t1, customer_id: a, expect: {features: {refunds.by(customer_id).within(\"1d\").count(): 99}}}\n"
	rep := run(t, folder(t, rule, test), nil)
	if rep.OK || !strings.Contains(fmt.Sprint(rep.Files[0].Errors), "no rule is on transactions") {
		t.Errorf("OK %v: %v", rep.OK, rep.Files[0].Errors)
	}
}

// TestDuplicateFalse says nothing of an event, and would be all that its test
// expects.
func TestDuplicateFalse(t *testing.T) {
	rep := run(t, folder(t, oneRule, "tests:\n  - name: x\n    events:\n      - {refund: r1, expect: {duplicate: false}}\n"), nil)
	if rep.OK {
		t.Error("passed")
	}
}

// TestNoSeverity: a refund that nothing hit has none, and a test can say so.
func TestNoSeverity(t *testing.T) {
	rep := run(t, folder(t, oneRule, "tests:\n  - name: x\n    events:\n      - {refund: r1, expect: {severity: }}\n      - {refund: r2, amount: 501, expect: {severity: medium}}\n"), nil)
	if !rep.OK {
		t.Error(rep.Files[0].Errors)
	}
	rep = run(t, folder(t, oneRule, "tests:\n  - name: x\n    events:\n      - {refund: r1, amount: 501, expect: {severity: }}\n"), nil)
	if rep.Failed != 1 {
		t.Errorf("%d failed", rep.Failed)
	}
}
