package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

// maxEarly is how far an event may be stamped after its Kafka timestamp.
const maxEarly = 5 * time.Minute

// batchRecords bounds a batch, so that one large fetch is decoded in parallel.
const batchRecords = 512

// reader fetches all inputs into their partitions' buffers and decodes them on
// several goroutines, each batch in its place in the queue.
type reader struct {
	client   *kgo.Client
	inputs   map[string]*input // by topic
	limits   event.Limits
	maxDelay int64 // milliseconds; 0: off
	capacity int   // records buffered per partition
	largest  int   // bytes of a refund that can be passed on, key and headers included
	unknown  *prometheus.CounterVec

	pressure backpressure

	gen  atomic.Int64  // number of the latest end-of-partition question
	wake chan struct{} // tells the engine that something was decoded
	fail chan error    // what ended the reader
	work chan *batch
	wg   sync.WaitGroup
}

// start runs the reader until ctx ends; wait for wg before closing client.
func (r *reader) start(ctx context.Context, workers int) {
	for range workers {
		r.wg.Add(1)
		go func() { defer r.wg.Done(); r.decodeLoop(ctx) }()
	}
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		if err := r.fetchLoop(ctx); err != nil && ctx.Err() == nil {
			r.end(err)
		}
	}()
}

// end ends the session that reads.
func (r *reader) end(err error) {
	select {
	case r.fail <- err:
	default:
	}
	r.notify()
}

func (r *reader) notify() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reader) fetchLoop(ctx context.Context) error {
	for {
		r.awaitRoom(ctx)
		fetches := r.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var failed error
		var unreadable []*kgo.ErrDecompressTooLarge
		fetches.EachError(func(topic string, partition int32, err error) {
			if batch := (*kgo.ErrDecompressTooLarge)(nil); errors.As(err, &batch) {
				unreadable = append(unreadable, batch)
				return
			}
			if errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) {
				return
			}
			failed = fmt.Errorf("reading %s partition %d: %w", topic, partition, readError(err))
		})
		if failed != nil {
			return failed
		}
		gen := r.gen.Load()
		var err error
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if err == nil && len(f.Records) > 0 {
				err = r.queue(ctx, r.inputs[f.Topic], f.Partition, f.Records, gen, nil)
			}
		})
		for _, batch := range unreadable {
			if err == nil {
				err = r.passOver(ctx, batch, gen)
			}
		}
		r.pressure.starving.Store(false) // with what has come; the engine looks
		if err != nil {
			return err
		}
	}
}

// passOver refuses a batch that grows without bound when it is decompressed: a
// few bytes of it could take all memory. What was in it, and how many records,
// nobody knows, so that it is refused as one.
func (r *reader) passOver(ctx context.Context, b *kgo.ErrDecompressTooLarge, gen int64) error {
	raw := &kgo.Record{Topic: b.Topic, Partition: b.Partition, Offset: b.NextOffset - 1, LeaderEpoch: b.Epoch, Timestamp: time.UnixMilli(-1)}
	why := &event.RecordError{Code: event.CodeTooLarge,
		Message: fmt.Sprintf("the batch of offsets %d to %d takes more than %d bytes decompressed: none of its records was read", b.Offset, b.NextOffset-1, maxDecompressed)}
	if err := r.queue(ctx, r.inputs[b.Topic], b.Partition, []*kgo.Record{raw}, gen, why); err != nil {
		return err
	}
	r.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{b.Topic: {b.Partition: {Epoch: b.Epoch, Offset: b.NextOffset}}})
	return nil
}

// maxDecompressed is how large a batch may be when it is decompressed.
const maxDecompressed = 64 << 20

// queue puts fetched records at the end of their partition's buffer and hands
// them to the decoders. With refused, none of them is read.
func (r *reader) queue(ctx context.Context, in *input, id int32, records []*kgo.Record, gen int64, refused *event.RecordError) error {
	if in == nil || int(id) >= len(in.partitions) {
		return nil
	}
	p := in.partitions[id]
	for len(records) > 0 {
		n := min(len(records), batchRecords)
		last := records[n-1]
		b := &batch{end: last.Offset + 1, decoded: make(chan struct{})}
		b.records = make([]record, 0, n)
		for _, raw := range records[:n] {
			if !raw.Attrs.IsControl() {
				b.records = append(b.records, record{part: p, raw: raw, gen: gen, err: refused})
			}
		}
		records = records[n:]
		p.mu.Lock()
		p.queue = append(p.queue, b)
		p.buffered += len(b.records)
		p.position, p.epoch, p.moved = b.end, last.LeaderEpoch, time.Now()
		p.mu.Unlock()
		select {
		case r.work <- b:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

func (r *reader) decodeLoop(ctx context.Context) {
	decoders := map[*input]*event.Decoder{}
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-r.work:
			if len(b.records) > 0 {
				in := b.records[0].part.in
				d := decoders[in]
				if d == nil {
					d = event.NewDecoder(in.stream, r.limits)
					decoders[in] = d
				}
				r.decode(d, in, b)
			}
			close(b.decoded)
			r.notify()
		}
	}
}

// decode fills the records of a batch. Strings of the events alias the fetched
// bytes, which live as long as the record does.
func (r *reader) decode(d *event.Decoder, in *input, b *batch) {
	fields := len(in.stream.Fields)
	values := make([]event.Value, len(b.records)*fields)
	for i := range b.records {
		rec := &b.records[i]
		rec.Stream, rec.Partition, rec.Offset = in.index, rec.raw.Partition, rec.raw.Offset
		rec.Received = rec.raw.Timestamp.UnixMilli()
		rec.Event.Vals = values[i*fields : i*fields : (i+1)*fields]
		if rec.err != nil {
			continue
		}
		if n := besides(rec.raw); n > r.limits.MaxBytes && in.stream.Name == "refunds" {
			// They go on with the request, and an epoch must fit.
			rec.err = &event.RecordError{Code: event.CodeTooLarge,
				Message: fmt.Sprintf("the record's key and headers take %d bytes; at most %d are accepted", n, r.limits.MaxBytes)}
			continue
		}
		if n := len(rec.raw.Value) + besides(rec.raw); n > r.largest && in.stream.Name == "refunds" {
			rec.err = &event.RecordError{Code: event.CodeTooLarge,
				Message: fmt.Sprintf("the record takes %d bytes with its key and headers; the topics that it would be passed on to take %d: raise their max.message.bytes", n, r.largest)}
			continue
		}
		if err := d.Decode(rec.raw.Value, &rec.Event); err != nil {
			rec.err = err
			continue
		}
		for _, slot := range in.enums {
			if rec.Event.Has(slot) && rec.Event.Vals[slot].Num < 0 {
				r.unknown.WithLabelValues(in.stream.Name, in.stream.Fields[slot].Name).Inc()
			}
		}
		rec.Sent = rec.Event.Time
		refund := in.stream.Name == "refunds"
		switch early := rec.Event.Time - rec.Received; {
		case early > maxEarly.Milliseconds() && refund:
			rec.Event.Time = rec.Received
			rec.Hold = reasonInFuture
		case early > maxEarly.Milliseconds():
			rec.err = &event.RecordError{Code: reasonInFuture, Field: "occurred_at",
				Message: fmt.Sprintf("occurred_at is %s after the record's Kafka timestamp; at most %s is accepted",
					time.Duration(early)*time.Millisecond, maxEarly)}
			continue
		case refund && r.maxDelay > 0 && -early > r.maxDelay:
			rec.Hold = "EVENT_TOO_OLD"
		}
		rec.Prepare(rec.raw.Value)
	}
}

// accept decodes a record that was accepted before, whatever today's limits are.
func (r *reader) accept(rec *record) {
	limits := event.Limits{MaxBytes: math.MaxInt32, MaxDepth: math.MaxInt32, MaxFieldBytes: math.MaxInt32}
	any := &reader{limits: limits, largest: math.MaxInt32, maxDelay: r.maxDelay, unknown: r.unknown}
	b := &batch{records: []record{*rec}}
	b.records[0].err = nil
	any.decode(event.NewDecoder(rec.part.in.stream, limits), rec.part.in, b)
	*rec = b.records[0]
}

// besides is about what a record takes on top of its value.
func besides(r *kgo.Record) int { return len(r.Key) + headerBytes(r.Headers) }

// headerBytes counts for each header what openCase adds to its key, too.
func headerBytes(headers []kgo.RecordHeader) int {
	n := 0
	for _, h := range headers {
		n += len(h.Key) + len(h.Value) + len(headerOfRequest) + 4
	}
	return n
}
