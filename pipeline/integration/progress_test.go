package integration

import (
	"encoding/json"
	"testing"

	"github.com/refundguard/refundguard/pipeline/kafkatest"
)

// progress is what the newest record of refundguard-progress says.
type progress struct {
	Balance balance
	Streams []struct {
		Topic      string
		Partitions []struct{ Applied int64 }
	}
}

type balance struct {
	Read         int64
	Approved     int64
	InReview     int64 `json:"in_review"`
	Rejected     int64
	DeadLettered int64 `json:"dead_lettered"`
	Duplicates   int64
	History      int64
}

func lastProgress(t testing.TB, cluster *kafkatest.Cluster) progress {
	t.Helper()
	var p progress
	for _, r := range cluster.ReadCommitted("refundguard-progress") {
		p = progress{}
		if err := json.Unmarshal(r.Value, &p); err != nil {
			t.Fatalf("progress %s: %v", r.Value, err)
		}
		b := p.Balance
		if b.Read != b.Approved+b.InReview+b.Rejected+b.DeadLettered+b.Duplicates+b.History {
			t.Errorf("after some commit the balance is %+v", b)
		}
	}
	return p
}
