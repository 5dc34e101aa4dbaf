package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/kafka"
)

const transactionalID = "refundguard"

// machine has a disk, and at most one instance that works on it.
type machine struct {
	name   string
	disk   *disk
	filled bool // its disk was full once: it may say so
}

// instance is one run of the service's core.
type instance struct {
	*pipeline.Pipeline
	name    string
	machine *machine
	host    *host
	stop    context.CancelFunc
	killed  bool
	stopped bool // in good order
	ended   bool
	err     error
	done    chan struct{} // closed once ended and err are set
}

func (s *sim) newMachine(name string) *machine {
	mem := vfs.NewCrashableMem()
	if err := mem.MkdirAll(stateDir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	if root, err := mem.OpenDir(""); err != nil || root.Sync() != nil {
		s.t.Fatal("the root can't be synced", err)
	}
	m := &machine{name: name, disk: newDisk(mem, s.rng.Uint64())}
	s.machines = append(s.machines, m)
	return m
}

// options are those of the program, on this network.
func (s *sim) options(h *host) []kgo.Opt {
	c := kafka.DefaultConfig()
	c.SeedBrokers = s.brokers
	options, err := c.Options(slog.New(slog.NewTextHandler(s.log.of(h.name), nil)))
	if err != nil {
		s.t.Fatal(err)
	}
	return append(options, kgo.Dialer(h.dial), kgo.DisableClientMetrics())
}

// start runs an instance on a machine.
func (s *sim) start(m *machine, cfg pipeline.Config) *instance {
	i := &instance{name: fmt.Sprintf("i%d", s.instances.Add(1)), machine: m, done: make(chan struct{})}
	i.host = s.net.host(i.name, s.lag)
	s.say("%s starts on %s", i.name, m.name)
	logger := slog.New(slog.NewTextHandler(s.log.of(i.name), nil))
	var err error
	i.Pipeline, err = pipeline.New(cfg, pipeline.Deps{Options: s.options(i.host), TransactionalID: transactionalID, CreateTopics: true,
		Logger: logger, Registerer: prometheus.NewRegistry(), Files: m.disk, Host: i.name})
	if err != nil {
		if s.rulesBroken.Load() { // the supervisor tries again
			s.say("%s can't start: %.100s", i.name, err)
			return nil
		}
		s.t.Fatalf("%s: %v", i.name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	i.stop = cancel
	go func() {
		err := i.Run(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		i.err, i.ended = err, true
		close(i.done)
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = append(s.running, i)
	return i
}

// kill ends an instance as SIGKILL or a power cut does: what it still does has
// no effect. A process that is killed leaves all that it wrote, a machine that
// is, what it synced and a part of the rest.
func (s *sim) kill(i *instance, power bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i.killed || i.ended {
		return
	}
	i.killed = true
	i.host.cut()
	kept := 100
	if power {
		kept = s.rng.IntN(100)
	}
	i.machine.disk = i.machine.disk.crashed(kept, s.rng.Uint64())
	i.stop()
	s.say("%s is killed (power %v)", i.name, power)
}

// live are the instances that may work; those that ended must have had a reason.
func (s *sim) live() []*instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = slices.DeleteFunc(s.running, func(i *instance) bool {
		if !i.ended && !i.killed {
			return false
		}
		if !i.killed && !i.stopped {
			s.ended(i)
		}
		return true
	})
	return slices.Clone(s.running)
}

func (s *sim) ended(i *instance) {
	s.say("%s ended: %v", i.name, i.err)
	switch {
	case errors.Is(i.err, pipeline.ErrFenced):
		s.gaveWay++
	case i.err != nil && i.machine.filled && strings.Contains(i.err.Error(), "state.dir"):
	default:
		s.t.Errorf("%s ended by itself: %v", i.name, i.err)
	}
}

// free are the machines on which nothing runs.
func (s *sim) free() []*machine {
	live := s.live()
	return slices.DeleteFunc(slices.Clone(s.machines), func(m *machine) bool {
		return slices.ContainsFunc(live, func(i *instance) bool { return i.machine == m })
	})
}

// keep starts an instance wherever none is left, until ctx ends.
func (s *sim) keep(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(500 * time.Millisecond)
		if len(s.live()) > 0 || s.starting.Load() > 0 || ctx.Err() != nil {
			continue
		}
		s.startLater(time.Duration(s.rng.Int64N(int64(2 * time.Second))))
	}
}

// startLater starts an instance on a free machine.
func (s *sim) startLater(after time.Duration) {
	s.starting.Add(1)
	defer s.starting.Add(-1)
	time.Sleep(after)
	if free := s.free(); len(free) > 0 {
		s.start(free[s.rng.IntN(len(free))], s.cfg)
	}
}

// stop has an instance end in good order.
func (s *sim) stop(i *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i.stopped = true
	i.stop()
}

// end stops what runs in good order.
func (s *sim) end() {
	for _, i := range s.live() {
		s.stop(i)
		select {
		case <-i.done:
			if i.err != nil {
				s.say("%s stopped: %v", i.name, i.err)
			}
		case <-time.After(2 * time.Minute):
			stacks := make([]byte, 1<<20)
			s.t.Errorf("%s was told to stop two minutes ago:\n%s", i.name, stacks[:runtime.Stack(stacks, true)])
		}
	}
	s.live()
}
