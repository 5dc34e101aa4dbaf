package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"time"
)

// Recovery measures what a crash costs: the program runs as processes of its
// own, which are killed.
type Recovery struct {
	Brokers []string      // none: an embedded broker in this process
	Program string        // "": this one
	Keys    []int         // sizes of the state, about
	Rate    int           // events per second, while it is down and for latencies
	Behind  time.Duration // of Rate, that are to be read after a kill
	Latency time.Duration // of each measurement of latencies; 0: none
	Seed    uint64
	Tell    func(string) // what is being done; nil: nobody asks
}

// RecoveryResult is all that Recovery measures.
type RecoveryResult struct {
	Broker   string        `json:"broker"`
	Rate     int           `json:"events_per_second"`
	Behind   float64       `json:"behind_seconds"`
	Crashes  []CrashResult `json:"crashes"`
	Failover *Failover     `json:"failover,omitempty"`
	Saving   *SavingResult `json:"saving,omitempty"`
	Audit    Audit         `json:"audit"`
}

// CrashResult is of one size of the state. An instance is killed, input comes
// while it is down, and it is started again; when all is decided and nothing was
// saved meanwhile, it is killed once more, and what came since is read again.
type CrashResult struct {
	Keys         int64   `json:"keys"`
	MemoryPerKey float64 `json:"memory_bytes_per_key"`
	RSSPerKey    float64 `json:"rss_bytes_per_key"`
	DiskPerKey   float64 `json:"disk_bytes_per_key"`

	Load    float64 `json:"load_seconds"`    // of Live, the saved state
	Live    float64 `json:"live_seconds"`    // from the start of the process
	Waited  int     `json:"events_waiting"`  // that came while it was down
	Decided float64 `json:"decided_seconds"` // from the start of the process until they all were

	Reread     int64   `json:"events_reread"` // by the start after the second kill
	RereadLoad float64 `json:"reread_load_seconds"`
	RereadLive float64 `json:"reread_live_seconds"`

	Fresh FreshResult `json:"from_nothing"`
}

// FreshResult is of a start without a state: all that the topics hold is read
// again, with half of the memory that the state takes.
type FreshResult struct {
	Memory int64   `json:"state_memory_bytes"`
	Live   float64 `json:"live_seconds"`
	State  float64 `json:"state_bytes"` // at most
}

// eventsPerKey is about what the generator makes of them. Small states have more
// keys an event, since few events share one.
const eventsPerKey = 0.87

// saveNever is longer than any measurement.
const saveNever = 24 * time.Hour

// saveInterval is the default's.
const saveInterval = 5 * time.Second

// Run measures. The error may come with a result: what was found is worth
// knowing then, too.
func (r Recovery) Run(ctx context.Context) (res RecoveryResult, err error) {
	if err := orDefaults(&r.Program, &r.Tell); err != nil {
		return res, err
	}
	res = RecoveryResult{Broker: brokerName(r.Brokers), Rate: r.Rate, Behind: r.Behind.Seconds()}
	for _, keys := range r.Keys {
		one, audit, err := r.crash(ctx, keys)
		if err != nil {
			return res, fmt.Errorf("recovery with %d keys: %w", keys, err)
		}
		r.Tell(fmt.Sprintf("%d keys: live after %.1f s, all decided after %.1f s; live with the same read again after %.1f s", one.Keys, one.Live, one.Decided, one.RereadLive))
		res.Crashes = append(res.Crashes, one)
		res.Audit.add(audit)
	}
	audit, err := r.pair(ctx, &res)
	if err != nil {
		return res, err
	}
	res.Audit.add(audit)
	return res, nil
}

func (r Recovery) crash(ctx context.Context, keys int) (c CrashResult, a Audit, err error) {
	fill, behind := int(float64(keys)*eventsPerKey), int(r.Behind.Seconds()*float64(r.Rate))
	d, err := newDeployment(ctx, r.Program, r.Brokers, fill+behind, r.Seed)
	if err != nil {
		return c, a, err
	}
	defer d.close(ctx)
	r.Tell(fmt.Sprintf("%d keys: filling", keys))
	in, err := d.start(settings{state: "state", saveInterval: saveInterval})
	if err != nil {
		return c, a, err
	}
	if err := d.send(ctx, fill); err != nil {
		return c, a, err
	}
	if err := d.decided(ctx); err != nil {
		return c, a, err
	}
	m, err := in.saved(ctx)
	if err != nil {
		return c, a, err
	}
	n := m["refundguard_state_keys"]
	c = CrashResult{Keys: int64(n), MemoryPerKey: m["refundguard_state_bytes"] / n, RSSPerKey: m["process_resident_memory_bytes"] / n,
		DiskPerKey: m["refundguard_state_disk_bytes"] / n, Waited: behind}

	r.Tell(fmt.Sprintf("%d keys: killed; sending what came meanwhile", keys))
	in.kill()
	if err := d.send(ctx, behind); err != nil {
		return c, a, err
	}
	r.Tell(fmt.Sprintf("%d keys: recovering", keys))
	if in, err = d.start(settings{state: "state", saveInterval: saveNever}); err != nil {
		return c, a, err
	}
	at, err := in.ready(ctx, false)
	if err != nil {
		return c, a, err
	}
	c.Live, c.Load = at.Sub(in.started).Seconds(), in.loadTook().Seconds()
	if err := d.decided(ctx); err != nil {
		return c, a, err
	}
	moved, _ := d.ledger.state()
	c.Decided = moved.Sub(in.started).Seconds()
	in.kill()

	r.Tell(fmt.Sprintf("%d keys: killed again; reading again", keys))
	// Whose folder it is shows once it was saved in: without this, the start
	// would wait until the one that was killed is silent.
	if in, err = d.start(settings{state: "state", saveInterval: saveInterval, takeover: "0s"}); err != nil {
		return c, a, err
	}
	if at, err = in.ready(ctx, false); err != nil {
		return c, a, err
	}
	c.RereadLive, c.RereadLoad, c.Reread = at.Sub(in.started).Seconds(), in.loadTook().Seconds(), in.readAgain()
	if err := in.stop(ctx); err != nil {
		return c, a, err
	}
	r.Tell(fmt.Sprintf("%d keys: starting with an empty folder", keys))
	if c.Fresh, err = d.fresh(ctx, int64(m["refundguard_state_bytes"]/2)); err != nil {
		return c, a, err
	}
	a, err = d.audit(ctx)
	return c, a, err
}

func (d *deployment) fresh(ctx context.Context, memory int64) (f FreshResult, err error) {
	f.Memory = memory
	in, err := d.start(settings{state: "fresh", saveInterval: saveInterval, takeover: "0s", env: []string{fmt.Sprintf("REFUNDGUARD_STATE_MEMORY=%d", memory)}})
	if err != nil {
		return f, err
	}
	for f.Live == 0 && time.Since(in.started) < startWithin {
		if m, err := in.metrics(ctx); err == nil {
			f.State = max(f.State, m["refundguard_state_bytes"])
		}
		if code, _, err := in.get(ctx, "/readyz"); err == nil && code == http.StatusOK {
			f.Live = time.Since(in.started).Seconds()
		} else if err := errors.Join(in.failed(), sleep(ctx, 20*time.Millisecond)); err != nil {
			return f, err
		}
	}
	if f.Live == 0 {
		return f, fmt.Errorf("%s was not ready within %v", in.name, startWithin)
	}
	return f, in.stop(ctx)
}

func (in *instance) loadTook() time.Duration {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.loaded
}

func (in *instance) readAgain() int64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.records
}

// saved waits until what is now is on disk, and returns the metrics of then.
func (in *instance) saved(ctx context.Context) (map[string]float64, error) {
	now := time.Now()
	for time.Since(now) < startWithin {
		m, err := in.metrics(ctx)
		if err == nil && m["refundguard_state_saved_timestamp_seconds"] > float64(now.UnixMilli())/1000 && m["refundguard_state_disk_bytes"] > 0 { // which is counted a little later
			return m, nil
		}
		if err := errors.Join(in.failed(), sleep(ctx, 20*time.Millisecond)); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s didn't save its state within %v", in.name, startWithin)
}

// Failover is the longest time without a decision, for who reads only what is
// committed, when the instance that works ends and a standby goes on.
type Failover struct {
	Rate    int     `json:"events_per_second"`
	Killed  float64 `json:"gap_killed_seconds"`
	Stopped float64 `json:"gap_stopped_seconds"`
	Typical float64 `json:"gap_usual_seconds"` // without either
}

// pairKeys are enough where the size of the state is not what is measured.
const pairKeys = 100_000

// pair measures what needs no large state.
func (r Recovery) pair(ctx context.Context, res *RecoveryResult) (a Audit, err error) {
	rate := max(100, r.Rate/10)
	const seconds = 10 * 60 // of each rate, at most
	fill := int(float64(min(pairKeys, slices.Min(r.Keys))) * eventsPerKey)
	d, err := newDeployment(ctx, r.Program, r.Brokers, fill+seconds*(rate+r.Rate), r.Seed)
	if err != nil {
		return a, err
	}
	defer d.close(ctx)
	r.Tell("failover")
	first, err := d.start(settings{state: "a", saveInterval: saveInterval})
	if err != nil {
		return a, err
	}
	if err := errors.Join(d.send(ctx, fill), d.decided(ctx)); err != nil {
		return a, err
	}
	f := &Failover{Rate: rate}
	second, err := d.start(settings{state: "b", saveInterval: saveInterval})
	if err != nil {
		return a, err
	}
	usual, killed, err := d.failover(ctx, rate, first, second, syscall.SIGKILL)
	if err != nil {
		return a, fmt.Errorf("failover after SIGKILL: %w", err)
	}
	f.Killed, f.Typical = killed.Seconds(), usual.Seconds()
	if first, err = d.start(settings{state: "a", saveInterval: saveInterval}); err != nil {
		return a, err
	}
	_, stopped, err := d.failover(ctx, rate, second, first, syscall.SIGTERM)
	if err != nil {
		return a, fmt.Errorf("failover after SIGTERM: %w", err)
	}
	f.Stopped, res.Failover = stopped.Seconds(), f
	if err := errors.Join(d.decided(ctx), first.stop(ctx)); err != nil {
		return a, err
	}
	if r.Latency > 0 {
		if res.Saving, err = r.saving(ctx, d); err != nil {
			return a, fmt.Errorf("latency: %w", err)
		}
	}
	return d.audit(ctx)
}

// failover ends the leader under load, and goes on until the standby has worked
// for a while. usual is the longest gap before.
func (d *deployment) failover(ctx context.Context, rate int, leader, standby *instance, s syscall.Signal) (usual, gap time.Duration, err error) {
	for _, in := range []*instance{standby, leader} {
		if _, err := in.ready(ctx, in == standby); err != nil {
			return 0, 0, err
		}
	}
	stop, sent := make(chan struct{}), make(chan error, 1)
	d.ledger.watch()
	go func() { sent <- d.pace(ctx, rate, stop) }()
	err = func() error {
		defer close(stop)
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
		warm := time.Now()
		if err := sleep(ctx, 3*time.Second); err != nil {
			return err
		}
		if err := leader.decides(ctx, warm, func() bool { usual = d.ledger.gap(warm); return usual > 0 }); err != nil {
			return err
		}
		at := time.Now()
		leader.signal(s)
		live, err := standby.ready(ctx, false)
		if err != nil {
			return err
		}
		if err := standby.decides(ctx, live, func() bool { return d.ledger.cameAfter(live) }); err != nil {
			return err
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
		gap = d.ledger.gap(at)
		return nil
	}()
	err = errors.Join(err, <-sent)
	if err == nil && s == syscall.SIGTERM {
		err = leader.stop(ctx)
	}
	return usual, gap, err
}

// decides waits for what came of decisions since.
func (in *instance) decides(ctx context.Context, since time.Time, came func() bool) error {
	for !came() {
		if time.Since(since) > quiet {
			return fmt.Errorf("%s was live and decided nothing for %v", in.name, quiet)
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
