package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/zeebo/xxh3"

	"github.com/refundguard/refundguard/pipeline/cases"
)

// The programs of the demo, as --without names them.
const (
	theLedger    = "ledger"
	theAnalyst   = "analyst"
	theCustomers = "customers"
)

// streamsOf are what each of them writes.
var streamsOf = map[string][]string{theLedger: {"ledger_results"}, theAnalyst: {"reviews"}, theCustomers: {"confirmations", "complaints"}}

// Programs are all of them.
func Programs() []string { return []string{theLedger, theAnalyst, theCustomers} }

// Deadlines and ETAs are of this machine's time, while the shop's year passes in
// minutes or in no time: so those of the demo are seconds. They are well above
// what the programs take, so that only what is meant to be late is.
var (
	demoETA = map[string]string{"original": "12s", "balance": "8s", "bank_transfer": "10s", "other": "10s"}
	demoSLA = map[string]time.Duration{"critical": 8 * time.Second, "high": 9 * time.Second, "medium": 10 * time.Second, "low": 12 * time.Second}
)

// secondAbove is the amount above which two analysts must approve.
const secondAbove = "250"

// cast is who works beside the service, and the script that they follow: what
// befalls a refund is a function of its id, so that no two of them spoil what
// the other one is about to show.
type cast struct {
	seed     uint64
	now      func() int64 // the shop's time: of the latest refund decided
	deeds    *deeds
	on       map[string]bool
	brings   []string // streams of the data
	programs []*program
}

// newCast are those who are not left out: one whose stream the data brings has
// done its work already.
func newCast(o Options, brings []string, now func() int64) *cast {
	c := &cast{seed: o.Shop.Seed, now: now, deeds: newDeeds(), brings: brings, on: map[string]bool{}}
	for _, name := range Programs() {
		done := slices.ContainsFunc(streamsOf[name], func(s string) bool { return slices.Contains(brings, s) })
		c.on[name] = !done && !slices.Contains(o.Without, name)
	}
	return c
}

// judge holds what was planted against what was found and what was refused.
func (c *cast) judge(t Tally, f *faults) map[string]Finding {
	for _, name := range Programs() {
		for _, stream := range streamsOf[name] {
			topic, refused := topicOf(stream), int64(0)
			if !c.on[name] {
				continue
			}
			for what, n := range t.Refused {
				if strings.HasPrefix(what, topic+" ") {
					refused += n
				}
			}
			if may := c.deeds.refused(topic); refused != may {
				f.add("of what was written to %s, %d records were refused, and %d were to be", topic, refused, may)
			}
		}
	}
	return c.deeds.compare(c.rules(), t.Found, f)
}

func topicOf(stream string) string {
	for _, in := range inputs {
		if in.stream == stream {
			return in.topic
		}
	}
	return ""
}

// rules of the alerts whose causes are all of these programs' making.
func (c *cast) rules() (rules []string) {
	if c.on[theLedger] {
		rules = append(rules, cases.AlertOverdue, cases.AlertTwice, cases.AlertOtherAmount, cases.AlertOtherCurrency, cases.AlertAfterAll,
			cases.AlertFailed, cases.AlertUnapproved, cases.AlertUnknown)
	}
	if c.on[theAnalyst] {
		rules = append(rules, cases.AlertDeadline)
	}
	if c.on[theCustomers] {
		rules = append(rules, cases.AlertDenied)
	}
	return rules
}

func (c *cast) start(opts []kgo.Opt) error {
	for _, x := range []struct {
		name   string
		make   func(*cast) *program
		topics []string
	}{
		{theLedger, newLedger, []string{topicApproved, topicStatus}},
		{theAnalyst, newAnalyst, []string{topicCases}},
		{theCustomers, newCustomers, []string{topicStatus}},
	} {
		if !c.on[x.name] {
			continue
		}
		p := x.make(c)
		p.name, p.deeds, p.now = x.name, c.deeds, c.now
		if err := p.start(opts, x.topics); err != nil {
			return err
		}
		c.programs = append(c.programs, p)
	}
	return nil
}

func (c *cast) close() {
	for _, p := range c.programs {
		p.close()
	}
	c.programs = nil
}

// left says in words what one of them is still to do; "" is nothing.
func (c *cast) left(ctx context.Context, found tallies) string {
	for _, p := range c.programs {
		switch topic, err := p.reader.behind(ctx); {
		case err != nil:
			return err.Error()
		case topic != "":
			return fmt.Sprintf("reading %s for the %s", topic, p.name)
		}
		if what := p.left(); what != "" {
			return what
		}
	}
	return c.deeds.unfound(c.rules(), found)
}

// dice are a number below a thousand: always the same for a refund and a
// question.
func (c *cast) dice(question, refundID string) int {
	return int(xxh3.HashStringSeed(question+" "+refundID, c.seed) % 1000)
}

// span is a time from least to most, by dice too.
func (c *cast) span(question, refundID string, least, most time.Duration) time.Duration {
	return least + (most-least)*time.Duration(c.dice(question, refundID))/1000
}

// fate is what is to happen to a held refund.
type fate int

const (
	judged    fate = iota // an analyst looks at it
	forgotten             // until its deadline has passed
	leaked                // the ledger pays it all the same
	denied                // its customer never asked for it
)

func (c *cast) fateOfHeld(refundID string) fate {
	switch n := c.dice("held", refundID); {
	case n < 60 && c.on[theLedger]:
		return leaked
	case n >= 100 && n < 180 && c.on[theCustomers]:
		return denied
	case n >= 200 && n < 280 && c.on[theAnalyst]:
		return forgotten
	}
	return judged
}

// status is what is read of a record of refund-status.
type status struct {
	RefundID   string `json:"refund_id"`
	CustomerID string `json:"customer_id"`
	Status     string `json:"status"`
}

func (d *deeds) status(r *kgo.Record) (s status, ok bool) {
	if err := json.Unmarshal(r.Value, &s); err != nil {
		d.fail(fmt.Errorf("%s/%d/%d is not readable: %w", r.Topic, r.Partition, r.Offset, err))
		return s, false
	}
	return s, true
}

// fields make a record of a stream; those that are "" are left out.
func (p *program) record(topic, key string, fields map[string]any) *kgo.Record {
	fields["occurred_at"] = min(p.now(), time.Now().UnixMilli())
	for name, v := range fields {
		if v == "" {
			delete(fields, name)
		}
	}
	value, _ := json.Marshal(fields) // strings, numbers and bools
	return &kgo.Record{Topic: topic, Key: []byte(key), Value: value}
}

// done is one record and what it is.
func done(r *kgo.Record, list ...deed) step { return step{[]*kgo.Record{r}, list} }

// CheckPrograms refuses a name that isn't one.
func CheckPrograms(names []string) error {
	for _, name := range names {
		if !slices.Contains(Programs(), name) {
			return fmt.Errorf("%q is none of the demo's programs: they are %s", name, strings.Join(Programs(), ", "))
		}
	}
	return nil
}

// did is what each did so far, by kind.
func (c *cast) did() map[string]map[string]int64 {
	c.deeds.mu.Lock()
	defer c.deeds.mu.Unlock()
	all := map[string]map[string]int64{}
	for name, kinds := range c.deeds.counts {
		all[name] = maps.Clone(kinds)
	}
	return all
}

// wrote is how many records they wrote, by topic.
func (c *cast) wrote() map[string]int64 {
	c.deeds.mu.Lock()
	defer c.deeds.mu.Unlock()
	return maps.Clone(c.deeds.written)
}
