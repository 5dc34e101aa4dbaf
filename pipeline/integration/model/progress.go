package model

import (
	"encoding/json"
	"testing"
)

// Progress is what the newest record of refundguard-progress says.
type Progress struct {
	Balance Balance
	Streams []struct {
		Topic      string
		Partitions []struct{ Applied int64 }
	}
}

type Balance struct {
	Read         int64
	Approved     int64
	InReview     int64 `json:"in_review"`
	Rejected     int64
	DeadLettered int64 `json:"dead_lettered"`
	Duplicates   int64
	History      int64
}

// LastProgress reads the progress, and wants the balance to hold after each
// commit.
func LastProgress(t testing.TB, topics Topics) Progress {
	t.Helper()
	var p Progress
	for _, r := range topics.ReadCommitted("refundguard-progress") {
		p = Progress{}
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
