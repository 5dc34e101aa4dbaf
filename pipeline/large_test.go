package pipeline_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/rules/event"
)

// Keys and headers count, too: what can't be written on is refused, and stops
// nothing.
func TestRecordsWithLargeKeysAndHeaders(t *testing.T) {
	large := []byte(strings.Repeat("x", 1_100_000)) // compresses to a few kB on the wire
	good := `{"refund_id":"b","customer_id":"ann","amount":1,"currency":"USD","occurred_at":"2026-01-05T10:00:00Z"}`
	r := newHeld(t, 1, 1)
	in := r.run()
	for _, rec := range []*kgo.Record{
		{Topic: "refunds", Value: []byte(good), Key: large},
		{Topic: "refunds", Value: []byte(good), Headers: []kgo.RecordHeader{{Key: "h", Value: large}}},
		{Topic: "refunds", Value: []byte("{}"), Headers: []kgo.RecordHeader{{Key: "h", Value: large}}},
		{Topic: "refunds", Value: []byte(good), Headers: make([]kgo.RecordHeader, 10_000)},
		{Topic: "transactions", Value: []byte("{}"), Headers: []kgo.RecordHeader{{Key: "h", Value: large}}},
	} {
		if err := r.client.ProduceSync(context.Background(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	r.sendRaw("refunds", 0, good)
	for i := 0; i < 150 && in.Balance().Read < 5; i++ {
		time.Sleep(100 * time.Millisecond)
	}
	if b := in.Balance(); b.DeadLettered != 4 || b.Approved != 1 {
		t.Fatalf("balance %+v, ready: %v", b, in.Ready())
	}
	r.until("all dead letters are there", func() bool { return len(r.read("dead-letters")) == 5 })
	for _, d := range r.read("dead-letters") {
		if header(d, "__connect.errors.topic") == "" {
			t.Errorf("headers %v", d.Headers)
		}
		if kept := string(d.Value) == good; kept != (len(d.Headers) > 1000) || kept == (header(d, "refundguard-omitted-bytes") != "") {
			t.Errorf("kept %v with %d headers", kept, len(d.Headers))
		}
	}
}

func TestALimitAboveWhatCanBeWrittenIsRefused(t *testing.T) {
	c := pipeline.DefaultConfig()
	c.Limits.MaxRecordBytes = 2 << 20
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "limits.max_record_bytes") {
		t.Errorf("%v", err)
	}
}

// A batch of a few kB that would take all memory when decompressed is refused
// as a whole, once, and stops nothing, nor does it after a restart.
func TestABatchThatDecompressesWithoutBound(t *testing.T) {
	slow(t)
	r := newHeld(t, 1, 1)
	in := r.run()
	r.send("refunds", 0, refund("before", "", "ann", "1", 0))
	r.passed(in, 1)
	bomber := r.connect(kgo.ProducerBatchMaxBytes(95<<20), kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.ProducerLinger(time.Second), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	var batch []*kgo.Record
	for range 90 {
		batch = append(batch, &kgo.Record{Value: bytes.Repeat([]byte{'x'}, 1<<20)})
	}
	for _, topic := range []string{"transactions", "refunds"} {
		for _, rec := range batch {
			rec.Topic = topic
		}
		if err := bomber.ProduceSync(context.Background(), batch...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	r.send("refunds", 0, refund("after the batch", "", "ann", "1", time.Minute))
	r.passed(in, 3)
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	in = r.run()
	r.send("refunds", 0, refund("after", "", "bob", "1", time.Hour))
	want := pipeline.Balance{Read: 4, Approved: 3, DeadLettered: 1}
	if b := r.passed(in, 4); b != want {
		t.Errorf("balance %+v, want %+v", b, want)
	}
	dead := r.read("dead-letters")
	if len(dead) != 2 || header(dead[0], event.HeaderCode) != event.CodeTooLarge {
		t.Errorf("%d dead letters: %v", len(dead), dead)
	}
}
