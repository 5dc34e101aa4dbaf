package pipeline_test

import (
	"testing"
	"time"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/rules/event"
)

// Two analysts must approve what is more than review.second_above, and what can't
// be compared with it.
func TestWhenTwoMustApprove(t *testing.T) {
	for _, c := range []struct {
		above string
		base  event.Money // in 1/10,000; 0: no rate
		two   bool
	}{
		{"", 1, false}, {"", 0, false}, {"", 1 << 60, false},
		{"0", 1, true}, {"0.0", 1, true}, {"0", 0, true},
		{"1000", 1000_0000, false}, {"1000", 1000_0001, true}, {"1000", 0, true},
	} {
		cfg := pipeline.DefaultConfig()
		cfg.Review.SecondAbove = c.above
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		held := &cases.Case{RefundID: "r", State: cases.InReview, Base: c.base}
		refused, err := pipeline.TryVerdict(cfg, held, cases.Approve, "ann", time.UnixMilli(1))
		if err != nil || refused != nil || (held.State == cases.InReview) != c.two {
			t.Errorf("%+v: %v, %v; after one approval it is %s", c, refused, err, held.State)
		}
	}
}
