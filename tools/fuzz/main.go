// Command fuzz runs all fuzzers of the project, some at a time, and writes a
// report. It fails if one of them finds something.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// fuzzer is one fuzzing function.
type fuzzer struct{ pkg, name string }

// outcome is what a run of one came to.
type outcome struct {
	fuzzer
	figures
	err    error // it found something, or could not run
	output string
}

func main() {
	root := flag.String("root", ".", "where the project lies")
	each := flag.Duration("time", 30*time.Second, "how long each fuzzer runs")
	jobs := flag.Int("jobs", runtime.NumCPU(), "how many run at once, each on one core")
	only := flag.String("only", "", "run those whose package and name match this regular expression")
	report := flag.String("report", "", "file to write a report to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *root, *each, *jobs, *only, *report); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root string, each time.Duration, jobs int, only, report string) error {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	all, err := find(ctx, root)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(f fuzzer) bool { return !pattern.MatchString(f.pkg + " " + f.name) })
	if len(all) == 0 {
		return errors.New("there is no such fuzzer")
	}
	fmt.Printf("%d fuzzers, %v each, %d at once\n", len(all), each, jobs)
	commit := commitOf(ctx, root)
	outcomes := make([]outcome, len(all))
	slots := make(chan struct{}, jobs)
	var work sync.WaitGroup
	for i, f := range all {
		work.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			outcomes[i] = fuzz(ctx, root, f, each)
			fmt.Println(outcomes[i].line())
		})
	}
	work.Wait()
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if report != "" {
		if err := writeReport(report, commit, each, jobs, outcomes); err != nil {
			return err
		}
	}
	found := 0
	for _, o := range outcomes {
		if o.err != nil {
			found++
			fmt.Printf("\n== %s %s: %v\n%s\n", o.pkg, o.name, o.err, o.output)
		}
	}
	if found > 0 {
		return fmt.Errorf("%d fuzzers failed: keep what they wrote to testdata/fuzz with what mends it", found)
	}
	return nil
}

var declared = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(\w+ \*testing\.F\)`)

// find reads the names of the fuzzers from the tests.
func find(ctx context.Context, root string) ([]fuzzer, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-f", `{{.ImportPath}}{{range .TestGoFiles}} {{$.Dir}}/{{.}}{{end}}{{range .XTestGoFiles}} {{$.Dir}}/{{.}}{{end}}`, "./...")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the packages in %s: %w", root, err)
	}
	var all []fuzzer
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		for _, file := range words[1:] {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
				all = append(all, fuzzer{words[0], m[1]})
			}
		}
	}
	return all, nil
}

// fuzz runs one fuzzer.
func fuzz(ctx context.Context, root string, f fuzzer, each time.Duration) outcome {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-fuzz", "^"+f.name+"$", "-fuzztime", each.String(),
		"-fuzzminimizetime", "10x", "-parallel", "1", "-timeout", (each + 5*time.Minute).String(), f.pkg)
	cmd.Dir = root
	// The fuzzer's workers end with it, not before.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	output, err := cmd.CombinedOutput()
	o := outcome{fuzzer: f, figures: read(string(output)), output: string(output), err: err}
	if err != nil && o.endedLate {
		o.err = nil
	}
	if o.err == nil && o.execs == 0 && !o.baseline {
		o.err = errors.New("it ran nothing")
	}
	return o
}

func (o *outcome) line() string {
	return fmt.Sprintf("%-60s %12d executions  %s", strings.TrimPrefix(o.pkg, "github.com/refundguard/refundguard/")+" "+o.name, o.execs, o.result())
}

func (o *outcome) result() string {
	switch {
	case o.input != "":
		return "found " + filepath.Base(o.input)
	case o.err != nil:
		return o.err.Error()
	}
	if o.execs == 0 {
		return "nothing found in the corpus, which took all the time"
	}
	return "nothing found"
}
