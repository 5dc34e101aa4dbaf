package sim

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// faults by name. Each begins something and returns soon; what it began heals
// by itself.
var faults = []struct {
	name   string
	weight int
	do     func(*sim, *instance)
}{
	{"kill", 4, func(s *sim, i *instance) { s.killThen(i, false) }},
	{"power cut", 2, func(s *sim, i *instance) { s.killThen(i, true) }},
	{"kill at a request", 5, func(s *sim, i *instance) {
		s.trapped(i, toBroker, func(t *trap) { t.deliver, t.torn = s.coin(), s.coin(); t.do = func() { s.killThen(i, s.coin()) } })
	}},
	{"kill at an answer", 5, func(s *sim, i *instance) {
		s.trapped(i, toHost, func(t *trap) { t.do = func() { s.killThen(i, s.coin()) } })
	}},
	{"power cut while writing", 4, func(s *sim, i *instance) {
		i.machine.disk.onWrite(1+s.rng.IntN(60), func() { s.killThen(i, true) })
		time.Sleep(s.upTo(8 * time.Second))
	}},
	{"zombie", 4, (*sim).zombie},
	{"second instance", 2, func(s *sim, i *instance) { s.startLater(0) }},
	{"stop", 2, func(s *sim, i *instance) { s.stop(i) }},
	{"reset", 3, func(s *sim, i *instance) { i.host.reset() }},
	{"torn answer", 3, func(s *sim, i *instance) {
		s.trapped(i, toHost, func(t *trap) { t.torn = true; t.do = func() { go i.host.reset() } })
	}},
	{"lost answer", 5, func(s *sim, i *instance) {
		s.trapped(i, toHost, func(t *trap) {
			t.do = func() {}
			if s.coin() {
				t.do = func() { go i.host.reset() }
			}
		})
	}},
	{"lost request", 3, func(s *sim, i *instance) {
		s.trapped(i, toBroker, func(t *trap) { t.do = func() { go i.host.reset() } })
	}},
	{"silence", 4, func(s *sim, i *instance) {
		d := s.upTo(15 * time.Second)
		switch s.rng.IntN(3) {
		case 0:
			i.host.hold(d, toBroker)
		case 1:
			i.host.hold(d, toHost)
		case 2:
			i.host.hold(d, toBroker, toHost)
		}
		time.Sleep(s.upTo(d))
	}},
	{"broker away", 2, func(s *sim, i *instance) {
		s.net.leave(s.brokers[s.rng.IntN(len(s.brokers))], s.upTo(8*time.Second))
	}},
	{"broker error", 5, (*sim).brokerError},
	{"ends unknown", 5, (*sim).endsUnknown},
	{"slow disk", 3, func(s *sim, i *instance) {
		d := i.machine.disk
		d.set(s.upTo(400*time.Millisecond), false)
		s.later(s.upTo(10*time.Second), func() { d.set(0, false) })
	}},
	{"full disk", 2, func(s *sim, i *instance) {
		d := i.machine.disk
		i.machine.filled = true
		d.set(0, true)
		s.later(s.upTo(20*time.Second), func() { d.set(0, false) })
	}},
	{"webhook sink killed", 2, func(s *sim, i *instance) { s.hook.restart(true) }},
	{"webhook sink stopped", 1, func(s *sim, i *instance) { s.hook.restart(false) }},
	{"webhook sink cut off", 1, func(s *sim, i *instance) { s.hook.cutOff() }},
	{"receiver fails", 3, func(s *sim, i *instance) { s.hook.fail() }},
	{"reload", 4, func(s *sim, i *instance) { s.reload() }},
}

// chaos does some faults.
func (s *sim) chaos(n int) {
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	for range n {
		time.Sleep(s.upTo(4 * time.Second))
		live := s.live()
		if len(live) == 0 {
			continue
		}
		pick := s.rng.IntN(total)
		for _, f := range faults {
			if pick -= f.weight; pick < 0 {
				i := live[s.rng.IntN(len(live))]
				s.say("fault: %s (%s)", f.name, i.name)
				s.result.Faults[f.name]++
				f.do(s, i)
				break
			}
		}
		if s.rng.IntN(3) == 0 { // wait until it is over
			s.recovered()
		}
	}
}

func (s *sim) coin() bool { return s.rng.IntN(2) == 0 }
func (s *sim) upTo(most time.Duration) time.Duration {
	return time.Duration(s.rng.Int64N(int64(most)) + 1)
}

// later heals something, and heal waits for it.
func (s *sim) later(after time.Duration, do func()) {
	s.healing.Go(func() {
		time.Sleep(after)
		do()
	})
}

// killThen kills, and has a successor, or two that race, start at some time. It
// never waits: it is called where frames and files are written.
func (s *sim) killThen(i *instance, power bool) {
	s.kill(i, power)
	n := 1
	if s.rng.IntN(4) == 0 {
		n = 2
	}
	for range n {
		after := s.upTo(3 * time.Second)
		s.healing.Go(func() { s.startLater(after) })
	}
}

// the requests at which something may happen; those of commits most.
var keys = []kmsg.Key{kmsg.EndTxn, kmsg.EndTxn, kmsg.EndTxn, kmsg.Produce, kmsg.Produce, kmsg.AddPartitionsToTxn, kmsg.InitProducerID,
	kmsg.ListOffsets, kmsg.Fetch, kmsg.Metadata, kmsg.FindCoordinator, -1}

// trapped sets a trap for one of the next frames of an instance, and gives it a
// while to spring.
func (s *sim) trapped(i *instance, dir int, how func(*trap)) {
	t := &trap{host: i.host, key: int16(keys[s.rng.IntN(len(keys))]), dir: dir, skip: s.rng.IntN(6)}
	how(t)
	then := t.do
	t.do = func() {
		s.say("trap: key %d, direction %d, delivered %v, torn %v (%s)", t.key, dir, t.deliver, t.torn, i.name)
		then()
	}
	s.net.set(t)
	time.Sleep(s.upTo(5 * time.Second))
	s.net.unset(t)
}

// zombie stalls an instance, mostly has another take over, and wakes it.
func (s *sim) zombie(i *instance) {
	stall := s.upTo(30 * time.Second)
	if s.coin() {
		s.trapped(i, s.rng.IntN(2), func(t *trap) {
			t.deliver = true
			t.do = func() { i.host.hold(stall, toBroker, toHost) }
		})
	} else {
		i.host.hold(stall, toBroker, toHost)
	}
	if s.rng.IntN(4) > 0 {
		s.startLater(s.upTo(stall))
	}
}

// endsUnknown has nobody learn where a topic ends, so that refunds wait, and are
// in the state that is saved.
func (s *sim) endsUnknown(i *instance) {
	topic := []string{"transactions", "refunds"}[s.rng.IntN(2)]
	h := s.kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: topic, Err: kerr.LeaderNotAvailable, Count: -1})
	s.later(s.upTo(8*time.Second), h.Remove)
	if s.coin() {
		time.Sleep(s.upTo(10 * time.Second))
		s.killThen(i, s.coin())
	}
}

// brokerError has a broker refuse something a few times, as one does that
// moves, or is busy.
func (s *sim) brokerError(*instance) {
	kinds := []kfake.Fault{
		{Keys: []kmsg.Key{kmsg.EndTxn}, TxnID: transactionalID, Err: kerr.CoordinatorNotAvailable},
		{Keys: []kmsg.Key{kmsg.EndTxn}, TxnID: transactionalID, Err: kerr.NotCoordinator},
		{Keys: []kmsg.Key{kmsg.EndTxn}, TxnID: transactionalID, Err: kerr.CoordinatorLoadInProgress},
		{Keys: []kmsg.Key{kmsg.EndTxn}, TxnID: transactionalID, Err: kerr.ConcurrentTransactions},
		{Keys: []kmsg.Key{kmsg.EndTxn}, TxnID: transactionalID, Err: kerr.RequestTimedOut},
		{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn}, TxnID: transactionalID, Err: kerr.ConcurrentTransactions},
		{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn}, TxnID: transactionalID, Err: kerr.NotCoordinator},
		{Keys: []kmsg.Key{kmsg.InitProducerID}, TxnID: transactionalID, Err: kerr.ConcurrentTransactions},
		{Keys: []kmsg.Key{kmsg.InitProducerID}, TxnID: transactionalID, Err: kerr.CoordinatorLoadInProgress},
		{Keys: []kmsg.Key{kmsg.FindCoordinator}, TxnID: transactionalID, Err: kerr.CoordinatorNotAvailable},
		{Keys: []kmsg.Key{kmsg.Produce}, Topic: "refund-decisions", Err: kerr.NotLeaderForPartition},
		{Keys: []kmsg.Key{kmsg.Produce}, Topic: "refundguard-progress", Err: kerr.NotEnoughReplicas},
		{Keys: []kmsg.Key{kmsg.Produce}, Topic: "refund-decisions", Err: kerr.NotEnoughReplicasAfterAppend},
		{Keys: []kmsg.Key{kmsg.Produce}, Topic: "refunds-approved", Err: kerr.RequestTimedOut},
		{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "refunds", Err: kerr.LeaderNotAvailable},
		{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "refundguard-progress", Err: kerr.NotLeaderForPartition},
		{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "refunds", Err: kerr.NotLeaderForPartition},
		{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "transactions", Err: kerr.UnknownLeaderEpoch},
	}
	f := kinds[s.rng.IntN(len(kinds))]
	f.Count = 1 + s.rng.IntN(6)
	s.say("broker error: %v to %v, %d times", f.Err, f.Keys, f.Count)
	h := s.kafka.Fault(f)
	s.later(s.upTo(10*time.Second), h.Remove)
}
