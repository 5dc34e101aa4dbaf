package clickhouse

import (
	"math"

	"github.com/twmb/franz-go/pkg/kgo"
)

// span is the records of one range of offsets, control records left out. Once
// the range is announced, the log alone says what is in it.
type span struct {
	from, to int64 // offsets, both inclusive
	epoch    int32 // leader epoch of the last record
	records  []*kgo.Record
}

// cut is the first n records of c, and the rest.
func (c span) cut(n int) (head, rest span) {
	if n >= len(c.records) {
		return c, span{}
	}
	last := c.records[n-1]
	return span{c.from, last.Offset, last.LeaderEpoch, c.records[:n]}, span{last.Offset + 1, c.to, c.epoch, c.records[n:]}
}

// batch is a span that grows.
type batch struct {
	span
	any       bool  // there is a record, if only a control record
	last      int64 // its offset, if so
	cut       bool  // from is before what was asked for
	announced bool  // to was given; the batch is full when the log is past it

	bytes int              // of records
	taken map[string]int64 // partition.taken; no batch reaches over one of these
	limit int64            // the first of them; once there is a record

	complete          bool
	maxRows, maxBytes int
}

// newBatch begins at from (-1: at the first record that comes). With an
// announced end it takes what is up to there, however much that is.
func newBatch(cfg Config, from, announced int64, taken map[string]int64) *batch {
	return &batch{span: span{from: from, to: announced, epoch: -1}, announced: announced >= 0, taken: taken, limit: math.MaxInt64, maxRows: cfg.BatchRows, maxBytes: cfg.BatchBytes}
}

func (b *batch) full() bool {
	return b.complete || !b.announced && (len(b.records) >= b.maxRows || b.bytes >= b.maxBytes)
}

// take adds a record unless it is beyond the announced end, or the log was cut
// (by an unclean election) and begins anew with it.
func (b *batch) take(rec *kgo.Record) bool {
	if !b.any && rec.Offset >= b.from {
		for _, last := range b.taken {
			if last >= rec.Offset {
				b.limit = min(b.limit, last)
			}
		}
	}
	switch {
	case b.any && rec.Offset <= b.last:
		b.complete = true // what was read before the cut is stored as it is
		return false
	case !b.any && rec.Offset < b.from:
		b.from, b.announced, b.cut = rec.Offset, false, true
	case b.announced && rec.Offset > b.to, rec.Offset > b.limit:
		b.complete = true // the end itself is gone from the log
		return false
	case b.from < 0:
		b.from = rec.Offset
	}
	b.any, b.last, b.epoch = true, rec.Offset, rec.LeaderEpoch
	if !b.announced {
		b.to = rec.Offset
	}
	b.complete = b.announced && rec.Offset == b.to || rec.Offset == b.limit
	if !rec.Attrs.IsControl() {
		b.records = append(b.records, rec)
		b.bytes += size(rec)
	}
	return true
}

// size is about what a record takes in memory.
func size(rec *kgo.Record) int {
	n := 200 + len(rec.Key) + len(rec.Value)
	for _, h := range rec.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}
