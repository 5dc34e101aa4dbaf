package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// script is what happens to one refund, and all that must follow from it. Each
// step begins when everything that follows from those before it has been seen.
type script struct {
	id       string
	role     string
	steps    []step
	next     int  // the step to be taken
	reserved bool // in the end the amount counts in refunded

	large    bool   // two analysts must approve it
	severity string // in review
	repeats  bool   // its deadline passes again and again, until somebody looks

	amount, customer string
}

// step is a record to be written, if any, and what follows: see trace.
type step struct {
	topic string // "": time passes, or the engine decides
	value map[string]any
	then  []string
	early bool // its time is that of ten minutes later
}

// The analysts; ada works the queue, ben is the second pair of eyes.
const (
	ada = "ada"
	ben = "ben"
)

func (s *script) wait(then ...string) { s.steps = append(s.steps, step{then: then}) }

func (s *script) write(topic, idField string, value map[string]any, then ...string) {
	value["refund_id"] = s.id
	if value[idField] == nil {
		value[idField] = fmt.Sprintf("%s_%s_%d", idField[:3], s.id, len(s.steps))
	}
	s.steps = append(s.steps, step{topic: topic, value: value, then: then})
}

func (s *script) verdict(verdict, analyst, label string, then ...string) {
	value := map[string]any{"verdict": verdict, "analyst": analyst, "note": "because"}
	if label != "" {
		value["label"] = label
	}
	s.write("reviews", "review_id", value, then...)
}

func (s *script) held() string { return "case in_review " + s.severity }

// approve is by as many analysts as must, and the ledger's payment.
func (s *script) approve(then ...string) {
	by := ada
	if s.large {
		s.verdict("approve", ada, "legit", append(then, s.held(), "label legit analyst")...)
		by, then = ben, nil
	}
	s.verdict("approve", by, "legit", append(then, "decision approve analyst:"+by, "status approved", "released", "case approved", "label legit analyst")...)
}

func (s *script) reject() {
	s.verdict("reject", ada, "fraud", "decision reject analyst:ada", "status rejected", "case rejected", "label fraud analyst")
	s.reserved = false
}

func (s *script) result(status, amount, currency string, then ...string) {
	value := map[string]any{"status": status}
	if amount != "" {
		value["amount"], value["currency"] = amount, currency
	}
	s.write("ledger-results", "result_id", value, then...)
}

func (s *script) execute() {
	s.result("executed", s.amount, "GBP", "status executed", "case executed")
}

func (s *script) fail() {
	s.result("failed", "", "", "status failed", "alert LEDGER_FAILED", "case failed")
	s.reserved = false
}

func (s *script) confirm(confirmed bool, then ...string) {
	s.write("confirmations", "confirmation_id", map[string]any{"confirmed": confirmed}, then...)
}

// role is a part that some refunds play.
type role struct {
	name     string
	merchant string // whose rule holds it; "": it is approved
	fields   string // more of them, in JSON
	large    bool   // the amount is above what one analyst may approve
	play     func(s *script)
}

// roles are each played twice, so that each anomaly is there twice. Those that
// a refund is left for just live.
var roles = []role{
	// What the ledger does with what is approved.
	{name: "executed twice", play: func(s *script) {
		s.execute()
		s.result("executed", s.amount, "GBP", "alert EXECUTED_TWICE", "case executed")
	}},
	{name: "other amount", play: func(s *script) {
		s.result("executed", "0.07", "GBP", "status executed", "alert EXECUTED_OTHER_AMOUNT", "case executed")
	}},
	{name: "other currency", play: func(s *script) {
		s.result("executed", s.amount, "EUR", "status executed", "alert EXECUTED_OTHER_CURRENCY", "case executed")
	}},
	{name: "failed", play: func(s *script) {
		s.fail()
		s.result("failed", "", "", "letter RESULT_REPEATED")
	}},
	{name: "executed after failed", play: func(s *script) {
		s.fail()
		s.result("executed", s.amount, "GBP", "status executed", "alert EXECUTED_AFTER_FAILED", "case executed")
		s.reserved = true
	}},
	{name: "overdue", fields: `"method":"balance",`, play: func(s *script) {
		// The new ETA passes, too, and nobody is told again.
		s.wait("status overdue", "alert OVERDUE", "case overdue", "case overdue")
		if strings.HasSuffix(s.role, "2") {
			s.execute()
		}
	}},

	// What customers and analysts say of it.
	{name: "denied after approval", play: func(s *script) {
		s.confirm(false, "alert denied-by-customer", "label fraud customer", "case approved")
		s.execute()
	}},
	{name: "denied after execution", play: func(s *script) {
		s.execute()
		s.confirm(false, "alert denied-by-customer", "label fraud customer", "case executed")
	}},
	{name: "verdict on an approved one", play: func(s *script) {
		s.verdict("reject", ada, "fraud", "letter NOT_IN_REVIEW")
		s.execute()
		s.verdict("reject", ada, "fraud", "letter CASE_FINISHED")
		s.confirm(true, "case executed")
	}},

	// Deadlines.
	{name: "approved by its deadline", merchant: "urgent", play: func(s *script) {
		s.wait("alert review-deadline", "decision approve deadline", "status approved", "released", "case approved")
		s.execute()
	}},
	{name: "rejected by its deadline", merchant: "idle", play: func(s *script) {
		s.wait("alert review-deadline", "decision reject deadline", "status rejected", "case rejected")
		s.reserved = false
	}},
	{name: "escalated by its deadlines", merchant: "urgent", large: true, play: func(s *script) {
		s.repeats = true
		s.wait("alert review-deadline", s.held(), "alert review-deadline", s.held())
		s.approve()
		s.execute()
	}},

	// The queue.
	{name: "second analyst the same", merchant: "desk", large: true, play: func(s *script) {
		s.verdict("approve", ada, "", s.held())
		s.verdict("approve", ada, "legit", "letter SAME_ANALYST")
		s.verdict("approve", ben, "", "decision approve analyst:ben", "status approved", "released", "case approved")
		s.execute()
	}},
	{name: "who asked for it", merchant: "desk", fields: `"requested_by":"agent","agent_id":"cleo",`, play: func(s *script) {
		s.verdict("approve", "cleo", "legit", "letter SELF_APPROVAL")
		s.approve()
	}},
	{name: "escalated", merchant: "desk", play: func(s *script) {
		s.severity = "high"
		s.verdict("escalate", ada, "", s.held())
		s.approve()
		s.execute()
	}},
	{name: "executed in review", merchant: "desk", play: func(s *script) {
		s.result("executed", s.amount, "GBP", "alert EXECUTED_WITHOUT_APPROVAL", s.held())
		s.verdict("approve", ada, "legit", "letter ALREADY_PAID")
		s.reject()
		s.reserved = true
	}},
	{name: "executed when rejected", merchant: "desk", play: func(s *script) {
		s.reject()
		s.result("executed", s.amount, "GBP", "alert EXECUTED_WITHOUT_APPROVAL", "case rejected")
		s.reserved = true
	}},
	{name: "denied in review", merchant: "desk", play: func(s *script) {
		s.confirm(false, "alert denied-by-customer", "decision reject customer", "status rejected", "case rejected", "label fraud customer")
		s.verdict("approve", ada, "legit", "letter CASE_FINISHED")
		s.reserved = false
	}},
	{name: "failed in review", merchant: "desk", play: func(s *script) {
		s.result("failed", "", "", "letter NOT_APPROVED")
		s.approve()
	}},
	{name: "repeated id", merchant: "desk", play: func(s *script) {
		s.approve()
		s.verdict("reject", ada, "fraud", "letter DUPLICATE_CONFLICT")
		last := len(s.steps) - 1
		s.steps[last].value["review_id"] = s.steps[last-1].value["review_id"]
		s.execute()
	}},
	{name: "from the future", merchant: "desk", play: func(s *script) {
		s.verdict("approve", ada, "legit", "letter EVENT_IN_FUTURE")
		s.steps[len(s.steps)-1].early = true
		s.reject()
	}},
}

// rest is for who has no role.
func rest(s *script, outcome string, n int) {
	switch {
	case outcome == "review" && n%3 == 0:
		s.reject()
	case outcome == "review":
		s.approve()
		s.execute()
	case outcome == "approve":
		s.execute()
		s.confirm(true, "case executed")
	}
}

// strangers are refunds that this deployment has no case of.
func strangers(history []string) (all []*script) {
	for n := range 2 {
		nobody := &script{id: fmt.Sprint("nobody", n), role: "unknown refund", amount: "3.00"}
		nobody.result("executed", "3.00", "GBP", "letter UNKNOWN_REFUND", "alert EXECUTED_UNKNOWN_REFUND")
		nobody.verdict("approve", ada, "", "letter UNKNOWN_REFUND")
		foreign := &script{id: history[n], role: "refund of before", amount: "3.00"}
		foreign.verdict("approve", ada, "legit", "letter CASE_FINISHED")
		foreign.result("executed", "3.00", "GBP") // of a time that nothing is kept of
		all = append(all, nobody, foreign)
	}
	return all
}

// decided begins a script with what the engine makes of its refund.
func (s *script) decided(outcome string, alerts []string) {
	s.reserved = outcome != "reject"
	switch outcome {
	case "approve":
		s.wait("decision approve engine", "status approved", "released", "case approved")
	case "review":
		s.wait("decision review engine", "status in_review", s.held())
	case "reject":
		s.wait("decision reject engine", "status rejected", "case rejected")
	}
	for _, rule := range alerts {
		s.steps[0].then = append(s.steps[0].then, "alert "+rule)
	}
}

// record is the step's, as of now.
func (s *script) record(t testing.TB, st *step) *kgo.Record {
	t.Helper()
	at := time.Now()
	if st.early {
		at = at.Add(10 * time.Minute)
	}
	st.value["occurred_at"] = at.UTC().Format("2006-01-02T15:04:05.000Z")
	value, err := json.Marshal(st.value)
	if err != nil {
		t.Fatal(err)
	}
	return &kgo.Record{Topic: st.topic, Key: []byte(s.id), Value: value, Headers: []kgo.RecordHeader{{Key: "from", Value: []byte(s.role)}}}
}

// wants is all that must follow, up to before a step.
func (s *script) wants(step int) trace {
	want := make(trace)
	for _, st := range s.steps[:step] {
		for _, what := range st.then {
			want[what]++
		}
	}
	return want
}

// trace counts what is seen of one refund in the topics: "decision OUTCOME BY",
// "status STATUS", "released", "alert RULE", "letter CODE", "label LABEL SOURCE",
// "case STATE SEVERITY".
type trace map[string]int

// has reports whether a trace has all of another, and what it lacks.
func (t trace) lacks(want trace) (missing []string) {
	for what, n := range want {
		if t[what] < n {
			missing = append(missing, what)
		}
	}
	return missing
}
