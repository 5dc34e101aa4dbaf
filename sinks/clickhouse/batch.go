package clickhouse

import "github.com/twmb/franz-go/pkg/kgo"

// batch is the records of one range of offsets. Once the range is announced,
// the log alone says what is in it.
type batch struct {
	from, to  int64 // offsets, both inclusive
	epoch     int32 // leader epoch of the last record
	any       bool  // there is a record, if only a control record
	last      int64 // its offset, if so
	cut       bool  // from is before what was asked for
	announced bool  // to was given; the batch is full when the log is past it

	records []*kgo.Record
	rows    int // records that aren't control records
	bytes   int

	complete          bool
	maxRows, maxBytes int
}

// newBatch begins at from (-1: at the first record that comes). With an
// announced end it takes what is up to there, however much that is.
func newBatch(cfg Config, from, announced int64) *batch {
	return &batch{from: from, to: announced, epoch: -1, announced: announced >= 0, maxRows: cfg.BatchRows, maxBytes: cfg.BatchBytes}
}

func (b *batch) full() bool {
	return b.complete || !b.announced && (b.rows >= b.maxRows || b.bytes >= b.maxBytes)
}

// take adds a record unless it is beyond the announced end, or the log was cut
// (by an unclean election) and begins anew with it.
func (b *batch) take(rec *kgo.Record) bool {
	switch {
	case b.any && rec.Offset <= b.last:
		b.complete = true // what was read before the cut is stored as it is
		return false
	case !b.any && rec.Offset < b.from:
		b.from, b.announced, b.cut = rec.Offset, false, true
	case b.announced && rec.Offset > b.to:
		b.complete = true // the end itself is gone from the log
		return false
	case b.from < 0:
		b.from = rec.Offset
	}
	b.any, b.last, b.epoch = true, rec.Offset, rec.LeaderEpoch
	if b.announced {
		b.complete = rec.Offset == b.to
	} else {
		b.to = rec.Offset
	}
	if !rec.Attrs.IsControl() {
		b.rows++
		b.bytes += size(rec)
	}
	b.records = append(b.records, rec)
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
