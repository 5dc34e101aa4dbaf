package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/pipeline/kafkatest"
	"github.com/refundguard/refundguard/rules/event"
)

// base is the event time of the first record of most tests; Kafka's
// timestamps are now, so nothing is in the future.
var base = time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)

const testRules = `
rules:
  - {id: over-refund, severity: critical, action: reject, reason: OVER_REFUND, on_missing: skip, when: 'original != nil and refunded + amount > original.amount'}
  - {id: velocity, severity: high, action: review, reason: VELOCITY, on_missing: skip, when: 'refunds.by(customer_id).within("7d").count() >= 3'}
  - {id: watch, severity: low, action: alert, on_missing: skip, when: 'amount >= 500', message: 'amount {{amount}}'}
`

// world is a cluster, a rule folder, and the pipelines that run on them.
type world struct {
	t       *testing.T
	cluster *kafkatest.Cluster
	cfg     pipeline.Config
	client  *kgo.Client
	now     func() time.Time // nil: the clock
}

func newWorld(t *testing.T, partitions int32, rules string) *world {
	w := &world{t: t, cluster: kafkatest.Start(t), cfg: pipeline.DefaultConfig()}
	w.cluster.CreateTopics(partitions, nil, "transactions", "refunds")
	w.client = w.cluster.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	w.cfg.Rules.Dir = t.TempDir()
	w.cfg.State.Dir, w.cfg.State.SaveInterval = filepath.Join(t.TempDir(), "state"), 50*time.Millisecond
	w.cfg.Rules.Reload = 20 * time.Millisecond
	w.cfg.Engine.Workers, w.cfg.Engine.TakeoverAfter = 3, 0
	w.writeRules(rules)
	return w
}

func (w *world) writeRules(text string) {
	w.t.Helper()
	// Renamed into place, so that the watcher never reads half a file.
	tmp := filepath.Join(w.t.TempDir(), "rules")
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(w.cfg.Rules.Dir, "rules.yaml")); err != nil {
		w.t.Fatal(err)
	}
}

// instance is one running pipeline.
type instance struct {
	*pipeline.Pipeline
	t    *testing.T
	stop context.CancelFunc
	done chan error

	registry *prometheus.Registry
}

func (w *world) new() (*pipeline.Pipeline, *prometheus.Registry) {
	w.t.Helper()
	registry := prometheus.NewRegistry()
	p, err := pipeline.New(w.cfg, pipeline.Deps{
		Options: []kgo.Opt{kgo.SeedBrokers(w.cluster.Brokers()...)}, TransactionalID: "refundguard", CreateTopics: true,
		Logger: slog.New(slog.NewTextHandler(w.t.Output(), nil)), Registerer: registry, Now: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	return p, registry
}

func (w *world) start() *instance {
	w.t.Helper()
	p, registry := w.new()
	in := &instance{Pipeline: p, t: w.t, done: make(chan error, 1), registry: registry}
	ctx, cancel := context.WithCancel(context.Background())
	in.stop = cancel
	go func() { in.done <- in.Run(ctx) }()
	w.t.Cleanup(in.leave)
	return in
}

// leave stops the instance before its cluster is gone: while it drains, it
// would go on with whatever listens on that port next.
func (in *instance) leave() {
	in.stop()
	_ = in.wait()
}

// end stops the instance and returns what Run returned.
func (in *instance) end() error {
	in.t.Helper()
	in.stop()
	return in.wait()
}

func (in *instance) wait() error {
	in.t.Helper()
	select {
	case err := <-in.done:
		in.done <- err
		return err
	case <-time.After(time.Minute):
		in.t.Fatal("the pipeline did not end")
		return nil
	}
}

// until waits for a condition.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited a minute for: %s", what)
		}
	}
}

// passed waits until n records of the refunds topic have passed and the
// balance of that is committed.
func (w *world) passed(in *instance, n int64) pipeline.Balance {
	w.t.Helper()
	w.until(fmt.Sprintf("%d refunds passed", n), func() bool { return in.Balance().Read >= n })
	b := in.Balance()
	if b.Read != n || !b.OK() {
		w.t.Fatalf("balance %+v, want %d read", b, n)
	}
	if w.cluster == nil {
		return b
	}
	for _, topic := range []string{"refund-decisions", "refunds-approved", "refund-status", "alerts", "dead-letters", "refundguard-cases"} {
		// A real broker answers a commit before readers see it.
		if _, err := kafka.Settled(w.t.Context(), []kgo.Opt{kgo.SeedBrokers(w.cluster.Brokers()...)}, topic); err != nil && !errors.Is(err, kafka.ErrNoTopic) {
			w.t.Fatal(err)
		}
	}
	return b
}

// fields are a record's fields; f["partition"] says where it goes.
type fields map[string]any

func (w *world) send(topic string, partition int32, f fields) *kgo.Record {
	w.t.Helper()
	b, err := json.Marshal(f)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.sendRaw(topic, partition, string(b))
}

func (w *world) sendRaw(topic string, partition int32, value string) *kgo.Record {
	w.t.Helper()
	r := &kgo.Record{Topic: topic, Partition: partition, Key: []byte("some key"), Value: []byte(value),
		Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte("a")}, {Key: "trace", Value: []byte("b")}}}
	if err := w.client.ProduceSync(context.Background(), r).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	return r
}

func tx(id, customer, amount string, after time.Duration) fields {
	return fields{"transaction_id": id, "customer_id": customer, "amount": amount, "currency": "USD", "occurred_at": base.Add(after).Format(time.RFC3339Nano), "instrument_id": "pm_" + customer}
}

func refund(id, txID, customer, amount string, after time.Duration) fields {
	f := fields{"refund_id": id, "customer_id": customer, "amount": amount, "currency": "USD", "occurred_at": base.Add(after).Format(time.RFC3339Nano)}
	if txID != "" {
		f["transaction_id"] = txID
	}
	return f
}

// decisions are the committed decisions by refund id; two of one refund end
// the test.
func (w *world) decisions() map[string]*event.Decision {
	w.t.Helper()
	all := map[string]*event.Decision{}
	for _, r := range w.cluster.ReadCommitted("refund-decisions") {
		d, err := event.ParseDecision(r.Value)
		if err != nil {
			w.t.Fatal(err)
		}
		if all[d.RefundID] != nil {
			w.t.Fatalf("refund %s was decided twice", d.RefundID)
		}
		all[d.RefundID] = d
	}
	return all
}

// outcomes prints the decisions: "r1 approve, r2 review".
func (w *world) outcomes() string {
	w.t.Helper()
	all := w.decisions()
	var out []string
	for _, id := range slices.Sorted(maps.Keys(all)) {
		out = append(out, id+" "+all[id].Outcome.String())
	}
	return strings.Join(out, ", ")
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func streamFrom(decideFrom string) pipeline.StreamConfig {
	return pipeline.StreamConfig{DecideFrom: decideFrom}
}

// slow leaves a test out of the short run, which is for between two edits.
func slow(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds")
	}
}
