package rules

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
)

// TestExprCorpus takes expr's own examples, more than 40,000, for conditions:
// each is compiled, and then evaluates, or is refused at its place; none costs
// more than a bounded amount of memory.
func TestExprCorpus(t *testing.T) {
	missing := t.Skipf
	if os.Getenv("CI") == "true" {
		missing = t.Fatalf // it is in the module's own archive
	}
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/expr-lang/expr").Output()
	if err != nil {
		missing("expr's source is not there: %v", err)
	}
	f, err := os.Open(filepath.Join(strings.TrimSpace(string(out)), "testdata", "generated.txt"))
	if err != nil {
		missing("expr's source is not there: %v", err)
	}
	defer f.Close()
	const batch = 500
	var lines []string
	total, compiled := 0, 0
	flush := func() {
		n := checkCorpus(t, lines)
		total, compiled, lines = total+len(lines), compiled+n, lines[:0]
	}
	for in, i := bufio.NewScanner(f), 0; in.Scan(); i++ {
		if testing.Short() && i%20 > 0 {
			continue
		}
		if lines = append(lines, in.Text()); len(lines) == batch {
			flush()
		}
	}
	flush()
	if total < 2000 || compiled == 0 || compiled == total {
		t.Errorf("%d of %d compile", compiled, total)
	}
	t.Logf("%d of %d compile", compiled, total)
}

// checkCorpus says how many of the conditions compile.
func checkCorpus(t *testing.T, lines []string) int {
	t.Helper()
	load := func(refused map[string]bool) (*Set, int, error) {
		var file strings.Builder
		// names of expr's examples that mean something here
		file.WriteString("macros: {ok: mfa, i: units, i32: units, foo: original, str: ip}\nrules:\n- {id: first, action: review, when: ok or i > 1 or i32 > 1 or foo != nil or str != nil}\n")
		n := 0
		for i, line := range lines {
			if id := fmt.Sprintf("r%d", i); !refused[id] {
				when, _ := json.Marshal(line)
				fmt.Fprintf(&file, "- {id: %s, action: review, when: %s, message: %q}\n", id, when, "{{"+line+"}}")
				n++
			}
		}
		s, err := LoadFS(fstest.MapFS{"a.yaml": {Data: []byte(file.String())}}, "", Options{Schema: testSchema(t)})
		return s, n, err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s, n, err := load(nil)
	refused := map[string]bool{}
	var faults Errors
	if errors.As(err, &faults) {
		for _, e := range faults {
			if !e.Warning {
				refused[e.Rule] = true
			}
			if e.Line == 0 || e.Message == "" {
				t.Fatalf("an error without a place: %v", e)
			}
		}
		s, n, err = load(refused)
	}
	if err != nil {
		t.Fatalf("conditions without a fault of their own don't load: %v", err)
	}
	v := s.NewEvaluator()
	for _, in := range []Input{{Event: refund(t, "mfa=true", "units=3", "ip=x")}, {Event: refund(t), Original: payment(t)}} {
		v.Begin(&in)
		v.Run(false)
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / uint64(len(lines)+1); each > 1<<20 {
		t.Errorf("%d bytes for each condition such as %s", each, lines[0])
	}
	return n
}
