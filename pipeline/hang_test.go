package pipeline_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
)

// An instance that hangs in the middle of its work isn't ready, though it can't
// say so, and is again when it goes on.
func TestWhoHangsIsNotReady(t *testing.T) {
	slow(t)
	t.Parallel()
	r := newHeld(t, 1, 1)
	var clock sync.Mutex // as long as somebody has it, the clock gives no answer
	registry := prometheus.NewRegistry()
	p, err := pipeline.New(r.cfg, pipeline.Deps{Options: []kgo.Opt{kgo.SeedBrokers(r.c.ListenAddrs()...)}, TransactionalID: "refundguard", CreateTopics: true,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Registerer: registry, Now: func() time.Time {
			clock.Lock()
			defer clock.Unlock()
			return time.Now()
		}})
	if err != nil {
		t.Fatal(err)
	}
	in := &instance{Pipeline: p, t: t, done: make(chan error, 1), registry: registry}
	ctx, cancel := context.WithCancel(context.Background())
	in.stop = cancel
	go func() { in.done <- in.Run(ctx) }()
	t.Cleanup(in.leave)
	r.until("live", func() bool { return in.Ready() == nil && in.metric("refundguard_ready") == 1 })
	clock.Lock()
	r.until("it isn't ready", func() bool { return in.Ready() != nil })
	if err := in.Ready(); !strings.HasPrefix(err.Error(), "nothing has moved for ") || in.metric("refundguard_ready") != 0 {
		t.Errorf("%v, refundguard_ready %v", err, in.metric("refundguard_ready"))
	}
	clock.Unlock()
	r.until("live again", func() bool { return in.Ready() == nil })
}
