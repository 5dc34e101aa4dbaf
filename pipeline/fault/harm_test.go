package fault

import (
	"slices"
	"syscall"
	"time"
)

// The kinds of faults.
const (
	kill    = "kill"
	zombie  = "zombie"
	term    = "term"
	network = "network"
	broker  = "broker"
)

var kinds = []string{kill, zombie, term, network, broker}

// harm is what was done, and from when on recovery counts.
type harm struct {
	detail   string
	since    time.Time
	but      *instance     // whose epochs are no recovery; nil: nobody's
	replaced time.Duration // from a stop to a successor's first epoch; 0: not waited for
}

// part does what is planned, in any order. It begins nothing when so much time has
// passed since the run began.
func (r *runner) part(plan []string, limit time.Duration) {
	r.Helper()
	r.rng.Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
	for n, kind := range plan {
		if time.Since(r.report.Began) > limit {
			r.Logf("%s have passed: %d of %d faults are left out", limit, len(plan)-n, len(plan))
			return
		}
		r.fault(kind)
	}
}

// fault does one thing and notes it. Mostly the next one waits until the
// service has recovered; else it comes on top.
func (r *runner) fault(kind string) {
	r.Helper()
	time.Sleep(r.between(0, 300*time.Millisecond))
	r.keep()
	r.fill()
	done := event{At: time.Now(), Kind: kind, Standby: r.standby}
	h := map[string]func() harm{
		kill: r.kill, zombie: r.zombie, term: r.term, network: r.network, broker: r.broker,
	}[kind]()
	done.Detail, done.Replaced = h.detail, h.replaced
	if r.percent(75) {
		done.Recovered = r.recovered(kind+": "+h.detail, h.since, h.but)
		if r.standby {
			r.fill()
			r.settled()
		}
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

// Whom a fault is for.
const (
	all      = "all"
	leader   = "leader"
	follower = "standby"
)

// victims are those that a fault is for. Without standbys that is who runs.
func (r *runner) victims() (who string, them []*instance) {
	lead, n := r.leader(), r.rng.IntN(20)
	others := slices.DeleteFunc(slices.Clone(r.running), func(i *instance) bool { return i == lead })
	switch {
	case !r.standby || lead == nil || len(others) == 0 || n < 3:
		return all, slices.Clone(r.running)
	case n < 7:
		return follower, others[r.rng.IntN(len(others)):][:1]
	}
	return leader, []*instance{lead}
}

// kill ends the service without warning. If nobody stood by, one successor
// starts, or two.
func (r *runner) kill() harm {
	detail, release := r.moment()
	defer release()
	who, them := r.victims()
	since := r.killed(them)
	switch {
	case who == follower:
		return harm{detail: who, since: since}
	case r.standby:
		if who == all {
			r.fill()
		}
		return harm{detail: who + ", " + detail, since: since}
	}
	r.start()
	if !r.percent(15) {
		return harm{detail: detail + ", one successor", since: since}
	}
	r.start()
	if r.percent(70) {
		release()
		r.settled()
	}
	return harm{detail: detail + ", two successors", since: since}
}

// zombie stops the service for a while. Mostly another one has taken over when
// it wakes up in the middle of whatever it did.
func (r *runner) zombie() harm {
	detail, release := r.moment()
	defer release()
	who, asleep := r.victims()
	signal := func(s syscall.Signal) time.Time {
		for _, i := range asleep {
			i.signal(s)
		}
		return time.Now()
	}
	since, awhile := signal(syscall.SIGSTOP), 1500*time.Millisecond
	if who == follower {
		release()
		time.Sleep(r.between(100*time.Millisecond, 2*awhile))
		return harm{detail: who, since: signal(syscall.SIGCONT)}
	}
	if r.standby {
		detail = who + ", " + detail
	}
	if r.percent(15) {
		time.Sleep(r.between(100*time.Millisecond, awhile))
		return harm{detail: detail + ", woke before anybody took over", since: signal(syscall.SIGCONT)}
	}
	if who == all {
		r.start()
	}
	h := harm{}
	if r.percent(70) {
		h.detail = detail + ", replaced when it woke"
		h.replaced = r.recovered("a successor", since, nil)
		time.Sleep(r.between(0, awhile/3))
	} else {
		h.detail = detail + ", woke at about the time it was replaced"
		if r.standby {
			time.Sleep(takeover)
		}
		time.Sleep(r.between(0, awhile))
	}
	release() // what it sent arrives when another one has taken over
	h.since = signal(syscall.SIGCONT)
	r.settled()
	return h
}

// term asks one to end in good order, with nothing else amiss: it must.
func (r *runner) term() harm {
	lead := r.settled()
	r.recovered("before an end in good order", time.Now(), nil)
	who, them := r.victims()
	if who != follower {
		who, them = leader, []*instance{lead}
	}
	h := harm{detail: who, since: time.Now(), but: them[0]}
	r.ended(them[0])
	if len(r.running) == 0 {
		h.detail = "one successor"
		r.start()
	}
	return h
}

// network harms what is on its way between the service and the broker. The
// time to recover counts from when the network is whole again.
func (r *runner) network() harm {
	switch r.rng.IntN(10) {
	case 0, 1:
		r.proxy.cut()
		return harm{detail: "all connections reset", since: time.Now()}
	case 2:
		r.proxy.tear(r.rng)
		return harm{detail: "half of the connections torn", since: time.Now()}
	case 3, 4:
		detail, directions := "black hole", []int{requests, answers}
		if r.percent(50) {
			detail, directions = "black hole for answers only", directions[answers:]
		}
		r.proxy.swallow(directions...)
		time.Sleep(r.between(300*time.Millisecond, 4*time.Second))
		r.proxy.heal()
		return harm{detail: detail, since: time.Now()}
	case 5, 6:
		r.proxy.slow(r.between(20*time.Millisecond, 300*time.Millisecond))
		time.Sleep(r.between(500*time.Millisecond, 4*time.Second))
		r.proxy.heal()
		return harm{detail: "delay", since: time.Now()}
	case 7:
		return harm{detail: "answer to EndTxn lost, connection silent", since: r.dropAnswer(swallowed)}
	default:
		return harm{detail: "answer to EndTxn lost, connection cut", since: r.dropAnswer(cutInstead)}
	}
}

func (r *runner) dropAnswer(how int32) time.Time {
	before := r.proxy.dropped.Load()
	r.proxy.drop.Store(how)
	r.wait("an epoch is ended", func() bool { return r.proxy.dropped.Load() != before })
	return time.Now()
}

// broker kills the broker and brings it back. The time to recover counts from
// when it answers again.
func (r *runner) broker() harm {
	detail := "restarted"
	r.cluster.Kill()
	time.Sleep(r.between(0, time.Second))
	if r.percent(20) {
		detail = "restarted, the service killed meanwhile"
		r.killed(r.running)
		r.start()
	}
	r.cluster.Restart()
	return harm{detail: detail, since: time.Now()}
}
