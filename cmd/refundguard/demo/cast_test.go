package demo

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// Each way in which what was found can differ from what was planted is a fault
// that names the refund.
func TestJudgeComparesRefundByRefund(t *testing.T) {
	planted := func() *cast {
		c := newCast(Options{}, nil, nil)
		c.deeds.wrote(theLedger, step{deeds: []deed{{"twice", cases.AlertTwice, "a"}, {"twice", cases.AlertTwice, "b"}, {"unknown", cases.AlertUnknown, "u"}, {kind: "executed"}}})
		return c
	}
	good := func() Tally {
		return Tally{Found: tallies{cases.AlertTwice: {"a": 1, "b": 1}, cases.AlertUnknown: {"u": 1}},
			Refused: map[string]int64{"ledger-results UNKNOWN_REFUND refund_id": 1, "refunds INVALID_JSON": 7}}
	}
	for name, x := range map[string]struct {
		change func(*cast, *Tally)
		says   string
	}{
		"all found":       {func(*cast, *Tally) {}, ""},
		"one missing":     {func(_ *cast, t *Tally) { delete(t.Found[cases.AlertTwice], "b") }, "refund b was to raise 1 alerts EXECUTED_TWICE and raised 0"},
		"one found twice": {func(_ *cast, t *Tally) { t.Found[cases.AlertTwice]["b"] = 2 }, "refund b was to raise 1 alerts EXECUTED_TWICE and raised 2"},
		"the wrong one": {func(_ *cast, t *Tally) { t.Found[cases.AlertTwice] = map[string]int{"a": 1, "c": 1} },
			"refund c raised an alert EXECUTED_TWICE that nothing was done for"},
		"a false alarm":     {func(_ *cast, t *Tally) { t.Found.add(cases.AlertOverdue, "a") }, "refund a raised an alert OVERDUE that nothing was done for"},
		"a verdict refused": {func(_ *cast, t *Tally) { t.Refused["reviews NOT_IN_REVIEW refund_id"] = 1 }, "of what was written to reviews, 1 records were refused, and 0 were to be"},
		"one not refused":   {func(_ *cast, t *Tally) { delete(t.Refused, "ledger-results UNKNOWN_REFUND refund_id") }, "of what was written to ledger-results, 0 records were refused, and 1 were to be"},
		"another's": {func(c *cast, t *Tally) {
			c.on[theLedger] = false // the data's own results
			t.Found.add(cases.AlertOverdue, "x")
		}, ""},
	} {
		c, tally, f := planted(), good(), faults{}
		x.change(c, &tally)
		found := c.judge(tally, &f)
		if says := strings.Join(f.all(), "\n"); !strings.Contains(says, x.says) || (says == "") != (x.says == "") {
			t.Errorf("%s: faults %q, want %q", name, says, x.says)
		}
		if name == "all found" && found[cases.AlertTwice] != (Finding{2, 2}) {
			t.Errorf("%+v", found)
		}
	}
}

func TestWhoStaysAway(t *testing.T) {
	for _, x := range []struct {
		without, brings []string
		want            string
	}{
		{nil, []string{"transactions", "refunds"}, "ledger analyst customers"},
		{[]string{"analyst"}, nil, "ledger customers"},
		{nil, []string{"reviews"}, "ledger customers"},
		{nil, []string{"ledger_results", "complaints"}, "analyst"},
		{Programs(), nil, ""},
	} {
		c := newCast(Options{Without: x.without}, x.brings, nil)
		var on []string
		for _, name := range Programs() {
			if c.on[name] {
				on = append(on, name)
			}
		}
		if got := strings.Join(on, " "); got != x.want {
			t.Errorf("without %q, the data bringing %q: %q work, want %q", x.without, x.brings, got, x.want)
		}
		for n := range 1000 {
			f := c.fateOfHeld(fmt.Sprint(n))
			if f == leaked && !c.on[theLedger] || f == denied && !c.on[theCustomers] || f == forgotten && !c.on[theAnalyst] {
				t.Fatalf("without %q: refund %d waits for one who is away", x.without, n)
			}
		}
	}
}

// withID finds a refund that something is to befall.
func withID(ok func(id string) bool) string {
	for n := 0; ; n++ {
		if id := fmt.Sprint("re_", n); ok(id) {
			return id
		}
	}
}

func TestLedgerPaysOnce(t *testing.T) {
	c := newCast(Options{}, nil, func() int64 { return 1000 })
	p := newLedger(c)
	p.deeds, p.now, p.name = c.deeds, c.now, theLedger
	id := withID(func(id string) bool { return c.dice("ledger", id) >= 36 })
	r := &kgo.Record{Topic: topicApproved, Value: []byte(`{"refund_id":"` + id + `","amount":"12.50","currency":"EUR"}`),
		Headers: []kgo.RecordHeader{{Key: event.HeaderDecisionID, Value: []byte("d1")}}}
	p.read(r)
	p.read(r)
	if len(p.plans) != 1 {
		t.Fatalf("%d payments of one decision", len(p.plans))
	}
	s := p.plans[0].do()
	want := `{"amount":"12.50","currency":"EUR","occurred_at":1000,"refund_id":"` + id + `","result_id":"res_` + id + `_1","status":"executed"}`
	if len(s.records) != 1 || string(s.records[0].Value) != want || string(s.records[0].Key) != id || s.records[0].Topic != topicResults {
		t.Errorf("wrote %s, want %s", s.records[0].Value, want)
	}
}

// What is late is paid once it is asked for, and what leaks is paid once.
func TestLedgerListensToStatuses(t *testing.T) {
	c := newCast(Options{}, nil, func() int64 { return 1000 })
	p := newLedger(c)
	p.deeds, p.now = c.deeds, c.now
	late := withID(func(id string) bool { return c.dice("ledger", id) < 6 })
	p.read(&kgo.Record{Topic: topicApproved, Value: []byte(`{"refund_id":"` + late + `","amount":3,"currency":"EUR"}`)})
	if s := p.plans.Pop().(plan).do(); len(s.records) != 0 || p.waits() == "" {
		t.Fatalf("the late one is paid: %+v", s)
	}
	status := func(id, status string) {
		p.read(&kgo.Record{Topic: topicStatus, Value: []byte(`{"refund_id":"` + id + `","status":"` + status + `"}`)})
	}
	status(late, "overdue")
	status(late, "overdue")
	if len(p.plans) != 1 || p.waits() != "" {
		t.Errorf("%d payments after it was asked for; it waits for %q", len(p.plans), p.waits())
	}
	p.plans = nil
	leaks := withID(func(id string) bool { return c.fateOfHeld(id) == leaked && c.dice("rejected", id) < 100 })
	status(leaks, "in_review")
	status(leaks, "rejected")
	if len(p.plans) != 1 {
		t.Errorf("%d payments of one that leaks", len(p.plans))
	}
}

// caseOf is a record of a case, as the service writes it.
func caseOf(c cases.Case) *kgo.Record {
	return &kgo.Record{Topic: topicCases, Key: []byte(c.RefundID), Value: []byte("{}"), Headers: []kgo.RecordHeader{{Key: "refundguard-case", Value: c.Append(nil)}}}
}

func TestAnalystWorksTheQueueByDeadline(t *testing.T) {
	c := newCast(Options{}, nil, func() int64 { return 1000 })
	p := newAnalyst(c)
	p.deeds, p.now = c.deeds, c.now
	now := time.Now()
	due := func(seconds int) int64 { return now.Add(time.Duration(seconds) * time.Second).UnixMilli() }
	plain := func(nth int) string {
		return withID(func(id string) bool {
			if c.fateOfHeld(id) == judged && c.dice("verdict", id) >= 250 {
				nth--
			}
			return nth < 0
		})
	}
	held := func(id string, due int64, change func(*cases.Case)) {
		x := cases.Case{RefundID: id, State: cases.InReview, Severity: rules.High, Due: due}
		if change != nil {
			change(&x)
		}
		p.read(caseOf(x))
	}
	verdicts := func() (list []string) {
		for _, s := range p.rest(now.Add(time.Minute)) {
			list = append(list, strings.Split(string(s.records[0].Key), "_")[1]+" "+s.deeds[0].kind)
		}
		return list
	}
	number := func(id string) string { return strings.TrimPrefix(id, "re_") }
	ids := []string{plain(0), plain(1), plain(2), plain(3)}
	for i, seconds := range []int{300, 100, 200, 400} {
		held(ids[i], due(seconds), nil)
	}
	p.read(caseOf(cases.Case{RefundID: ids[3], State: cases.Approved})) // by somebody else
	leak := withID(func(id string) bool { return c.fateOfHeld(id) == leaked })
	forgot := withID(func(id string) bool { return c.fateOfHeld(id) == forgotten && c.dice("verdict", id) >= 250 })
	deny := withID(func(id string) bool { return c.fateOfHeld(id) == denied })
	for _, id := range []string{leak, forgot, deny} {
		held(id, due(-1), nil)
	}
	if got, want := verdicts(), []string{number(ids[1]) + " approve", number(ids[2]) + " approve", number(ids[0]) + " approve"}; !slices.Equal(got, want) {
		t.Errorf("verdicts %q, want %q", got, want)
	}
	if got := verdicts(); len(got) > 0 {
		t.Errorf("once more: %q", got)
	}
	// Where two must, the case comes back; what has leaked is rejected; what was
	// forgotten is found when its deadline has passed.
	first := analysts[c.dice("who", ids[0])%2]
	held(ids[0], due(300), func(x *cases.Case) { x.First = first })
	held(leak, due(-1), func(x *cases.Case) { x.Paid = true })
	held(forgot, due(500), nil)
	got := verdicts()
	slices.Sort(got)
	want := []string{number(ids[0]) + " second_approval", number(leak) + " already_paid", number(forgot) + " approve"}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("verdicts %q, want %q", got, want)
	}
	passed := step{}
	for _, x := range p.plans {
		passed.deeds = append(passed.deeds, x.do().deeds...)
	}
	if want := []deed{{"deadlines_passed", cases.AlertDeadline, forgot}}; !slices.Equal(passed.deeds, want) {
		t.Errorf("deadlines %+v, want %+v", passed.deeds, want)
	}
	if s := p.waits(); s == "" {
		t.Error("nobody waits for the denied one")
	}
}

// The second approval is another's.
func TestSecondApprovalIsAnothers(t *testing.T) {
	c := newCast(Options{}, nil, func() int64 { return 1000 })
	a := &analyst{program: &program{now: c.now}, c: c}
	for n := range 50 {
		id := fmt.Sprint("re_", n)
		for _, first := range analysts {
			s := a.judge(&held{now: &cases.Case{RefundID: id, State: cases.InReview, First: first}})
			if value := string(s.records[0].Value); strings.Contains(value, first) || !strings.Contains(value, `"approve"`) {
				t.Fatalf("%s approved first, then %s", first, value)
			}
		}
	}
}
