package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/rules/ruletest"
)

func TestRulesTest(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put("refunds.yaml", "rules:\n  - {id: large, when: amount > 500, action: review}\n")
	if r := runCommand(t, "rules", "test", dir); r.code != exitProblems || !strings.Contains(r.err, "no tests") {
		t.Errorf("no tests: exit %d\n%s%s", r.code, r.out, r.err)
	}
	tests := put("refunds_test.yaml", `
tests:
  - name: large ones wait
    events: [{refund: r1, amount: 501, expect: {outcome: review, hits: [large]}}]
  - name: small ones too
    events: [{refund: r1, amount: 500, expect: {outcome: review}}]
`)
	config := write(t, "refundguard.yaml", "kafka: {seed_brokers: ['a:1']}\nrules: {dir: "+dir+"}\nstreams: {refunds: {fields: {coupon: {type: string}}}}\n")
	coupon := put("coupon_test.yaml", "tests:\n  - name: declared\n    events: [{refund: r1, coupon: 5, expect: {values: {coupon: 5}}}]\n")
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{tests, exitProblems, "refunds_test.yaml:6:58: refund r1 at 0s: outcome"},
		{tests + " --run large", exitFine, "1 passed"},
		{tests + " --run large --cover", exitFine, "1 of 1 rules"},
		{tests + " -o junit", exitProblems, `failures="1"`},
		{tests + " --run nope", exitProblems, "nope"},
		{tests + " --run (", exitUsage, "--run"},
		{tests + " -o xml", exitUsage, "xml"},
		{coupon, exitProblems, "refunds has no field coupon"},
		{coupon + " -c " + config, exitFine, "1 passed"},
		{"-c " + config + " --run declared", exitFine, "1 passed"},
		{"no/such/folder", exitUsage, "no/such/folder"},
	} {
		r := runCommand(t, append([]string{"rules", "test"}, strings.Fields(c.args)...)...)
		if r.code != c.code || !strings.Contains(r.out+r.err, c.says) {
			t.Errorf("%q: exit %d, want %d and %q in:\n%s%s", c.args, r.code, c.code, c.says, r.out, r.err)
		}
	}
	var rep ruletest.Report
	if err := json.Unmarshal([]byte(runCommand(t, "rules", "test", tests, "-o", "json").out), &rep); err != nil || rep.Passed != 1 || rep.Failed != 1 {
		t.Errorf("%+v, %v", rep, err)
	}
	// A rule file is tested with its folder, as refunds meet it.
	for _, file := range []string{"velocity.yaml", "velocity_test.yaml", "trust.yaml"} {
		if r := runCommand(t, "rules", "test", filepath.Join("../../rules/starter", file)); r.code != exitFine || !strings.Contains(r.out, "ok: ") {
			t.Errorf("%s: exit %d\n%s%s", file, r.code, r.out, r.err)
		}
	}
	put("broken.yaml", "rules:\n  - {id: a, when: amont > 5, score: 1}\n")
	if r := runCommand(t, "rules", "test", dir); r.code != exitProblems || !strings.Contains(r.out, "did you mean amount?") {
		t.Errorf("rules that don't load: exit %d\n%s%s", r.code, r.out, r.err)
	}
}
