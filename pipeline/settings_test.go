package pipeline_test

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
)

// A start tells of topics in which producers may write any time.
func TestLooseTimestampsAreTold(t *testing.T) {
	for name, c := range map[string]struct {
		set  map[string]string
		want float64
	}{
		"bounded":      {map[string]string{"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": "3600000"}, 0},
		"a century":    {map[string]string{"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": "3153600000000"}, 2},
		"the broker's": {map[string]string{"message.timestamp.type": "LogAppendTime", "message.timestamp.after.max.ms": "3153600000000"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newHeld(t, 1, 1)
			var alter []kadm.AlterConfig
			for k, v := range c.set {
				alter = append(alter, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: kadm.StringPtr(v)})
			}
			if _, err := r.adm.AlterTopicConfigs(context.Background(), alter, "transactions", "refunds"); err != nil {
				t.Fatal(err)
			}
			in := r.run()
			r.until("live", func() bool { return in.Ready() == nil })
			if got := in.metric("refundguard_topic_timestamps_loose"); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}
