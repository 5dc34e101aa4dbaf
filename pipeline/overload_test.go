package pipeline

import (
	"fmt"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

func TestOverload(t *testing.T) {
	for name, c := range map[string]struct {
		waiting func(second int) int64
		shed    string // by second
	}{
		"nothing waits":          {func(int) int64 { return 0 }, "..............."},
		"a backlog gets shorter": {func(s int) int64 { return 9_000_000 - int64(s)*300_000 }, "..............."},
		"a little waits":         {func(s int) int64 { return int64(s) * 5_000 }, "..............."},
		"a burst":                {func(s int) int64 { return []int64{0, 200_000, 400_000, 600_000, 300_000}[min(s, 4)] }, "..............."},
		"more and more":          {func(s int) int64 { return 100_000 + int64(s)*100_000 }, "..........#####"},
		"more and more, then less": {func(s int) int64 {
			return []int64{100_000 + int64(s)*100_000, 1_300_000 - int64(s-12)*400_000}[min(s/13, 1)]
		}, "..........####.."},
	} {
		var o overload
		got := ""
		for second := range len(c.shed) {
			got += map[bool]string{true: "#", false: "."}[o.look(c.waiting(second), time.Unix(int64(second), 0))]
		}
		if got != c.shed {
			t.Errorf("%s: shed %s, want %s", name, got, c.shed)
		}
	}
}

// Where a step takes long, a save must not go on by one small piece a step: it
// would never come to its end, and nothing could leave memory.
func TestASaveGetsItsShareOfLongSteps(t *testing.T) {
	const keys = 100_000 // far more than are copied in one piece
	schema, cfg := event.Builtin(), DefaultConfig()
	set, err := rules.LoadFS(fstest.MapFS{"none.yaml": {Data: []byte("rules: [{id: none, score: 1, when: amount < 0}]")}}, "none", rules.Options{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Engine.Workers = 2
	s := &session{engine: newEngine(cfg, schema, set), metrics: newMetrics(prometheus.NewRegistry(), schema, func() error { return nil })}
	defer s.engine.Close()
	s.engine.Track()
	transactions := schema.Stream("transactions")
	d, items := event.NewDecoder(transactions, event.DefaultLimits()), []*engine.Item{}
	for i := range keys {
		value := fmt.Appendf(nil, `{"transaction_id":"txn_%d","amount":"1.00","currency":"USD","occurred_at":"2026-01-01T00:00:00Z"}`, i)
		it := &engine.Item{Stream: slices.Index(schema.Streams, transactions)}
		if err := d.Decode(value, &it.Event); err != nil {
			t.Fatal(err)
		}
		it.Prepare(value)
		items = append(items, it)
	}
	s.engine.Apply(items)
	s.saver = &saver{steps: make(chan saveStep, keys), results: make(chan saveResult, 1)}
	s.saving = &saving{save: s.engine.StartSave(0)}
	if more := s.saveFor(0); !more || len(s.saver.steps) != 1 {
		t.Errorf("beside a step that takes no time %d pieces are copied, more to do: %v; want one, and true", len(s.saver.steps), more)
	}
	if more := s.saveFor(time.Hour); more || !s.saving.copied {
		t.Errorf("beside a step of hours not all is copied")
	}
	close(s.saver.steps)
	got := map[string]bool{}
	note := func(key, _ []byte) error { got[string(key)] = true; return nil }
	for step := range s.saver.steps {
		for _, c := range step.copied {
			if err := c.Each(note, note); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(got) != keys {
		t.Errorf("%d keys are saved, want %d", len(got), keys)
	}
}
