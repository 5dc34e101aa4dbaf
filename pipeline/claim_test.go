package pipeline_test

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// An instance that starts over while readers don't see its claim yet was not
// replaced by the one before it.
func TestAClaimThatIsNotVisibleYetIsNotATakeOver(t *testing.T) {
	r := newHeld(t, 1, 1)
	first := r.run()
	r.send("refunds", 0, refund("X", "", "ann", "60", time.Hour))
	r.until("X is decided", func() bool { return first.Balance().Read == 1 })
	if err := first.end(); err != nil {
		t.Fatal(err)
	}
	ends, err := r.adm.ListEndOffsets(context.Background(), "refundguard-progress")
	if err != nil {
		t.Fatal(err)
	}
	before, _ := ends.Lookup("refundguard-progress", 0)

	second := r.run()
	r.until("it is live", func() bool { return second.Ready() == nil })
	r.c.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		q := req.(*kmsg.ListOffsetsRequest)
		if q.IsolationLevel != 1 || q.Topics[0].Topic != "refundguard-progress" || q.Topics[0].Partitions[0].Timestamp != -1 {
			return nil, nil, false
		}
		sp := kmsg.NewListOffsetsResponseTopicPartition()
		sp.Offset = before.Offset
		st := kmsg.NewListOffsetsResponseTopic()
		st.Topic, st.Partitions = q.Topics[0].Topic, append(st.Partitions, sp)
		resp := q.ResponseKind().(*kmsg.ListOffsetsResponse)
		resp.Topics = append(resp.Topics, st)
		return resp, nil, true
	})
	r.failCommit()
	r.send("refunds", 0, refund("Y", "", "ann", "60", time.Hour))
	for second.Balance().Read < 2 {
		select {
		case err := <-second.done:
			t.Fatalf("ended with %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err := second.end(); err != nil {
		t.Error(err)
	}
	if d := r.decided(); len(d["X"]) != 1 || len(d["Y"]) != 1 {
		t.Errorf("decided %v", d)
	}
}
