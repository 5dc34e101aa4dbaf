package rules

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the expected messages in testdata")

// TestBadFiles compares the message of each testdata/*.bad.yaml with the text
// that stands beside it.
func TestBadFiles(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no bad files: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			_, err := Load(path, Options{})
			var faults Errors
			if !errors.As(err, &faults) {
				t.Fatalf("loading gave %v", err)
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".txt", faults.Error()+"\n")
		})
	}
}

// TestGoodFiles loads each testdata/*.good.yaml without a warning.
func TestGoodFiles(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.good.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no good files: %v", err)
	}
	for _, path := range paths {
		set, err := Load(path, Options{Strict: true})
		if err != nil || len(set.Warnings) > 0 {
			t.Errorf("%s: %v\n%v", path, err, set)
		}
	}
}

// TestExpired loads a set on a certain day.
func TestExpired(t *testing.T) {
	set, err := Load("testdata/expired.yaml", Options{Now: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/expired.txt", set.Warnings.Error()+"\n")
}

func TestWarnings(t *testing.T) {
	set, err := Load("testdata/warnings.yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/warnings.txt", set.Warnings.Error()+"\n")

	_, err = Load("testdata/warnings.yaml", Options{Strict: true})
	var faults Errors
	if !errors.As(err, &faults) {
		t.Fatalf("strict loading gave %v", err)
	}
	n := 0
	for _, e := range faults {
		if missing := strings.Contains(e.Message, "may be missing"); missing == e.Warning {
			t.Errorf("strict: warning is %v for %s", e.Warning, e.Message)
		} else if missing {
			n++
		}
	}
	if n == 0 {
		t.Error("strict: no value may be missing")
	}
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
	if string(want) != got {
		t.Errorf("%s differs (go test -update rewrites it); got:\n%s", path, got)
	}
}
