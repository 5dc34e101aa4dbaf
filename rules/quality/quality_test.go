package quality_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/quality"
)

// inUSD converts with a rate for EUR and none for JPY.
func inUSD(t testing.TB) func(event.Money, event.Currency) (event.Money, bool) {
	t.Helper()
	convert, err := rules.AmountBase(rules.Options{Base: currency("USD"), Rates: map[event.Currency]string{currency("EUR"): "1.08"}})
	if err != nil {
		t.Fatal(err)
	}
	return convert
}

func currency(code string) event.Currency {
	c, _ := event.ParseCurrency(code)
	return c
}

// life is what became of one refund, in order, with its labels.
type life struct {
	decisions []*event.Decision
	labels    []*event.Label
}

func drawLife(t *rapid.T, id string) life {
	at := rapid.Int64Range(1, 20)
	of := func(name string, values ...string) string { return rapid.SampledFrom(values).Draw(t, name) }
	yes := func(name string) bool { return rapid.Bool().Draw(t, name) }
	var l life
	d := &event.Decision{DecisionID: event.DecisionID(id, 0), RefundID: id, DecidedBy: "engine", DecidedAt: at.Draw(t, "at"),
		Amount: event.Money(rapid.Int64Range(1, 999_999_999_999_999_999).Draw(t, "amount")), Currency: currency(of("currency", "USD", "EUR", "JPY")),
		Outcome: rapid.SampledFrom([]event.Outcome{event.Review, event.Review, event.Review, event.Reject, event.Approve}).Draw(t, "outcome"), Ruleset: "sha256:" + of("ruleset", "aa", "ab", "b")}
	d.Holdout = d.Outcome == event.Approve && yes("holdout")
	for _, rule := range []string{"r1", "r2", "r3"} {
		if yes("hits " + rule) {
			d.Hits = append(d.Hits, event.Hit{Rule: rule, Mode: of("mode", "live", "live", "shadow"), Action: of("action", "review", "review", "reject", "approve", "alert", ""),
				Score: rapid.Int64Range(-1, 1).Draw(t, "score")})
		}
	}
	if rapid.IntRange(0, 9).Draw(t, "cut") < 9 { // else retention has cut it
		l.decisions = append(l.decisions, d)
	}
	if rapid.IntRange(0, 9).Draw(t, "anew") == 9 { // decided by a service that has begun anew
		again := *d
		again.DecidedAt += rapid.Int64Range(1, 9).Draw(t, "after")
		again.Outcome, again.Hits, again.Holdout = event.Reject, nil, false
		l.decisions = append(l.decisions, &again)
	}
	last := d.DecidedAt
	if d.Outcome == event.Review {
		for i := range rapid.IntRange(0, 3).Draw(t, "later") {
			last += rapid.Int64Range(1, 9).Draw(t, "after")
			v := &event.Decision{DecisionID: event.DecisionID(id, i+1), RefundID: id, DecidedAt: last, Outcome: event.Outcome(rapid.IntRange(1, 3).Draw(t, "verdict")),
				DecidedBy: of("by", "analyst:ann", "customer", "deadline"), Ruleset: d.Ruleset, Amount: d.Amount, Currency: d.Currency}
			l.decisions = append(l.decisions, v)
			if v.Outcome != event.Review {
				break
			}
		}
	}
	for range rapid.IntRange(0, 3).Draw(t, "labels") {
		source := of("source", event.LabelByAnalyst, event.LabelByCustomer, event.LabelByChargeback, event.LabelByImport)
		l.labels = append(l.labels, &event.Label{LabelID: of("label id", "a", "b"), RefundID: id, Label: of("label", event.LabelFraud, event.LabelLegit),
			Source: source, At: rapid.Int64Range(1, 3).Draw(t, "known"), Weight: event.LabelWeight(source)})
	}
	return l
}

func asJSON(t *rapid.T, r *quality.Report) string {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReport: whatever the lives of refunds, whatever order their records come
// in, and however often each, the report is that of the model.
func TestReport(t *testing.T) {
	convert := inUSD(t)
	for range 10 { // a hundred worlds each
		rapid.Check(t, func(t *rapid.T) { checkReport(t, convert) })
	}
}

func checkReport(t *rapid.T, convert func(event.Money, event.Currency) (event.Money, bool)) {
	o := quality.Options{From: rapid.SampledFrom([]int64{0, 0, 5, 9}).Draw(t, "from"), To: rapid.SampledFrom([]int64{0, 0, 12, 16}).Draw(t, "to"),
		Ruleset:     rapid.SampledFrom([]string{"", "", "", "a", "sha256:a", "sha256:ab", "b"}).Draw(t, "ruleset"),
		JudgedUntil: rapid.SampledFrom([]int64{30, 30, 12, 0}).Draw(t, "judged until"), MinutesPerCase: 5, Base: currency("USD"), AmountBase: convert}
	var lives []life
	var feed []func(*quality.Accumulator)
	for i := range rapid.IntRange(0, 20).Draw(t, "refunds") {
		l := drawLife(t, fmt.Sprint("ref_", i))
		lives = append(lives, l)
		for _, d := range l.decisions {
			feed = append(feed, func(a *quality.Accumulator) { a.Decision(d) })
		}
		for _, lb := range l.labels {
			feed = append(feed, func(a *quality.Accumulator) { a.Label(lb) })
		}
	}
	want := asJSON(t, model(o, lives))
	a := quality.New(o)
	for _, f := range feed {
		f(a)
	}
	if got := asJSON(t, a.Report()); got != want {
		t.Fatalf("-model +got\n%s", cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
	}
	again := append(feed, rapid.SliceOfN(rapid.SampledFrom(append(feed, func(*quality.Accumulator) {})), 0, 8).Draw(t, "again")...)
	b := quality.New(o)
	for _, f := range rapid.Permutation(again).Draw(t, "order") {
		f(b)
	}
	if got := asJSON(t, b.Report()); got != want {
		t.Fatalf("in another order, with repeats: -model +got\n%s", cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
	}
}
