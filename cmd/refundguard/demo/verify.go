package demo

import (
	"maps"
	"slices"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/refundguard/refundguard/rules/event"
)

// Verify says what became of every refund read so far, and what is wrong with
// it: nothing, if the balance is OK. It is meaningful once the topics stand
// still and were read to their ends.
func (a *Audit) Verify() (Balance, []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := faults{list: slices.Clone(a.faults.list), more: a.faults.more}
	b := Balance{Read: int64(len(a.requests))}

	decided := make(map[place]*decision, len(a.decisions))
	answered := make(map[xxh3.Uint128]bool, len(a.requests)) // values of requests that were
	for _, d := range a.decisions {
		q, ok := a.requests[d.from]
		switch {
		case !ok:
			f.add("refund %s is decided from %s, which is no record", d.refundID, d.from)
			continue
		case d.engine == 0:
			f.add("refund %s has a later decision and no first one", d.refundID)
		case decided[d.from] != nil:
			f.add("%s is decided as refund %s and as %s", d.from, decided[d.from].refundID, d.refundID)
		}
		decided[d.from] = d
		answered[q.value] = true
	}
	for from, dead := range a.dead {
		q, ok := a.requests[from]
		if !ok {
			f.add("a dead letter says that it is %s, which is no record", from)
			continue
		}
		if dead.n > 1 {
			f.add("%s is dead-lettered %d times", from, dead.n)
		}
		if dead.body != q.body {
			f.add("the dead letter of %s has other bytes than it", from)
		}
		answered[q.value] = true
	}
	for from, q := range a.requests {
		d, dead := decided[from], a.dead[from].n > 0
		switch {
		case d != nil && dead:
			f.add("%s is decided and dead-lettered", from)
		case d != nil:
			b.count(d.outcome)
		case dead:
			b.DeadLettered++
		case answered[q.value]:
			b.Duplicates++
		default:
			f.add("%s is lost: neither decided, nor dead-lettered, nor a repeat", from)
		}
	}
	a.verifyApproved(&f)
	if b.sum() != b.Read {
		f.add("of %d refunds read, %d are accounted for", b.Read, b.sum())
	}
	service := a.progress.Balance
	service.OK = false
	if service != b {
		f.add("the service counts %+v, the topics hold %+v", service, b)
	}
	b.OK = len(f.list) == 0
	slices.Sort(f.list)
	return b, f.all()
}

func (b *Balance) count(o event.Outcome) {
	switch o {
	case event.Approve:
		b.Approved++
	case event.Review:
		b.InReview++
	case event.Reject:
		b.Rejected++
	}
}

// verifyApproved checks that what goes to the ledger is each approved refund,
// once, as it was asked for.
func (a *Audit) verifyApproved(f *faults) {
	paid := make(map[*decision]bool, len(a.approved))
	for _, r := range a.approved {
		d := a.byID[r.decisionID]
		switch {
		case d == nil:
			f.add("%s/%d/%d is of decision %q, which there is none of", topicApproved, r.partition, r.at, r.decisionID)
			continue
		case d.outcome != event.Approve:
			f.add("%s/%d/%d lets refund %s go, which has the outcome %s", topicApproved, r.partition, r.at, d.refundID, d.outcome)
		case paid[d]:
			f.add("%s/%d/%d lets refund %s go once more", topicApproved, r.partition, r.at, d.refundID)
		}
		if q, ok := a.requests[d.from]; ok && q.whole != r.whole {
			f.add("%s/%d/%d differs from its request %s", topicApproved, r.partition, r.at, d.from)
		}
		paid[d] = true
	}
	for _, d := range a.decisions {
		if d.outcome == event.Approve && !paid[d] {
			f.add("refund %s is approved, and not in %s", d.refundID, topicApproved)
		}
	}
}

// Caught is how many frauds of a kind were held or rejected.
type Caught struct {
	Caught int64 `json:"caught"`
	Total  int64 `json:"total"` // decided so far
}

// Tally is what the audit has seen so far.
type Tally struct {
	Outcomes map[string]int64 // the engine's
	Rules    map[string]int64
	Refused  map[string]int64 // dead letters, by topic, code and field
	Topics   map[string]int64
	Labels   map[string]Caught
	Honest   Caught // the refunds without a label, in the same way
	Hits     int64
	Alerts   int64   // different ones
	Cases    int64   // refunds that have one
	Found    tallies // alerts of the life of a refund, by rule
	progress progress
	moved    time.Time
}

// Tally counts.
func (a *Audit) Tally() Tally {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := Tally{
		Outcomes: map[string]int64{"approve": 0, "review": 0, "reject": 0}, Rules: maps.Clone(a.rules), Refused: maps.Clone(a.refused), Topics: maps.Clone(a.topics),
		Labels: map[string]Caught{}, Hits: a.hits, Alerts: int64(len(a.alerts)), Cases: int64(len(a.cases)), Found: a.found.clone(), progress: a.progress, moved: a.moved,
	}
	for id, d := range a.decisions {
		t.Outcomes[d.first.String()]++
		kind, fraud := a.labels[id]
		c := t.Labels[kind]
		if !fraud {
			c = t.Honest
		}
		c.Total++
		if d.first != event.Approve {
			c.Caught++
		}
		if fraud {
			t.Labels[kind] = c
		} else {
			t.Honest = c
		}
	}
	return t
}

// reached reports whether the audit has read up to these offsets.
func (a *Audit) reached(topic string, partition int32, end int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.position.reached(topic, partition, end)
}
