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

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/quality"
)

const dayMS = 24 * 60 * 60 * 1000

// life is what became of one refund, in order, with its labels.
type life struct {
	decisions []*event.Decision
	labels    []*event.Label
}

func (l *life) records() (records []*kgo.Record) {
	for _, d := range l.decisions {
		records = append(records, &kgo.Record{Topic: topics.Decisions, Key: []byte(d.RefundID), Value: d.Append(nil)})
	}
	for _, b := range l.labels {
		records = append(records, &kgo.Record{Topic: topics.Labels, Key: []byte(b.RefundID), Value: b.Append(nil)})
	}
	return records
}

// randomLife begins some days before now, never near the end of a day: what is
// young is told by days.
func randomLife(r *rand.Rand, i int, now int64) (l life) {
	id := fmt.Sprintf("re_%d", i)
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	at := now - int64(1+r.IntN(60))*dayMS + dayMS/2 + r.Int64N(1000)
	d := event.Decision{DecisionID: event.DecisionID(id, 1), RefundID: id, TransactionID: pick("", fmt.Sprint("tx_", r.IntN(150))), CustomerID: pick("", "cus_1"), MerchantID: pick("", "mer_1", "mer_2"),
		Amount: event.Money(1 + r.Int64N(999_999_999_999_999_999)), Currency: mustCurrency(pick("USD", "EUR", "JPY")),
		Outcome: []event.Outcome{event.Review, event.Review, event.Review, event.Reject, event.Approve}[r.IntN(5)], DecidedBy: "engine", Ruleset: "sha256:" + pick("aa", "ab", "b"),
		OccurredAt: at - r.Int64N(9*dayMS), ReceivedAt: at - 5, DecidedAt: at, Source: event.Source{Topic: "refunds", Offset: int64(i)}}
	d.Holdout = d.Outcome == event.Approve && r.IntN(2) == 0
	for _, rule := range []string{"r1", "r2", "r3"} {
		if r.IntN(2) == 0 {
			d.Hits = append(d.Hits, event.Hit{Rule: rule, Mode: pick("live", "live", "shadow", "snoozed"), Action: pick("review", "review", "reject", "approve", "alert", ""),
				Score: int64(r.IntN(3) - 1), Severity: "low"})
		}
	}
	if d.Outcome == event.Review && r.IntN(3) > 0 {
		v := d
		v.DecisionID, v.Outcome, v.DecidedBy, v.Hits, v.Holdout = event.DecisionID(id, 2), []event.Outcome{event.Approve, event.Reject}[r.IntN(2)], pick("analyst:ann", "analyst:bob", "customer", "deadline"), nil, false
		v.DecidedAt += r.Int64N(dayMS/4) - 1000 // another machine's clock may be behind
		l.decisions = append(l.decisions, &v)
	}
	if r.IntN(10) > 0 { // else its retention was over
		l.decisions = append([]*event.Decision{&d}, l.decisions...)
	}
	for range r.IntN(4) {
		b := &event.Label{LabelID: pick("a", "b", "B"), RefundID: id, Label: pick(event.LabelFraud, event.LabelLegit), Source: pick(event.LabelByAnalyst, event.LabelByCustomer, event.LabelByChargeback, event.LabelByImport),
			At: now + int64(r.IntN(3))}
		if r.IntN(4) == 0 {
			b.RefundID, b.TransactionID = "", fmt.Sprint("tx_", r.IntN(150))
		}
		b.Weight = event.LabelWeight(b.Source)
		l.labels = append(l.labels, b)
	}
	return l
}

// fillWith stores lives in any order, some of their records twice.
func (w *world) fillWith(r *rand.Rand, lives []life) {
	w.t.Helper()
	var records []*kgo.Record
	for i := range lives {
		records = append(records, lives[i].records()...)
	}
	for range len(records) / 10 {
		again := *records[r.IntN(len(records))]
		records = append(records, &again)
	}
	r.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	s, stop := w.start()
	for part := range slices.Chunk(records, 200) {
		w.transaction(kgo.TryCommit, part...)
	}
	w.drain(s)
	stop()
}

// TestQualityViewsAreWhatRulesStatsSays: whatever the lives of refunds, both views
// give what package quality makes of the same records, rule by rule.
func TestQualityViewsAreWhatRulesStatsSays(t *testing.T) {
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
		for range 8 {
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
			w.sameRows("rules"+call, want, w.column("SELECT concat(rule, ' ', mode, ' ', "+qualityColumns+") FROM rule_quality"+call))
			want = nil
			for _, set := range report.Rulesets {
				want = append(want, fmt.Sprintf("%s %d %d %s", set.Ruleset, set.Refunds, set.Labelled, qualityText(&set.Quality)))
			}
			w.sameRows("rule sets"+call, want, w.column("SELECT concat(ruleset, ' ', toString(refunds), ' ', toString(labelled_refunds), ' ', "+qualityColumns+") FROM ruleset_quality"+call))
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

// TestRefundsAreCountedOnce: a refund that was decided twice is one refund, and its
// money is what became of it in the end.
func TestRefundsAreCountedOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	w := newFakeWorld(t, server(t))
	lives := make([]life, 300)
	for i := range lives {
		lives[i] = randomLife(r, i, time.Now().UnixMilli())
	}
	w.fillWith(r, lives)

	type sums struct{ refunds, held, approved, inReview, rejected, amount, amountApproved, amountRejected int64 }
	days := map[string]*sums{}
	var rows []string
	twice := 0
	for _, l := range lives {
		if len(l.decisions) == 0 {
			continue
		}
		first, last := l.decisions[0], l.decisions[len(l.decisions)-1]
		firstOutcome := ""
		if first.DecidedBy == "engine" {
			firstOutcome = first.Outcome.String()
		}
		if len(l.decisions) > 1 {
			twice++
		}
		rows = append(rows, fmt.Sprintf("%s %s %s %s", first.RefundID, firstOutcome, last.Outcome, last.DecidedBy))
		key := fmt.Sprintf("%s %s %s", time.UnixMilli(first.OccurredAt).UTC().Format(time.DateOnly), first.MerchantID, first.Currency)
		s := days[key]
		if s == nil {
			s = &sums{}
			days[key] = s
		}
		amount := int64(first.Amount) / 1e4 // whole units: sums of all fit
		s.refunds++
		s.amount += amount
		if firstOutcome == "review" {
			s.held++
		}
		switch last.Outcome {
		case event.Approve:
			s.approved++
			s.amountApproved += amount
		case event.Review:
			s.inReview++
		case event.Reject:
			s.rejected++
			s.amountRejected += amount
		}
	}
	if twice < 50 {
		t.Fatalf("only %d were decided twice", twice)
	}
	w.sameRows("refunds", rows, w.column("SELECT concat(refund_id, ' ', toString(first_outcome), ' ', toString(outcome), ' ', toString(decided_by)) FROM refunds"))
	var want []string
	for key, s := range days {
		want = append(want, fmt.Sprintf("%s (%d,%d,%d,%d,%d)", key, s.refunds, s.held, s.approved, s.inReview, s.rejected))
	}
	w.sameRows("refunds_per_day", want, w.column("SELECT concat(toString(day), ' ', merchant_id, ' ', toString(currency), ' ', toString((refunds, held, approved, in_review, rejected))) FROM refunds_per_day"))
	// Money against a slow query over the records themselves: per refund what was
	// asked for, and the outcome of the last that ended it.
	got := w.query("SELECT (sum(amount), sum(amount_approved), sum(amount_rejected)) FROM refunds_per_day")
	slow := w.query(`SELECT (sum(a), sumIf(a, o = 'approve'), sumIf(a, o = 'reject')) FROM (
		SELECT any(toDecimal128(JSONExtractString(raw, 'amount'), 4)) AS a,
			arrayReduce('max', groupArray((JSONExtractString(raw, 'decided_by') != 'engine', JSONExtractString(raw, 'outcome')))).2 AS o
		FROM decisions GROUP BY JSONExtractString(raw, 'refund_id'))`)
	if got != slow {
		t.Errorf("money is %s, by the records %s", got, slow)
	}
}

// randomCases are the changes of some refunds' cases, each in order, and the last
// state of each.
func randomCases(r *rand.Rand, n int, now int64) (changes []*event.CaseSummary, last map[string]*event.CaseSummary) {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	last = map[string]*event.CaseSummary{}
	for i := range n {
		c := event.CaseSummary{RefundID: fmt.Sprintf("re_%d", i), MerchantID: pick("mer_1", "mer_2"), Method: pick("", "card"), RequestReason: pick("defective", "other"),
			Amount: event.Money(1 + r.Int64N(1e9)), Currency: mustCurrency("USD"), DecisionID: "d", OccurredAt: now - r.Int64N(60*dayMS) - dayMS, Severity: "low", DecidedBy: "engine"}
		c.ChangedAt = c.OccurredAt + 1000
		c.Since, c.OpenedAt = c.ChangedAt, c.ChangedAt
		for _, state := range [][]string{{"approved", "executed", "executed"}, {"in_review"}, {"in_review", "in_review", "rejected"}, {"in_review", "approved", "overdue", "executed"}, {"approved", "failed"}}[r.IntN(5)] {
			c.ChangedAt += 1 + r.Int64N(1000)
			if c.DueAt = 0; state == "in_review" {
				c.DueAt = now + []int64{-dayMS, dayMS}[r.IntN(2)]
			}
			if state == "executed" && c.ExecutedAt == 0 {
				c.ExecutedAt = c.OccurredAt + r.Int64N(9*dayMS) - 5000
			}
			if r.IntN(2) == 0 {
				c.Satisfied = event.Answer(1 + r.IntN(2))
			}
			c.State = state
			one := c
			changes = append(changes, &one)
			last[c.RefundID] = &one
		}
	}
	return changes, last
}

// TestCasesAreAsTheyAreNow: what was written of a case before counts nowhere, and
// nothing counts twice that is read again.
func TestCasesAreAsTheyAreNow(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	w := newFakeWorld(t, server(t))
	now := time.Now().UnixMilli()
	changes, last := randomCases(r, 300, now)
	s, stop := w.start()
	for part := range slices.Chunk(changes, 100) {
		var records []*kgo.Record
		for _, c := range part {
			records = append(records, caseRecord(c))
		}
		w.transaction(kgo.TryCommit, records...)
	}
	w.drain(s)
	stop()
	check := func() {
		t.Helper()
		w.auditCases()
		var queue []string
		for _, c := range last {
			if c.State == "in_review" {
				queue = append(queue, fmt.Sprint(c.RefundID, " ", c.DueAt < now))
			}
		}
		w.sameRows("review_queue", queue, w.column("SELECT concat(refund_id, ' ', toString(breached)) FROM review_queue"))
		if got := w.query("SELECT countIf(abs(waiting_seconds - (toUnixTimestamp64Milli(now64(3)) - toUnixTimestamp64Milli(since)) / 1000) > 60) FROM review_queue"); got != "0" {
			t.Errorf("%s wait for another time than since they came", got)
		}
		for _, from := range []int64{0, now - 20*dayMS} {
			call := fmt.Sprintf("service_quality(from = '%s', to = '%s')", sqlTime(max(from, 1)), sqlTime(now-dayMS*2))
			w.sameRows(call, served(last, from, now-2*dayMS), w.column(`SELECT concat(merchant_id, ' ', method, ' ', request_reason, ' ', toString((refunds, executed)), ' ', ifNull(toString(executed_p50_seconds), '-'), ' ',
				ifNull(toString(executed_p95_seconds), '-'), ' ', toString((answers, satisfied_answers)), ' ', ifNull(toString(round(satisfied_share, 6)), '-')) FROM `+call))
		}
	}
	check()
	w.cfg.Group = "another-group" // everything again, in other batches
	s, stop = w.start()
	w.drain(s)
	stop()
	check()
}

// served is what service_quality says, counted slowly.
func served(last map[string]*event.CaseSummary, from, to int64) (rows []string) {
	groups := map[string][]*event.CaseSummary{}
	for _, c := range last {
		if c.OccurredAt >= from && c.OccurredAt < to {
			key := c.MerchantID + " " + c.Method + " " + c.RequestReason
			groups[key] = append(groups[key], c)
		}
	}
	for key, all := range groups {
		var seconds []float64
		answers, satisfied := 0, 0
		for _, c := range all {
			if c.ExecutedAt != 0 {
				seconds = append(seconds, float64(max(0, c.ExecutedAt-c.OccurredAt))/1000)
			}
			if c.Satisfied != 0 {
				answers++
			}
			if c.Satisfied == event.Yes {
				satisfied++
			}
		}
		slices.Sort(seconds)
		quantile := func(q float64) string {
			if len(seconds) == 0 {
				return "-"
			}
			return fmt.Sprint(seconds[int(q*float64(len(seconds)))])
		}
		share := "-"
		if answers > 0 {
			share = fmt.Sprint(math.Round(float64(satisfied)/float64(answers)*1e6) / 1e6)
		}
		rows = append(rows, fmt.Sprintf("%s (%d,%d) %s %s (%d,%d) %s", key, len(all), len(seconds), quantile(.5), quantile(.95), answers, satisfied, share))
	}
	return rows
}

// TestAnomaliesAreTheAlertsOfTheLedger: each once, and no other alert.
func TestAnomaliesAreTheAlertsOfTheLedger(t *testing.T) {
	w := newFakeWorld(t, server(t))
	found := []string{"EXECUTED_WITHOUT_APPROVAL", "EXECUTED_TWICE", "EXECUTED_AFTER_FAILED", "EXECUTED_OTHER_AMOUNT", "EXECUTED_OTHER_CURRENCY", "EXECUTED_UNKNOWN_REFUND", "LEDGER_FAILED", "OVERDUE", "denied-by-customer"}
	var records []*kgo.Record
	for i, rule := range append(slices.Clone(found), "review-deadline", "review-deadline", "refund-velocity") {
		a := event.Alert{AlertID: fmt.Sprint("a", i), Rule: rule, Severity: "high", RefundID: "re_1", Message: "m", At: 1_700_000_000_000 + int64(i)}
		rec := &kgo.Record{Topic: topics.Alerts, Key: []byte(a.AlertID), Value: a.Append(nil)}
		again := *rec
		records = append(records, rec, &again)
	}
	s, _ := w.start()
	w.transaction(kgo.TryCommit, records...)
	w.drain(s)
	w.sameRows("anomalies", found, w.column("SELECT toString(rule) FROM anomalies"))
	if got := w.query("SELECT (toString(any(day)), sum(breaches)) FROM deadline_breaches"); got != "('2023-11-14',2)" {
		t.Errorf("breaches: %s", got)
	}
}
