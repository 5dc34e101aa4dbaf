package kafkatest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/connect"
)

func TestWhatWasProducedIsRead(t *testing.T) {
	c := Start(t)
	c.CreateTopics(3, nil, "events")
	file := filepath.Join(t.TempDir(), "events.jsonl")
	os.WriteFile(file, []byte(`{"id":"1","customer_id":"a"}`+"\n"+`{"id":"2"}`+"\n"+`{"id":"3","customer_id":"a"}`+"\n"), 0o600)
	records := Lines(t, "events", "customer_id", file)
	c.Produce(records...)

	got := make(map[string]string)
	var ofA []int64
	for _, r := range c.ReadCommitted("events") {
		got[string(r.Value)] = string(r.Key)
		if string(r.Key) == "a" {
			ofA = append(ofA, r.Offset)
		}
	}
	if len(got) != 3 || len(ofA) != 2 || ofA[0] >= ofA[1] {
		t.Fatalf("read %v, those of customer a at offsets %v", got, ofA)
	}
}

func TestReadCommittedLeavesOutWhatIsNot(t *testing.T) {
	c := Start(t)
	c.CreateTopics(1, nil, "out")
	cl := c.Client(kgo.TransactionalID("writer"), kgo.DefaultProduceTopic("out"))
	ctx := context.Background()
	write := func(value string, end kgo.TransactionEndTry) {
		t.Helper()
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		record := kgo.StringRecord(value)
		if err := cl.ProduceSync(ctx, record).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := connect.EndTransaction(ctx, cl, end, record); err != nil {
			t.Fatal(err)
		}
	}
	write("one", kgo.TryCommit)
	write("no", kgo.TryAbort)
	write("two", kgo.TryCommit)
	write("nor this", kgo.TryAbort)
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(ctx, kgo.StringRecord("open")).FirstErr(); err != nil {
		t.Fatal(err)
	}

	var got []string
	for _, r := range c.ReadCommitted("out") {
		got = append(got, string(r.Value))
	}
	if fmt.Sprint(got) != "[one two]" {
		t.Fatalf("read %v, want [one two]", got)
	}
	if got := c.ReadCommitted("no-such-topic"); len(got) != 0 {
		t.Fatalf("a topic that doesn't exist has %d records", len(got))
	}
}

func TestBrokerAwayAndBack(t *testing.T) {
	for name, away := range map[string]func(*Cluster){"stop": (*Cluster).Stop, "kill": (*Cluster).Kill} {
		t.Run(name, func(t *testing.T) {
			c := Start(t)
			addr := c.Brokers()[0]
			c.CreateTopics(1, nil, "events")
			cl := c.Client(kgo.DefaultProduceTopic("events"))
			produce := func(value string) chan error {
				done := make(chan error, 1)
				cl.Produce(context.Background(), kgo.StringRecord(value), func(_ *kgo.Record, err error) { done <- err })
				return done
			}
			if err := <-produce("before"); err != nil {
				t.Fatal(err)
			}
			away(c)
			during := produce("during")
			if err := cl.Ping(context.Background()); err == nil {
				t.Error("the broker answers while it is away")
			}
			c.Restart()
			if err := <-during; err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range c.ReadCommitted("events") {
				got = append(got, string(r.Value))
			}
			if fmt.Sprint(got) != "[before during]" || c.Brokers()[0] != addr {
				t.Fatalf("after the restart on %v (was %s): %v", c.Brokers(), addr, got)
			}
		})
	}
}

func TestTestsDoNotShareTopics(t *testing.T) {
	for range 2 {
		t.Run("", func(t *testing.T) {
			c := Start(t)
			c.CreateTopics(1, nil, "mine")
			if got := c.ReadCommitted("mine"); len(got) != 0 {
				t.Fatalf("a fresh topic has %d records", len(got))
			}
			c.Produce(&kgo.Record{Topic: "mine", Value: []byte("x")})
		})
	}
}

func TestTwoClustersInOneTest(t *testing.T) {
	a, b := Start(t), Start(t)
	a.CreateTopics(1, nil, "only-in-a")
	a.Produce(&kgo.Record{Topic: "only-in-a", Value: []byte("x")})
	if got := b.ReadCommitted("only-in-a"); len(got) != 0 {
		t.Fatalf("the other cluster has %d of the records", len(got))
	}
}
