package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// figures are what go test says of a fuzzer.
type figures struct {
	execs     int64
	fresh     int64  // inputs that reached new code
	corpus    int64  // all that did
	baseline  bool   // the corpus was run
	input     string // the file of what was found
	endedLate bool   // its time was over in the middle of an execution: go test calls that a failure, golang.org/issue/75804
}

var (
	progress = regexp.MustCompile(`execs: (\d+) \(.*new interesting: (\d+) \(total: (\d+)\)`)
	written  = regexp.MustCompile(`Failing input written to (\S+)`)
)

func read(output string) (f figures) {
	for _, m := range progress.FindAllStringSubmatch(output, -1) {
		f.execs, _ = strconv.ParseInt(m[1], 10, 64)
		f.fresh, _ = strconv.ParseInt(m[2], 10, 64)
		f.corpus, _ = strconv.ParseInt(m[3], 10, 64)
	}
	if m := written.FindStringSubmatch(output); m != nil {
		f.input = m[1]
	}
	f.baseline = strings.Contains(output, "gathering baseline coverage")
	f.endedLate = f.input == "" && strings.Contains(output, "context deadline exceeded") && !strings.Contains(output, "panic:")
	return f
}

// commitOf is what is fuzzed.
func commitOf(ctx context.Context, root string) string {
	git := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12")
	git.Dir = root
	commit, err := git.Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(commit))
}

// writeReport writes the outcomes as Markdown.
func writeReport(path, commit string, each time.Duration, jobs int, outcomes []outcome) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Fuzzing, %s\n\nCommit %s, %s, %s/%s, %d cores. %d fuzzers, %v each, %d at once, each on one core; `make fuzz-long` writes this.\n",
		time.Now().UTC().Format("2 January 2006, 15:04 UTC"), commit, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), len(outcomes), each, jobs)
	b.WriteString("\nNew inputs are those that reached code that none of the corpus had.\n\n| package | fuzzer | executions | a second | new inputs | corpus | result |\n| --- | --- | ---: | ---: | ---: | ---: | --- |\n")
	var total int64
	found := 0
	for i := range outcomes {
		o := &outcomes[i]
		total += o.execs
		if o.err != nil {
			found++
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %d | %s |\n", strings.TrimPrefix(o.pkg, "github.com/refundguard/refundguard/"), o.name, o.execs, int64(float64(o.execs)/each.Seconds()), o.fresh, o.corpus, o.result())
	}
	fmt.Fprintf(&b, "\n%d executions, %d findings.\n", total, found)
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
