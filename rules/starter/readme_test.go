package starter_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/rules/ruletest"
)

// TestTheLanguagesReadmeTests runs the test that the description of the language
// shows, on the rule that it shows first.
func TestTheLanguagesReadmeTests(t *testing.T) {
	data, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string) string {
		_, rest, _ := strings.Cut(string(data), "\n```"+kind+"\n")
		text, _, ok := strings.Cut(rest, "\n```")
		if !ok {
			t.Fatalf("README.md has no %s", kind)
		}
		return text + "\n"
	}
	dir := t.TempDir()
	for name, kind := range map[string]string{"refunds.yaml": "yaml", "refunds_test.yaml": "yaml test"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(block(kind)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	report, err := ruletest.Run(dir, ruletest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK {
		t.Error("the example's test fails")
		for _, f := range report.Files {
			t.Log(f.Errors)
			for _, test := range f.Tests {
				for _, failure := range test.Failures {
					t.Logf("%s: %v", failure.Event, failure.Checks)
				}
			}
		}
	}
}
