package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"strconv"
	"time"

	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// Keys measures what the number of customers does to what an event costs, and to
// memory.
type Keys struct {
	Program   string // "": this one
	Customers []int
	PerKey    int // events of each of them
	Seed      uint64
	Tell      func(string) // what is being done; nil: nobody asks
}

// KeysResult is of one number of customers.
type KeysResult struct {
	Customers       int     `json:"customers"`
	Events          int     `json:"events"`
	Refunds         int     `json:"refunds"`
	Seconds         float64 `json:"seconds"`
	EventsPerSecond float64 `json:"events_per_second"`
	CPUPerEvent     float64 `json:"cpu_us_per_event"`
	CPULast         float64 `json:"cpu_us_per_event_last"` // of the last tenth, when the state is about full
	Allocs          float64 `json:"allocs_per_event"`

	Keys         int64   `json:"keys"` // of all kinds: ids, originals, windows
	BytesPerKey  float64 `json:"memory_bytes_per_key"`
	StatePerCust float64 `json:"memory_bytes_per_customer"`
	State        float64 `json:"state_mib"` // of the heap
	Heap         float64 `json:"heap_mib"`  // what is alive
	RSS          float64 `json:"rss_mib"`   // greatest, of a process that did nothing else

	Outcomes map[string]int64 `json:"outcomes"`
	Digest   string           `json:"digest"`
}

// Run measures each number of customers in a process of its own, since the
// greatest resident memory is a process's.
func (k Keys) Run(ctx context.Context) (all []KeysResult, err error) {
	if err := orDefaults(&k.Program, &k.Tell); err != nil {
		return nil, err
	}
	for _, n := range k.Customers {
		k.Tell(fmt.Sprintf("%d customers, %d events", n, n*k.PerKey))
		one, err := k.child(ctx, n)
		if err != nil {
			return all, fmt.Errorf("%d customers: %w", n, err)
		}
		all = append(all, one)
	}
	return all, nil
}

func (k Keys) child(ctx context.Context, customers int) (r KeysResult, err error) {
	cmd := exec.CommandContext(ctx, k.Program, "bench", "keys", "--here", "--keys", strconv.Itoa(customers),
		"--events-per-key", strconv.Itoa(k.PerKey), "--seed", strconv.FormatUint(k.Seed, 10), "-o", "json")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return r, fmt.Errorf("the process that measures: %w", err)
	}
	var all []KeysResult
	if err := json.Unmarshal(out, &all); err != nil || len(all) != 1 {
		return r, errors.Join(fmt.Errorf("the process that measures said %q", out), err)
	}
	return all[0], nil
}

// keysPortion is how many events are generated at once, which isn't measured:
// few, so that they hardly count in memory.
const keysPortion = 4 * chunk

// Here measures one number of customers in this process.
func (k Keys) Here(ctx context.Context, customers int) (r KeysResult, err error) {
	schema := event.Builtin()
	set, err := load(schema, gateRules)
	if err != nil {
		return r, err
	}
	var (
		o       Options
		g       = newUniform(customers, k.PerKey, k.Seed)
		workers = runtime.GOMAXPROCS(0)
		eng     = engine.New(engine.Config{Schema: schema, Workers: workers}, set)
		d       = newDecider(eng, workers)
		total   = customers * k.PerKey
		last    = total - total/10
		portion []gateEvent
		watch   = o.start()
		before  cost // the last tenth
	)
	defer eng.Close()
	watch.pause()
	for done := 0; done < total && ctx.Err() == nil; done += len(portion) {
		n := keysPortion
		if done < last {
			n = min(n, last-done)
		} else if done == last {
			before = watch.sum
		}
		portion = g.fill(portion, n)
		watch.resume()
		d.run(ctx, schema, portion)
		watch.pause()
	}
	if err := ctx.Err(); err != nil {
		return r, err
	}
	took := watch.sum
	res := took.result("keys", total, g.refunds)
	d.tell(&res)
	stats := eng.Stats()
	const mib = 1 << 20
	runtime.GC() // after which the heap that is alive is the state, about
	return KeysResult{Customers: customers, Events: total, Refunds: g.refunds, Seconds: res.Seconds, EventsPerSecond: res.EventsPerSecond,
		CPUPerEvent: res.CPUPerEvent, CPULast: perEvent(took.cpu-before.cpu, total-last), Allocs: res.Allocs, Keys: stats.Keys, BytesPerKey: float64(stats.Bytes) / float64(stats.Keys),
		StatePerCust: float64(stats.Bytes) / float64(customers), State: float64(stats.Bytes) / mib, Heap: liveHeap() / mib, RSS: res.RSS,
		Outcomes: res.Outcomes, Digest: res.Digest}, nil
}

// liveHeap is what the last collection found alive, in bytes.
func liveHeap() float64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return float64(s[0].Value.Uint64())
}

// uniform generates events of so many customers, in rounds: in each, every
// customer has one, in an order of the round's own. 5 % are refunds, of what
// their customer paid in the first.
type uniform struct {
	gate               *gate
	customers, perKey  int
	i                  int
	multiplier, offset uint64
	refunds            int
}

func newUniform(customers, perKey int, seed uint64) *uniform {
	return &uniform{gate: newGate(customers*perKey, seed, 0), customers: customers, perKey: perKey}
}

// fill generates the next n events, or those that are left, in the memory of
// others.
func (u *uniform) fill(into []gateEvent, n int) []gateEvent {
	n = min(n, u.customers*u.perKey-u.i)
	for len(into) < n {
		into = append(into, gateEvent{})
	}
	into = into[:n]
	for i := range into {
		u.next(&into[i])
	}
	return into
}

func (u *uniform) next(e *gateEvent) {
	g, round, n := u.gate, u.i/u.customers, uint64(u.customers)
	if u.i%u.customers == 0 {
		// Any number that shares no divisor with n makes a permutation.
		for u.multiplier = g.rand.Uint64N(n) | 1; gcd(u.multiplier, n) != 1; u.multiplier += 2 {
		}
		u.offset = g.rand.Uint64N(n)
	}
	customer := (uint64(u.i%u.customers)*u.multiplier + u.offset) % n
	at := gateStart.Add(time.Duration(float64(u.i) * g.step * float64(time.Millisecond)))
	u.i++
	p := payment{number: uint64(round)*n + customer + 1, customer: customer, merchant: customer * 7919 % gateMerchants, cents: 1000 + customer%9000, instrument: 1}
	if share := 0.05 * float64(u.perKey) / float64(u.perKey-1); round > 0 && g.rand.Float64() < share {
		p.number = customer + 1
		u.refunds++
		g.refunds++
		*e = g.refundOf(e.value, p, p.cents/2, at)
		return
	}
	*e = g.transaction(e.value, p, at)
}

func gcd(a, b uint64) uint64 {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}
