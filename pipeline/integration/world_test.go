package integration

import (
	"cmp"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/refundguard/refundguard/pipeline/integration/model"
	"github.com/refundguard/refundguard/pipeline/kafkatest"
)

const (
	strangeRuleFile = "testdata/rules/strange.yaml"
	retailRuleFile  = "testdata/rules/retail.yaml"
)

// strangeWorld has some n events, 45 minutes apart in the mean; the same seed
// gives the same ones.
func strangeWorld(t testing.TB, seed uint64, n int) *model.World {
	t.Helper()
	return strangeWorldAt(t, seed, n, 90*time.Minute)
}

// strangeWorldAt has events that are up to step apart.
func strangeWorldAt(t testing.TB, seed uint64, n int, step time.Duration) *model.World {
	t.Helper()
	s := model.NewStrange(t, strangeRuleFile, seed)
	s.Step = step
	for range n {
		s.Next()
	}
	return s.World
}

// retailWorld is the real shop's year.
func retailWorld(t testing.TB) *model.World {
	t.Helper()
	w := &model.World{Model: model.Retail(t, retailRuleFile), Rules: retailRuleFile}
	for _, topic := range []string{"transactions", "refunds"} {
		for _, r := range kafkatest.Lines(t, topic, "customer_id", filepath.Join(retailDir(t), topic+".jsonl")) {
			w.Add(t, r, model.IsEvent)
		}
	}
	slices.SortStableFunc(w.Sent, func(a, b model.Sent) int { return cmp.Compare(a.At, b.At) })
	return w
}
