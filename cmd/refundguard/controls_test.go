package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

// decision waits for that of one refund.
func (s *storeFront) decision(refundID string) (found *event.Decision) {
	s.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...), kgo.ConsumeTopics("refund-decisions"), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		s.t.Fatal(err)
	}
	defer cl.Close()
	for found == nil {
		fetches := cl.PollFetches(s.t.Context())
		if err := fetches.Err(); err != nil {
			s.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if d, err := event.ParseDecision(r.Value); err == nil && d.RefundID == refundID {
				found = d
			}
		})
	}
	return found
}

// From the command line to the decision and back: a snooze, a hold and their ends.
func TestControlsFromTheCommandLine(t *testing.T) {
	s := newStoreFront(t)
	s.run("streams: {refunds: {decide_from: earliest}}")
	command := func(code int, says string, args ...string) ran {
		t.Helper()
		r := runCommand(t, append(args, "-c", s.file)...)
		if r.code != code || !strings.Contains(r.out+r.err, says) {
			t.Errorf("%v: exit %d, want %d and %q in:\n%s%s", args, r.code, code, says, r.out, r.err)
		}
		return r
	}
	n := 0
	// Until a decision is as it should be: what was written takes effect in a moment.
	decided := func(what, customer, merchant, amount, want string) {
		t.Helper()
		eventually(t, what, func() bool {
			n++
			id := fmt.Sprint("r", n)
			s.send(fmt.Sprintf(`{"refund_id":%q,"customer_id":%q,"merchant_id":%q,"amount":%q,"currency":"USD","occurred_at":%q}`, id, customer, merchant, amount, time.Now().UTC().Format(time.RFC3339)))
			d := s.decision(id)
			mode := ""
			for _, h := range d.Hits {
				mode += " " + h.Mode
			}
			return fmt.Sprint(d.Outcome, " ", d.Reason, mode, " ", d.Controls) == want
		})
	}
	snooze := []string{"snooze", "--rule", "large", "--customer", "ann", "--for", "7d"}
	why := []string{"--reason", "moves house"}
	command(exitUsage, "--reason is missing", snooze...)
	command(exitUsage, "exactly one of", append(append([]string{}, snooze...), "--reason", "x", "--device", "d")...)
	command(exitUsage, "exactly one of", "snooze", "--rule", "large", "--for", "7d", "--reason", "x")
	command(exitUsage, "--for", "snooze", "--rule", "large", "--customer", "ann", "--reason", "x")
	command(exitUsage, "--for", "snooze", "--rule", "large", "--customer", "ann", "--for", "-1h", "--reason", "x")
	command(exitUsage, `there is no rule "lagre"`, "snooze", "--rule", "lagre", "--customer", "ann", "--for", "7d", "--reason", "x")
	command(exitUsage, "--as is empty", append(append([]string{}, snooze...), "--reason", "x", "--as", "")...)
	command(exitUsage, "neither text nor json", append(append([]string{}, snooze...), "--reason", "x", "-o", "xml")...)
	command(exitFine, "no snoozes are in force", "snooze", "list")
	decided("a large refund is held", "ann", "m1", "200", "review  live []")

	var made struct {
		ID      string
		Control struct{ Rule, By, Reason, Until string }
	}
	r := command(exitFine, "", append(append(append([]string{}, snooze...), why...), "--as", "bob", "-o", "json")...)
	if err := json.Unmarshal([]byte(r.out), &made); err != nil || !strings.HasPrefix(made.ID, "snooze-") || made.Control.By != "bob" || made.Control.Reason != "moves house" || made.Control.Until == "" {
		t.Fatalf("%v, %+v in:\n%s", err, made, r.out)
	}
	decided("the rule is snoozed", "ann", "m1", "200", "approve  snoozed ["+made.ID+"]")
	decided("not for others", "cat", "m1", "200", "review  live []")
	command(exitFine, "customer_id ann", "snooze", "list")
	command(exitProblems, "no snooze nope is in force", "snooze", "end", "nope")
	command(exitFine, "the snooze is over", "snooze", "end", made.ID)
	decided("the snooze is over", "ann", "m1", "200", "review  live []")
	command(exitProblems, "is in force", "snooze", "end", made.ID)

	command(exitProblems, "everything is not on hold", "resume")
	command(exitUsage, "--merchant is empty", "hold", "--merchant", "", "--reason", "x")
	command(exitFine, "merchant m1 is on hold", "hold", "--merchant", "m1", "--reason", "stolen keys")
	decided("the merchant's refunds are held", "ann", "m1", "5", "review HOLD [hold:m1]")
	decided("others are not", "ann", "m2", "5", "approve  []")
	command(exitFine, "everything is on hold", "hold", "--reason", "an incident")
	eventually(t, "status says what is on hold", func() bool {
		return strings.Contains(runCommand(t, "status", "-c", s.file).out, "on hold       hold, hold:m1")
	})
	decided("everything is held", "ann", "m2", "5", "review HOLD [hold]")
	var holds []json.RawMessage
	if r := command(exitFine, "", "hold", "list", "-o", "json"); json.Unmarshal([]byte(r.out), &holds) != nil || len(holds) != 2 {
		t.Errorf("holds:\n%s", r.out)
	}
	command(exitFine, "everything is resumed", "resume")
	command(exitProblems, "merchant m2 is not on hold", "resume", "--merchant", "m2")
	decided("the merchant is still held", "ann", "m1", "5", "review HOLD [hold:m1]")
	command(exitFine, "merchant m1 is resumed", "resume", "--merchant", "m1")
	decided("nothing is held", "ann", "m1", "5", "approve  []")
	command(exitFine, "nothing is on hold", "hold", "list")

	command(exitUsage, `there is no rule "lagre"`, "rules", "reset", "lagre")
	command(exitFine, "rule large is reset", "rules", "reset", "large")
}
