package cases_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// policy is one whose times are plain to see.
type policy struct {
	onDeadline cases.Kind
	second     event.Money // above it two must approve; 0: never
}

func (p policy) ReviewBy(s rules.Severity, now int64) int64 { return now + 100/int64(s) }
func (p policy) PaidBy(_ string, now int64) int64           { return now + 1000 }
func (p policy) OnDeadline(*cases.Case) cases.Kind          { return p.onDeadline }
func (p policy) NeedsTwo(c *cases.Case) bool                { return p.second > 0 && c.Base > p.second }

var (
	usd, _ = event.ParseCurrency("USD")
	eur, _ = event.ParseCurrency("EUR")
)

var kinds = []cases.Kind{cases.Approve, cases.Reject, cases.Escalate, cases.TimePassed, cases.Confirm, cases.Deny, cases.Execute, cases.Fail}

// model is the life of a refund told another way: by what has happened, not by a
// state.
type model struct {
	held, approved, rejected, executed, failed, late bool

	paidUnapproved, denied bool
	first                  string
	severity               rules.Severity
}

// state is what the model says it is.
func (m *model) state() string {
	switch {
	case m.executed:
		return "executed"
	case m.failed:
		return "failed"
	case m.rejected:
		return "rejected"
	case m.approved && m.late:
		return "overdue"
	case m.approved:
		return "approved"
	}
	return "in_review"
}

// counts reports whether its money is gone, or may still go.
func (m *model) counts() bool {
	return m.executed || m.paidUnapproved || !m.rejected && !m.failed
}

// does says what an event leads to: the code of a refusal, or the alert, "" for
// none.
func (m *model) does(ev cases.Event, agent string, base event.Money, p policy) (code, alert string) {
	open := m.held && !m.approved && !m.rejected
	two := p.second > 0 && base > p.second
	switch ev.Kind {
	case cases.Approve, cases.Reject, cases.Escalate:
		switch {
		case m.rejected || m.executed || m.failed:
			return cases.CodeFinished, ""
		case !open:
			return cases.CodeNotInReview, ""
		case ev.Kind == cases.Reject:
			m.rejected = true
		case ev.Kind == cases.Escalate:
			m.severity = min(m.severity+1, rules.Critical)
		case m.paidUnapproved:
			return cases.CodePaid, ""
		case agent == ev.By:
			return cases.CodeSelfApproval, ""
		case two && m.first == "":
			m.first = ev.By
		case two && m.first == ev.By:
			return cases.CodeSameAnalyst, ""
		default:
			m.approved = true
		}
	case cases.TimePassed:
		switch {
		case m.rejected || m.executed || m.failed:
			return cases.CodeFinished, ""
		case m.approved && m.late:
		case m.approved:
			m.late = true
			return "", cases.AlertOverdue
		case p.onDeadline == cases.Reject:
			m.rejected = true
			return "", cases.AlertDeadline
		case p.onDeadline == cases.Approve && !m.paidUnapproved && !two:
			m.approved = true
			return "", cases.AlertDeadline
		default:
			m.severity = min(m.severity+1, rules.Critical)
			return "", cases.AlertDeadline
		}
	case cases.Deny:
		before := m.denied
		m.denied = true
		switch {
		case open:
			m.rejected = true
			return "", cases.AlertDenied
		case m.approved && !m.failed && !before || m.executed && !before:
			return "", cases.AlertDenied
		}
	case cases.Execute:
		switch {
		case m.executed || m.paidUnapproved:
			return "", cases.AlertTwice
		case !m.approved:
			m.paidUnapproved = true
			return "", cases.AlertUnapproved
		case m.failed:
			m.executed, alert = true, cases.AlertAfterAll
		}
		m.executed = true
		if ev.Currency == usd && ev.Amount == 70000 {
			alert = cases.AlertOtherAmount
		} else if ev.Amount != 0 && ev.Currency != usd {
			alert = cases.AlertOtherCurrency
		}
		return "", alert
	case cases.Fail:
		switch {
		case !m.approved:
			return cases.CodeNotApproved, ""
		case m.executed || m.failed:
			return cases.CodeRepeated, ""
		}
		m.failed = true
		return "", cases.AlertFailed
	}
	return "", ""
}

// Whatever happens to a refund, in whatever order, it is what the model says,
// and its request goes out once at most.
func TestWalks(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := policy{onDeadline: []cases.Kind{cases.Approve, cases.Reject, cases.Escalate}[r.IntN(3)], second: event.Money(r.IntN(3)) * 400000}
		c := &cases.Case{RefundID: "r", Agent: "ann", Amount: 600000, Base: 600000, Currency: usd, Severity: rules.Medium, Reserved: true}
		m := &model{held: true, severity: rules.Medium}
		c.State, c.Due, c.Request = cases.InReview, 50, &cases.Request{Value: []byte("the request")}
		if r.IntN(3) == 0 {
			c.State, c.Request, m.held, m.approved = cases.Approved, nil, false, true
		}
		released, ordinal, told := 0, 0, map[string]bool{}
		if m.approved {
			released = 1
		}
		for step := range 12 {
			ev := cases.Event{Kind: kinds[r.IntN(len(kinds))], By: []string{"ann", "bob", "cy"}[r.IntN(3)], Now: int64(1000 * (r.IntN(step+2) + 1)), At: 7 + int64(step)}
			if ev.Kind == cases.Confirm || ev.Kind == cases.Deny {
				ev.Content = event.Answer(r.IntN(3))
			}
			if ev.Kind == cases.Execute {
				ev.Amount, ev.Currency = []event.Money{0, 600000, 600000, 70000}[r.IntN(4)], usd
				if ev.Amount == 600000 && r.IntN(4) == 0 {
					ev.Currency = eur
				}
			}
			was := *c
			code, alert := m.does(ev, c.Agent, c.Base, p)
			ch, refused := cases.Step(c, ev, p)
			at := fmt.Sprintf("seed %d step %d: %s by %s when %s", seed, step, ev.Kind, ev.By, was.State)
			switch {
			case refused != nil && (refused.Code != code || !errors.As(error(refused), new(*cases.Refusal))):
				t.Fatalf("%s: refused as %s, want %q", at, refused.Code, code)
			case refused != nil && !reflect.DeepEqual(*c, was):
				t.Fatalf("%s: refused, and changed:\n%+v\n%+v", at, was, *c)
			case refused == nil && code != "":
				t.Fatalf("%s: not refused, want %s", at, code)
			}
			if refused != nil {
				continue
			}
			got := ""
			if ch.Alert != nil {
				got = ch.Alert.Rule
			}
			if got != alert {
				t.Fatalf("%s: alert %q, want %q", at, got, alert)
			}
			if c.State.String() != m.state() || c.Reserved != m.counts() || c.Severity != m.severity {
				t.Fatalf("%s: %s, reserved %v, %s; the model says %s, %v, %s", at, c.State, c.Reserved, c.Severity, m.state(), m.counts(), m.severity)
			}
			one := map[bool]int{true: 1}
			if delta := one[c.Reserved] - one[was.Reserved]; ch.Reserve != delta {
				t.Fatalf("%s: reserve %d, want %d", at, ch.Reserve, delta)
			}
			if ch.Release {
				released++
				if string(ch.Request.Value) != "the request" || ch.Outcome != event.Approve {
					t.Fatalf("%s: released is %+v", at, ch)
				}
			}
			if ch.Outcome != 0 {
				ordinal++
			}
			if (c.Request != nil) != (c.State == cases.InReview) || c.Ordinal != ordinal || released > 1 || (c.State != cases.InReview) != (released == 1 || m.rejected) {
				t.Fatalf("%s: %d released, %+v", at, released, c)
			}
			if waits := c.State == cases.InReview || c.State == cases.Approved; waits && c.Due == 0 || c.State.Final() && c.Due != 0 {
				t.Fatalf("%s: due %d", at, c.Due)
			}
			if ch.Status {
				if told[c.State.String()] {
					t.Fatalf("%s: the customer is told twice", at)
				}
				told[c.State.String()] = true
			}
			if c.Changed <= was.Changed || c.Changed < ev.Now {
				t.Fatalf("%s: changed at %d, before at %d", at, c.Changed, was.Changed)
			}
			if paid := c.State == cases.Executed && was.State != cases.Executed; paid != (c.Executed != was.Executed) || paid && c.Executed != ev.At {
				t.Fatalf("%s: executed at %d", at, c.Executed)
			}
			if said := ev.Content; said != 0 && c.Content != said || said == 0 && c.Content != was.Content {
				t.Fatalf("%s: the customer says %s, and it is %s", at, ev.Content, c.Content)
			}
			if by := map[bool]string{true: ch.DecidedBy, false: was.By}[ch.Outcome != 0]; c.By != by {
				t.Fatalf("%s: by %q, want %q", at, c.By, by)
			}
			if c.State != was.State && c.Since != ev.Now || c.State == was.State && c.Since != was.Since || ch.From != was.State {
				t.Fatalf("%s: since %d, from %s", at, c.Since, ch.From)
			}
		}
	}
}

// The page that people read is what the code does.
func TestReadme(t *testing.T) {
	var b strings.Builder
	b.WriteString("| | " + strings.Join(names(kinds), " | ") + " |\n|" + strings.Repeat(" --- |", len(kinds)+1) + "\n")
	for state := cases.InReview; state <= cases.Overdue; state++ {
		fmt.Fprintf(&b, "| **%s** |", state)
		for _, k := range kinds {
			c := &cases.Case{RefundID: "r", State: state, Amount: 1, Currency: usd, Severity: rules.Medium, Reserved: !state.Final() || state == cases.Executed, Due: 1, Request: &cases.Request{}}
			ch, refused := cases.Step(c, cases.Event{Kind: k, By: "bob", Now: 1}, policy{onDeadline: cases.Escalate})
			b.WriteString(" " + cell(state, c, &ch, refused) + " |")
		}
		b.WriteString("\n")
	}
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "\n"+b.String()) {
		t.Errorf("README.md should have this table:\n%s", b.String())
	}
}

func cell(was cases.State, c *cases.Case, ch *cases.Change, refused *cases.Refusal) string {
	if refused != nil {
		return "`" + refused.Code + "`"
	}
	var says []string
	switch {
	case c.State != was:
		says = append(says, c.State.String())
	case c.Severity != rules.Medium:
		says = append(says, "severity rises")
	}
	if ch.Alert != nil {
		says = append(says, "alert "+ch.Alert.Rule)
	}
	if len(says) == 0 {
		return "-"
	}
	return strings.Join(says, ", ")
}

func names(all []cases.Kind) (names []string) {
	for _, k := range all {
		names = append(names, k.String())
	}
	return names
}
