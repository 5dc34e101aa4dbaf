package rules_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/refundguard/refundguard/rules"
)

func TestInspectSaysWhatARuleReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(path, []byte(`
lists: {bad: [x], worse: [y]}
macros: {often: 'refunds.by(customer_id).within("7d").count() >= 5', known: original != nil}
rules:
  - id: all
    mode: off
    when: |
      often and known and device_id in lists.bad // a comment
      and refunds.by({instrument_id: original.instrument_id}).where(reason in lists.worse).within("30d").delayed("1d").sum(amount) > 3 * amount_base
      and (original.status == 'failed' ? refunded > 5 : mfa)
    action: review
    exceptions: [{when: 'ip == "::1" or refunds.by(ip).ever().count() == 0', reason: ours}]
    message: "{{ transactions.by(customer_id).ever().count() }} and {{often}}"
`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, readings, err := rules.Inspect(path, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	day := int64(86_400_000)
	want := []rules.Reading{{
		Condition: `refunds.by(customer_id).within("7d").count() >= 5 and original != nil and device_id in lists.bad and ` +
			`refunds.by({instrument_id: original.instrument_id}).where(reason in lists.worse).within("30d").delayed("1d").sum(amount) > 3 * amount_base and ` +
			`(original.status == "failed" ? refunded > 5 : mfa)`,
		Fields:     strings.Fields("customer_id device_id amount_base refunded mfa ip"),
		Original:   []string{"", "instrument_id", "status"},
		Lists:      []rules.ListUse{{Name: "bad", File: path, Values: 1}, {Name: "worse", File: path, Values: 1}},
		Macros:     []string{"often", "known"},
		Exceptions: []string{`ip == "::1" or refunds.by(ip).ever().count() == 0`},
		Past: []rules.Past{
			{Text: `refunds.by(customer_id).within("7d").count()`, Stream: "refunds", By: []rules.PastKey{{Theirs: "customer_id", Ours: "customer_id"}}, Within: 7 * day, Aggregate: "count"},
			{Text: `refunds.by({instrument_id: original.instrument_id}).where(reason in lists.worse).within("30d").delayed("1d").sum(amount)`, Stream: "refunds",
				By: []rules.PastKey{{Theirs: "instrument_id", Ours: "original.instrument_id"}}, Where: "reason in lists.worse", Within: 30 * day, Delayed: day, Aggregate: "sum", Field: "amount"},
			{Text: `refunds.by(ip).ever().count()`, Stream: "refunds", By: []rules.PastKey{{Theirs: "ip", Ours: "ip"}}, Ever: true, Aggregate: "count"},
			{Text: `transactions.by(customer_id).ever().count()`, Stream: "transactions", By: []rules.PastKey{{Theirs: "customer_id", Ours: "customer_id"}}, Ever: true, Aggregate: "count", MessageOnly: true},
		},
		Message: "{{ transactions.by(customer_id).ever().count() }} and {{often}}",
	}}
	if diff := cmp.Diff(want, readings, cmpopts.IgnoreFields(rules.Reading{}, "Rule", "Missing")); diff != "" {
		t.Error(diff)
	}
	missing := strings.Join(readings[0].Missing, ", ")
	if missing != "customer_id, device_id, amount_base, original.instrument_id, original.status, refunded, mfa" {
		t.Errorf("missing: %s", missing)
	}
}

func TestRuleFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.yaml", "a.yml", "a_test.yaml", "c.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := rules.RuleFiles(dir)
	if want := []string{filepath.Join(dir, "a.yml"), filepath.Join(dir, "b.yaml")}; err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := rules.RuleFiles(filepath.Join(dir, "c.txt")); err != nil || len(got) != 1 {
		t.Errorf("a file: %v, %v", got, err)
	}
}
