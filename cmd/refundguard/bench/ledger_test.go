package bench

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/connect"
)

// The ledger is what a run's verdict hangs on: it must find a refund that has no
// decision, or one that was never committed, and one that has two.
func TestTheLedgerFindsWhatIsLostAndDoubled(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "decisions"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l, err := newLedger(c.ListenAddrs(), "decisions")
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	due := time.Now().Add(-time.Hour)
	for n := range uint64(4) {
		l.send(n+1, due)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.TransactionalID("t"), kgo.DefaultProduceTopic("decisions"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	write := func(commit kgo.TransactionEndTry, refunds ...string) {
		t.Helper()
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		var records []*kgo.Record
		for _, id := range refunds {
			records = append(records, kgo.KeyStringRecord(id, "{}"))
		}
		if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := connect.EndTransaction(t.Context(), cl, commit, records...); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want Audit) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for l.audit() != want {
			if err := sleep(ctx, 10*time.Millisecond); err != nil {
				t.Fatalf("%+v, want %+v", l.audit(), want)
			}
		}
		if want.OK() {
			t.Errorf("%+v is OK", want)
		}
	}
	write(kgo.TryAbort, "rfd_000000001", "rfd_000000003")
	write(kgo.TryCommit, "rfd_000000001", "rfd_000000002")
	expect(Audit{Sent: 4, Decided: 2, Lost: 2})
	write(kgo.TryCommit, "rfd_000000002", "rfd_000000009", "other")
	expect(Audit{Sent: 4, Decided: 5, Lost: 2, Doubled: 1, Unknown: 2})
	if took := l.latencies(due.Add(-time.Second)); len(took) != 2 || took[0] < time.Hour || took[1] > 2*time.Hour {
		t.Errorf("latencies %v, want two of an hour, measured from when the refunds were due", took)
	}
}
