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

// The kinds of faults.
const (
	kill    = "kill"
	zombie  = "zombie"
	network = "network"
	broker  = "broker"
)

var kinds = []string{kill, zombie, network, broker}

// runner does the harm, and keeps an instance of the service running. All of it
// happens in the test's goroutine.
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

	running  []*instance
	launched int
}

func (r *runner) start() *instance {
	r.Helper()
	r.launched++
	i := launch(r.T, r.program, r.state, r.folder(), r.logs, r.door, r.launched)
	r.running = append(r.running, i)
	return i
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
// been replaced by another.
func (r *runner) keep() {
	r.Helper()
	r.running = slices.DeleteFunc(r.running, func(i *instance) bool {
		if !i.over() {
			return false
		}
		if i.replaced() {
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

// listen looks for what no instance may ever say.
func (r *runner) listen() {
	logs, _ := filepath.Glob(filepath.Join(r.logs, "*.log"))
	for _, log := range logs {
		text, _ := os.ReadFile(log)
		for _, word := range []string{"DATA RACE", "panic:", "does not hold"} {
			if at := bytes.Index(text, []byte(word)); at >= 0 {
				r.Errorf("%s:\n%.3000s", log, text[max(0, at-200):])
			}
		}
	}
}

// recovered waits for an epoch that was closed after a time to be committed,
// and says how much later that was.
func (r *runner) recovered(what string, since time.Time) time.Duration {
	r.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if seen := r.watcher.after(since); !seen.IsZero() {
			return seen.Sub(since)
		}
		r.keep()
	}
	for _, i := range r.running {
		r.Logf("%s:\n%s", i.name, i.lastWords())
	}
	r.Fatalf("%s: no epoch was committed for %s", what, patience)
	return 0
}

// oneLeft waits until a single instance runs: of two, one has to give way.
func (r *runner) oneLeft() {
	r.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if r.keep(); len(r.running) == 1 {
			return
		}
		if time.Now().After(deadline) {
			for _, i := range r.running {
				r.Logf("%s:\n%s", i.name, i.lastWords())
			}
			r.Fatalf("%d instances still run after %s", len(r.running), patience)
		}
	}
}

// between is a random time.
func (r *runner) between(least, most time.Duration) time.Duration {
	return least + time.Duration(r.rng.Int64N(int64(most-least)))
}

func (r *runner) percent(p int) bool { return r.rng.IntN(100) < p }

// fault does one thing and notes it. Mostly the next one waits until the
// service has recovered; else it comes on top.
func (r *runner) fault(kind string) {
	r.Helper()
	time.Sleep(r.between(0, 300*time.Millisecond))
	r.keep()
	began := time.Now()
	detail, since := map[string]func() (string, time.Time){
		kill: r.kill, zombie: r.zombie, network: r.network, broker: r.broker,
	}[kind]()
	done := event{At: began, Kind: kind, Detail: detail}
	if r.percent(75) {
		done.Recovered = r.recovered(kind+": "+detail, since)
	} else {
		time.Sleep(r.between(0, 700*time.Millisecond))
	}
	r.report.add(done)
}

// moment waits for a random one, or for an epoch's end to be on its way: the
// proxy then keeps it until release is called.
func (r *runner) moment() (detail string, release func()) {
	n := r.rng.IntN(4)
	if n > 1 {
		return "at any time", func() {}
	}
	reached, release := r.proxy.holdNext(n)
	select {
	case <-reached:
		return []string{"EndTxn on its way", "answer to EndTxn on its way"}[n], release
	case <-time.After(3 * time.Second): // nobody is live
		release()
		return "at any time", func() {}
	}
}

// kill ends the service without warning; one successor starts, or two.
func (r *runner) kill() (string, time.Time) {
	detail, release := r.moment()
	defer release()
	since := r.replace()
	if !r.percent(15) {
		return detail + ", one successor", since
	}
	r.start()
	if r.percent(70) {
		release()
		r.oneLeft()
	}
	return detail + ", two successors", since
}

// replace kills what runs and starts one instance.
func (r *runner) replace() (killed time.Time) {
	for _, i := range r.running {
		i.kill()
	}
	r.running = nil
	killed = time.Now()
	r.start()
	return killed
}

// zombie stops the service for a while. Mostly another one has taken over when
// it wakes up in the middle of whatever it did.
func (r *runner) zombie() (string, time.Time) {
	detail, release := r.moment()
	defer release()
	asleep := slices.Clone(r.running)
	for _, i := range asleep {
		i.signal(syscall.SIGSTOP)
	}
	wake := func() {
		for _, i := range asleep {
			i.signal(syscall.SIGCONT)
		}
	}
	since := time.Now()
	if r.percent(15) {
		time.Sleep(r.between(100*time.Millisecond, 3*time.Second))
		wake()
		return detail + ", nobody took over", time.Now()
	}
	r.start()
	if r.percent(70) {
		detail += ", replaced when it woke"
		r.report.Replaced = append(r.report.Replaced, r.recovered("a successor", since))
		time.Sleep(r.between(0, 500*time.Millisecond))
	} else {
		time.Sleep(r.between(0, 1500*time.Millisecond))
		detail += ", woke at about the time it was replaced"
	}
	release() // what it sent arrives when another one has taken over
	woken := time.Now()
	wake()
	r.oneLeft()
	return detail, woken
}

// network harms what is on its way between the service and the broker. The
// time to recover counts from when the network is whole again.
func (r *runner) network() (string, time.Time) {
	switch r.rng.IntN(10) {
	case 0, 1:
		r.proxy.cut()
		return "all connections reset", time.Now()
	case 2:
		r.proxy.tear(r.rng)
		return "half of the connections torn", time.Now()
	case 3, 4:
		detail, directions := "black hole", []int{requests, answers}
		if r.percent(50) {
			detail, directions = "black hole for answers only", directions[answers:]
		}
		r.proxy.swallow(directions...)
		time.Sleep(r.between(300*time.Millisecond, 4*time.Second))
		r.proxy.heal()
		return detail, time.Now()
	case 5, 6:
		r.proxy.slow(r.between(20*time.Millisecond, 300*time.Millisecond))
		time.Sleep(r.between(500*time.Millisecond, 4*time.Second))
		r.proxy.heal()
		return "delay", time.Now()
	case 7:
		return "answer to EndTxn lost, connection silent", r.dropAnswer(swallowed)
	default:
		return "answer to EndTxn lost, connection cut", r.dropAnswer(cutInstead)
	}
}

func (r *runner) dropAnswer(how int32) time.Time {
	before := r.proxy.dropped.Load()
	r.proxy.drop.Store(how)
	for deadline := time.Now().Add(patience); r.proxy.dropped.Load() == before; time.Sleep(time.Millisecond) {
		if r.keep(); time.Now().After(deadline) {
			r.Fatalf("no epoch was ended for %s", patience)
		}
	}
	return time.Now()
}

// broker kills the broker and brings it back. The time to recover counts from
// when it answers again.
func (r *runner) broker() (string, time.Time) {
	detail := "restarted"
	r.cluster.Kill()
	time.Sleep(r.between(0, time.Second))
	if r.percent(20) {
		detail = "restarted, the service killed meanwhile"
		r.replace()
	}
	r.cluster.Restart()
	return detail, time.Now()
}

// drain waits until everything that was written is decided, and ends the
// service in good order.
func (r *runner) drain(w *model.World) {
	r.Helper()
	r.oneLeft()
	want := int64(w.Count("refunds", ""))
	if n := len(r.cluster.ReadCommitted("refunds")); int64(n) != want {
		r.Fatalf("the load is %d refund records, their topic has %d: the test itself is wrong", want, n)
	}
	for deadline := time.Now().Add(patience); r.watcher.now().Balance.Read < want; time.Sleep(20 * time.Millisecond) {
		if r.keep(); time.Now().After(deadline) {
			r.Fatalf("%d refund records, accounted for after %s: %+v\n%s", want, patience, r.watcher.now(), r.running[0].lastWords())
		}
	}
	last := r.running[0]
	r.running = nil
	last.signal(syscall.SIGTERM)
	if !last.within(30 * time.Second) {
		last.kill()
		r.Errorf("%s did not end in good order", last.name)
	}
	if last.err != nil {
		r.Errorf("%s, asked to end: %v\n%s", last.name, last.err, last.lastWords())
	}
	if err := r.watcher.fault(); err != nil {
		r.Error(err)
	}
}

func (e event) String() string {
	text := fmt.Sprintf("%s %s: %s", e.At.Format("15:04:05.000"), e.Kind, e.Detail)
	if e.Recovered > 0 {
		text += fmt.Sprintf(", recovered after %s", e.Recovered.Round(time.Millisecond))
	}
	return text
}
