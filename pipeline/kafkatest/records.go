package kafkatest

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Produce writes the records, in order within each partition, and returns when
// all are acknowledged.
func (c *Cluster) Produce(records ...*kgo.Record) {
	c.t.Helper()
	cl, err := newClient(c.broker.addr())
	if err != nil {
		c.t.Fatalf("kafkatest: make a client: %v", err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		c.t.Fatalf("kafkatest: produce %d records: %v", len(records), err)
	}
}

// Lines reads a file of JSON lines as records of the topic. Each one's key is
// its field keyField; a line without one has no key.
func Lines(t testing.TB, topic, keyField, file string) []*kgo.Record {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatalf("kafkatest: read records: %v", err)
	}
	defer f.Close()
	var records []*kgo.Record
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		line := append([]byte(nil), in.Bytes()...)
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatalf("kafkatest: %s line %d: %v", file, len(records)+1, err)
		}
		r := &kgo.Record{Topic: topic, Value: line}
		if key, ok := fields[keyField].(string); ok {
			r.Key = []byte(key)
		}
		records = append(records, r)
	}
	if err := in.Err(); err != nil {
		t.Fatalf("kafkatest: read %s: %v", file, err)
	}
	return records
}

// ReadCommitted is every record of the topic up to its last stable offset, as
// a read_committed consumer gets them: by partition, then offset. A topic that
// doesn't exist is empty.
func (c *Cluster) ReadCommitted(topic string) []*kgo.Record {
	c.t.Helper()
	from, to := make(map[int32]kgo.Offset), make(map[int32]int64)
	c.admin("list the offsets of "+topic, func(ctx context.Context, adm *kadm.Client) error {
		known, err := adm.ListTopics(ctx, topic)
		if err != nil || !known.Has(topic) {
			return err
		}
		first, err := adm.ListStartOffsets(ctx, topic)
		if err != nil {
			return err
		}
		end, err := adm.ListCommittedOffsets(ctx, topic)
		if err != nil {
			return err
		}
		if err := end.Error(); err != nil {
			return err
		}
		end.Each(func(o kadm.ListedOffset) {
			start, _ := first.Lookup(topic, o.Partition)
			if o.Offset > start.Offset {
				from[o.Partition] = kgo.NewOffset().At(start.Offset)
				to[o.Partition] = o.Offset
			}
		})
		return first.Error()
	})
	return c.read(topic, from, to)
}

// read consumes each partition up to a position. Control records are kept
// while reading, because the end may be one.
func (c *Cluster) read(topic string, from map[int32]kgo.Offset, to map[int32]int64) []*kgo.Record {
	c.t.Helper()
	if len(to) == 0 {
		return nil
	}
	cl, err := newClient(c.broker.addr(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		c.t.Fatalf("kafkatest: make a consumer of %s: %v", topic, err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()

	byPartition := make(map[int32][]*kgo.Record)
	var last int32
	for p := range to {
		last = max(last, p)
	}
	for len(to) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			c.t.Fatalf("kafkatest: read %s up to %v: %v", topic, to, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end, reading := to[r.Partition]
			if !reading {
				return
			}
			if r.Offset < end && !r.Attrs.IsControl() {
				byPartition[r.Partition] = append(byPartition[r.Partition], r)
			}
			if r.Offset >= end-1 {
				delete(to, r.Partition)
			}
		})
	}
	var records []*kgo.Record
	for p := int32(0); p <= last; p++ {
		records = append(records, byPartition[p]...)
	}
	return records
}
