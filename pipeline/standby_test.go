package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
)

// network is one instance's, which can be cut and mended, and held up.
type network struct {
	mu    sync.Mutex
	cut   bool
	conns []net.Conn
	hold  sync.RWMutex // whoever has it keeps answers back
}

// answers is a connection whose answers can be kept back.
type answers struct {
	net.Conn
	of *network
}

func (a answers) Read(b []byte) (int, error) {
	n, err := a.Conn.Read(b)
	a.of.hold.RLock()
	defer a.of.hold.RUnlock()
	return n, err
}

func (n *network) dial(ctx context.Context, kind, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, kind, address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		_ = c.Close()
		return nil, errors.New("the network is cut")
	}
	n.conns = append(n.conns, c)
	return answers{c, n}, nil
}

func (n *network) set(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
	for _, c := range n.conns {
		_ = c.Close()
	}
	n.conns = nil
}

// member is one instance of several.
type member struct {
	*instance
	net      *network
	registry *prometheus.Registry
}

// saved reports whether it has a state on disk.
func (m *member) saved() bool { return m.metric("refundguard_state_saved_timestamp_seconds") > 0 }

// join starts an instance with a network and a state folder of its own.
func (r *held) join(dir string) *member {
	r.t.Helper()
	cfg, n, registry := r.cfg, &network{}, prometheus.NewRegistry()
	cfg.State.Dir = dir
	if cfg.Engine.TakeoverAfter == 0 {
		cfg.Engine.TakeoverAfter = 2 * time.Second
	}
	p, err := pipeline.New(cfg, pipeline.Deps{Options: []kgo.Opt{kgo.SeedBrokers(r.c.ListenAddrs()...), kgo.Dialer(n.dial)}, TransactionalID: "refundguard", CreateTopics: true,
		Logger: slog.New(slog.NewTextHandler(r.t.Output(), nil)).With("instance", filepath.Base(dir)), Registerer: registry})
	if err != nil {
		r.t.Fatal(err)
	}
	in := &instance{Pipeline: p, t: r.t, done: make(chan error, 1), registry: registry}
	ctx, cancel := context.WithCancel(context.Background())
	in.stop = cancel
	go func() { in.done <- in.Run(ctx) }()
	r.t.Cleanup(func() {
		in.stop()
		select {
		case <-in.done:
		case <-time.After(time.Minute):
			r.t.Error("the pipeline did not end")
		}
	})
	return &member{in, n, registry}
}

// leader waits for the one of some that is live.
func (r *held) leader(of ...*member) (leader *member) {
	r.t.Helper()
	r.until("one is live", func() bool {
		for _, m := range of {
			if m.Ready() == nil {
				leader = m
			}
		}
		return leader != nil
	})
	return leader
}

func (r *held) standsBy(m *member) {
	r.t.Helper()
	r.until("it stands by", func() bool { return errors.Is(m.Ready(), pipeline.ErrStandby) })
}

// A second instance follows the first, and goes on where that one ends: in
// order, or cut off. What was cut off writes nothing more, and stands by when it
// is back.
func TestAStandbyTakesOver(t *testing.T) {
	slow(t)
	r := newHeld(t, 2, 2)
	dir := t.TempDir()
	a := r.join(filepath.Join(dir, "a"))
	r.leader(a)
	b := r.join(filepath.Join(dir, "b"))
	r.standsBy(b)
	r.send("transactions", 0, tx("t1", "ann", "100", 0))
	r.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
	r.until("X is decided", func() bool { return a.Balance().Read == 1 })
	if err := a.end(); err != nil {
		t.Fatal(err)
	}
	r.send("refunds", 1, refund("Y", "t1", "ann", "60", 2*time.Hour)) // over the original with X
	r.until("Y is decided", func() bool { return b.Balance().Read == 2 })

	c := r.join(filepath.Join(dir, "c"))
	r.standsBy(c)
	b.net.set(true)
	r.send("refunds", 0, refund("Z", "t1", "ann", "10", 3*time.Hour))
	r.until("Z is decided", func() bool { return c.Balance().Read == 3 })
	b.net.set(false)
	r.standsBy(b)
	r.send("refunds", 0, refund("W", "t1", "ann", "40", 4*time.Hour))
	r.until("W is decided", func() bool { return c.Balance().Read == 4 })
	if err := errors.Join(b.end(), c.end()); err != nil {
		t.Error(err)
	}
	for id, want := range map[string]string{"X": "approve", "Y": "reject", "Z": "approve", "W": "reject"} {
		if d := r.decided()[id]; len(d) != 1 || !strings.HasPrefix(d[0], want) {
			t.Errorf("%s: %v, want one: %s", id, d, want)
		}
	}
}

// One that is replaced while it stops has stopped in order: another works.
func TestReplacedWhileStopping(t *testing.T) {
	slow(t)
	t.Parallel()
	r := newHeld(t, 1, 1)
	dir := t.TempDir()
	a := r.join(filepath.Join(dir, "a"))
	r.leader(a)
	b := r.join(filepath.Join(dir, "b"))
	r.standsBy(b)
	a.net.set(true)
	r.send("refunds", 0, refund("X", "", "ann", "60", time.Hour))
	a.stop()
	r.until("X is decided", func() bool { return b.Balance().Read == 1 })
	a.net.set(false)
	if err := a.wait(); err != nil && !strings.HasPrefix(err.Error(), "stopping: the last epoch could not be committed") {
		t.Errorf("it ends with %v", err)
	}
}

// Silence that a standby has only slept through, or in which no broker answered
// anybody, is no reason to take over from a leader that works.
func TestAStandbyThatSawNothingWaits(t *testing.T) {
	slow(t)
	for name, leaderToo := range map[string]bool{"it was suspended": false, "no broker answered": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newHeld(t, 1, 1)
			r.cfg.Engine.TakeoverAfter = 4 * time.Second
			dir := t.TempDir()
			a := r.join(filepath.Join(dir, "a"))
			r.leader(a)
			b := r.join(filepath.Join(dir, "b"))
			for range 2 { // not each time an answer is on its way
				r.standsBy(b)
				b.net.hold.Lock()
				if leaderToo {
					a.net.hold.Lock()
				}
				before := b.Ready().Error()
				<-time.After(r.cfg.Engine.TakeoverAfter + time.Second)
				b.net.hold.Unlock()
				if leaderToo {
					<-time.After(300 * time.Millisecond) // the standby hears first, and looks
					a.net.hold.Unlock()
				}
				r.until("it sees what came meanwhile", func() bool {
					err := b.Ready()
					if err == nil {
						t.Fatal("it has taken over")
					}
					return errors.Is(err, pipeline.ErrStandby) && err.Error() != before
				})
			}
			writers := map[string]bool{}
			for _, p := range r.read("refundguard-progress") {
				var by struct{ Writer struct{ Instance string } }
				if err := json.Unmarshal(p.Value, &by); err != nil {
					t.Fatal(err)
				}
				writers[by.Writer.Instance] = true
			}
			if len(writers) != 1 {
				t.Errorf("%d instances worked, want the first alone", len(writers))
			}
			if err := errors.Join(b.end(), a.end()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A standby's saved state is of what another has decided. Started again, it
// stands by as before: only a folder of the one that works says that this one
// has ended.
func TestAStandbyThatIsStartedAgainStandsBy(t *testing.T) {
	slow(t)
	r := newHeld(t, 2, 2)
	r.cfg.State.SaveInterval = 20 * time.Millisecond
	dir := t.TempDir()
	a := r.join(filepath.Join(dir, "a"))
	r.leader(a)
	r.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
	b := r.join(filepath.Join(dir, "b"))
	r.until("it has saved what it follows", b.saved)
	if err := b.end(); err != nil {
		t.Fatal(err)
	}
	r.standsBy(r.join(filepath.Join(dir, "b")))
	r.send("refunds", 0, refund("Y", "t1", "ann", "60", 2*time.Hour))
	r.until("the first has decided Y", func() bool { return a.Balance().Read == 2 && a.Ready() == nil })
}

// However often the leader changes, and whatever becomes of the instances, each
// refund has the decision that it would have had, once.
func TestLeadersComeAndGo(t *testing.T) {
	slow(t)
	seeds := 4
	if testing.Short() {
		seeds = 1
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 8))
			sc := &script{r: rand.New(rand.NewPCG(seed, 4))}
			once, w := newStateWorld(t), newStateWorld(t)
			w.cfg.State.SaveInterval = 20 * time.Millisecond
			dir, started := t.TempDir(), 0
			join := func() *member { started++; return w.join(filepath.Join(dir, fmt.Sprint("i", started))) }
			alive := []*member{join(), join()}
			for range 6 {
				b := sc.batch()
				once.produce(b)
				w.produce(b[:len(b)/2])
				leader := w.leader(alive...)
				if rnd.IntN(2) == 0 {
					w.settle(leader.instance)
				}
				w.produce(b[len(b)/2:])
				switch rnd.IntN(4) {
				case 0:
					leader.net.set(true) // and mended later
				case 1:
					if err := leader.end(); err != nil && !fenced(err) { // it may be one of two that race
						t.Fatal(err)
					}
					for i, m := range alive {
						if m == leader {
							alive[i] = join()
						}
					}
				case 2: // a standby
					for i, m := range alive {
						if m != leader {
							if err := m.end(); err != nil && !fenced(err) {
								t.Fatal(err)
							}
							alive[i] = w.join(filepath.Join(dir, fmt.Sprint("i", i+1)))
						}
					}
				case 3: // all at once
					for i, m := range alive {
						m.net.set(true)
						m.stop()
						alive[i] = join()
					}
				}
				if rnd.IntN(2) == 0 {
					w.leader(alive...)
				}
				for _, m := range alive {
					m.net.set(false)
				}
			}
			once.hold.Store(false)
			in := once.run()
			once.drained()
			if err := in.end(); err != nil {
				t.Fatal(err)
			}
			w.hold.Store(false)
			w.drained()
			for _, m := range alive {
				if err := m.end(); err != nil && !fenced(err) {
					t.Error(err)
				}
			}
			w.compare(once.results())
		})
	}
}

func fenced(err error) bool {
	return errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.ProducerFenced) || errors.Is(err, pipeline.ErrFenced)
}
