// Package grafana_test checks dashboards against Grafana's own types, which leave
// open what a panel's options and a data source's queries say.
package grafana_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The types, and what checks them. npm compares what it fetches with the digests
// of its registry.
const (
	types    = "@grafana/schema@13.2.3"
	compiler = "typescript@5.9.3"
)

// modules is a folder with both, in the user's cache.
func modules(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"npm", "node"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s: %v", tool, err)
			}
			t.Skipf("no %s, which fetches and runs what checks types", tool)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "refundguard", strings.NewReplacer("/", "-", "@", "-").Replace(types+compiler))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "grafana-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	npm := exec.CommandContext(t.Context(), "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", fresh, types, compiler)
	if said, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", npm, err, said)
	}
	if err := os.Rename(fresh, dir); err != nil {
		if _, there := os.Stat(dir); there != nil { // else another test was faster
			t.Fatal(err)
		}
	}
	return dir
}

// compile says what the types have against a dashboard; "" is nothing.
func compile(t *testing.T, modules string, dashboard string) string {
	t.Helper()
	head, err := os.ReadFile("testdata/dashboard.ts")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(modules, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dashboard.ts"), append(head, dashboard...), 0o600); err != nil {
		t.Fatal(err)
	}
	tsc := exec.CommandContext(t.Context(), "node", filepath.Join(modules, "node_modules/typescript/bin/tsc"), "--noEmit", "--strict", "--skipLibCheck",
		"--moduleResolution", "bundler", "--module", "esnext", "--target", "es2022", "dashboard.ts")
	tsc.Dir = dir
	said, err := tsc.CombinedOutput()
	if err != nil && len(said) == 0 {
		t.Fatalf("%v: %v", tsc, err)
	}
	return string(said)
}

func TestDashboardsAreOfGrafanasTypes(t *testing.T) {
	modules := modules(t)
	files, err := filepath.Glob("../../dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if said := compile(t, modules, string(text)); said != "" {
				t.Error(said)
			}
		})
	}
}

// TestTypesRefuse breaks a dashboard in ways that its types must see.
func TestTypesRefuse(t *testing.T) {
	modules := modules(t)
	text, err := os.ReadFile("../../dashboards/overview.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, from, to string }{
		{"an unknown member of a panel", `"gridPos": {`, `"gridpos": {}, "gridPos": {`},
		{"a height that is a text", `"h": 4`, `"h": "4"`},
		{"an unknown mode of thresholds", `"mode": "absolute"`, `"mode": "absolut"`},
		{"an unknown color mode", `"mode": "thresholds"`, `"mode": "threshold"`},
		{"no schema version", `"schemaVersion":`, `"schemaversion":`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			broken := strings.Replace(string(text), c.from, c.to, 1)
			if broken == string(text) {
				t.Fatalf("the dashboard has no %s", c.from)
			}
			if said := compile(t, modules, broken); !strings.Contains(said, "error TS") {
				t.Errorf("it is taken: %s", said)
			}
		})
	}
}
