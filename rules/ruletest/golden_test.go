package ruletest_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/rules/ruletest"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata")

// TestGolden runs the tests of each folder of testdata, and compares all that
// is printed with what stands in the folder.
func TestGolden(t *testing.T) {
	folders, err := filepath.Glob("testdata/*/refunds.yaml")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, path := range folders {
		dir := filepath.Dir(path)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			rep := run(t, dir, nil)
			var text, asJSON, junit bytes.Buffer
			if err := errors.Join(rep.WriteText(&text, true), rep.WriteJSON(&asJSON), rep.WriteJUnit(&junit)); err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join(dir, "report.txt"), text.String())
			golden(t, filepath.Join(dir, "report.json"), asJSON.String())
			golden(t, filepath.Join(dir, "report.xml"), junit.String())
			if good := strings.HasPrefix(filepath.Base(dir), "good"); rep.OK != good {
				t.Errorf("OK is %v", rep.OK)
			}
		})
	}
}

func run(t testing.TB, path string, name *regexp.Regexp) *ruletest.Report {
	t.Helper()
	rep, err := ruletest.Run(path, ruletest.Options{Run: name})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) == got {
		return
	}
	wanted, gotten := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for i := range min(len(wanted), len(gotten)) {
		if wanted[i] != gotten[i] {
			t.Fatalf("%s:%d (go test -update rewrites it):\n  %s\nand now it is\n  %s", path, i+1, wanted[i], gotten[i])
		}
	}
	t.Errorf("%s: %d lines, and now %d (go test -update rewrites it)", path, len(wanted), len(gotten))
}
