package pipeline

import (
	"reflect"
	"strings"
	"testing"
)

// FuzzProgress: anybody may write a record of progress. What is read has a
// balance that holds and offsets that can be, and is written again as it was
// understood; what isn't is refused.
func FuzzProgress(f *testing.F) {
	good := &progress{Version: progressVersion, TransactionalID: "refundguard", ClusterID: "c", Writer: writerID{"i", 3}, Epoch: 7, At: 1, Ruleset: "sha256:x",
		Balance: Balance{Read: 6, Approved: 1, InReview: 1, Rejected: 1, DeadLettered: 1, Duplicates: 1, History: 1},
		Streams: []streamProgress{{Stream: "refunds", Topic: "refunds", TopicID: "00", Decides: true, Partitions: []partitionProgress{{Applied: 5, Decided: 4, DecideFrom: 3, From: 2}, {}}}}}
	value := string(good.record("p").Value)
	f.Add([]byte(value))
	for _, c := range [][2]string{
		{`"read":6`, `"read":7`}, {`"approved":1`, `"approved":-1`}, {`"applied":5`, `"applied":3`}, {`"applied":5`, `"applied":1e400`}, {`"decided":4`, `"decided":-4`},
		{`"version":1`, `"version":2`}, {`"epoch":7`, `"epoch":9223372036854775808`}, {`"partitions":[`, `"partitions":[null,`}, {`"streams":[`, `"streams":[null,[],`},
		{`"read":6`, `"read":-9223372036854775807`}, {`{"version"`, `[{"version"`},
	} {
		changed := strings.Replace(value, c[0], c[1], 1)
		if changed == value {
			f.Fatalf("%s is not in %s", c[0], value)
		}
		f.Add([]byte(changed))
	}
	if p, err := parseProgress([]byte(value)); err != nil || !reflect.DeepEqual(p, good) {
		f.Fatalf("%+v, %v", p, err)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		p, err := parseProgress(value)
		if err != nil {
			if p != nil || err.Error() == "" {
				t.Errorf("refused as %v, %q", p, err)
			}
			return
		}
		if !p.Balance.OK() || p.Balance.Read < 0 || p.Version != progressVersion {
			t.Errorf("read %+v", p)
		}
		for _, st := range p.Streams {
			for _, pp := range st.Partitions {
				if pp.Decided > pp.Applied || pp.Decided < 0 {
					t.Errorf("read %+v", p)
				}
			}
		}
		again, err := parseProgress(p.record("p").Value)
		if err != nil || !reflect.DeepEqual(normal(p), normal(again)) {
			t.Errorf("%+v is read again as %+v, %v", p, again, err)
		}
	})
}

// normal has no difference between an empty list and none.
func normal(p *progress) *progress {
	for i := range p.Streams {
		if len(p.Streams[i].Partitions) == 0 {
			p.Streams[i].Partitions = nil
		}
	}
	if len(p.Streams) == 0 {
		p.Streams = nil
	}
	return p
}
