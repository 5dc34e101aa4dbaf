package fault

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/refundguard/refundguard/pipeline/integration/model"
)

// event is a fault that was done. Recovered is how long it took from the fault
// (a kill, an end in good order), or from when its cause was gone (all others),
// until an epoch of after it was committed; 0 if the next fault didn't wait for
// that. Replaced is how long a successor of a stopped one took for the same.
type event struct {
	At        time.Time     `json:"at"`
	Kind      string        `json:"kind"`
	Detail    string        `json:"detail"`
	Standby   bool          `json:"standby,omitempty"` // others stood by
	Recovered time.Duration `json:"recovered_ns,omitempty"`
	Replaced  time.Duration `json:"replaced_ns,omitempty"`
}

// report is what was done and what came of it.
type report struct {
	Began   time.Time      `json:"began"`
	Took    time.Duration  `json:"took_ns"`
	Commit  string         `json:"commit"`
	Machine string         `json:"machine"`
	Seed    uint64         `json:"seed"`
	Passed  bool           `json:"passed"`
	Asked   map[string]int `json:"asked"`

	Written struct {
		Records      int64 `json:"records"`
		Refunds      int   `json:"refunds"`
		OutOfOrder   int64 `json:"out_of_order"`
		Duplicates   int   `json:"duplicates"`
		DeadLettered int   `json:"dead_lettered"`
	} `json:"written"`
	Decisions int `json:"decisions"`
	Approved  int `json:"approved"`
	Lost      int `json:"lost"`
	Doubled   int `json:"doubled"`

	Lives map[string]int `json:"lives"` // what became of refunds after their decision

	GaveWay           int     `json:"gave_way"`            // instances that stopped for another
	Deserted          int     `json:"deserted"`            // times that both of two stopped
	EndedByThemselves int     `json:"ended_by_themselves"` // for no good reason
	AfterALeaderLeft  int     `json:"after_a_leader_left"` // takeovers by standbys
	AfterSilence      int     `json:"after_silence"`       // likewise
	StoodByAgain      int     `json:"stood_by_again"`      // instances that found another at work
	Faults            []event `json:"faults"`
}

func (e event) String() string {
	text := fmt.Sprintf("%s %s: %s", e.At.Format("15:04:05.000"), e.Kind, e.Detail)
	if e.Recovered > 0 {
		text += fmt.Sprintf(", recovered after %s", e.Recovered.Round(time.Millisecond))
	}
	return text
}

func newReport(plan []string) *report {
	r := &report{Began: time.Now(), Seed: *seed, Asked: make(map[string]int),
		Machine: fmt.Sprintf("%s/%s, %d cores, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())}
	for _, kind := range plan {
		r.Asked[kind]++
	}
	commit, err := exec.Command("git", "describe", "--always", "--dirty", "--exclude=*").Output()
	r.Commit = strings.TrimSpace(string(commit))
	if err != nil {
		r.Commit = "unknown"
	}
	return r
}

func (r *report) add(e event) { r.Faults = append(r.Faults, e) }

// judge enters the verdict.
func (r *report) judge(t *testing.T, l *load, c *model.Comparison) {
	w := l.Strange.World
	r.Written.Records, r.Written.OutOfOrder = l.written.Load(), l.Late.Load()
	r.Written.Refunds, r.Written.Duplicates = w.Count("refunds", ""), w.Count("refunds", model.IsDuplicate)
	r.Written.DeadLettered = r.Written.Refunds - r.Written.Duplicates - w.Count("refunds", model.IsEvent)
	r.Decisions, r.Lost, r.Doubled = len(c.Decisions), c.Lost, c.Doubled
	for _, d := range c.Decisions {
		if d.Outcome == "approve" {
			r.Approved++
		}
	}
	r.Lives = c.Lives
	for _, what := range []string{"approve by analyst", "approve by deadline", "reject by customer", "review-deadline", "now executed", "now overdue", "LEDGER_FAILED", "EXECUTED_TWICE", "CASE_FINISHED"} {
		if r.Lives[what] == 0 {
			t.Errorf("the load does not test what it is for: no %s in %v", what, r.Lives)
		}
	}
	if r.Decisions == 0 || r.Approved == 0 || r.Written.OutOfOrder == 0 || r.Written.Duplicates == 0 {
		t.Errorf("the load does not test what it is for: %+v", r.Written)
	}
	r.Passed = !t.Failed()
}

// write leaves the report where it was asked for.
func (r *report) write(t *testing.T) {
	t.Helper()
	r.Took = time.Since(r.Began)
	for _, e := range r.Faults {
		t.Log(e)
	}
	t.Logf("seed %d\n%s", r.Seed, r.text())
	if *reportDir == "" {
		return
	}
	all, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.MkdirAll(*reportDir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(*reportDir, "report.json"), append(all, '\n'), 0o644)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(*reportDir, "report.md"), []byte(r.text()), 0o644)
	}
	if err != nil {
		t.Errorf("write the report: %v", err)
	}
}

// text is the report for people.
func (r *report) text() string {
	var b strings.Builder
	verdict := "FAILED"
	if r.Passed {
		verdict = "passed"
	}
	fmt.Fprintf(&b, "# Fault tests: %s, lost = %d, doubled = %d\n\n", verdict, r.Lost, r.Doubled)
	fmt.Fprintf(&b, "%s, commit %s, seed %d, %s, Apache Kafka. Took %s.\n\n",
		r.Began.UTC().Format("2006-01-02 15:04 UTC"), r.Commit, r.Seed, r.Machine, r.Took.Round(time.Second))
	for _, standby := range []bool{false, true} {
		r.table(&b, standby)
	}
	b.WriteString("Recovery: from a kill or an end in good order, or from when a network or broker was whole again or a zombie woke, until\n" +
		"an epoch of after it was read as committed. Every fourth fault comes without waiting for that.\n\n")
	asked := 0
	for _, n := range r.Asked {
		asked += n
	}
	fmt.Fprintf(&b, "- Faults: %d of %d that were asked for.\n", len(r.Faults), asked)
	fmt.Fprintf(&b, "- Written: %d records, %d out of order; %d refund records, of them %d duplicates and %d to be refused.\n",
		r.Written.Records, r.Written.OutOfOrder, r.Written.Refunds, r.Written.Duplicates, r.Written.DeadLettered)
	fmt.Fprintf(&b, "- Decided: %d refunds, %d of them approved and sent on, byte for byte.\n", r.Decisions, r.Approved)
	n := r.Lives
	fmt.Fprintf(&b, "- Reviewed: %d released and %d rejected by analysts, %d and %d by a deadline (of %d that passed), %d denied by their customers.\n",
		n["approve by analyst"], n["reject by analyst"], n["approve by deadline"], n["reject by deadline"], n["review-deadline"], n["reject by customer"])
	fmt.Fprintf(&b, "- Reconciled: %d executed, %d failed, %d overdue; %d executed twice and %d without an approval were told of.\n",
		n["now executed"], n["now failed"], n["OVERDUE"], n["EXECUTED_TWICE"], n["EXECUTED_WITHOUT_APPROVAL"])
	fmt.Fprintf(&b, "- Instances that gave way to another: %d. Both of two did: %d. Ended by themselves otherwise: %d.\n",
		r.GaveWay, r.Deserted, r.EndedByThemselves)
	fmt.Fprintf(&b, "- Standbys took over after a leader had left: %d, after silence: %d. Instances that worked and found another at work: %d.\n",
		r.AfterALeaderLeft, r.AfterSilence, r.StoodByAgain)
	return b.String()
}

// table is one way of running.
func (r *report) table(b *strings.Builder, standby bool) {
	title := "An instance, and a successor that is started"
	if standby {
		title = fmt.Sprintf("A leader and standbys, `engine.takeover_after: %s`", takeover)
	}
	fmt.Fprintf(b, "## %s\n\n| fault | done | recovery waited for | p50 | max |\n| --- | ---: | ---: | ---: | ---: |\n", title)
	recovered := func(e event) time.Duration { return e.Recovered }
	for _, kind := range kinds {
		of := map[string][]event{}
		for _, e := range r.Faults {
			if e.Kind == kind && e.Standby == standby {
				of[""] = append(of[""], e)
				of[e.Detail] = append(of[e.Detail], e)
			}
		}
		for _, detail := range slices.Sorted(maps.Keys(of)) {
			name := "· " + detail
			if detail == "" {
				name = kind
			}
			row(b, name, of[detail], recovered)
		}
		if replaced := slices.DeleteFunc(of[""], func(e event) bool { return e.Replaced == 0 }); len(replaced) > 0 {
			row(b, "· from the stop to the successor's first epoch", replaced, func(e event) time.Duration { return e.Replaced })
		}
	}
	b.WriteString("\n")
}

func row(b *strings.Builder, name string, events []event, of func(event) time.Duration) {
	var took []time.Duration
	for _, e := range events {
		if d := of(e); d > 0 {
			took = append(took, d)
		}
	}
	p50, most := quantiles(took)
	fmt.Fprintf(b, "| %s | %d | %d | %s | %s |\n", name, len(events), len(took), p50, most)
}

// quantiles are the median and the largest.
func quantiles(took []time.Duration) (p50, most time.Duration) {
	if len(took) == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(took))
	return sorted[len(sorted)/2].Round(time.Millisecond), sorted[len(sorted)-1].Round(time.Millisecond)
}
