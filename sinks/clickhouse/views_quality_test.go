package clickhouse_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/quality"
)

// TestQualityViewsAreWhatRulesStatsSays: whatever the lives of refunds, both views
// give what package quality makes of the same records, rule by rule.
func TestQualityViewsAreWhatRulesStatsSays(t *testing.T) {
	slow(t)
	var hits, caught, wronglyHeld, unbiased int64
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 3))
		w := newFakeWorld(t, server(t))
		now := time.Now().UnixMilli()
		lives := make([]life, []int{400, 60, 3}[seed])
		for i := range lives {
			lives[i] = randomLife(r, i, now)
		}
		w.fillWith(r, lives)
		s := w.newSink()
		defer s.Close()
		for i := range 12 {
			// First all is computed when it is asked for, then parts, then nothing.
			if i >= 4 {
				if err := s.Refresh(t.Context(), []int{20, 20, 40, 80, math.MaxInt}[min(i-4, 4)], time.Now().Add(-time.Minute)); err != nil {
					t.Fatal(err)
				}
			}
			pick := func(of ...int64) int64 { return of[r.IntN(len(of))] }
			o := quality.Options{From: now - pick(1000, 40, 20)*dayMS, To: now + pick(1, -10, -15)*dayMS, Ruleset: []string{"", "", "a", "sha256:ab", "b"}[r.IntN(5)], Base: mustCurrency("USD"),
				AmountBase: func(event.Money, event.Currency) (event.Money, bool) { return 0, false }}
			days := pick(0, 15, 30, 1000)
			o.JudgedUntil = now - days*dayMS
			a := quality.New(o)
			byTransaction := map[string][]*event.Label{}
			for _, l := range lives {
				for _, b := range l.labels {
					if b.RefundID != "" {
						a.Label(b)
					} else {
						byTransaction[b.TransactionID] = append(byTransaction[b.TransactionID], b)
					}
				}
			}
			for _, l := range lives {
				for _, d := range l.decisions {
					a.Decision(d)
					for _, b := range byTransaction[d.TransactionID] {
						a.Label(b.Of(d.RefundID))
					}
				}
			}
			report := a.Report()
			call := fmt.Sprintf("(from = '%s', to = '%s', ruleset = '%s', maturity_days = %d)", sqlTime(o.From), sqlTime(o.To), o.Ruleset, days)
			var want []string
			for _, rule := range report.Rules {
				hits, caught, wronglyHeld, unbiased = hits+rule.Labelled, caught+rule.Caught.Refunds, wronglyHeld+rule.WronglyHeld.Refunds, unbiased+rule.Unbiased.Of
				want = append(want, rule.Rule+" "+rule.Mode+" "+qualityText(&rule.Quality))
			}
			w.sameRows("rules"+call, want, w.column("SELECT concat(rule, ' ', mode, ' ', "+qualityColumns+") FROM v_rule_quality"+call))
			want = nil
			for _, set := range report.Rulesets {
				want = append(want, fmt.Sprintf("%s %d %d %s", set.Ruleset, set.Refunds, set.Labelled, qualityText(&set.Quality)))
			}
			w.sameRows("rule sets"+call, want, w.column("SELECT concat(ruleset, ' ', toString(refunds), ' ', toString(labelled_refunds), ' ', "+qualityColumns+") FROM v_ruleset_quality"+call))
		}
	}
	if min(hits, caught, wronglyHeld, unbiased) < 50 {
		t.Errorf("too little was compared: %d labelled hits, %d caught, %d wrongly held, %d of the holdout", hits, caught, wronglyHeld, unbiased)
	}
}

func (w *world) sameRows(what string, want, got []string) {
	w.t.Helper()
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		w.t.Errorf("%s: %s", what, difference(got, want))
	}
}

func sqlTime(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05.000") }

// Shares are compared to ten digits: sums of floats may differ in the last ones.
const qualityColumns = `toString((hits, hits_too_young, hits_labelled, hits_holdout)), ' ',
	toString(arrayMap(x -> if(x IS NULL, '-', leftPad(toString(toUInt64(round(assumeNotNull(x) * 1e10))), 11, '0')), [precision_biased, precision_biased_low, precision_biased_high,
		precision_unbiased, precision_unbiased_low, precision_unbiased_high, recall, recall_low, recall_high])), ' ',
	toString((hits_fraud, holdout_fraud, holdout_labelled, frauds)), ' ',
	toString((caught_refunds, wrongly_held_refunds, cases)), ' ', toString(mapSort(caught)), ' ', toString(mapSort(wrongly_held))`

// qualityText writes what qualityColumns selects.
func qualityText(q *quality.Quality) string {
	var shares []string
	for _, s := range []quality.Share{q.Biased, q.Unbiased, q.Recall} {
		for i := range 3 {
			text := "-"
			if s.Interval != nil {
				text = fmt.Sprintf("%011d", uint64(math.Round([]float64{s.Share, s.Low, s.High}[i]*1e10)))
			}
			shares = append(shares, "'"+text+"'")
		}
	}
	return fmt.Sprintf("(%d,%d,%d,%d) [%s] (%d,%d,%d,%d) (%d,%d,%d) %s %s", q.Hits, q.TooYoung, q.Labelled, q.HoldoutHits, strings.Join(shares, ","),
		q.Biased.Count, q.Unbiased.Count, q.Unbiased.Of, q.Recall.Of, q.Caught.Refunds, q.WronglyHeld.Refunds, q.Cases, mapText(q.Caught), mapText(q.WronglyHeld))
}

func mapText(s quality.Sum) string {
	var pairs []string
	for _, code := range slices.Sorted(maps.Keys(s.ByCurrency)) {
		amount := s.ByCurrency[code]
		if strings.Contains(amount, ".") {
			amount = strings.TrimRight(strings.TrimRight(amount, "0"), ".")
		}
		pairs = append(pairs, "'"+code+"':"+amount)
	}
	return "{" + strings.Join(pairs, ",") + "}"
}
