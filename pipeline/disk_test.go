package pipeline_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/refundguard/refundguard/pipeline"
)

// A broker whose disk is full shuts down, in the middle of an epoch or not. What
// it had acknowledged is there when it is back, once.
func TestTheBrokersDiskIsFull(t *testing.T) {
	w := newWorld(t, 2, testRules)
	w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
	in := w.start()
	for i := range 50 {
		w.send("refunds", int32(i%2), refund(fmt.Sprint("before", i), "", fmt.Sprint(i), "1", 0))
	}
	w.cluster.Fill()
	w.until("it isn't ready", func() bool { return in.Ready() != nil })
	w.cluster.Restart()
	for i := range 50 {
		w.send("refunds", int32(i%2), refund(fmt.Sprint("after", i), "", fmt.Sprint(i), "1", time.Minute))
	}
	b := w.passed(in, 100)
	if err := in.end(); err != nil {
		t.Errorf("ended with %v", err)
	}
	if n := len(w.decisions()); n != 100 || b.Duplicates != 0 {
		t.Errorf("%d decisions, balance %+v", n, b)
	}
	if n := len(w.cluster.ReadCommitted("refunds-approved")); int64(n) != b.Approved {
		t.Errorf("%d approved records, balance %+v", n, b)
	}
}
