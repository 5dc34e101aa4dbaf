package bench

import (
	"context"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Percentiles are those of the sorted values, to three digits.
func TestPercentiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Int64Range(0, int64(time.Minute)), 1, 300).Draw(t, "times")
		h := newHistogram()
		for _, v := range all {
			h.record(time.Duration(v))
		}
		slices.Sort(all)
		p := h.percentiles()
		for _, c := range []struct{ got, share float64 }{{p.P50, 0.5}, {p.P99, 0.99}, {p.P999, 0.999}, {p.Max, 1}} {
			// The rank is rounded: the value is between those beside it.
			at := c.share * float64(len(all))
			low, high := all[max(0, min(len(all)-1, int(at)-1))], all[min(len(all)-1, int(at)+1)]
			const near, micro = 0.001, 0.001
			if c.got < float64(low)/1e6*(1-near)-micro || c.got > float64(high)/1e6*(1+near)+micro {
				t.Fatalf("%v of %v is %v ms", c.share, all, c.got)
			}
		}
		if p.Count != int64(len(all)) {
			t.Fatalf("%d of %d", p.Count, len(all))
		}
	})
}

// A generator that was held up sends what was due meanwhile as due when it was:
// what a refund waited for its being sent counts.
func TestTheScheduleCounts(t *testing.T) {
	const rate = 2000
	d, err := newDeployment(context.Background(), "", nil, 200_000, 1) // more than a stalled machine has to catch up with
	if err != nil {
		t.Fatal(err)
	}
	defer d.close(context.Background())
	stop := make(chan struct{})
	var dues []time.Time
	d.late = func(due time.Time) {
		if dues = append(dues, due); len(dues) == 10 {
			for time.Since(dues[0]) < 60*time.Millisecond { // busy with something else
				_, _ = d.ledger.state()
			}
		}
		if len(dues) == 200 {
			close(stop)
		}
	}
	if err := d.pace(context.Background(), rate, stop); err != nil {
		t.Fatal(err)
	}
	if len(dues) < 200 {
		t.Fatalf("%d events were sent", len(dues))
	}
	for i, due := range dues {
		if got, want := due.Sub(dues[0]), time.Duration(i)*time.Second/rate; got != want {
			t.Fatalf("event %d was due after %v, want %v", i, got, want)
		}
	}
}
