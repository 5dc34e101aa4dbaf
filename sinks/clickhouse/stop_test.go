package clickhouse_test

import (
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A sink that is told to stop while a batch is under way, written perhaps, must
// leave word of it: its successor's batches would overlap with it otherwise.
func TestStoppedWithinABatch(t *testing.T) {
	slow(t)
	w := newWorld(t, ownServer(t))
	direct := w.cfg
	door := newDoor(t, w.cfg.Addr[0])
	w.cfg.Addr = []string{door.addr}
	w.cfg.BatchRows, w.cfg.BatchInterval = 5, time.Minute // full batches only
	produce := func(n int) {
		var records []*kgo.Record
		for range n {
			r := w.decision(w.produced)
			r.Key = []byte("one partition")
			records = append(records, r)
			w.produced++
		}
		w.transaction(kgo.TryCommit, records...)
	}
	_, stop := w.start()
	w.cfg.Addr = direct.Addr
	anywhere, err := ch.Open(&ch.Options{Addr: w.cfg.Addr, Auth: ch.Auth{Username: w.cfg.Username, Password: w.cfg.Password}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { anywhere.Close() })
	stored := func(n uint64) {
		w.wait("rows", func() bool {
			var rows uint64
			query := "SELECT sum(rows) FROM system.parts WHERE active AND table = 'hits' AND database = '" + w.cfg.Database + "'"
			return anywhere.QueryRow(t.Context(), query).Scan(&rows) == nil && rows >= n
		})
	}
	produce(5)
	stored(10)
	time.Sleep(time.Second) // the decisions follow their hits
	door.slow.Store(int64(time.Second))
	produce(5)
	stored(20) // and for a second the sink can't know
	stop()

	w.cfg.BatchRows, w.cfg.BatchInterval = direct.BatchRows, direct.BatchInterval
	produce(7)
	s, _ := w.start()
	w.drain(s)
	w.expectDecisions(17)
}
