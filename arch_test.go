// Package refundguard_test holds what is true of the whole tree.
package refundguard_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/refundguard/refundguard"

// arrows names what each room may import of the others. A room may always
// import itself.
var arrows = map[string][]string{
	"cmd":        {"pipeline", "sinks", "rules", "connect", "dashboards", "deploy"},
	"pipeline":   {"rules", "connect"},
	"sinks":      {"rules", "connect"},
	"connect":    {},
	"rules":      {},
	"dashboards": {"rules"},
	"deploy":     {},
}

// rulesMayNotKnow are the outer systems: the rules can be used as a library,
// without a network.
var rulesMayNotKnow = []string{"github.com/twmb/", "github.com/ClickHouse/", "net/http", "github.com/prometheus/"}

// pkg is what go list says of one package.
type pkg struct {
	ImportPath, Name                         string
	Imports, TestImports, XTestImports, Deps []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Name,Imports,TestImports,XTestImports,Deps", "./...").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("go list: %v\n%s", err, exit.Stderr)
	}
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	in := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		switch err := in.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
}

// room is the top folder of one of our packages; "" for any other package, and
// for the module's root.
func room(importPath string) string {
	inside, ours := strings.CutPrefix(importPath, module+"/")
	if !ours {
		return ""
	}
	top, _, _ := strings.Cut(inside, "/")
	return top
}

// mayImport says whether an arrow is among those named.
func mayImport(from, to string) bool {
	if to == "" || from == to {
		return true
	}
	for _, allowed := range arrows[from] {
		if allowed == to {
			return true
		}
	}
	return false
}

func TestImportsPointOneWay(t *testing.T) {
	const kafkatest = module + "/pipeline/kafkatest"
	together := []string{module + "/pipeline/integration", module + "/pipeline/sim"} // tests of everything together
	for _, p := range packages(t) {
		from := room(p.ImportPath)
		if from == "" {
			continue
		}
		if _, known := arrows[from]; !known {
			t.Errorf("%s: a new top folder: name its arrows in this test", p.ImportPath)
		}
		for _, to := range p.Imports {
			if !mayImport(from, room(to)) {
				t.Errorf("%s imports %s: %s may import only %v", p.ImportPath, to, from, arrows[from])
			}
			if to == kafkatest {
				t.Errorf("%s imports %s, which is for tests", p.ImportPath, to)
			}
		}
		if slices.Contains(together, p.ImportPath) {
			continue
		}
		for _, to := range append(p.TestImports, p.XTestImports...) {
			if to != kafkatest && !mayImport(from, room(to)) {
				t.Errorf("a test of %s imports %s: %s may import only %v, and %s", p.ImportPath, to, from, arrows[from], kafkatest)
			}
		}
	}
}

func TestRulesKnowNoOuterSystem(t *testing.T) {
	for _, p := range packages(t) {
		if room(p.ImportPath) != "rules" {
			continue
		}
		for _, dep := range p.Deps {
			for _, unknown := range rulesMayNotKnow {
				if strings.HasPrefix(dep, unknown) {
					t.Errorf("%s depends on %s", p.ImportPath, dep)
				}
			}
		}
	}
}

func TestPackagesAreNamedForWhatTheyDo(t *testing.T) {
	for _, p := range packages(t) {
		switch base := path.Base(p.ImportPath); base {
		case "pkg", "internal", "util", "utils", "common", "helper", "helpers", "misc":
			t.Errorf("%s: %q says nothing of what is in it", p.ImportPath, base)
		}
	}
}
