package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/quality"
)

// season writes decisions of January 2026, and what became of the refunds:
//
//	f0…f4  held by velocity (and large in shadow); fraud; f0 and f1 were rejected
//	       by an analyst, f2 by the deadline, f3 was released, f4 still waits
//	l0…l2  held by velocity, legit, released by an analyst
//	h0…h3  velocity hit, let through as holdout; h0 is fraud, h1 and h2 legit
//	a0     approved, fraud; a1 approved, not labelled
func season(s *storeFront) {
	at := func(day int) int64 { return time.Date(2026, 1, day, 12, 0, 0, 0, time.UTC).UnixMilli() }
	usd, _ := event.ParseCurrency("USD")
	eur, _ := event.ParseCurrency("EUR")
	jpy, _ := event.ParseCurrency("JPY")
	decide := func(id string, ordinal int, day int, by string, outcome event.Outcome, change func(*event.Decision)) {
		d := event.Decision{DecisionID: event.DecisionID(id, ordinal), RefundID: id, Amount: 100_5000, Currency: usd, Outcome: outcome, DecidedBy: by,
			Ruleset: "sha256:aaaa", DecidedAt: at(day), OccurredAt: at(day), ReceivedAt: at(day), Source: event.Source{Topic: "refunds"}}
		if change != nil {
			change(&d)
		}
		s.put("refund-decisions", id, d.Append(nil))
	}
	label := func(id, source, says string) {
		l := event.Label{LabelID: event.LabelID(source, id), RefundID: id, Label: says, Source: source, At: at(28), Weight: event.LabelWeight(source)}
		s.put("refund-labels", id, l.Append(nil))
	}
	velocity := event.Hit{Rule: "velocity", Mode: "live", Action: "review", Severity: "high"}
	large := event.Hit{Rule: "large", Mode: "shadow", Action: "review", Severity: "low"}
	for i := range 5 {
		id := fmt.Sprint("f", i)
		decide(id, 0, 2+i, "engine", event.Review, func(d *event.Decision) {
			d.Hits = []event.Hit{velocity, large}
			switch i {
			case 1:
				d.Currency = eur
			case 4:
				d.Currency = jpy
			}
		})
		label(id, event.LabelByChargeback, event.LabelFraud)
	}
	decide("f0", 1, 8, "analyst:ann", event.Reject, nil)
	decide("f1", 1, 8, "analyst:ann", event.Reject, nil)
	decide("f2", 1, 8, "deadline", event.Reject, nil)
	decide("f3", 1, 8, "analyst:bob", event.Approve, nil)
	label("f3", event.LabelByAnalyst, event.LabelLegit) // the charge-back counts
	for i := range 3 {
		id := fmt.Sprint("l", i)
		decide(id, 0, 10, "engine", event.Review, func(d *event.Decision) { d.Hits = []event.Hit{velocity} })
		decide(id, 1, 11, "analyst:ann", event.Approve, nil)
		label(id, event.LabelByAnalyst, event.LabelLegit)
	}
	for i := range 4 {
		id := fmt.Sprint("h", i)
		decide(id, 0, 20, "engine", event.Approve, func(d *event.Decision) {
			d.Hits, d.Holdout, d.Ruleset = []event.Hit{velocity}, true, "sha256:bbbb"
		})
	}
	label("h0", event.LabelByChargeback, event.LabelFraud)
	label("h1", event.LabelByCustomer, event.LabelLegit)
	label("h2", event.LabelByCustomer, event.LabelLegit)
	decide("a0", 0, 21, "engine", event.Approve, nil)
	label("a0", event.LabelByChargeback, event.LabelFraud)
	decide("a1", 0, 30, "engine", event.Approve, nil)
	label("gone", event.LabelByChargeback, event.LabelFraud)
}

type stats struct {
	Unreadable int `json:"unreadable"`
	quality.Report
}

func (s *storeFront) stats(args ...string) stats {
	s.t.Helper()
	r := runCommand(s.t, append([]string{"rules", "stats", "-c", s.file, "-o", "json"}, args...)...)
	var got stats
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || r.code != exitFine {
		s.t.Fatalf("exit %d, %v in:\n%s%s", r.code, err, r.out, r.err)
	}
	return got
}

func TestRulesStats(t *testing.T) {
	s := newLedger(t, "currency: {rates: {EUR: '1.08'}}\nreview: {minutes_per_case: 7.5}")
	season(s)
	for _, format := range []string{"text", "json"} {
		r := runCommand(t, "rules", "stats", "-c", s.file, "-o", format, "--maturity", "1d", "--to", "2026-02-01")
		if r.code != exitFine || r.err != "" {
			t.Fatalf("exit %d:\n%s%s", r.code, r.out, r.err)
		}
		file := "testdata/stats." + format
		if *update {
			if err := os.WriteFile(file, []byte(r.out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || string(want) != r.out {
			t.Errorf("%v; %s differs (go test -update rewrites it):\n%s", err, file, r.out)
		}
	}

	all := s.stats("--maturity", "1d")
	for name, c := range map[string]struct{ got, want any }{
		"refunds":         {all.Refunds, int64(14)},
		"labelled, fraud": {[2]int64{all.Labelled, all.Fraud}, [2]int64{12, 7}},
		"unmatched":       {all.Unmatched, int64(1)},
		"of a rule set":   {s.stats("--maturity", "1d", "--ruleset", "bb").Refunds, int64(4)},
		"from":            {s.stats("--maturity", "1d", "--from", "2026-01-20T12:00:00Z").Refunds, int64(6)},
		"to":              {s.stats("--maturity", "1d", "--to", "2026-01-20T12:00:00Z").Refunds, int64(8)},
		"too young":       {s.stats("--maturity", "5000d").TooYoung, int64(14)},
		"of the young":    {s.stats("--maturity", "5000d").Fraud, int64(0)},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
}

func TestRulesStatsOfLittle(t *testing.T) {
	s := newLedger(t, "topics: {labels: elsewhere}")
	if r := runCommand(t, "rules", "stats", "-c", s.file); r.code != exitFine || !strings.Contains(r.out, "no decisions of this time and rule set") {
		t.Errorf("exit %d:\n%s%s", r.code, r.out, r.err)
	}
	s.decide("r1")
	s.put("refund-decisions", "x", []byte("nonsense"))
	r := runCommand(t, "rules", "stats", "-c", s.file)
	if r.code != exitFine || !strings.Contains(r.err, "1 record could not be read, and are left out; the first is refund-decisions ") || !strings.Contains(r.out, "1 refund decided") {
		t.Errorf("exit %d:\n%s%s", r.code, r.out, r.err)
	}
	if got := s.stats(); got.Unreadable != 1 || got.Refunds != 1 {
		t.Errorf("%+v", got)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--from", "january"}, "--from"},
		{[]string{"--from", "2026-01-02", "--to", "2026-01-02"}, "is not before --to"},
		{[]string{"--maturity", "-1d"}, "--maturity"},
		{[]string{"-o", "xml"}, "xml"},
	} {
		if r := runCommand(t, append([]string{"rules", "stats", "-c", s.file}, c.args...)...); r.code != exitUsage || !strings.Contains(r.err, c.says) {
			t.Errorf("%v: exit %d:\n%s", c.args, r.code, r.err)
		}
	}
}

// What a service decides is labelled and measured, in the topic that it made.
func TestRulesStatsOfAService(t *testing.T) {
	s := newStoreFront(t)
	running, _ := s.run("streams: {refunds: {decide_from: earliest}}")
	for i, amount := range []string{"250", "120", "25"} {
		s.send(fmt.Sprintf(`{"refund_id":"r%d","amount":%q,"currency":"USD","occurred_at":%q}`, i, amount, time.Now().UTC().Format(time.RFC3339)))
	}
	eventually(t, "decides", func() bool { return running.pipeline.Balance().Read == 3 })
	at := time.Now().UTC().Format(time.RFC3339)
	file := write(t, "labels.csv", fmt.Sprintf("refund_id,label,at\nr0,fraud,%s\nr1,legit,%s\nr2,fraud,%s\n", at, at, at))
	if r := runCommand(t, "labels", "import", file, "-c", s.file); r.code != exitFine || !strings.Contains(r.out, "3 labels written") {
		t.Fatalf("exit %d:\n%s%s", r.code, r.out, r.err)
	}
	if got := s.stats(); got.TooYoung != 3 || got.Labelled != 0 || len(got.Rules) != 1 || got.Rules[0].TooYoung != 2 {
		t.Errorf("%+v", got)
	}
	got := s.stats("--maturity", "0")
	if len(got.Rules) != 1 || len(got.Rulesets) != 1 {
		t.Fatalf("%+v", got)
	}
	for name, q := range map[string]quality.Quality{"rule": got.Rules[0].Quality, "rule set": got.Rulesets[0].Quality} {
		if q.Hits != 2 || q.Biased.Count != 1 || q.Biased.Of != 2 || q.Recall.Count != 1 || q.Recall.Of != 2 || q.Unbiased.Interval != nil ||
			q.Caught.Base != "250.00" || q.WronglyHeld.Base != "120.00" {
			t.Errorf("%s: %+v", name, q)
		}
	}
}
