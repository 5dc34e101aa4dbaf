package ruletest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/rules/ruletest"
)

// TestReadme runs the examples of README.md, and holds its table of
// expectations against the reader's.
func TestReadme(t *testing.T) {
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme, rulesText, shown := string(data), "", ""
	tests := 0
	for _, block := range strings.Split(readme, "\n```")[1:] {
		switch kind, body, _ := strings.Cut(block, "\n"); kind {
		case "yaml rules":
			rulesText = body + "\n"
		case "yaml test":
			if tests++; tests == 1 {
				shown = output(t, rulesText, body+"\n") + output(t, rulesText, failing.Replace(body+"\n"))
			}
			if rep := run(t, folder(t, rulesText, body+"\n"), nil); !rep.OK {
				var b strings.Builder
				if err := rep.WriteText(&b, false); err != nil {
					t.Fatal(err)
				}
				t.Errorf("%s\n%s", body, b.String())
			}
		case "text":
			if !strings.Contains(shown, body) {
				t.Errorf("the first example doesn't print\n%s\nbut\n%s", body, shown)
			}
		}
	}
	if tests < 3 {
		t.Errorf("%d examples were found", tests)
	}
	for _, key := range ruletest.ExpectKeys() {
		if !strings.Contains(readme, "`"+key+"`") {
			t.Errorf("the table of expectations lacks %s", key)
		}
	}
}

// failing turns the first example into the one whose failure is shown.
var failing = strings.NewReplacer("outcome: reject, hits: [over-refund], refunded: 60", "outcome: approve")

// output is what the command prints.
func output(t *testing.T, rulesText, testsText string) string {
	dir := folder(t, rulesText, testsText)
	var b strings.Builder
	if err := run(t, dir, nil).WriteText(&b, true); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(b.String(), dir+string(filepath.Separator), "")
}

// folder makes a folder of rules with tests.
func folder(t testing.TB, rulesText, testsText string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"refunds.yaml": rulesText, "refunds_test.yaml": testsText} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
