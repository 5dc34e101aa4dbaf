package model

import (
	"encoding/json"
	"testing"
)

// Progress is what the newest record of refundguard-progress says.
type Progress struct {
	At     int64 // when the epoch was closed, Unix milliseconds
	Epoch  int64
	Host   string // and process id, of who wrote it
	Writer struct {
		Instance string
		Session  int64
	}
	Balance Balance
	Streams []struct {
		Topic      string
		Partitions []struct{ Applied, Decided int64 }
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

// Holds reports whether every record read is accounted for.
func (b Balance) Holds() bool {
	return b.Read == b.Approved+b.InReview+b.Rejected+b.DeadLettered+b.Duplicates+b.History
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
		if !p.Balance.Holds() {
			t.Errorf("after some commit the balance is %+v", p.Balance)
		}
	}
	return p
}
