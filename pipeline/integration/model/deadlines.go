package model

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Deadline is until when a refund in review waits, as its case says.
type Deadline struct {
	At       time.Time
	Severity string
}

// Deadlines are those that each refund's review had, in order.
func (c *Comparison) deadlines() map[string][]Deadline {
	c.Helper()
	all := make(map[string][]Deadline)
	for _, r := range c.topics.ReadCommitted("refundguard-cases") {
		if d, ok := c.deadlineOf(r); ok && (len(all[string(r.Key)]) == 0 || all[string(r.Key)][len(all[string(r.Key)])-1] != d) {
			all[string(r.Key)] = append(all[string(r.Key)], d)
		}
	}
	return all
}

func (c *Comparison) deadlineOf(r *kgo.Record) (d Deadline, ok bool) {
	if Header(r, "refundguard-state") != "in_review" {
		return d, false
	}
	at := deadlineOf(r)
	if at == 0 {
		c.Errorf("the case of refund %s, in review, has no deadline that can be read: %q", r.Key, Header(r, "refundguard-deadline"))
	}
	return Deadline{time.UnixMilli(at).UTC(), Header(r, "refundguard-severity")}, true
}

// checkDeadlines wants what follows from deadlines that are of processing time:
// the first is set by the clock of the decision; each one that passed was told of
// once, not before it had, and escalated the review, with a deadline by the clock
// of that moment; and none of those that were passed at the end, by the clock's
// latest, is left.
func (c *Comparison) checkDeadlines() {
	type alert struct {
		RefundID string `json:"refund_id"`
		Rule     string
		Severity string
		At       time.Time
	}
	alerts := make(map[string][]alert)
	for _, r := range c.topics.ReadCommitted("alerts") {
		var a alert
		if err := json.Unmarshal(r.Value, &a); err != nil {
			c.Fatalf("alert %s: %v", r.Value, err)
		}
		if a.Rule == "review-deadline" {
			alerts[a.RefundID] = append(alerts[a.RefundID], a)
		}
	}
	deadlines, sla := c.deadlines(), defaultLives().SLA
	for refund, d := range c.Decisions {
		if d.Outcome != "review" || len(deadlines[refund]) == 0 {
			continue // without a case: told by checkCases
		}
		now := deadlines[refund][0]
		if want := d.DecidedAt.Add(sla[now.Severity]); !now.At.Equal(want) {
			c.Errorf("refund %s was decided at %s; its deadline, %s, is %s, want %s", refund, d.DecidedAt, now.Severity, now.At, want)
		}
		for _, next := range deadlines[refund][1:] {
			at := next.At.Add(-sla[next.Severity])
			told := slices.IndexFunc(alerts[refund], func(a alert) bool { return a.At.Equal(at) && a.Severity == next.Severity })
			if told < 0 || at.Before(now.At) || next.Severity != escalated(now.Severity) {
				c.Errorf("refund %s: its deadline %v became %v; alerts: %v", refund, now, next, alerts[refund])
				break
			}
			alerts[refund] = slices.Delete(alerts[refund], told, told+1)
			now = next
		}
		c.Passed += len(deadlines[refund]) - 1
		if !c.world.Latest.IsZero() && !now.At.After(c.world.Latest) {
			c.Errorf("refund %s: its deadline %v has passed at %s, and nothing was done", refund, now, c.world.Latest)
		}
	}
	for refund, rest := range alerts {
		if len(rest) > 0 {
			slices.SortFunc(rest, func(a, b alert) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Severity, b.Severity)) })
			c.Errorf("refund %s: alerts of deadlines that it didn't have, or of one twice: %v", refund, rest)
		}
	}
}

// Overdue is how many refunds in review have a deadline that has passed at a time.
func Overdue(topics Topics, at time.Time) (n int) {
	last := make(map[string]string)
	for _, r := range topics.ReadCommitted("refundguard-cases") {
		if last[string(r.Key)] = Header(r, "refundguard-deadline"); Header(r, "refundguard-state") != "in_review" {
			delete(last, string(r.Key))
		}
	}
	for _, text := range last {
		if deadline, err := time.Parse(time.RFC3339, text); err != nil || !deadline.After(at) {
			n++
		}
	}
	return n
}
