// Package kafkatest gives tests a Kafka cluster of one broker: an in-process
// fake (kfake) by default, the real Apache Kafka with
// REFUNDGUARD_TEST_KAFKA=apache in the environment. Tests don't see which.
//
// The real broker needs Java 17 or later, and Maven the first time. Where they
// are missing the test is skipped, or fails if CI is "true": a build server
// must not pass by skipping. Brokers are kept for the next test of the same
// test binary, and end with it, however it ends.
package kafkatest

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// patience bounds every single step of a helper: far longer than any takes on
// a loaded machine, far shorter than the test binary's own timeout.
const patience = 2 * time.Minute

// Cluster is one broker that belongs to one test until the test ends. At first
// it has no topics and no groups. Its methods end the test on failure, so call
// them from the test's own goroutine.
type Cluster struct {
	t       testing.TB
	broker  broker
	stopped bool
}

// broker is what the fake and the real one have in common.
type broker interface {
	addr() string
	stop() error    // orderly
	kill() error    // at once, nothing written that wasn't
	restart() error // after stop or kill, on the same address, with the same data
}

// Start gives the test a cluster of its own.
func Start(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	switch kind := os.Getenv("REFUNDGUARD_TEST_KAFKA"); kind {
	case "", "fake":
		c.broker = startFake(t)
	case "apache":
		c.broker = leaseApache(t, c)
	default:
		t.Fatalf(`kafkatest: REFUNDGUARD_TEST_KAFKA=%s: want "apache" for the real broker, or nothing for the in-process one`, kind)
	}
	return c
}

// InProcess is for a test that makes a fake cluster of its own, whose controls it
// needs: where the tests run on the real broker it would only repeat what the run
// on the fake has shown, so that it is left out there.
func InProcess(t testing.TB) {
	t.Helper()
	if os.Getenv("REFUNDGUARD_TEST_KAFKA") == "apache" {
		t.Skip("kafkatest: a test of the in-process Kafka, which runs without REFUNDGUARD_TEST_KAFKA")
	}
}

// Brokers are the seed addresses. They stay the same over Restart.
func (c *Cluster) Brokers() []string { return []string{c.broker.addr()} }

// Proxied is for a test that puts a proxy before the real broker: the proxy
// listens on door, where clients that come that way are told to go, and passes
// everything on to back.
func (c *Cluster) Proxied() (door, back string) {
	c.t.Helper()
	a, ok := c.broker.(*apache)
	if !ok {
		c.t.Skip("kafkatest: a proxy is put before the real broker only")
	}
	return local(a.door), local(a.back)
}

// Stop ends the broker in good order. Clients see refused connections until
// Restart.
func (c *Cluster) Stop() {
	c.t.Helper()
	c.away("stop", c.broker.stop)
}

// Kill ends the broker at once (SIGKILL to the real one).
func (c *Cluster) Kill() {
	c.t.Helper()
	c.away("kill", c.broker.kill)
}

func (c *Cluster) away(what string, do func() error) {
	c.t.Helper()
	if c.stopped {
		c.t.Fatalf("kafkatest: %s: the broker is stopped already", what)
	}
	if err := do(); err != nil {
		c.t.Fatalf("kafkatest: %s the broker: %v", what, err)
	}
	c.stopped = true
}

// Restart brings a stopped or killed broker back with its data.
func (c *Cluster) Restart() {
	c.t.Helper()
	if !c.stopped {
		c.t.Fatal("kafkatest: restart: the broker is running")
	}
	if err := c.broker.restart(); err != nil {
		c.t.Fatalf("kafkatest: restart the broker: %v", err)
	}
	c.stopped = false
}

// Client is a Kafka client that is closed when the test ends.
func (c *Cluster) Client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	cl, err := newClient(c.broker.addr(), opts...)
	if err != nil {
		c.t.Fatalf("kafkatest: make a client: %v", err)
	}
	c.t.Cleanup(cl.Close)
	return cl
}

// CreateTopics creates topics of one replica. Pairs of a topic setting and its
// value may follow in configs.
func (c *Cluster) CreateTopics(partitions int32, configs map[string]string, topics ...string) {
	c.t.Helper()
	values := make(map[string]*string, len(configs))
	for name, value := range configs {
		values[name] = &value
	}
	c.admin("create topics", func(ctx context.Context, adm *kadm.Client) error {
		made, err := adm.CreateTopics(ctx, partitions, 1, values, topics...)
		if err = errors.Join(err, made.Error()); err != nil {
			return err
		}
		// A real broker answers before it can be written to.
		for {
			ends, err := adm.ListEndOffsets(ctx, topics...)
			if err == nil && ends.Error() == nil {
				return nil
			}
			if ctx.Err() != nil {
				return errors.Join(err, ends.Error(), ctx.Err())
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}

// admin runs one administrative step, with the test failing if it does.
func (c *Cluster) admin(what string, do func(context.Context, *kadm.Client) error) {
	c.t.Helper()
	if err := withAdmin(c.broker.addr(), do); err != nil {
		c.t.Fatalf("kafkatest: %s: %v", what, err)
	}
}

func withAdmin(addr string, do func(context.Context, *kadm.Client) error) error {
	cl, err := newClient(addr)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return do(ctx, kadm.NewClient(cl))
}

func newClient(addr string, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addr), kgo.AlwaysRetryEOF()}, opts...)...)
}
