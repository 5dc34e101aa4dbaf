package rulefmt_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/rulefmt"
)

var update = flag.Bool("update", false, "rewrite the expected files in testdata")

func TestCanonicalForm(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			got, err := rulefmt.Format(read(t, path))
			if err != nil {
				t.Fatal(err)
			}
			want := strings.TrimSuffix(path, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(want, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(read(t, want)), string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestCompiledRulesStayTheSame formats every rule file of the project that
// loads, and compares what rules read and do.
func TestCompiledRulesStayTheSame(t *testing.T) {
	loaded := 0
	for _, pattern := range []string{"../starter/*.yaml", "../testdata/*.yaml", "../../pipeline/integration/testdata/rules/*.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			_, before, err := rules.Inspect(path, rules.Options{})
			if err != nil {
				continue // it is there to be wrong
			}
			loaded++
			t.Run(filepath.Base(path), func(t *testing.T) {
				dir := t.TempDir()
				if err := os.CopyFS(filepath.Join(dir, "lists"), os.DirFS(filepath.Join(filepath.Dir(path), "lists"))); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
				source := read(t, path)
				out, err := rulefmt.Format(source)
				if err != nil {
					t.Fatal(err)
				}
				formatted := filepath.Join(dir, filepath.Base(path))
				if err := os.WriteFile(formatted, out, 0o600); err != nil {
					t.Fatal(err)
				}
				_, after, err := rules.Inspect(formatted, rules.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(before, after, cmpopts.IgnoreUnexported(rules.Rule{}, rules.Exception{}),
					cmpopts.IgnoreFields(rules.Rule{}, "When", "File", "Source", "Line"), cmpopts.IgnoreFields(rules.Exception{}, "When"), cmpopts.IgnoreFields(rules.ListUse{}, "File")); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
	if loaded < 5 {
		t.Errorf("only %d files load", loaded)
	}
}

func TestStarterRulesAreCanonical(t *testing.T) {
	paths, err := rules.RuleFiles("../starter")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		source := read(t, path)
		if got, err := rulefmt.Format(source); err != nil || !bytes.Equal(got, source) {
			t.Errorf("%s: %v (refundguard rules fmt -w rewrites it)\n%s", path, err, cmp.Diff(string(source), string(got)))
		}
	}
}

func TestRefusals(t *testing.T) {
	for source, says := range map[string]string{
		"rules: [":                           "YAML",
		"rules: &a []":                       "line 1: rule files have no YAML anchors",
		"a: 1\n---\nb: 2":                    "one YAML document",
		"- a":                                "is a mapping",
		strings.Repeat("[", 60):              "levels",
		"a: !!str 5":                         "tags",
		"rules:\n  - id: a\n   when: b: c\n": "line ",
	} {
		out, err := rulefmt.Format([]byte(source))
		if err == nil || !strings.Contains(err.Error(), says) || out != nil {
			t.Errorf("%q: %v, want %q; got %q", source, err, says, out)
		}
	}
}

func TestSmallFiles(t *testing.T) {
	for source, want := range map[string]string{
		"":                         "",
		"\n\n":                     "",
		"# only\n\n# this":         "# only\n# this\n",
		"---\nrules: []\n":         "rules: []\n",
		"rules:\r\n- id: a\r\n":    "rules:\n  - id: a\n",
		"\ufeffrules: []":          "rules: []\n",
		"{rules: [{id: a}]}":       "rules:\n  - id: a\n",
		"rules:\n":                 "rules:\n",
		"# c\nrules:\n":            "# c\nrules:\n",
		"# c\n\nrules:\n":          "# c\n\nrules:\n",
		"macros: {x: '!a'}":        "macros:\n  x: not a\n",
		"macros: {x: 'a?b:c'}":     "macros:\n  x: 'a ? b : c'\n",
		"macros: {x: 'a b'}":       "macros:\n  x: a b\n", // no condition
		"macros: {x: \"a=='b'\"}":  "macros:\n  x: a == \"b\"\n",
		"macros: {x: '-a - -b<0'}": "macros:\n  x: '-a - -b < 0'\n",
	} {
		got, err := rulefmt.Format([]byte(source))
		if err != nil || string(got) != want {
			t.Errorf("%q gave %q, %v; want %q", source, got, err, want)
		}
	}
}

// FuzzFormat: whatever the file, it is formatted, or refused with the user's
// fault named. Format itself compares the meaning.
func FuzzFormat(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yaml", "../starter/*.yaml", "../testdata/*.yaml"} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		out, err := rulefmt.Format(source)
		if err != nil {
			if strings.Contains(err.Error(), "fault of this program") {
				t.Fatal(err)
			}
			return
		}
		again, err := rulefmt.Format(out)
		if err != nil || !bytes.Equal(out, again) {
			t.Fatalf("formatting again: %v\n%s", err, cmp.Diff(string(out), string(again)))
		}
	})
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestChainsThatDoNotEnd: the parser shares the middle of a < b < c, and nested
// they stand for a tree that can't be walked. Such a condition stays as it is.
func TestChainsThatDoNotEnd(t *testing.T) {
	when := "amount"
	for range 60 {
		when = "((1 < " + when + " < 3) ? 1 : 2)"
	}
	source := "rules:\n  - id: r\n    when: '" + when + " == 1'\n"
	got, err := rulefmt.Format([]byte(source))
	if err != nil || string(got) != source {
		t.Errorf("%v\n%s", err, got)
	}
}
