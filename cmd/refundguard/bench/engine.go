package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// load loads a rule file of this content.
func load(schema *event.Schema, content string) (*rules.Set, error) {
	dir, err := os.MkdirTemp("", "refundguard-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "bench.yaml"), []byte(content), 0o600); err != nil {
		return nil, err
	}
	return rules.Load(dir, rules.Options{Schema: schema})
}

// chunk is how many events are applied at once, as the pipeline does.
const chunk = 16384

// Engine measures decoding, applying, deciding and encoding from memory; and then,
// by itself, a quarter as many transactions more.
func Engine(ctx context.Context, o Options) (Result, error) {
	if o.CPUs > 0 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(o.CPUs))
	}
	schema := event.Builtin()
	set, err := load(schema, gateRules)
	if err != nil {
		return Result{}, err
	}
	g := newGate(o.Events, o.Seed, o.Hot)
	all := g.rest()
	refunds := int(g.refunds)
	more := make([]gateEvent, max(1, o.Events/4))
	for i := range more {
		more[i] = g.payment(g.time())
		g.i++
	}
	workers := runtime.GOMAXPROCS(0)
	eng := engine.New(engine.Config{Schema: schema, Workers: workers}, set)
	defer eng.Close()
	d := newDecider(eng, workers)
	watch := o.start()
	d.run(ctx, schema, all)
	name := "engine"
	if o.CPUs > 0 {
		name = fmt.Sprintf("engine, %d of %d processors", workers, runtime.NumCPU())
	}
	r := watch.stop().result(name, o.Events, refunds)
	o.Profile = nil
	watch = o.start()
	d.run(ctx, schema, more)
	r.Transactions = watch.stop().steady(len(more))
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	d.tell(&r)
	return r, nil
}

// decider is an engine and what comes of its decisions.
type decider struct {
	engine  *engine.Engine
	workers []deciderWorker
	due     []*engine.Item
}

// deciderWorker is what one worker writes, and no other's cache line.
type deciderWorker struct {
	outcomes [4]int64
	digest   digest
	buf      []byte
	_        [64]byte
}

func newDecider(e *engine.Engine, workers int) *decider {
	return &decider{engine: e, workers: make([]deciderWorker, workers)}
}

// run applies events, and decides the refunds among them.
func (d *decider) run(ctx context.Context, schema *event.Schema, all []gateEvent) {
	for items := range decodeAhead(ctx, schema, all, len(d.workers), false) {
		d.engine.Apply(items)
		d.due = d.due[:0]
		for _, it := range items {
			if it.Event.Stream.Name == "refunds" {
				d.due = append(d.due, it)
			}
		}
		d.engine.Decide(d.due, func(w, _ int, dec *event.Decision, _ *rules.Result) {
			mine := &d.workers[w]
			mine.outcomes[dec.Outcome]++
			mine.buf = dec.Append(mine.buf[:0])
			mine.digest.add(dec.RefundID, dec.Outcome.String(), dec.Score, dec.Hits)
		})
	}
}

// tell adds to a result what came of all decisions.
func (d *decider) tell(r *Result) {
	var sum digest
	for i := range d.workers {
		w := &d.workers[i]
		sum.merge(w.digest.hi, w.digest.lo)
		for _, o := range []event.Outcome{event.Approve, event.Review, event.Reject} {
			r.Outcomes[o.String()] += w.outcomes[o]
		}
	}
	r.Digest = sum.String()
}

// decoded is a chunk of items and the memory that they are in.
type decoded struct {
	items  []*engine.Item
	slab   []engine.Item
	values []event.Value
}

// of makes room for n items, in the memory of those before where there is enough.
func (c *decoded) of(n, fields int) {
	if cap(c.slab) < n {
		*c = decoded{make([]*engine.Item, n), make([]engine.Item, n), make([]event.Value, n*fields)}
	}
	c.items, c.slab = c.items[:n], c.slab[:n]
	for i := range c.slab {
		c.items[i] = &c.slab[i]
		c.slab[i] = engine.Item{Event: event.Event{Vals: c.values[i*fields : i*fields : (i+1)*fields]}}
	}
}

// rotation is how many chunks there are at a time: one is decoded, one waits, one is
// in use.
const rotation = 3

// decodeAhead decodes chunk after chunk on all processors, one chunk ahead of
// whoever reads. Where they are kept, each has memory of its own; else a chunk is
// good until the next one is taken.
func decodeAhead(ctx context.Context, schema *event.Schema, all []gateEvent, workers int, kept bool) <-chan []*engine.Item {
	out := make(chan []*engine.Item, 1)
	go func() {
		defer close(out)
		transactions, refunds := schema.Stream("transactions"), schema.Stream("refunds")
		decoders := make([][2]*event.Decoder, workers)
		for w := range decoders {
			decoders[w] = [2]*event.Decoder{event.NewDecoder(transactions, event.DefaultLimits()), event.NewDecoder(refunds, event.DefaultLimits())}
		}
		var chunks [rotation]decoded
		for k := 0; len(all) > 0 && ctx.Err() == nil; k++ {
			n, c := min(chunk, len(all)), &chunks[k%rotation]
			if kept {
				c = new(decoded)
			}
			c.of(n, len(refunds.Fields))
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() {
					for i := w * n / workers; i < (w+1)*n/workers; i++ {
						it, e := c.items[i], &all[i]
						d := decoders[w][0]
						if e.refund {
							it.Stream, d = 1, decoders[w][1]
						}
						if err := d.Decode(e.value, &it.Event); err != nil {
							panic(err) // the generator's own records
						}
						it.Prepare(e.value)
					}
				})
			}
			wg.Wait()
			all = all[n:]
			select {
			case out <- c.items:
			case <-ctx.Done():
			}
		}
	}()
	return out
}
