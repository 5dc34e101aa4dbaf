package main

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRulesOutput compares what the commands print about a good set and a bad
// one with the texts in testdata/rules.
func TestRulesOutput(t *testing.T) {
	const good, bad = "testdata/rules/good", "testdata/rules/bad.yaml"
	for _, c := range []struct {
		golden string
		code   int
		args   []string
	}{
		{"check-good.text", exitFine, []string{"check", good}},
		{"check-good.json", exitFine, []string{"check", good, "-o", "json"}},
		{"check-good.github", exitFine, []string{"check", good, "-o", "github"}},
		{"check-good.junit", exitFine, []string{"check", good, "-o", "junit"}},
		{"check-strict.github", exitProblems, []string{"check", good, "-o", "github", "--strict"}},
		{"check-bad.text", exitProblems, []string{"check", bad}},
		{"check-bad.json", exitProblems, []string{"check", bad, "-o", "json"}},
		{"check-bad.github", exitProblems, []string{"check", bad, "-o", "github"}},
		{"check-bad.junit", exitProblems, []string{"check", bad, "-o", "junit"}},
		{"list.text", exitFine, []string{"list", good}},
		{"list-tag.text", exitFine, []string{"list", good, "--tag", "ring"}},
		{"list.json", exitFine, []string{"list", good, "-o", "json"}},
		{"explain.text", exitFine, []string{"explain", "velocity", good}},
		{"explain.json", exitFine, []string{"explain", "velocity", good, "-o", "json"}},
		{"fmt.yaml", exitFine, []string{"fmt", "testdata/rules/good/rings.yaml"}},
		{"fmt-check.text", exitProblems, []string{"fmt", "--check", good}},
		{"new.yaml", exitFine, []string{"new", "my-rule", "-t", "list"}},
	} {
		t.Run(c.golden, func(t *testing.T) {
			r := runCommand(t, append([]string{"rules"}, c.args...)...)
			if r.code != c.code || r.err != "" {
				t.Errorf("exit %d, want %d; %s", r.code, c.code, r.err)
			}
			golden := filepath.Join("testdata/rules", c.golden)
			if *update {
				if err := os.WriteFile(golden, []byte(r.out), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), r.out); diff != "" {
				t.Error(diff)
			}
			switch {
			case strings.HasSuffix(c.golden, "json") && !json.Valid([]byte(r.out)):
				t.Error("not JSON")
			case strings.HasSuffix(c.golden, "junit"):
				if err := xml.Unmarshal([]byte(r.out), new(struct{})); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestRulesWrongUse(t *testing.T) {
	bad := "testdata/rules/bad.yaml"
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"check", "no/such"}, exitUsage, "no/such does not exist"},
		{[]string{"check", bad, "-o", "xml"}, exitUsage, "none of text, json, github and junit"},
		{[]string{"list", "no/such"}, exitUsage, "does not exist"},
		{[]string{"list", bad}, exitProblems, "did you mean"},
		{[]string{"list", bad, "-o", "junit"}, exitUsage, "neither text nor json"},
		{[]string{"explain"}, exitUsage, "arg"},
		{[]string{"explain", "nope", "testdata/rules/good"}, exitUsage, "there is no rule nope; the rules are ring"},
		{[]string{"explain", "a", bad}, exitProblems, "did you mean"},
		{[]string{"fmt", "-w", "--check", bad}, exitUsage, "exclude each other"},
		{[]string{"fmt", "no/such"}, exitUsage, "does not exist"},
		{[]string{"fmt", "testdata/rules/broken.bad.yaml"}, exitProblems, "broken.bad.yaml: line 3: YAML"},
		{[]string{"new"}, exitUsage, "arg"},
		{[]string{"new", "a b"}, exitProblems, "the id can't be"},
		{[]string{"new", "a", "-t", "nope"}, exitUsage, "velocity, ring, original, list, amount"},
		{[]string{"new", "a", "--to", "no/such/a.yaml"}, exitUsage, "no folder no/such"},
		{[]string{"new", "a", "--to", "a_test.yaml"}, exitUsage, "hold tests"},
		{[]string{"new", "a", "--to", bad}, exitProblems, "nothing was written"},
		{[]string{"schema", "x"}, exitUsage, "unknown command"},
	} {
		before, err := os.ReadFile(bad)
		if err != nil {
			t.Fatal(err)
		}
		r := runCommand(t, append([]string{"rules"}, c.args...)...)
		if r.code != c.code || !strings.Contains(r.out+r.err, c.says) {
			t.Errorf("%q: exit %d, want %d and %q in:\n%s%s", c.args, r.code, c.code, c.says, r.out, r.err)
		}
		if after, err := os.ReadFile(bad); err != nil || string(after) != string(before) {
			t.Fatalf("%q changed %s: %v", c.args, bad, err)
		}
	}
}

func TestRulesFmtWrites(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/rules/good")); err != nil {
		t.Fatal(err)
	}
	tests := filepath.Join(dir, "rings_test.yaml")
	path := filepath.Join(dir, "rings.yaml")
	if err := os.WriteFile(tests, []byte("tests:    []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := runCommand(t, "rules", "fmt", dir); r.code != exitFine || r.out != path+"\n" {
		t.Errorf("naming files: %+v", r)
	}
	if r := runCommand(t, "rules", "fmt", "-w", dir); r.code != exitFine || r.out != path+"\n" {
		t.Errorf("writing: %+v", r)
	}
	if r := runCommand(t, "rules", "fmt", "--check", dir); r.code != exitFine || r.out != "" {
		t.Errorf("checking: %+v", r)
	}
	want, err := os.ReadFile("testdata/rules/fmt.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != string(want) {
		t.Errorf("%v\n%s", err, cmp.Diff(string(want), string(got)))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is not what it was: %v %v", info, err)
	}
	if content, err := os.ReadFile(tests); err != nil || string(content) != "tests:    []\n" {
		t.Errorf("the file of tests was written: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("something was left behind: %v %v", entries, err)
	}
}

func TestRulesNewAddsToAFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mine.yaml")
	for _, template := range []string{"velocity", "list", "ring"} {
		r := runCommand(t, "rules", "new", "my-"+template, "-t", template, "--to", path)
		if r.code != exitFine || !strings.Contains(r.out, "my-"+template+" was added") {
			t.Errorf("%+v", r)
		}
	}
	if r := runCommand(t, "rules", "check", dir, "--strict"); r.code != exitFine || !strings.Contains(r.out, "3 rules, 0 warnings") {
		t.Errorf("%+v", r)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other.yaml")
	for _, to := range []string{path, other} { // the id is taken in the folder
		if r := runCommand(t, "rules", "new", "my-ring", "--to", to); r.code != exitProblems || !strings.Contains(r.err, "a second rule with the id my-ring") {
			t.Errorf("%+v", r)
		}
	}
	after, err := os.ReadFile(path)
	if err != nil || string(before) != string(after) {
		t.Errorf("a refused rule was written: %v", err)
	}
	if _, err := os.Stat(other); err == nil {
		t.Error("a refused rule made a file")
	}
}

func TestRulesSchemaKnowsTheConfiguration(t *testing.T) {
	config := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(config, []byte("streams: {refunds: {fields: {coupon: {type: string}}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	plain, mine := runCommand(t, "rules", "schema"), runCommand(t, "rules", "schema", "-c", config)
	if plain.code != exitFine || mine.code != exitFine || !json.Valid([]byte(plain.out)) || !json.Valid([]byte(mine.out)) {
		t.Fatalf("%+v %+v", plain, mine)
	}
	if strings.Contains(plain.out, "coupon") || !strings.Contains(mine.out, "- coupon") {
		t.Error("the field of the configuration is not in its schema only")
	}
}
