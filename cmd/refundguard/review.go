package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/pipeline/kafka"
)

func newReviewCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "review",
		Short: "Works the queue of refunds that wait for an analyst",
		Long: `A refund in review waits for an analyst, under a deadline. list shows what waits,
the most urgent first; show tells all that is known of one; approve, reject and
escalate write a verdict to the topic reviews, and wait for what the service
makes of it.`,
		Example: `  refundguard review list -c refundguard.yaml
  refundguard review show ref_1
  refundguard review approve ref_1 --as ann --note "called the customer" --label legit
  refundguard review reject ref_2 ref_3 --as ann --label fraud`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newReviewListCmd(), newReviewShowCmd(), newVerdictCmd(cases.Approve), newVerdictCmd(cases.Reject), newVerdictCmd(cases.Escalate))
	return cmd
}

// reviewTopics is what the commands read: the brokers were checked.
type reviewTopics struct {
	cmd     *cobra.Command
	config  config
	options []kgo.Opt
	turns   *pipeline.Turns
}

var errNeverStarted = errors.New("the service has committed nothing here yet, so that no refund is in review: see refundguard status")

func openReview(cmd *cobra.Command, reader *topicReader) (*reviewTopics, error) {
	c, options, err := reader.open()
	if err != nil {
		return nil, err
	}
	if usable, err := kafka.Check(cmd.Context(), options); !usable {
		return nil, err
	}
	turns, err := pipeline.ReadTurns(cmd.Context(), c.Pipeline, options)
	if err == nil && turns == nil {
		err = errNeverStarted
	}
	return &reviewTopics{cmd, c, options, turns}, err
}

// scan gives what a topic holds from a Kafka timestamp on; nothing where there is
// no such topic.
func (t *reviewTopics) scan(topic string, from time.Time, each func(*kgo.Record)) error {
	err := scanChecked(t.cmd, t.options, topic, from, func(r *kgo.Record) error {
		each(r)
		return nil
	})
	if errors.Is(err, kafka.ErrNoTopic) {
		return nil
	}
	return err
}

// cases are those of today's life that wanted takes, by refund id, as they are
// now, without their requests. It is asked for each record, with the state that
// this one says. Beside the error of records that can't be read are the others.
func (t *reviewTopics) cases(wanted func(r *kgo.Record, state string) bool) (map[string]*cases.Case, error) {
	found := map[string]*cases.Case{}
	unreadable := map[string]error{}
	err := t.scan(t.config.Pipeline.Names().Cases, time.Time{}, func(r *kgo.Record) {
		id := string(r.Key)
		state := pipeline.CaseState(r, t.turns.Life)
		if state == "" {
			return
		}
		delete(found, id)
		delete(unreadable, id)
		if !wanted(r, state) {
			return
		}
		if c, err := pipeline.ParseCase(r); err != nil {
			unreadable[id] = err
		} else {
			c.Request = nil // which would keep all that came with it in memory
			found[id] = c
		}
	})
	if err != nil {
		return nil, err
	}
	if len(unreadable) > 0 {
		ids := slices.Sorted(maps.Keys(unreadable))
		err = fmt.Errorf("%s of %s can't be read, the first is %w: run the version that wrote it", count(len(ids), "record"), t.config.Pipeline.Names().Cases, unreadable[ids[0]])
	}
	return found, err
}

// caseJSON is a case as the commands show it.
type caseJSON struct {
	RefundID      string     `json:"refund_id"`
	State         string     `json:"state"`
	Severity      string     `json:"severity,omitempty"`
	Amount        string     `json:"amount"`
	Currency      string     `json:"currency"`
	CustomerID    string     `json:"customer_id,omitempty"`
	MerchantID    string     `json:"merchant_id,omitempty"`
	TransactionID string     `json:"transaction_id,omitempty"`
	Method        string     `json:"method,omitempty"`
	Agent         string     `json:"agent_id,omitempty"`
	Reason        string     `json:"reason,omitempty"`
	Since         time.Time  `json:"since"`
	Deadline      *time.Time `json:"deadline,omitempty"` // in review
	ETA           *time.Time `json:"eta,omitempty"`      // approved
	Overdue       bool       `json:"overdue"`
	OverdueMillis int64      `json:"overdue_ms,omitempty"`
	FirstApproval string     `json:"first_approval,omitempty"`
	Paid          bool       `json:"paid,omitempty"` // the ledger executed it without an approval
	Denied        bool       `json:"denied,omitempty"`
}

func jsonOf(c *cases.Case, now time.Time) caseJSON {
	j := caseJSON{RefundID: c.RefundID, State: c.State.String(), Amount: c.Amount.Format(c.Currency), Currency: c.Currency.String(),
		CustomerID: c.CustomerID, MerchantID: c.MerchantID, TransactionID: c.TransactionID, Method: c.Method, Agent: c.Agent,
		Reason: c.Reason, Since: time.UnixMilli(c.Since).UTC(), FirstApproval: c.First, Paid: c.Paid, Denied: c.Denied}
	if c.Severity != 0 {
		j.Severity = c.Severity.String()
	}
	if late := now.UnixMilli() - c.Due; c.Due != 0 && late > 0 {
		j.Overdue, j.OverdueMillis = true, late
	}
	if due := time.UnixMilli(c.Due).UTC(); c.Due != 0 && c.State == cases.InReview {
		j.Deadline = &due
	} else if c.Due != 0 {
		j.ETA = &due
	}
	return j
}

// dueText is a deadline, and how far it is.
func dueText(due int64, now time.Time) string {
	if due == 0 {
		return "-"
	}
	at := time.UnixMilli(due)
	if late := now.Sub(at); late > 0 {
		return fmt.Sprintf("%s, over by %s", shortTime(at), roughly(late))
	}
	return fmt.Sprintf("%s, in %s", shortTime(at), roughly(at.Sub(now)))
}

// roughly is a span in its two greatest units.
func roughly(d time.Duration) string {
	switch d = d.Truncate(time.Second); {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return d.String()
}

// reasonText is why a refund is in review, and what makes it odd.
func reasonText(c *cases.Case) string {
	if c.Paid {
		return cmp.Or(c.Reason, "-") + ", paid already"
	}
	return c.Reason
}
