package demo

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/zeebo/xxh3"

	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/rules/event"
)

// The topics of the demo.
const (
	topicRefunds     = "refunds"
	topicApproved    = "refunds-approved"
	topicDecisions   = "refund-decisions"
	topicStatus      = "refund-status"
	topicAlerts      = "alerts"
	topicDeadLetters = "dead-letters"
	topicProgress    = "refundguard-progress"
	topicCases       = "refundguard-cases"
	topicLabels      = "refund-labels"

	topicResults       = "ledger-results"
	topicReviews       = "reviews"
	topicConfirmations = "confirmations"
	topicComplaints    = "complaints"
)

// Balance is what became of every record of the refunds topic.
type Balance struct {
	Read         int64 `json:"read"`
	Approved     int64 `json:"approved"`
	InReview     int64 `json:"in_review"`
	Rejected     int64 `json:"rejected"`
	DeadLettered int64 `json:"dead_lettered"`
	Duplicates   int64 `json:"duplicates"`
	History      int64 `json:"history"`
	OK           bool  `json:"ok"`
}

func (b Balance) sum() int64 {
	return b.Approved + b.InReview + b.Rejected + b.DeadLettered + b.Duplicates + b.History
}

// progress is what is read of a record of refundguard-progress.
type progress struct {
	Balance Balance `json:"balance"`
	Streams []struct {
		Topic      string `json:"topic"`
		Partitions []struct {
			Applied int64 `json:"applied"`
			Decided int64 `json:"decided"`
		} `json:"partitions"`
	} `json:"streams"`
}

// applied is how many records of a topic were applied; control records of
// transactions, which only a transactional producer leaves, count too.
func (p *progress) applied(topic string) (sum int64) {
	for _, s := range p.Streams {
		if s.Topic == topic {
			for _, part := range s.Partitions {
				sum += part.Applied
			}
		}
	}
	return sum
}

// decided is how many records of a topic had their turn.
func (p *progress) decided(topic string) (sum int64) {
	for _, s := range p.Streams {
		if s.Topic == topic {
			for _, part := range s.Partitions {
				sum += part.Decided
			}
		}
	}
	return sum
}

// same reports whether no more of the shop's records passed between two records:
// what becomes of refunds later takes the time that people take.
func (p *progress) same(o *progress) bool {
	return p.applied("transactions") == o.applied("transactions") && p.applied(topicRefunds) == o.applied(topicRefunds) && p.Balance.Read == o.Balance.Read
}

// Audit follows the topics from outside, as any reader could, and finds out on
// its own what became of each refund. It is fed with committed records in any
// order of topics, and may be read at the same time.
type Audit struct {
	mu        sync.Mutex
	requests  map[place]request
	decisions map[string]*decision // by refund_id
	byID      map[string]*decision // by decision_id
	approved  []approval
	dead      map[place]burial // dead letters of refunds
	labels    map[string]string
	faults    faults

	topics   map[string]int64
	rules    map[string]int64
	refused  map[string]int64 // dead letters by stream, code and field
	hits     int64
	alerts   map[string]bool // ids
	progress progress
	moved    time.Time // when the progress last said something new
	position positions

	found    tallies // alerts of the life of a refund
	statuses map[string]bool
	cases    map[string]bool // refunds that have one
	shopNow  int64           // Unix milliseconds: the latest refund decided
}

type place struct {
	partition int32
	offset    int64
}

func (p place) String() string {
	return fmt.Sprintf("%s/%d/%d", topicRefunds, p.partition, p.offset)
}

// request is one record of refunds: what must come out again, hashed.
type request struct {
	whole xxh3.Uint128 // key, value, headers
	body  xxh3.Uint128 // key, value
	value xxh3.Uint128
}

type decision struct {
	id       string
	refundID string
	from     place
	outcome  event.Outcome // the latest
	first    event.Outcome // the engine's
	engine   int           // decisions made by the engine
}

type approval struct {
	at         int64
	partition  int32
	decisionID string
	whole      xxh3.Uint128
}

type burial struct {
	n    int
	body xxh3.Uint128
}

// NewAudit is an audit that has read nothing. It knows frauds by labels:
// refund_id to kind of attack.
func NewAudit() *Audit {
	return &Audit{
		requests: map[place]request{}, decisions: map[string]*decision{}, byID: map[string]*decision{}, dead: map[place]burial{},
		labels: map[string]string{}, topics: map[string]int64{}, rules: map[string]int64{}, refused: map[string]int64{}, alerts: map[string]bool{},
		position: positions{}, found: tallies{}, statuses: map[string]bool{}, cases: map[string]bool{},
	}
}

// Label tells that a refund is a fraud of this kind.
func (a *Audit) Label(refundID, attack string) {
	a.mu.Lock()
	a.labels[refundID] = attack
	a.mu.Unlock()
}

// Add takes a committed record, or a control record.
func (a *Audit) Add(r *kgo.Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.position.note(r)
	if r.Attrs.IsControl() {
		return
	}
	a.topics[r.Topic]++
	switch r.Topic {
	case topicRefunds:
		a.requests[place{r.Partition, r.Offset}] = request{whole: digest(r.Key, r.Value, r.Headers), body: digest(r.Key, r.Value, nil), value: digest(nil, r.Value, nil)}
	case topicDecisions:
		a.decide(r)
	case topicApproved:
		a.approve(r)
	case topicDeadLetters:
		a.bury(r)
	case topicAlerts:
		a.alert(r)
	case topicStatus:
		a.tell(r)
	case topicCases:
		a.cases[string(r.Key)] = true
	case topicProgress:
		p := progress{}
		if err := json.Unmarshal(r.Value, &p); err != nil {
			a.faults.add("%s/%d is not readable: %v", r.Topic, r.Offset, err)
			return
		}
		if !p.same(&a.progress) {
			a.moved = r.Timestamp
		}
		a.progress = p
	}
}

func (a *Audit) decide(r *kgo.Record) {
	var d struct {
		DecisionID string    `json:"decision_id"`
		RefundID   string    `json:"refund_id"`
		Outcome    string    `json:"outcome"`
		DecidedBy  string    `json:"decided_by"`
		OccurredAt time.Time `json:"occurred_at"`
		Hits       []struct {
			Rule string `json:"rule"`
			Mode string `json:"mode"`
		} `json:"hits"`
		Source struct {
			Topic     string `json:"topic"`
			Partition int32  `json:"partition"`
			Offset    int64  `json:"offset"`
		} `json:"source"`
	}
	at := fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)
	if err := json.Unmarshal(r.Value, &d); err != nil {
		a.faults.add("decision %s is not readable: %v", at, err)
		return
	}
	outcome, ok := event.ParseOutcome(d.Outcome)
	if !ok || d.Source.Topic != topicRefunds {
		a.faults.add("decision %s has outcome %q and is of topic %q", at, d.Outcome, d.Source.Topic)
		return
	}
	a.hits += int64(len(d.Hits))
	for _, h := range d.Hits {
		name := h.Rule
		if h.Mode != "live" {
			name += " (" + h.Mode + ")"
		}
		a.rules[name]++
	}
	known := a.decisions[d.RefundID]
	if known == nil {
		known = &decision{refundID: d.RefundID, from: place{d.Source.Partition, d.Source.Offset}}
		a.decisions[d.RefundID] = known
	}
	a.shopNow = max(a.shopNow, d.OccurredAt.UnixMilli())
	if d.DecidedBy == "engine" {
		known.first = outcome
		if known.engine++; known.engine > 1 {
			a.faults.add("refund %s is decided again at %s", d.RefundID, at)
		}
	}
	if a.byID[d.DecisionID] != nil {
		a.faults.add("decision_id %s comes again at %s", d.DecisionID, at)
	}
	known.id, known.outcome = d.DecisionID, outcome
	a.byID[d.DecisionID] = known
}

// approve takes apart what the service added to the request: two headers at
// the end.
func (a *Audit) approve(r *kgo.Record) {
	n := len(r.Headers) - 2
	if n < 0 || r.Headers[n].Key != event.HeaderDecisionID || r.Headers[n+1].Key != event.HeaderRuleset {
		a.faults.add("%s/%d/%d does not end with the headers %s and %s", r.Topic, r.Partition, r.Offset, event.HeaderDecisionID, event.HeaderRuleset)
		return
	}
	a.approved = append(a.approved, approval{r.Offset, r.Partition, string(r.Headers[n].Value), digest(r.Key, r.Value, r.Headers[:n])})
}

func (a *Audit) bury(r *kgo.Record) {
	headers := map[string]string{}
	for _, h := range r.Headers {
		headers[h.Key] = string(h.Value) // of several, ours is the last
	}
	what := []string{headers[event.HeaderErrorTopic], headers[event.HeaderCode], headers[event.HeaderField]}
	a.refused[strings.TrimSpace(strings.Join(what, " "))]++
	if headers[event.HeaderErrorTopic] != topicRefunds {
		return
	}
	partition, err1 := strconv.ParseInt(headers[event.HeaderErrorPartition], 10, 32)
	offset, err2 := strconv.ParseInt(headers[event.HeaderErrorOffset], 10, 64)
	if err1 != nil || err2 != nil {
		a.faults.add("%s/%d/%d does not say which record it is", r.Topic, r.Partition, r.Offset)
		return
	}
	from := place{int32(partition), offset}
	a.dead[from] = burial{a.dead[from].n + 1, digest(r.Key, r.Value, nil)}
}

func (a *Audit) alert(r *kgo.Record) {
	var v struct {
		AlertID  string `json:"alert_id"`
		Rule     string `json:"rule"`
		RefundID string `json:"refund_id"`
	}
	if err := json.Unmarshal(r.Value, &v); err != nil || v.AlertID == "" {
		a.faults.add("alert %d/%d has no alert_id: %v", r.Partition, r.Offset, err)
		return
	}
	if !a.alerts[v.AlertID] {
		a.alerts[v.AlertID] = true
		if slices.Contains(lifeAlerts, v.Rule) {
			a.found.add(v.Rule, v.RefundID)
		}
	}
}

// lifeAlerts are the rules of alerts of the life of a refund.
var lifeAlerts = []string{cases.AlertDeadline, cases.AlertDenied, cases.AlertUnapproved, cases.AlertTwice, cases.AlertAfterAll, cases.AlertOtherAmount,
	cases.AlertOtherCurrency, cases.AlertUnknown, cases.AlertFailed, cases.AlertOverdue}

// tell takes what a customer is told: no refund is twice in one status.
func (a *Audit) tell(r *kgo.Record) {
	var s status
	if err := json.Unmarshal(r.Value, &s); err != nil || s.RefundID == "" || s.Status == "" {
		a.faults.add("status %d/%d has no refund or status: %v", r.Partition, r.Offset, err)
		return
	}
	id := s.Status + " " + s.RefundID
	if a.statuses[id] {
		a.faults.add("refund %s is said to be %s once more at %s/%d/%d", s.RefundID, s.Status, r.Topic, r.Partition, r.Offset)
	}
	a.statuses[id] = true
}

// shopTime is the event time of the latest refund decided, 0 before there is one.
func (a *Audit) shopTime() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.shopNow
}

// digest hashes unambiguously: each part with its length, and whether it is
// there at all.
func digest(key, value []byte, headers []kgo.RecordHeader) xxh3.Uint128 {
	h := xxh3.New()
	part := func(b []byte) {
		n := len(b)
		if b == nil {
			n = -1
		}
		_, _ = h.WriteString(strconv.Itoa(n) + ":") // never fails
		_, _ = h.Write(b)
	}
	part(key)
	part(value)
	for _, x := range headers {
		part([]byte(x.Key))
		part(x.Value)
	}
	return h.Sum128()
}

// faults keeps the first few and counts the rest.
type faults struct {
	list []string
	more int
}

func (f *faults) add(format string, args ...any) {
	if len(f.list) < 20 {
		f.list = append(f.list, fmt.Sprintf(format, args...))
	} else {
		f.more++
	}
}

func (f faults) all() []string {
	if f.more == 0 {
		return f.list
	}
	return append(f.list[:len(f.list):len(f.list)], fmt.Sprintf("… and %d more", f.more))
}

// learn takes a line of labels.
func (a *Audit) learn(line []byte) error {
	var l struct {
		RefundID string `json:"refund_id"`
		Attack   string `json:"attack"`
	}
	if err := json.Unmarshal(line, &l); err != nil {
		return fmt.Errorf("reading a label: %w", err)
	}
	a.Label(l.RefundID, l.Attack)
	return nil
}
