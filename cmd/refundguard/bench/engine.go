package bench

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// Result is one measurement.
type Result struct {
	Name            string           `json:"name"`
	Events          int              `json:"events"`
	Refunds         int              `json:"refunds"`
	Seconds         float64          `json:"seconds"`
	EventsPerSecond float64          `json:"events_per_second"`
	CPUPerEvent     float64          `json:"cpu_us_per_event"` // of this process, in microseconds
	RSS             float64          `json:"rss_mib"`          // greatest so far
	Outcomes        map[string]int64 `json:"outcomes"`
	Digest          string           `json:"digest,omitempty"` // of every refund's outcome and score
}

// Options are common to all measurements.
type Options struct {
	Events  int
	Seed    uint64
	Hot     float64   // share of the events that one merchant has on top of the job's
	Profile io.Writer // where a CPU profile of what is measured goes; nil: none
}

// stopwatch measures wall and CPU time of the process.
type stopwatch struct {
	wall    time.Time
	cpu     time.Duration
	profile bool
}

func (o *Options) start() stopwatch {
	runtime.GC()
	profile := o.Profile != nil && pprof.StartCPUProfile(o.Profile) == nil // an error says that there is one
	return stopwatch{time.Now(), cpuTime(), profile}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (w stopwatch) end() {
	if w.profile {
		pprof.StopCPUProfile()
	}
}

func (w stopwatch) result(name string, events, refunds int) Result {
	wall, cpu := time.Since(w.wall), cpuTime()-w.cpu
	w.end()
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return Result{Name: name, Events: events, Refunds: refunds, Seconds: wall.Seconds(), EventsPerSecond: float64(events) / wall.Seconds(),
		CPUPerEvent: float64(cpu.Microseconds()) / float64(events), RSS: float64(u.Maxrss) / 1024, Outcomes: map[string]int64{}}
}

func (r *Result) count(outcomes [][4]int64) {
	for _, byOutcome := range outcomes {
		for _, o := range []event.Outcome{event.Approve, event.Review, event.Reject} {
			r.Outcomes[o.String()] += byOutcome[o]
		}
	}
}

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

// Engine measures decoding, applying, deciding and encoding from memory, on
// all processors.
func Engine(ctx context.Context, o Options) (Result, error) {
	schema := event.Builtin()
	set, err := load(schema, gateRules)
	if err != nil {
		return Result{}, err
	}
	all := make([]gateEvent, 0, o.Events)
	refunds := 0
	for g := newGate(o.Events, o.Seed, o.Hot); ; {
		e, ok := g.next()
		if !ok {
			break
		}
		if e.refund {
			refunds++
		}
		all = append(all, e)
	}
	workers := runtime.GOMAXPROCS(0)
	eng := engine.New(engine.Config{Schema: schema, Workers: workers}, set)
	defer eng.Close()
	outcomes := make([][4]int64, workers)
	bufs := make([][]byte, workers)
	scores := make([][2]int64, refunds)
	watch := o.start()
	done := 0
	next := decodeAhead(ctx, schema, all, workers)
	for items := range next {
		eng.Apply(items)
		var due []*engine.Item
		for _, it := range items {
			if it.Event.Stream.Name == "refunds" {
				due = append(due, it)
			}
		}
		eng.Decide(due, func(w, i int, d *event.Decision, _ *rules.Result) {
			outcomes[w][d.Outcome]++
			bufs[w] = d.Append(bufs[w][:0])
			scores[done+i] = [2]int64{int64(d.Outcome), d.Score}
		})
		done += len(due)
	}
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	r := watch.result("engine", o.Events, refunds)
	r.count(outcomes)
	h := fnv.New64a()
	for _, s := range scores {
		fmt.Fprintln(h, s)
	}
	r.Digest = fmt.Sprintf("%016x", h.Sum64())
	return r, nil
}

// decodeAhead decodes chunk after chunk on all processors, one chunk ahead of
// whoever reads.
func decodeAhead(ctx context.Context, schema *event.Schema, all []gateEvent, workers int) <-chan []*engine.Item {
	out := make(chan []*engine.Item, 1)
	go func() {
		defer close(out)
		transactions, refunds := schema.Stream("transactions"), schema.Stream("refunds")
		decoders := make([][2]*event.Decoder, workers)
		for w := range decoders {
			decoders[w] = [2]*event.Decoder{event.NewDecoder(transactions, event.DefaultLimits()), event.NewDecoder(refunds, event.DefaultLimits())}
		}
		for len(all) > 0 && ctx.Err() == nil {
			n := min(chunk, len(all))
			items := make([]*engine.Item, n)
			slab := make([]engine.Item, n)
			values := make([]event.Value, n*len(refunds.Fields))
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() {
					for i := w * n / workers; i < (w+1)*n/workers; i++ {
						it, e := &slab[i], &all[i]
						d := decoders[w][0]
						if e.refund {
							it.Stream, d = 1, decoders[w][1]
						}
						it.Event.Vals = values[i*len(refunds.Fields) : i*len(refunds.Fields) : (i+1)*len(refunds.Fields)]
						if err := d.Decode(e.value, &it.Event); err != nil {
							panic(err) // the generator's own records
						}
						it.Prepare(e.value)
						items[i] = it
					}
				})
			}
			wg.Wait()
			all = all[n:]
			select {
			case out <- items:
			case <-ctx.Done():
			}
		}
	}()
	return out
}
