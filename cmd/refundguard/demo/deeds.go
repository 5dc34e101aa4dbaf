package demo

import (
	"fmt"
	"maps"
	"sync"

	"github.com/refundguard/refundguard/pipeline/cases"
)

// deeds are what the programs did, noted once it is written: what they do all
// the time, and what the service must find.
type deeds struct {
	mu      sync.Mutex
	counts  map[string]map[string]int64 // by program and kind
	planted tallies
	written map[string]int64 // records by topic
	failed  error
}

// tallies count refunds by the rule of an alert.
type tallies map[string]map[string]int

func (t tallies) add(rule, refundID string) {
	if t[rule] == nil {
		t[rule] = map[string]int{}
	}
	t[rule][refundID]++
}

func (t tallies) count(rule string) (n int64) {
	for _, times := range t[rule] {
		n += int64(times)
	}
	return n
}

func (t tallies) clone() tallies {
	c := tallies{}
	for rule, refunds := range t {
		c[rule] = maps.Clone(refunds)
	}
	return c
}

func newDeeds() *deeds {
	return &deeds{counts: map[string]map[string]int64{}, planted: tallies{}, written: map[string]int64{}}
}

// deed is one thing that a program did. finds is the rule of the alert that it
// must raise, about a refund; "" is none.
type deed struct{ kind, finds, refund string }

// wrote notes a step that is done.
func (d *deeds) wrote(program string, s step) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counts[program] == nil {
		d.counts[program] = map[string]int64{}
	}
	for _, x := range s.deeds {
		d.counts[program][x.kind]++
		if x.finds != "" {
			d.planted.add(x.finds, x.refund)
		}
	}
	for _, r := range s.records {
		d.written[r.Topic]++
	}
}

func (d *deeds) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed == nil {
		d.failed = err
	}
}

// Finding is what the programs planted that raises one kind of alert, and what
// was found of it.
type Finding struct {
	Planted int64 `json:"planted"`
	Found   int64 `json:"found"`
}

// compare holds what was planted against what was found, refund by refund, for
// those rules whose causes are all ours.
func (d *deeds) compare(rules []string, found tallies, f *faults) map[string]Finding {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]Finding{}
	for _, rule := range rules {
		all[rule] = Finding{d.planted.count(rule), found.count(rule)}
		for _, id := range sorted(d.planted[rule]) {
			if want, got := d.planted[rule][id], found[rule][id]; got != want {
				f.add("refund %s was to raise %d alerts %s and raised %d", id, want, rule, got)
			}
		}
		for _, id := range sorted(found[rule]) {
			if d.planted[rule][id] == 0 {
				f.add("refund %s raised an alert %s that nothing was done for", id, rule)
			}
		}
	}
	return all
}

// refused counts records of a topic that the service may refuse: those of refunds
// that nobody asked for.
func (d *deeds) refused(topic string) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if topic == topicResults {
		return d.planted.count(cases.AlertUnknown)
	}
	return 0
}

// unfound says in words what was planted and isn't found yet; "" is nothing.
func (d *deeds) unfound(rules []string, found tallies) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, rule := range rules {
		for id, times := range d.planted[rule] {
			if found[rule][id] < times {
				return fmt.Sprintf("%d of %d alerts %s are raised", found.count(rule), d.planted.count(rule), rule)
			}
		}
	}
	return ""
}
