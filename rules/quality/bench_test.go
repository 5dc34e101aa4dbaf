package quality_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/quality"
)

// BenchmarkMemory measures what is kept of a refund: -benchtime 1000000x is of a
// million of them. A third of them are hit, by up to 5 of 100 rules, one in 20 is
// decided by an analyst as well, and the given share is labelled.
func BenchmarkMemory(b *testing.B) {
	for _, labelled := range []int{0, 10, 100} {
		b.Run(fmt.Sprintf("labelled=%d%%", labelled), func(b *testing.B) {
			o := quality.Options{MinutesPerCase: 5, Base: currency("USD"), AmountBase: inUSD(b)}
			before := heap()
			a := quality.New(o)
			b.ResetTimer()
			for i := range b.N {
				feed(a, i, labelled)
			}
			b.StopTimer()
			b.ReportMetric(float64(int64(heap()-before))/float64(b.N), "B/refund")
			b.StartTimer()
			if r := a.Report(); r.Refunds != int64(b.N) {
				b.Fatal(r.Refunds)
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// feed gives a refund's records, each in memory of its own, as they are read.
func feed(a *quality.Accumulator, i, labelled int) {
	id := fmt.Sprintf("refund_2026_%012d", i)
	d := &event.Decision{RefundID: id, DecidedBy: "engine", DecidedAt: int64(i), Amount: 129_9000, Currency: currency("USD"), Outcome: event.Approve, Ruleset: "sha256:0"}
	random := uint32(i) * 2654435761
	if i%3 == 0 {
		for range 1 + random>>8%5 {
			random = random*1664525 + 1013904223
			d.Hits = append(d.Hits, event.Hit{Rule: fmt.Sprintf("rule-%d", random>>16%100), Mode: "live", Action: "review"})
		}
		d.Outcome = event.Review
	}
	a.Decision(d)
	if i%20 == 0 {
		a.Decision(&event.Decision{RefundID: id, DecidedBy: "analyst:ann", DecidedAt: int64(i) + 1, Outcome: event.Reject})
	}
	if i%100 < labelled {
		a.Label(&event.Label{LabelID: event.LabelID(event.LabelByImport, id), RefundID: id, Label: event.LabelFraud, At: 1, Weight: 30})
	}
}
