package clickhouse_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

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
		w.sameRows("review_queue", queue, w.column("SELECT concat(refund_id, ' ', toString(breached)) FROM v_review_queue"))
		if got := w.query("SELECT countIf(abs(waiting_seconds - (toUnixTimestamp64Milli(now64(3)) - toUnixTimestamp64Milli(since)) / 1000) > 60) FROM v_review_queue"); got != "0" {
			t.Errorf("%s wait for another time than since they came", got)
		}
		for _, from := range []int64{0, now - 20*dayMS} {
			call := fmt.Sprintf("v_service_quality(from = '%s', to = '%s')", sqlTime(max(from, 1)), sqlTime(now-dayMS*2))
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
