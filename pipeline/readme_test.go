package pipeline_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each row of README.md's table of errors names tests that exist, and each
// trouble has its row.
func TestTheTableOfErrorsNamesTests(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "## What each error does")
	table, _, _ = strings.Cut(table, "\n## ")
	source := ""
	for _, pattern := range []string{"*_test.go", "store/*_test.go", "../cmd/refundguard/*_test.go", "../connect/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			source += string(b)
		}
	}
	named := map[string]bool{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 7 || strings.Contains(line, "---") {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[5], -1) {
			name := m[1]
			named[name] = true
			if !strings.Contains(source, "func "+name+"(t *testing.T)") && !strings.Contains(source, `"`+name+`"`) {
				t.Errorf("README.md names the test %s, which does not exist", name)
			}
		}
	}
	for _, tr := range troubles {
		if !named[tr.name] {
			t.Errorf("README.md has no row for the trouble %s", tr.name)
		}
	}
}
