package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program is a refundguard whose bench prints this.
const program = `package main

import ("fmt"; "os")

func main() {
	if fmt.Sprint(os.Args[1:]) != "[bench engine --events 7 -o json]" {
		panic(fmt.Sprint(os.Args))
	}
	fmt.Println(%q)
}
`

// repository has two versions: HEAD, and the working tree.
func repository(t *testing.T, before, after string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) {
		cmd := exec.Command("git", append([]string{"-c", "user.name=n", "-c", "user.email=e"}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	write("go.mod", "module example.com/refundguard\n\ngo 1.26.0\n")
	write("cmd/refundguard/main.go", fmt.Sprintf(program, before))
	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "old")
	write("cmd/refundguard/main.go", fmt.Sprintf(program, after))
	return dir
}

func TestVersionsAreCompared(t *testing.T) {
	const old = `[{"name":"engine","events_per_second":1000,"cpu_us_per_event":4,"digest":"aa","transactions":{"cpu_us_per_event":2}}]`
	for _, c := range []struct{ name, after, says, fails string }{
		{"faster", strings.NewReplacer("1000", "1500", ":4", ":2").Replace(old), "engine: events_per_second               1000.00      1500.00      1.500            1.500..1.500", ""},
		{"a figure inside", old, "engine: transactions: cpu_us_per_event  2.00         2.00         1.000            1.000..1.000", ""},
		{"decides differently", strings.Replace(old, "aa", "ab", 1), "1.000", "engine: digest: old aa, new ab"},
		{"another kind of digest", strings.Replace(old, "aa", "aaaa", 1), "engine: digest: not compared", ""},
		{"a new measurement", strings.Replace(old, `"engine"`, `"motor"`, 1), "motor: events_per_second: the old version has none", ""},
		{"a measurement that is gone", strings.Replace(old, `"engine"`, `"motor"`, 1), "engine: digest: the new version has none", ""},
		{"nothing to compare", `[]`, "", "bench printed none of events_per_second"},
	} {
		t.Run(c.name, func(t *testing.T) {
			temp := t.TempDir()
			t.Setenv("TMPDIR", temp)
			dir := repository(t, old, c.after)
			var out, tell strings.Builder
			err := comparison{root: dir, old: "HEAD", what: []string{"engine", "--events", "7"}, rounds: 2, out: &out, tell: &tell}.run(context.Background())
			if (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) || !strings.Contains(out.String(), c.says) {
				t.Errorf("error %v, want %q; want %q in:\n%s%s", err, c.fails, c.says, out.String(), tell.String())
			}
			cmd := exec.Command("git", "worktree", "list")
			cmd.Dir = dir
			if list, err := cmd.Output(); err != nil || strings.Count(string(list), "\n") != 1 {
				t.Errorf("a worktree is left: %s, %v", list, err)
			}
			if left, err := filepath.Glob(filepath.Join(temp, "refundguard-*")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %q, %v", left, err)
			}
		})
	}
}

func TestMedianAndSpreadAreOfRounds(t *testing.T) {
	rounds := func(values ...float64) (all []round) {
		for _, v := range values {
			all = append(all, round{figures: map[string]float64{"f": v}})
		}
		return all
	}
	var out strings.Builder
	// A machine that gets slower slows both down: the ratio is of the same round.
	if err := compare(&out, rounds(100, 50, 10), rounds(110, 60, 9)); err != nil {
		t.Fatal(err)
	}
	if want := "f       50.00        60.00        1.100            0.900..1.200"; !strings.Contains(out.String(), want) {
		t.Errorf("want %q in:\n%s", want, out.String())
	}
}
