package bench

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/refundguard/refundguard/pipeline/store"
	"github.com/refundguard/refundguard/rules/event"
)

// Size is bytes in memory and on disk.
type Size struct {
	Memory float64 `json:"memory_bytes"`
	Disk   float64 `json:"disk_bytes"`
}

// StateSizes are what each thing that the state keeps takes.
type StateSizes struct {
	Transaction Size `json:"transaction"` // its id and what rules may ask of an original
	Refund      Size `json:"refund"`      // its id, and the sum of its transaction
	WindowKey   Size `json:"window_key"`  // of one series, without events
	WindowEvent Size `json:"window_event"`
}

// noRules keep nothing but what every deployment keeps, oneWindow one series of
// one column, too.
const (
	noRules   = "rules: [{id: none, score: 1, reason: NONE, when: amount < 0}]\n"
	oneWindow = "rules: [{id: one, score: 1, reason: ONE, when: 'transactions.by(customer_id).within(\"30d\").sum(amount) < 0'}]\n"
)

// eventsOfAKey are how many the keys have in one of two states that differ in
// that.
const eventsOfAKey = 16

// sizes compares states that differ in one thing.
func sizes(ctx context.Context, schema *event.Schema, o Options) (s StateSizes, err error) {
	o.Events = min(o.Events, 1_000_000)
	mixed := newGate(o.Events, o.Seed, o.Hot).rest()
	payments := slices.DeleteFunc(slices.Clone(mixed), func(e gateEvent) bool { return e.refund })
	var of [5]Size
	for i, m := range []struct {
		rules  string
		events []gateEvent
	}{{noRules, payments}, {noRules, mixed}, {noRules, spread(o, o.Events)}, {oneWindow, spread(o, o.Events)}, {oneWindow, spread(o, o.Events/eventsOfAKey)}} {
		if of[i], err = sizeOf(ctx, schema, m.rules, m.events); err != nil {
			return s, err
		}
	}
	n := float64(o.Events)
	s.Transaction = of[2].over(n)
	s.Refund = of[1].without(of[0]).over(float64(len(mixed) - len(payments)))
	one, many := of[3].without(of[2]).over(n), of[4].without(of[2]).over(n/eventsOfAKey)
	s.WindowEvent = many.without(one).over(eventsOfAKey - 1)
	s.WindowKey = one.without(s.WindowEvent)
	return s, nil
}

func (s Size) over(n float64) Size { return Size{s.Memory / n, s.Disk / n} }

func (s Size) without(t Size) Size { return Size{s.Memory - t.Memory, s.Disk - t.Disk} }

// spread are payments, the same number by each of so many customers.
func spread(o Options, customers int) (all []gateEvent) {
	g := newGate(o.Events, o.Seed, 0)
	for i := range o.Events {
		p := payment{number: uint64(i + 1), customer: uint64(i % customers), merchant: uint64(i % gateMerchants), cents: 3000, instrument: 1}
		all = append(all, g.transaction(make([]byte, 0, 384), p, gateStart.Add(time.Duration(float64(i)*g.step)*time.Millisecond)))
	}
	return all
}

// sizeOf is the size of the state that events leave. Of the disk it counts keys
// and values: the files are smaller by compression, and larger by what is not yet
// compacted.
func sizeOf(ctx context.Context, schema *event.Schema, rules string, events []gateEvent) (of Size, err error) {
	set, err := load(schema, rules)
	if err != nil {
		return of, err
	}
	dir, err := os.MkdirTemp("", "refundguard-bench-")
	if err != nil {
		return of, err
	}
	defer os.RemoveAll(dir)
	st, err := store.Open(nil, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return of, err
	}
	defer st.Close()
	run, _, err := runState(ctx, schema, set, events, &stateSaver{st: st})
	if err != nil {
		return of, err
	}
	defer run.engine.Close()
	of.Memory = float64(run.engine.Stats().Bytes)
	err = st.Scan([]byte{1}, nil, func(key, part []byte) error {
		of.Disk += float64(len(key) + len(part))
		return nil
	})
	return of, err
}
