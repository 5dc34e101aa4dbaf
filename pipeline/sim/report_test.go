package sim

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// report sums the seeds up.
type report struct {
	mu      sync.Mutex
	began   time.Time
	exact   bool
	results []result
	faults  map[string]int
}

func (r *report) add(one result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, one)
	for kind, n := range one.Faults {
		r.faults[kind] += n
	}
}

// write tells it, and leaves it where it was asked for.
func (r *report) write(t *testing.T) {
	text := r.text()
	t.Log("\n" + text)
	if *reportDir == "" {
		return
	}
	err := os.MkdirAll(*reportDir, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(*reportDir, "report.md"), []byte(text), 0o644)
	}
	if err != nil {
		t.Errorf("write the report: %v", err)
	}
}

func (r *report) text() string {
	sum := result{Lives: map[string]int{}}
	certain, failed := 0, []string(nil)
	slices.SortFunc(r.results, func(a, b result) int { return int(int64(a.Seed) - int64(b.Seed)) })
	for _, one := range r.results {
		sum.Virtual += one.Virtual
		sum.Records += one.Records
		sum.Decisions += one.Decisions
		sum.Degraded += one.Degraded
		sum.Starts += one.Starts
		sum.GaveWay += one.GaveWay
		sum.Frames += one.Frames
		sum.Evicted += one.Evicted
		sum.Lost += one.Lost
		sum.Doubled += one.Doubled
		sum.States += one.States
		for what, n := range one.Lives {
			sum.Lives[what] += n
		}
		if one.Certain {
			certain++
		}
		if !one.Passed {
			failed = append(failed, fmt.Sprint(one.Seed))
		}
	}
	verdict := "passed"
	if len(failed) > 0 {
		verdict = fmt.Sprintf("%d FAILED (%s)", len(failed), strings.Join(failed, ", "))
	}
	commit, err := exec.Command("git", "describe", "--always", "--dirty", "--exclude=*").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Simulation: %s, lost = %d, doubled = %d\n\n", verdict, sum.Lost, sum.Doubled)
	if len(r.results) > 0 {
		fmt.Fprintf(&b, "%s, commit %s, seeds %d to %d (%d), %s/%s, %d cores, %s. Took %s.\n\n", r.began.UTC().Format("2006-01-02 15:04 UTC"),
			strings.TrimSpace(string(commit)), r.results[0].Seed, r.results[len(r.results)-1].Seed, len(r.results),
			runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), time.Since(r.began).Round(time.Second))
	}
	if !r.exact {
		b.WriteString("What Go leaves to chance was not seeded: a seed gives the same world and faults, and another order of events.\n\n")
	}
	b.WriteString("| fault | begun |\n| --- | ---: |\n")
	for _, f := range faults {
		fmt.Fprintf(&b, "| %s | %d |\n", f.name, r.faults[f.name])
	}
	fmt.Fprintf(&b, "\n- %.1f hours of the simulated clock, %d starts of the service, %d frames on the network.\n", sum.Virtual.Hours(), sum.Starts, sum.Frames)
	fmt.Fprintf(&b, "- %d records written, %d refunds decided; %d instances gave way to another.\n", sum.Records, sum.Decisions, sum.GaveWay)
	n := sum.Lives
	fmt.Fprintf(&b, "- Reviewed: %d released and %d rejected by analysts, %d and %d by a deadline (of %d that passed), %d denied by their customers.\n",
		n["approve by analyst"], n["reject by analyst"], n["approve by deadline"], n["reject by deadline"], n["review-deadline"], n["reject by customer"])
	fmt.Fprintf(&b, "- Reconciled: %d executed, %d failed, %d overdue; %d executed twice, %d without an approval, %d that nobody asked for.\n",
		n["now executed"], n["now failed"], n["OVERDUE"], n["EXECUTED_TWICE"], n["EXECUTED_WITHOUT_APPROVAL"], n["UNKNOWN_REFUND"])
	fmt.Fprintf(&b, "- %d saved states held the same cases and sums as the topics.\n", sum.States)
	fmt.Fprintf(&b, "- In %d seeds the model knew every decision; in the other %d partitions could be left out, and %d decisions were degraded.\n",
		certain, len(r.results)-certain, sum.Degraded)
	fmt.Fprintf(&b, "- %d members of the webhook sink's group were kept by kfake, and evicted by the simulation.\n", sum.Evicted)
	return b.String()
}
