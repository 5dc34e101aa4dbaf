package sim

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

const casesTopic = "refundguard-cases"

// caseWatch has all records of the topic of cases, which is compacted meanwhile.
type caseWatch struct {
	mu   sync.Mutex
	seen map[place]*kgo.Record
}

type place struct {
	partition int32
	offset    int64
}

func (s *sim) watchCases() {
	w := &caseWatch{seen: map[place]*kgo.Record{}}
	cl, err := kgo.NewClient(append(s.options(s.checker), kgo.ConsumeTopics(casesTopic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.cases = w
	go func() { // until the process ends
		for {
			w.take(cl.PollFetches(context.Background()).Records())
		}
	}()
}

func (w *caseWatch) take(some []*kgo.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range some {
		w.seen[place{r.Partition, r.Offset}] = r
	}
}

// with gives some and all that were taken, in order.
func (w *caseWatch) with(some []*kgo.Record) []*kgo.Record {
	w.take(some)
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Values(w.seen), func(a, b *kgo.Record) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
}
