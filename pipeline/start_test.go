package pipeline_test

import (
	"context"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a person set up wrongly, or wrote where only the pipeline writes, ends a
// start with what to do; where it can be mended, the next one goes on.
func TestWhatStopsAStart(t *testing.T) {
	write := func(topic, value string) func(*held) func() {
		return func(r *held) func() {
			rec := &kgo.Record{Topic: topic, Key: []byte("refundguard"), Value: []byte(value)}
			if err := r.client.ProduceSync(context.Background(), rec).FirstErr(); err != nil {
				r.t.Fatal(err)
			}
			return nil
		}
	}
	for name, c := range map[string]struct {
		begin func(*held) func()
		says  string
	}{
		"a topic that it may not create": {func(r *held) func() {
			r.remove("alerts", false)
			return lasting(kerr.TopicAuthorizationFailed, "alerts", kmsg.CreateTopics)(r)
		}, "create it, or grant CREATE"},
		"progress of another deployment": {write("refundguard-progress", `{"version":1,"transactional_id":"other"}`), "give each deployment its own topics.progress"},
		"a foreign record as progress":   {write("refundguard-progress", "?"), "is not one that this version wrote"},
		"a foreign record as a decision": {write(decisions, "?"), "nothing else may write there"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newHeld(t, 1, 1)
			in := r.run()
			r.send("refunds", 0, refund("before", "", "ann", "1", 0))
			r.passed(in, 1)
			if err := in.end(); err != nil {
				t.Fatal(err)
			}
			heal := c.begin(r)
			if err := r.run().wait(); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("ended with %v, want %q", err, c.says)
			}
			if heal != nil {
				heal()
				r.whole(r.run(), 1)
			}
		})
	}
}
