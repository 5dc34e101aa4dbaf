package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/pipeline/kafkatest"
	"github.com/refundguard/refundguard/sinks/clickhouse"
	"github.com/refundguard/refundguard/sinks/clickhouse/local"
)

// serviceEnv tells this test binary to be the service, in a process that a test
// can kill.
const serviceEnv = "REFUNDGUARD_TEST_SERVICE"

// patience is how long a test waits for something that takes seconds.
const patience = 3 * time.Minute

func TestMain(m *testing.M) {
	local.RunIfChild()
	if text := os.Getenv(serviceEnv); text != "" {
		serve(text)
		return
	}
	os.Exit(m.Run())
}

// settings say which service.
type settings struct {
	Brokers       []string
	Rules         string
	DecideFrom    string
	State         string // folder
	TakeoverAfter time.Duration
	Die           death // where the service kills itself; not at all if zero
	Life          *life // nil: reviews and payments as by default

	clock func() time.Time // the machine's; nil: the real one
}

// life is what follows a decision, and where it is kept.
type life struct {
	Review     pipeline.ReviewConfig
	ETA        map[string]string
	Base       string // currency
	Memory     int64
	ClickHouse *clickhouse.Config // nil: none
}

// death is a request to a broker, or its answer, that is the last thing that
// the process sees: the After-th one of that kind.
type death struct {
	Key      int16
	After    int32
	Answered bool
}

// Kafka's numbers of the two requests that matter.
const (
	produce = 0
	endTxn  = 26
)

func (d death) String() string {
	name := map[int16]string{produce: "Produce", endTxn: "EndTxn"}[d.Key]
	if d.Answered {
		return fmt.Sprintf("with the answer to %s %d", name, d.After)
	}
	return fmt.Sprintf("with %s %d on its way", name, d.After)
}

// reaper counts down to a death.
type reaper struct {
	death
	seen atomic.Int32
}

func (r *reaper) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	r.count(key, false, err)
}

func (r *reaper) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	r.count(key, true, err)
}

func (r *reaper) count(key int16, answered bool, err error) {
	if err == nil && r.After > 0 && r.Key == key && r.Answered == answered && r.seen.Add(1) == r.After {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// serve is the service in a process of its own. It ends with the test.
func serve(text string) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	var s settings
	err := json.Unmarshal([]byte(text), &s)
	if err == nil {
		err = s.run(ctx, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const century = 100 * 365 * 24 * time.Hour

// run is the service from its configuration to its end. Epochs are small and
// many, so that what happens between two of them happens often.
func (s *settings) run(ctx context.Context, log *slog.Logger) error {
	connection := kafka.DefaultConfig()
	connection.SeedBrokers = s.Brokers
	options, err := connection.Options(log, &reaper{death: s.Die})
	if err != nil {
		return err
	}
	config := pipeline.DefaultConfig()
	config.Rules.Dir = s.Rules
	config.Streams = map[string]pipeline.StreamConfig{"refunds": {DecideFrom: s.DecideFrom}}
	config.State.Dir, config.State.SaveInterval = s.State, 50*time.Millisecond
	// A year passes within seconds, and the model forgets nothing.
	config.State.Originals, config.State.Retention, config.State.Dedup = century, century, century
	config.Engine.BufferRecords, config.Engine.TakeoverAfter = 256, s.TakeoverAfter
	config.Engine.CommitInterval = 5 * time.Millisecond
	config.Engine.AlignTimeout = patience // a loaded machine is no silent partition
	if l := s.Life; l != nil {
		config.Review, config.ETA, config.Currency.Base, config.State.Memory = l.Review, l.ETA, l.Base, l.Memory
		config.State.SaveInterval = 500 * time.Millisecond // some of what a start must know is in the topics only
	}
	p, err := pipeline.New(config, pipeline.Deps{
		Options: options, TransactionalID: connection.TransactionalID, CreateTopics: true,
		Logger: log, Registerer: prometheus.NewRegistry(), Now: s.clock,
	})
	if err != nil {
		return err
	}
	if s.Life == nil || s.Life.ClickHouse == nil {
		return p.Run(ctx)
	}
	sink, err := newSink(*s.Life.ClickHouse, options, log)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- sink.Run(ctx) }()
	err = p.Run(ctx)
	return errors.Join(err, <-ended, sink.Close())
}

// service is a running service, in this process or in another.
type service struct {
	t    testing.TB
	log  *logBuffer
	done chan error // what it ended with

	cancel func() // ends it in good order
	kill   func() // ends it at once; only in a process of its own
}

// start runs the service in this process.
func start(t testing.TB, s settings) *service {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	sv := &service{t: t, log: &logBuffer{}, done: make(chan error, 1), cancel: cancel}
	log := slog.New(slog.NewTextHandler(sv.log, nil))
	go func() { sv.done <- s.run(ctx, log) }()
	t.Cleanup(sv.close)
	return sv
}

// startProcess runs the service in a process of its own.
func startProcess(t testing.TB, s settings) *service {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serviceEnv+"="+string(text))
	alive, err := cmd.StdinPipe() // closes when we are gone, however that happens
	if err != nil {
		t.Fatal(err)
	}
	sv := &service{t: t, log: &logBuffer{}, done: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = sv.log, sv.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { sv.done <- cmd.Wait() }()
	sv.cancel = func() { alive.Close() }
	sv.kill = func() { cmd.Process.Kill() }
	t.Cleanup(sv.close)
	return sv
}

// ended waits for the end of the service, and says what it ended with.
func (sv *service) ended() error {
	sv.t.Helper()
	select {
	case err := <-sv.done:
		sv.done <- nil // for close
		return err
	case <-time.After(patience):
		sv.t.Fatalf("the service does not end\n%s", sv.log)
		return nil
	}
}

// stop ends the service in good order; crash pulls the plug.
func (sv *service) stop() {
	sv.t.Helper()
	sv.cancel()
	if err := sv.ended(); err != nil {
		sv.t.Fatalf("the service stopped with: %v\n%s", err, sv.log)
	}
}

func (sv *service) crash() {
	sv.t.Helper()
	sv.kill()
	sv.ended()
}

// dead reports whether the service has ended, however it did.
func (sv *service) dead() bool {
	select {
	case err := <-sv.done:
		sv.done <- err
		return true
	default:
		return false
	}
}

// untilDead waits for a service that kills itself.
func (sv *service) untilDead() {
	sv.t.Helper()
	err := sv.ended()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || !exit.Sys().(syscall.WaitStatus).Signaled() {
		sv.t.Fatalf("the service ended by itself: %v\n%s", err, sv.log)
	}
}

// close ends whatever still runs when the test is over.
func (sv *service) close() {
	sv.cancel()
	select {
	case <-sv.done:
	case <-time.After(20 * time.Second):
		if sv.kill != nil {
			sv.kill()
		}
	}
	if sv.t.Failed() || bytes.Contains(sv.log.Bytes(), []byte("DATA RACE")) {
		sv.t.Errorf("the service said:\n%s", sv.log)
	}
}

// check fails the test at once if the service has ended by itself.
func (sv *service) check() {
	sv.t.Helper()
	select {
	case err := <-sv.done:
		sv.done <- nil
		sv.t.Fatalf("the service ended by itself: %v\n%s", err, sv.log)
	default:
	}
}

// logBuffer keeps what a service says.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) Bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.buf.Bytes())
}

func (l *logBuffer) String() string { return string(l.Bytes()) }

// decidedSoFar is how far the decisions topic has grown, markers of
// transactions included.
func decidedSoFar(t testing.TB, admin *kadm.Client) (n int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ends, err := admin.ListCommittedOffsets(ctx, "refund-decisions")
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err == nil {
			n += o.Offset
		}
	})
	return n
}

// until waits for a condition, as long as the service runs.
func (sv *service) until(what string, condition func() bool) {
	sv.t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(20 * time.Millisecond) {
		sv.check()
		if time.Now().After(deadline) {
			sv.t.Fatalf("waited %s for %s\n%s", patience, what, sv.log)
		}
	}
}

// admin is an administrative client of the cluster.
func admin(cluster *kafkatest.Cluster) *kadm.Client {
	return kadm.NewClient(cluster.Client(kgo.ClientID("test")))
}
