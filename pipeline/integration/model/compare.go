package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Decision is a record of refund-decisions, read with nothing but the contract.
type Decision struct {
	DecisionID string `json:"decision_id"`
	RefundID   string `json:"refund_id"`
	CustomerID *string
	Amount     string
	Currency   string
	Outcome    string
	DecidedBy  string `json:"decided_by"`
	Reason     string
	Score      int64
	Hits       []struct{ Rule, Mode string }
	Errors     []struct{ Rule, Error string }
	Skipped    []string
	Features   map[string]any
	Original   *struct {
		TransactionID string `json:"transaction_id"`
	}
	Ruleset   string
	Degraded  bool
	Holdout   bool
	Controls  []string
	Warming   []string
	Source    source
	DecidedAt time.Time `json:"decided_at"`
}

// ParseDecision reads a record of refund-decisions.
func ParseDecision(t testing.TB, value []byte) (d Decision) {
	t.Helper()
	in := json.NewDecoder(bytes.NewReader(value))
	in.UseNumber()
	if err := in.Decode(&d); err != nil {
		t.Fatalf("decision %s: %v", value, err)
	}
	return d
}

// At is when it was decided, Unix milliseconds.
func (d *Decision) At() int64 { return d.DecidedAt.UnixMilli() }

// source is where a record stands.
type source struct {
	Topic     string
	Partition int32
	Offset    int64
}

func sourceOf(r *kgo.Record) source { return source{r.Topic, r.Partition, r.Offset} }

// Seen is what this decision says, in the model's terms.
func (d *Decision) Seen(t testing.TB) Expected {
	e := Expected{Outcome: d.Outcome, Score: d.Score, Skipped: d.Skipped, Features: make(map[string]string)}
	for _, hit := range d.Hits {
		e.Hits = append(e.Hits, hit.Rule)
	}
	for _, failed := range d.Errors {
		e.Errors = append(e.Errors, failed.Rule)
	}
	if d.Original != nil {
		e.Original = d.Original.TransactionID
	}
	for text, value := range d.Features {
		switch v := value.(type) {
		case nil:
			e.Features[text] = "nil"
		case json.Number:
			e.Features[text] = v.String()
		case string:
			e.Features[text] = fmt.Sprint(Units(t, v))
		default:
			t.Errorf("refund %s: feature %s is %v", d.RefundID, text, value)
		}
	}
	return e
}

// Topics reads a topic as read_committed consumers do, to its end.
type Topics interface {
	ReadCommitted(topic string) []*kgo.Record
}

// Comparison holds what was found in the topics against the world.
type Comparison struct {
	*testing.T
	topics    Topics
	world     *World
	lives     *Lives
	inputs    map[source]*kgo.Record // of all that was written
	expected  map[string]Expected
	all       map[string][]Decision // by refund, in order
	histories map[string]*history   // likewise
	refusals  map[source]string     // codes of what happens to refunds
	Decisions map[string]Decision   // by refund, the first
	Lives     map[string]int        // what became of refunds then: states, alerts, codes, decisions
	Reserved  map[string][]Reserved // by transaction, at the end
	until     int64                 // time that has passed, and should have had its effect; 0: nobody knows
	Lost      int                   // records without an outcome or a dead letter, approvals that did not go out
	Doubled   int                   // records with two
	Passed    int                   // deadlines that passed
}

// grace is how late what time brings about may be, in milliseconds.
const grace = 5000

// Compare checks everything that was written.
func Compare(t *testing.T, topics Topics, w *World) *Comparison {
	t.Helper()
	c := &Comparison{T: t, topics: topics, world: w, lives: w.Lives, inputs: make(map[source]*kgo.Record), refusals: make(map[source]string), expected: make(map[string]Expected)}
	if c.lives == nil {
		c.lives = defaultLives()
	} else {
		c.until = LastProgress(t, topics).At - grace
	}
	for _, topic := range []string{"refunds", "transactions"} {
		for _, r := range topics.ReadCommitted(topic) {
			c.inputs[sourceOf(r)] = r
		}
	}
	c.readDecisions()
	c.readLives()
	c.checkLives()
	c.checkDecisions()
	c.checkApproved()
	c.checkDeadLetters()
	c.checkAlerts()
	if w.Lives == nil {
		c.checkDeadlines()
	}
	c.checkBalance()
	return c
}

// readDecisions reads the journal.
func (c *Comparison) readDecisions() {
	c.Decisions, c.all = make(map[string]Decision), make(map[string][]Decision)
	ids := make(map[string]bool)
	for _, r := range c.topics.ReadCommitted("refund-decisions") {
		d := ParseDecision(c.T, r.Value)
		before := c.all[d.RefundID]
		if len(before) > 0 && (d.DecidedBy == "engine" || len(before) > 1) {
			c.Doubled++
			c.Errorf("refund %s is decided %d times, the last time by %s", d.RefundID, len(before)+1, d.DecidedBy)
		}
		if ids[d.DecisionID] {
			c.Errorf("decision_id %s is there twice", d.DecisionID)
		}
		ids[d.DecisionID] = true
		if string(r.Key) != d.RefundID {
			c.Errorf("the decision on %s has key %q", d.RefundID, r.Key)
		}
		c.all[d.RefundID] = append(before, d)
	}
	for refund, all := range c.all {
		c.Decisions[refund] = all[0]
	}
}

// checkDecisions holds the first decision of each refund to what the model says.
func (c *Comparison) checkDecisions() {
	expected := c.world.Model.DecideAmong(c.counted)
	for refund, d := range c.Decisions {
		c.checkDecision(&d, expected[refund])
	}
	for refund := range expected {
		if _, decided := c.Decisions[refund]; !decided {
			c.Lost++
			c.Errorf("refund %s was not decided", refund)
		}
	}
}

// counted reports whether a refund counted in refunded when another was decided:
// yes, no, or both could be, since it changed in the same moment.
func (c *Comparison) counted(refund, when string) (yes, no bool) {
	d, decided := c.Decisions[refund]
	other, known := c.Decisions[when]
	if !decided || !known {
		return false, true // told by checkDecisions
	}
	on := d.Outcome != "reject"
	if yes, no = on, !on; c.histories[refund] == nil {
		return yes, no
	}
	for _, change := range c.histories[refund].counts {
		if change.at < other.At() {
			yes, no = change.on, !change.on
		} else if change.at == other.At() {
			yes, no = yes || change.on, no || !change.on
		}
	}
	return yes, no
}

func (c *Comparison) checkDecision(d *Decision, among []Expected) {
	if len(among) == 0 {
		c.Errorf("refund %s was decided, and nobody asked for it", d.RefundID)
		return
	}
	if d.Degraded && d.Outcome == "approve" {
		c.Errorf("refund %s is approved, degraded", d.RefundID)
	}
	got, diff := sorted(d.Seen(c.T)), ""
	for i, want := range among {
		if want = sorted(want); !c.world.Degrades {
			want = c.lives.guarded(c.T, d, want)
		}
		if diff = cmp.Diff(want, got, cmpopts.IgnoreUnexported(Expected{})); diff == "" || i == len(among)-1 {
			c.expected[d.RefundID] = want
			break
		}
	}
	if diff != "" && !c.world.Degrades {
		c.Errorf("refund %s (-model +Decision), one of %d that it could be:\n%s", d.RefundID, len(among), diff)
	}
	in := c.inputs[d.Source]
	if in == nil {
		c.Errorf("refund %s: no record at %v", d.RefundID, d.Source)
		return
	}
	asked := parseRecord(c.T, in.Value)
	if asked.text["refund_id"] != d.RefundID || asked.amount != Units(c.T, d.Amount) || asked.text["currency"] != d.Currency {
		c.Errorf("refund %s: at %v is another refund: %s", d.RefundID, d.Source, in.Value)
	}
	if d.DecidedBy != "engine" || d.Degraded && !c.world.Degrades || len(d.Warming) > 0 || !strings.HasPrefix(d.Ruleset, "sha256:") {
		c.Errorf("refund %s: decided_by %q, degraded %v, warming %v, ruleset %q", d.RefundID, d.DecidedBy, d.Degraded, d.Warming, d.Ruleset)
	}
}

// sorted is e with its lists in order, and without what isn't said.
func sorted(e Expected) Expected {
	for _, list := range []*[]string{&e.Hits, &e.Errors, &e.Skipped} {
		*list = slices.DeleteFunc(slices.Sorted(slices.Values(*list)), func(s string) bool { return s == "" })
		if len(*list) == 0 {
			*list = nil
		}
	}
	return e
}

// checkApproved wants each approved request once, byte for byte, with its key
// and headers, and two headers of ours.
func (c *Comparison) checkApproved() {
	approved := make(map[string]*kgo.Record)
	for _, r := range c.topics.ReadCommitted("refunds-approved") {
		id := Header(r, "refundguard-decision-id")
		if approved[id] != nil {
			c.Doubled++
			c.Errorf("decision %s is approved twice", id)
		}
		approved[id] = r
	}
	for refund, d := range c.each() {
		got := approved[d.DecisionID]
		delete(approved, d.DecisionID)
		if d.Outcome != "approve" {
			if got != nil {
				c.Errorf("refund %s is %s, and went out", refund, d.Outcome)
			}
			continue
		}
		if got == nil {
			c.Lost++
			c.Errorf("refund %s is approved, and did not go out", refund)
			continue
		}
		in := c.inputs[d.Source]
		if in == nil {
			continue // told by checkDecision
		}
		want := append(slices.Clone(in.Headers),
			kgo.RecordHeader{Key: "refundguard-decision-id", Value: []byte(d.DecisionID)},
			kgo.RecordHeader{Key: "refundguard-ruleset", Value: []byte(d.Ruleset)})
		if !SameBytes(got.Value, in.Value) || !SameBytes(got.Key, in.Key) || !SameHeaders(got.Headers, want) {
			c.Errorf("refund %s went out changed:\n%s %s %v\nasked:\n%s %s %v", refund, got.Key, got.Value, got.Headers, in.Key, in.Value, want)
		}
	}
	for id, r := range approved {
		c.Errorf("approved without a decision (%s): %s", id, r.Value)
	}
}

// Header is the value of a record's first header of this key; "" if there is none.
func Header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// SameBytes tells nil from empty: in Kafka they differ.
func SameBytes(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

// SameHeaders wants the same ones in the same order.
func SameHeaders(a, b []kgo.RecordHeader) bool {
	return slices.EqualFunc(a, b, func(x, y kgo.RecordHeader) bool { return x.Key == y.Key && SameBytes(x.Value, y.Value) })
}

// each gives all decisions.
func (c *Comparison) each() iter.Seq2[string, Decision] {
	return func(yield func(string, Decision) bool) {
		for refund, all := range c.all {
			for _, d := range all {
				if !yield(refund, d) {
					return
				}
			}
		}
	}
}

// checkDeadLetters wants each refused record there once, unchanged, with where
// it stood and why it was refused. A record is known by its bytes: one that is
// sent several times can have several fates.
func (c *Comparison) checkDeadLetters() {
	type refused struct{ topic, key, value, code string }
	want := make(map[refused]int)
	for _, s := range c.world.Sent {
		switch s.Fate {
		case IsEvent, IsDuplicate, IsUpdate:
		default:
			want[refused{s.Record.Topic, string(s.Record.Key), string(s.Record.Value), s.Fate}]++
		}
	}
	for at, code := range c.refusals {
		r := c.inputs[at]
		want[refused{r.Topic, string(r.Key), string(r.Value), code}]++
	}
	got := make(map[refused]int)
	places := make(map[source]bool)
	for _, r := range c.topics.ReadCommitted("dead-letters") {
		at := deadFrom(r)
		in := c.inputs[at]
		if in == nil {
			c.Errorf("a dead letter from %v, where nothing is: %v", at, r.Headers)
			continue
		}
		if places[at] {
			c.Doubled++
			c.Errorf("the dead letter from %v is there twice: %.200s", at, r.Value)
		}
		if !SameBytes(r.Value, in.Value) || !SameBytes(r.Key, in.Key) || !SameHeaders(r.Headers[:len(in.Headers)], in.Headers) {
			c.Errorf("the dead letter from %v is changed: %.200s", at, r.Value)
		}
		places[at] = true
		got[refused{at.Topic, string(r.Key), string(r.Value), Header(r, "refundguard-code")}]++
	}
	for letter, n := range want {
		c.Lost += max(0, n-got[letter])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		c.Errorf("dead letters (-want +got):\n%.4000s", diff)
	}
}

// checkAlerts wants one alert for each hit of a live alert rule, and one for
// each refused refund. Breakers may alert, too.
func (c *Comparison) checkAlerts() {
	want := make(map[string]int)
	for refund, e := range c.expected {
		for _, rule := range c.world.Model.rules {
			if !c.world.Degrades && rule.action == "alert" && !rule.shadow && slices.Contains(e.Hits, rule.id) {
				want[rule.id+" "+refund]++
			}
		}
	}
	for _, s := range c.world.Sent {
		switch s.Fate {
		case IsEvent, IsDuplicate, IsUpdate:
		default:
			if s.Record.Topic == "refunds" {
				want["dead-letter:"+s.Fate]++
			}
		}
	}
	got := make(map[string]int)
	ids := make(map[string]bool)
	for _, r := range c.topics.ReadCommitted("alerts") {
		var a struct {
			AlertID  string `json:"alert_id"`
			RefundID string `json:"refund_id"`
			Rule     string
		}
		if err := json.Unmarshal(r.Value, &a); err != nil {
			c.Fatalf("alert %s: %v", r.Value, err)
		}
		if ids[a.AlertID] || a.AlertID == "" || string(r.Key) != a.AlertID {
			c.Errorf("alert_id %q is there twice, or isn't the key %q", a.AlertID, r.Key)
		}
		ids[a.AlertID] = true
		if strings.HasPrefix(a.Rule, "dead-letter:") {
			got[a.Rule]++
		} else if strings.HasPrefix(a.Rule, "breaker:") {
			continue // when a rule trips hangs on what is decided together
		} else if ofLives(a.Rule) || strings.HasPrefix(a.Rule, "hold-") {
			continue // see checkLives; when a hold begins hangs on when it is read
		} else if !c.world.Degrades {
			got[a.Rule+" "+a.RefundID]++
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		c.Errorf("alerts (-want +got):\n%.4000s", diff)
	}
}

// checkBalance wants the last progress to account for every refund record.
func (c *Comparison) checkBalance() {
	outcomes := make(map[string]int64)
	for _, all := range c.all {
		outcomes[all[len(all)-1].Outcome]++
	}
	w := c.world
	duplicates, events := w.Count("refunds", IsDuplicate), w.Count("refunds", IsEvent)
	want := Balance{
		Read:     int64(w.Count("refunds", "")),
		Approved: outcomes["approve"], InReview: outcomes["review"], Rejected: outcomes["reject"],
		DeadLettered: int64(w.Count("refunds", "") - duplicates - events), Duplicates: int64(duplicates),
	}
	want.History = int64(events) - want.Approved - want.InReview - want.Rejected
	got := LastProgress(c.T, c.topics).Balance
	if got != want {
		c.Errorf("the balance is %+v, want %+v", got, want)
	}
}
