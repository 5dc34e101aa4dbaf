package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
)

// deployment is a set of topics that instances of the program work on, a
// generator that fills them, and a ledger of what was sent and decided.
type deployment struct {
	program string
	brokers []string
	prefix  string
	dir     string // of configurations, rules and states
	ledger  *ledger

	events   <-chan []gateEvent
	generate context.CancelFunc // ends that
	next     []gateEvent
	sent     int
	late     func(due time.Time) // called when an event is produced that was due then; nil: nobody asks

	fake      *kfake.Cluster // nil: the cluster is not ours
	client    *kgo.Client
	adm       *kadm.Client
	instances []*instance
}

// orDefaults fills in what a measurement isn't given: this program, and nobody who
// asks what is being done.
func orDefaults(program *string, tell *func(string)) (err error) {
	if *tell == nil {
		*tell = func(string) {}
	}
	if *program == "" {
		*program, err = os.Executable()
	}
	return err
}

// newDeployment makes topics for so many events, on an embedded broker if none
// is named.
func newDeployment(ctx context.Context, program string, brokers []string, events int, seed uint64) (d *deployment, err error) {
	d = &deployment{program: program, brokers: brokers, prefix: fmt.Sprintf("refundguard-bench-%d-", time.Now().UnixNano())}
	ahead, cancel := context.WithCancel(ctx)
	d.events, d.generate = newGate(events, seed, 0).ahead(ahead), cancel
	defer func() {
		if err != nil {
			d.close(ctx)
		}
	}()
	if len(brokers) == 0 {
		if d.fake, err = kfake.NewCluster(kfake.NumBrokers(1)); err != nil {
			return d, fmt.Errorf("embedded Kafka: %w", err)
		}
		d.brokers = d.fake.ListenAddrs()
	}
	if d.dir, err = os.MkdirTemp("", "refundguard-bench-"); err != nil {
		return d, err
	}
	rules := filepath.Join(d.dir, "rules")
	if err := errors.Join(os.Mkdir(rules, 0o700), os.WriteFile(filepath.Join(rules, "gate.yaml"), []byte(gateRules), 0o600)); err != nil {
		return d, err
	}
	// A refund's latency must not count the time that the client collects a batch.
	d.client, err = kgo.NewClient(kgo.SeedBrokers(d.brokers...), kgo.ProducerLinger(time.Millisecond), kgo.MaxBufferedRecords(100_000),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	if err != nil {
		return d, err
	}
	d.adm = kadm.NewClient(d.client)
	if err := d.create(ctx, gatePartitions, "transactions", "refunds", "decisions"); err != nil {
		return d, err
	}
	d.ledger, err = newLedger(d.brokers, d.prefix+"decisions")
	return d, err
}

func (d *deployment) create(ctx context.Context, partitions int32, names ...string) error {
	topics := make([]string, len(names))
	for i, name := range names {
		topics[i] = d.prefix + name
	}
	if resp, err := d.adm.CreateTopics(ctx, partitions, 1, nil, topics...); err != nil || resp.Error() != nil {
		return fmt.Errorf("creating the topics: %w", errors.Join(err, resp.Error()))
	}
	return nil
}

// close kills what runs and removes what was made.
func (d *deployment) close(ctx context.Context) {
	for _, in := range d.instances {
		in.kill()
	}
	if d.generate != nil {
		d.generate()
	}
	if d.ledger != nil {
		d.ledger.close()
	}
	if d.client != nil {
		if d.fake == nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			topics := []string{}
			for _, name := range append([]string{"transactions", "refunds"}, outputTopics...) {
				topics = append(topics, d.prefix+name)
			}
			_, _ = d.adm.DeleteTopics(ctx, topics...)
			cancel()
		}
		d.client.Close()
	}
	if d.fake != nil {
		d.fake.Close()
	}
	if d.dir != "" {
		_ = os.RemoveAll(d.dir)
	}
}

// send produces the next n events, as fast as it goes.
func (d *deployment) send(ctx context.Context, n int) error {
	var failed sendError
	for range n {
		d.produce(ctx, time.Time{}, &failed)
	}
	return errors.Join(d.client.Flush(ctx), failed.get())
}

// mostAtOnce is how many events pace produces before it looks whether to stop.
const mostAtOnce = 10_000

// pace produces events at a rate, each at its time and not when the one before
// was taken, until stop is closed.
func (d *deployment) pace(ctx context.Context, rate int, stop <-chan struct{}) error {
	var failed sendError
	start := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-stop:
			return errors.Join(d.client.Flush(ctx), failed.get())
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		due := int(time.Since(start).Seconds()*float64(rate)) + 1
		for due = min(due, n+mostAtOnce); n < due; n++ {
			if !d.produce(ctx, start.Add(time.Duration(n)*time.Second/time.Duration(rate)), &failed) {
				return errors.New("the generator has no more events: this took far longer than expected")
			}
		}
	}
}

// sendError is the last error of producing.
type sendError struct{ last atomic.Pointer[error] }

func (e *sendError) set(err error) { e.last.Store(&err) }

func (e *sendError) get() error {
	if err := e.last.Load(); err != nil {
		return *err
	}
	return nil
}

func (d *deployment) produce(ctx context.Context, at time.Time, failed *sendError) bool {
	if len(d.next) == 0 {
		d.next = <-d.events
	}
	if len(d.next) == 0 {
		return false
	}
	if d.late != nil {
		d.late(at)
	}
	e := d.next[0]
	d.next = d.next[1:]
	d.sent++
	topic := d.prefix + "transactions"
	if e.refund {
		topic = d.prefix + "refunds"
		d.ledger.send(e.number, at)
	}
	d.client.Produce(ctx, &kgo.Record{Topic: topic, Key: e.key, Value: e.value}, func(_ *kgo.Record, err error) {
		if err != nil {
			failed.set(err)
		}
	})
	return true
}

// outputTopics are what topics are called in the configuration: all of them, or
// those of another deployment would be written and read.
var outputTopics = slices.Sorted(maps.Keys(pipeline.DefaultConfig().Topics.ByKey()))

// quiet is for how long no decision must have come before one is taken for
// lost. Standbys wait for less.
const quiet = 30 * time.Second

// decided waits until all that was sent is decided, or nothing comes any more:
// the ledger then has it as lost.
func (d *deployment) decided(ctx context.Context) error {
	for {
		moved, all := d.ledger.state()
		if all {
			return nil
		}
		if time.Since(moved) > quiet {
			return nil
		}
		if err := d.alive(); err != nil {
			return err
		}
		if err := sleep(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
}

// alive is an error once an instance has ended by itself.
func (d *deployment) alive() error {
	for _, in := range d.instances {
		if err := in.failed(); err != nil {
			return err
		}
	}
	return nil
}

// audit waits until all that is committed is read, and counts.
func (d *deployment) audit(ctx context.Context) (Audit, error) {
	ends, err := d.adm.ListCommittedOffsets(ctx, d.prefix+"decisions")
	if err != nil {
		return Audit{}, fmt.Errorf("asking where the decisions end: %w", err)
	}
	for !d.ledger.readTo(ends[d.prefix+"decisions"]) {
		if moved, _ := d.ledger.state(); time.Since(moved) > quiet {
			return Audit{}, fmt.Errorf("the committed decisions could not be read within %v", quiet)
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return Audit{}, err
		}
	}
	return d.ledger.audit(), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
