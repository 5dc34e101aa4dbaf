package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Overload measures what more events than can be worked off do to the service,
// which is a process of its own with a limit on its memory.
type Overload struct {
	Brokers []string // none: an embedded broker in this process
	Program string   // "": this one
	Memory  int64    // GOMEMLIMIT of the service
	Procs   int      // GOMAXPROCS of the service
	Rules   fs.FS    // nil: the gate's
	Backlog int      // events by which the sustainable rate is measured
	Factor  float64  // of the sustainable rate, that arrives
	For     time.Duration
	Seed    uint64
	Tell    func(string) // what is being done; nil: nobody asks
}

// OverloadResult is what Overload measures. Sizes are in bytes.
type OverloadResult struct {
	Broker      string           `json:"broker"`
	Memory      int64            `json:"memory_limit_bytes"`
	Procs       int              `json:"procs"`
	Sustainable float64          `json:"sustainable_events_per_second"`
	Rate        int              `json:"events_per_second"` // that was to arrive
	Sent        int              `json:"events_sent"`
	Backlog     OverloadPhase    `json:"backlog"` // what the sustainable rate is of
	Sending     OverloadPhase    `json:"sending"`
	Draining    OverloadPhase    `json:"draining"`       // from then until all was decided
	PeakRSS     int64            `json:"peak_rss_bytes"` // at any time, as far as the system tells; else of all samples
	Samples     []OverloadSample `json:"samples"`        // of sending and draining
	Audit       Audit            `json:"audit"`
}

// OverloadPhase sums samples up: but for the rates, what was greatest.
type OverloadPhase struct {
	Seconds   float64 `json:"seconds"`
	Arrived   float64 `json:"arrived_per_second"`
	WorkedOff float64 `json:"worked_off_per_second"`
	CPU       float64 `json:"cpu_us_per_event"` // of the service
	OverloadMost
	Saves int64 `json:"saves"`        // of the state, that came to their end
	Shed  int   `json:"shed_samples"` // in which shadow rules were left out
}

// OverloadMost are sizes and numbers at some time, or the greatest.
type OverloadMost struct {
	RSS     int64 `json:"rss_bytes"`
	Go      int64 `json:"go_bytes"`        // what GOMEMLIMIT counts
	State   int64 `json:"state_bytes"`     // of Go's
	Cold    int64 `json:"state_cold_keys"` // on disk only
	Lag     int64 `json:"lag_records"`     // in Kafka, as the service knows
	Waiting int64 `json:"refunds_waiting"`
}

// OverloadSample is what the service said of itself once.
type OverloadSample struct {
	Seconds float64 `json:"seconds"` // since sending began
	Applied int64   `json:"records_applied"`
	CPU     float64 `json:"cpu_seconds"`
	OverloadMost
	Saves int64 `json:"saves"`
	Shed  bool  `json:"shadow_rules_shed"`
}

// rssTolerance is how far above the limit resident memory may be: GOMEMLIMIT is
// soft, and knows nothing of the program's own pages.
const rssTolerance = 1.1

// Within reports whether resident memory was within its limit, about.
func (r OverloadResult) Within() bool { return float64(r.PeakRSS) <= rssTolerance*float64(r.Memory) }

// OK reports whether it was, and each refund has its one decision.
func (r OverloadResult) OK() bool { return r.Within() && r.Audit.OK() }

// Run measures.
func (o Overload) Run(ctx context.Context) (res OverloadResult, err error) {
	if err := orDefaults(&o.Program, &o.Tell); err != nil {
		return res, err
	}
	res = OverloadResult{Broker: brokerName(o.Brokers), Memory: o.Memory, Procs: o.Procs}
	if err := o.sustain(ctx, &res); err != nil {
		return res, fmt.Errorf("the sustainable rate: %w", err)
	}
	return res, o.overload(ctx, &res)
}

func brokerName(brokers []string) string {
	if len(brokers) == 0 {
		return "embedded Kafka, in the process that measures"
	}
	return "Kafka"
}

func (o Overload) deployment(ctx context.Context, events int) (*deployment, error) {
	d, err := newDeployment(ctx, o.Program, o.Brokers, events, o.Seed)
	if err != nil {
		return nil, err
	}
	if o.Rules == nil {
		return d, nil
	}
	rules := filepath.Join(d.dir, "rules")
	if err := errors.Join(os.RemoveAll(rules), os.CopyFS(rules, o.Rules)); err != nil {
		d.close(ctx)
		return nil, fmt.Errorf("copying the rules: %w", err)
	}
	return d, nil
}

func (o Overload) settings() settings {
	return settings{state: "state", saveInterval: saveInterval,
		env: []string{fmt.Sprintf("GOMEMLIMIT=%d", o.Memory), fmt.Sprintf("GOMAXPROCS=%d", o.Procs)}}
}

// sustain has a backlog worked off.
func (o Overload) sustain(ctx context.Context, res *OverloadResult) error {
	d, err := o.deployment(ctx, o.Backlog)
	if err != nil {
		return err
	}
	defer d.close(ctx)
	o.Tell(fmt.Sprintf("sending a backlog of %d events", o.Backlog))
	if err := d.send(ctx, o.Backlog); err != nil {
		return err
	}
	in, err := d.start(o.settings())
	if err != nil {
		return err
	}
	live, err := in.ready(ctx, false)
	if err != nil {
		return err
	}
	o.Tell("working it off")
	w := in.sample(ctx, live)
	samples, moved, err := d.finish(ctx, w, res)
	if err != nil {
		return err
	}
	took := moved.Sub(live).Seconds()
	res.Backlog, res.Sustainable = summarizeOverload(samples, took, 0), float64(o.Backlog)/took
	return nil
}

// overload sends more than that, and then nothing.
func (o Overload) overload(ctx context.Context, res *OverloadResult) error {
	res.Rate = int(o.Factor * res.Sustainable)
	events := int((o.For+10*time.Second).Seconds()*float64(res.Rate)) + mostAtOnce
	d, err := o.deployment(ctx, events)
	if err != nil {
		return err
	}
	defer d.close(ctx)
	in, err := d.start(o.settings())
	if err != nil {
		return err
	}
	if _, err := in.ready(ctx, false); err != nil {
		return err
	}
	o.Tell(fmt.Sprintf("%.0f events/s are worked off; sending %d/s for %v", res.Sustainable, res.Rate, o.For))
	began := time.Now()
	w := in.sample(ctx, began)
	stop := make(chan struct{})
	timer := time.AfterFunc(o.For, func() { close(stop) })
	defer timer.Stop()
	if err := errors.Join(d.pace(ctx, res.Rate, stop), d.alive()); err != nil {
		return err
	}
	ended := time.Since(began).Seconds()
	res.Sent = d.sent
	o.Tell(fmt.Sprintf("sent %d, %.0f/s; waiting until all is decided", res.Sent, float64(res.Sent)/ended))
	samples, moved, err := d.finish(ctx, w, res)
	if err != nil {
		return err
	}
	res.Samples = samples
	until := 0
	for until < len(samples)-1 && samples[until].Seconds < ended {
		until++
	}
	res.Sending = summarizeOverload(samples[:until+1], ended, float64(res.Sent)/ended)
	res.Draining = summarizeOverload(samples[until:], moved.Sub(began).Seconds()-ended, 0)
	return nil
}

// finish has all worked off, ends the instance that is sampled, and counts. moved
// is when the last decision came.
func (d *deployment) finish(ctx context.Context, w *sampler, res *OverloadResult) (samples []OverloadSample, moved time.Time, err error) {
	if err := d.workedOff(ctx, w.in); err != nil {
		return nil, moved, err
	}
	samples, peak, err := w.end()
	if err != nil {
		return nil, moved, err
	}
	res.PeakRSS = max(res.PeakRSS, peak)
	moved, _ = d.ledger.state()
	if err := w.in.stop(ctx); err != nil {
		return nil, moved, err
	}
	a, err := d.audit(ctx)
	res.Audit.add(a)
	return samples, moved, err
}

// workedOff is decided for as long as the instance applies something: one that is
// short of everything may be quiet for longer than those that aren't.
func (d *deployment) workedOff(ctx context.Context, in *instance) error {
	for applied := -1.0; ; {
		if err := d.decided(ctx); err != nil {
			return err
		}
		if _, all := d.ledger.state(); all {
			return nil
		}
		m, err := in.metrics(ctx)
		if err != nil || m["refundguard_records_applied_total"] == applied {
			return err
		}
		applied = m["refundguard_records_applied_total"]
		if err := sleep(ctx, quiet); err != nil {
			return err
		}
	}
}

func summarizeOverload(samples []OverloadSample, seconds, arrived float64) OverloadPhase {
	p := OverloadPhase{Seconds: seconds, Arrived: arrived}
	for _, s := range samples {
		p.RSS, p.Go, p.State = max(p.RSS, s.RSS), max(p.Go, s.Go), max(p.State, s.State)
		p.Cold, p.Lag, p.Waiting = max(p.Cold, s.Cold), max(p.Lag, s.Lag), max(p.Waiting, s.Waiting)
		if s.Shed {
			p.Shed++
		}
	}
	first, last := samples[0], samples[len(samples)-1]
	p.Saves = last.Saves - first.Saves
	if n := float64(last.Applied - first.Applied); n > 0 {
		p.WorkedOff, p.CPU = n/(last.Seconds-first.Seconds), 1e6*(last.CPU-first.CPU)/n
	}
	return p
}

// sampler asks an instance for its metrics once a second, and in the end.
type sampler struct {
	in      *instance
	began   time.Time
	stop    context.CancelFunc
	ended   chan struct{}
	samples []OverloadSample
	last    error
}

func (in *instance) sample(ctx context.Context, began time.Time) *sampler {
	s := &sampler{in: in, began: began, ended: make(chan struct{})}
	every, stop := context.WithCancel(ctx)
	s.stop = stop
	go func() {
		defer close(s.ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for s.take(ctx); ; s.take(ctx) {
			select {
			case <-every.Done():
				s.take(ctx)
				return
			case <-tick.C:
			}
		}
	}()
	return s
}

func (s *sampler) take(ctx context.Context) {
	m, err := s.in.metrics(ctx)
	if err != nil {
		s.last = err
		return
	}
	one := OverloadSample{Seconds: time.Since(s.began).Seconds(), Applied: int64(m["refundguard_records_applied_total"]),
		CPU: m["process_cpu_seconds_total"], Saves: int64(m["refundguard_state_save_seconds_count"]), Shed: m["refundguard_shadow_rules_shed"] > 0,
		OverloadMost: OverloadMost{RSS: int64(m["process_resident_memory_bytes"]), Go: int64(m["go_memstats_sys_bytes"] - m["go_memstats_heap_released_bytes"]),
			Lag:   int64(m["refundguard_lag_records"]),
			State: int64(m["refundguard_state_bytes"]), Cold: int64(m["refundguard_state_cold_keys"]), Waiting: int64(m["refundguard_refunds_waiting"])}}
	s.samples = append(s.samples, one)
}

// end is after the last sample. peak is the greatest resident memory.
func (s *sampler) end() (samples []OverloadSample, peak int64, err error) {
	s.stop()
	<-s.ended
	for _, one := range s.samples {
		peak = max(peak, one.RSS)
	}
	if peak == 0 {
		return nil, 0, errors.Join(fmt.Errorf("%s didn't say its resident memory: this needs a system on which Prometheus' process metrics have it, such as Linux", s.in.name), s.last)
	}
	return s.samples, max(peak, highWater(s.in.cmd.Process.Pid)), nil
}

// highWater is the greatest resident memory that a process ever had, 0 where the
// system doesn't tell.
func highWater(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" && f[2] == "kB" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}
