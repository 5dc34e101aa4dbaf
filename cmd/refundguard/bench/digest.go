package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math/bits"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/zeebo/xxh3"

	"github.com/refundguard/refundguard/rules/event"
)

// digest sums up decisions: of each, the refund's id, the outcome, the score and
// the live rules that hit. It is the same in whatever order they come, and by
// whatever way.
type digest struct {
	hi, lo uint64
	buf    []byte
}

func (d *digest) add(refund, outcome string, score int64, hits []event.Hit) {
	b := append(append(append(d.buf[:0], refund...), 0), outcome...)
	b = strconv.AppendInt(append(b, 0), score, 10)
	for i := range hits {
		if hits[i].Mode == "live" {
			b = append(append(b, 0), hits[i].Rule...)
		}
	}
	h := xxh3.Hash128(b)
	d.buf = b
	d.merge(h.Hi, h.Lo)
}

// merge adds another's sum: one that was counted twice shows.
func (d *digest) merge(hi, lo uint64) {
	var carry uint64
	d.lo, carry = bits.Add64(d.lo, lo, 0)
	d.hi, _ = bits.Add64(d.hi, hi, carry)
}

func (d *digest) String() string { return fmt.Sprintf("%016x%016x", d.hi, d.lo) }

// committedDigest is of the decisions in a topic, as whoever reads only what is
// committed finds them.
func committedDigest(ctx context.Context, adm *kadm.Client, brokers []string, topic string) (sum string, decisions int, err error) {
	ends, err := adm.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return "", 0, fmt.Errorf("asking where the decisions end: %w", err)
	}
	left := map[int32]int64{}
	for p, end := range ends[topic] {
		if end.Err != nil {
			return "", 0, fmt.Errorf("asking where partition %d of the decisions ends: %w", p, end.Err)
		}
		if end.Offset > 0 {
			left[p] = end.Offset
		}
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return "", 0, err
	}
	defer cl.Close()
	var d digest
	for len(left) > 0 && err == nil {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return "", 0, fmt.Errorf("reading the decisions: %w", err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			if rec.Offset+1 >= left[rec.Partition] {
				delete(left, rec.Partition)
			}
			if rec.Attrs.IsControl() {
				return
			}
			var one struct {
				RefundID string      `json:"refund_id"`
				Outcome  string      `json:"outcome"`
				Score    int64       `json:"score"`
				Hits     []event.Hit `json:"hits"`
			}
			if bad := json.Unmarshal(rec.Value, &one); bad != nil {
				err = fmt.Errorf("the decision at offset %d of partition %d: %w", rec.Offset, rec.Partition, bad)
				return
			}
			d.add(one.RefundID, one.Outcome, one.Score, one.Hits)
			decisions++
		})
	}
	return d.String(), decisions, err
}
