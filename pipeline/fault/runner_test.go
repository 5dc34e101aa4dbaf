package fault

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/refundguard/refundguard/pipeline/integration/model"
	"github.com/refundguard/refundguard/pipeline/kafkatest"
)

// runner does the harm, and keeps the service running. All of it happens in the
// test's goroutine.
type runner struct {
	*testing.T
	rng     *rand.Rand
	cluster *kafkatest.Cluster
	proxy   *proxy
	door    string
	program string
	state   string // folder of the instances' states
	logs    string
	watcher *watcher
	report  *report

	// Beside the instance that works others stand by, and take over. Without, one
	// works, and a successor is started when there is a reason to.
	standby bool

	running  []*instance
	launched int
}

func (r *runner) start() {
	r.Helper()
	r.launched++
	r.running = append(r.running, launch(r, r.launched, r.folder()))
}

// fill starts who is missing: one or two are to stand by.
func (r *runner) fill() {
	r.Helper()
	for want := 2 + r.rng.IntN(2); r.standby && len(r.running) < want; {
		r.start()
	}
}

// killed ends some without warning.
func (r *runner) killed(them []*instance) time.Time {
	r.running = slices.DeleteFunc(slices.Clone(r.running), func(i *instance) bool { return slices.Contains(them, i) })
	for _, i := range them {
		i.kill()
	}
	return time.Now()
}

// ended asks an instance to end, which it must do in good order.
func (r *runner) ended(i *instance) {
	r.Helper()
	r.running = slices.DeleteFunc(r.running, func(other *instance) bool { return other == i })
	i.signal(syscall.SIGTERM)
	if !i.within(30 * time.Second) {
		i.kill()
		r.Errorf("%s did not end in good order\n%s", i.name, i.lastWords())
	} else if i.err != nil {
		r.Errorf("%s, asked to end: %v\n%s", i.name, i.err, i.lastWords())
	}
}

// folder is a state folder that nobody has: mostly one that an instance left,
// however it ended, whether or not its save was the last; now and then none.
func (r *runner) folder() string {
	for n := 0; ; n++ {
		dir := filepath.Join(r.state, fmt.Sprint("state", n))
		if slices.ContainsFunc(r.running, func(i *instance) bool { return i.state == dir && !i.over() }) {
			continue
		}
		if r.percent(5) {
			os.RemoveAll(dir)
		}
		return dir
	}
}

// keep sees to it that an instance runs. One that ended by itself must have
// been replaced by another, and not be one that stands by then.
func (r *runner) keep() {
	r.Helper()
	r.running = slices.DeleteFunc(r.running, func(i *instance) bool {
		if !i.over() {
			return false
		}
		if i.replaced() && !i.standby {
			r.report.GaveWay++
			return true
		}
		r.report.EndedByThemselves++
		r.Errorf("%s ended by itself: %v\n%s", i.name, i.err, i.lastWords())
		return true
	})
	if len(r.running) == 0 {
		r.report.Deserted++
		r.start()
	}
}

// end kills what still runs when the test is over.
func (r *runner) end() {
	for _, i := range r.running {
		i.kill()
	}
}

// listen looks for what no instance may ever say, and counts takeovers.
func (r *runner) listen() {
	logs, _ := filepath.Glob(filepath.Join(r.logs, "*.log"))
	for _, log := range logs {
		text, _ := os.ReadFile(log)
		for _, word := range []string{"DATA RACE", "panic:", "does not hold"} {
			if at := bytes.Index(text, []byte(word)); at >= 0 {
				r.Errorf("%s:\n%.3000s", log, text[max(0, at-200):])
			}
		}
		r.report.AfterALeaderLeft += bytes.Count(text, []byte("taking over: the leader has left"))
		r.report.AfterSilence += bytes.Count(text, []byte("taking over: the leader is silent"))
		r.report.StoodByAgain += bytes.Count(text, []byte("another instance took over: standing by"))
	}
}

// wait looks now and then whether something has come about.
func (r *runner) wait(what string, done func() bool) {
	r.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if r.keep(); time.Now().Before(deadline) {
			continue
		}
		for _, i := range r.running {
			r.Logf("%s:\n%s", i.name, i.lastWords())
		}
		r.Fatalf("not after %s: %s", patience, what)
	}
}

// recovered waits for an epoch that was closed after a time to be committed, by
// anybody but one, and says how much later that was.
func (r *runner) recovered(what string, since time.Time, but *instance) (took time.Duration) {
	r.Helper()
	r.wait("an epoch after "+what, func() bool {
		seen := r.watcher.after(since, but)
		took = seen.Sub(since)
		return !seen.IsZero()
	})
	return took
}

// settled waits until one instance works and all others stand by. Of two that
// can't, one has to give way.
func (r *runner) settled() (leader *instance) {
	r.Helper()
	r.wait("one instance works, and all others stand by", func() bool {
		leader = nil
		for _, i := range r.running {
			switch i.role() {
			case works:
				if leader != nil {
					return false
				}
				leader = i
			case unready:
				return false
			}
		}
		return leader != nil
	})
	return leader
}

// leader is who committed last, if it still runs.
func (r *runner) leader() *instance {
	by := r.watcher.now()
	if at := slices.IndexFunc(r.running, func(i *instance) bool { return !i.over() && i.wrote(by) }); at >= 0 {
		return r.running[at]
	}
	return nil
}

// between is a random time.
func (r *runner) between(least, most time.Duration) time.Duration {
	return least + time.Duration(r.rng.Int64N(int64(most-least)))
}

func (r *runner) percent(p int) bool { return r.rng.IntN(100) < p }

// drain waits until everything that was written is decided, and ends the
// service in good order.
func (r *runner) drain(w *model.World) {
	r.Helper()
	r.settled()
	want := int64(w.Count("refunds", ""))
	if n := len(r.cluster.ReadCommitted("refunds")); int64(n) != want {
		r.Fatalf("the load is %d refund records, their topic has %d: the test itself is wrong", want, n)
	}
	r.wait(fmt.Sprintf("%d refund records are accounted for", want), func() bool { return r.watcher.now().Balance.Read >= want })
	r.wait("all that people said had its turn", func() bool { return r.hadTurns(r.watcher.now()) })
	last := slices.Clone(r.running)
	r.rng.Shuffle(len(last), func(i, j int) { last[i], last[j] = last[j], last[i] })
	for _, i := range last {
		r.ended(i)
	}
	if err := r.watcher.fault(); err != nil {
		r.Error(err)
	}
}

// hadTurns reports whether all that happened to refunds is done with.
func (r *runner) hadTurns(p model.Progress) bool {
	topics := 0
	for _, st := range p.Streams {
		if !slices.Contains(model.LifeTopics, st.Topic) {
			continue
		}
		topics++
		ends := map[int32]int64{}
		for _, said := range r.cluster.ReadCommitted(st.Topic) {
			ends[said.Partition] = said.Offset + 1
		}
		for id, end := range ends {
			if st.Partitions[id].Decided < end {
				return false
			}
		}
	}
	return topics == len(model.LifeTopics)
}
