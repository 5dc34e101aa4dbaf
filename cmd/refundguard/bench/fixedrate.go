package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kfake"
)

// FixedRate measures the time from when a refund was due to be produced until
// its decision is committed, while events are due at a rate: of the service, and
// in turn of a process that only copies refunds within transactions.
type FixedRate struct {
	Brokers []string // none: an embedded broker in this process
	Program string   // "": this one
	Rate    int      // events per second
	For     time.Duration
	Warm    time.Duration // before that, and not measured
	Rounds  int           // of both
	Seed    uint64
	Tell    func(string) // what is being done; nil: nobody asks
}

// FixedRateResult is all that FixedRate measures.
type FixedRateResult struct {
	Broker string         `json:"broker"`
	Rate   int            `json:"events_per_second"`
	Warm   float64        `json:"warm_seconds"`
	Runs   []FixedRateRun `json:"runs"` // as they took turns
	Audit  Audit          `json:"audit"`
}

// FixedRateRun is one run of the service, or of the copy.
type FixedRateRun struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	Events  int     `json:"events"`

	// Latency is of refunds, from when they were due to when who reads only what
	// is committed has their decision; Generator of all events, from when they
	// were due to when they were given to the Kafka client. The former contains
	// the latter.
	Latency     Percentiles `json:"latency"`
	Generator   Percentiles `json:"generator_behind"`
	CPUPerEvent float64     `json:"cpu_us_per_event"` // of the process that is measured; 0 where the system doesn't tell
}

// Percentiles are in milliseconds, to three digits.
type Percentiles struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p99_9_ms"`
	Max   float64 `json:"max_ms"`
}

// histogram is of times up to an hour, in microseconds.
type histogram struct{ *hdrhistogram.Histogram }

func newHistogram() histogram { return histogram{hdrhistogram.New(1, time.Hour.Microseconds(), 3)} }

// record takes what is longer for an hour.
func (h histogram) record(d time.Duration) {
	_ = h.RecordValue(min(max(d.Microseconds(), 0), h.HighestTrackableValue()))
}

func (h histogram) percentiles() Percentiles {
	at := func(q float64) float64 { return float64(h.ValueAtPercentile(q)) / 1000 }
	return Percentiles{h.TotalCount(), at(50), at(99), at(99.9), float64(h.Max()) / 1000}
}

// Run measures.
func (f FixedRate) Run(ctx context.Context) (res FixedRateResult, err error) {
	if err := orDefaults(&f.Program, &f.Tell); err != nil {
		return res, err
	}
	res = FixedRateResult{Broker: brokerName(f.Brokers), Rate: f.Rate, Warm: f.Warm.Seconds()}
	if len(f.Brokers) == 0 { // one for all runs
		c, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			return res, fmt.Errorf("embedded Kafka: %w", err)
		}
		defer c.Close()
		f.Brokers = c.ListenAddrs()
	}
	for round := range f.Rounds {
		for _, name := range []string{"service", "copy"} {
			f.Tell(fmt.Sprintf("%s, round %d of %d: %d events/s for %v after %v", name, round+1, f.Rounds, f.Rate, f.For, f.Warm))
			run, audit, err := f.one(ctx, name)
			if err != nil {
				return res, fmt.Errorf("%s: %w", name, err)
			}
			res.Runs = append(res.Runs, run)
			res.Audit.add(audit)
		}
	}
	return res, nil
}

func (f FixedRate) one(ctx context.Context, name string) (run FixedRateRun, a Audit, err error) {
	d, err := newDeployment(ctx, f.Program, f.Brokers, int((f.Warm+f.For+time.Minute).Seconds()*float64(f.Rate)), f.Seed)
	if err != nil {
		return run, a, err
	}
	defer d.close(ctx)
	in, err := f.start(ctx, d, name)
	if err != nil {
		return run, a, err
	}
	behind := newHistogram()
	since := time.Now().Add(f.Warm)
	d.late = func(due time.Time) {
		if due.After(since) {
			behind.record(time.Since(due))
		}
	}
	stop, sent := make(chan struct{}), make(chan error, 1)
	go func() { sent <- d.pace(ctx, f.Rate, stop) }()
	err = sleep(ctx, f.Warm)
	before, from := processCPU(in.cmd.Process.Pid), time.Now()
	err = errors.Join(err, sleep(ctx, f.For))
	took := time.Since(from)
	cpu := processCPU(in.cmd.Process.Pid) - before
	close(stop)
	if err := errors.Join(err, <-sent, d.alive(), d.decided(ctx), in.stop(ctx)); err != nil {
		return run, a, err
	}
	if a, err = d.audit(ctx); err != nil {
		return run, a, err
	}
	latency := newHistogram()
	for _, took := range d.ledger.latencies(since) {
		latency.record(took)
	}
	run = FixedRateRun{Name: name, Seconds: took.Seconds(), Events: int(behind.TotalCount()), Latency: latency.percentiles(), Generator: behind.percentiles()}
	if run.Events > 0 {
		run.CPUPerEvent = perEvent(cpu, run.Events)
	}
	return run, a, nil
}

// start starts what is measured. Who copies is in time for the end of the
// warm-up.
func (f FixedRate) start(ctx context.Context, d *deployment, name string) (*instance, error) {
	if name == "copy" {
		return d.launch(nil, "bench", "copy", "--brokers", strings.Join(d.brokers, ","), "--prefix", d.prefix)
	}
	in, err := d.start(settings{state: "state", saveInterval: saveInterval})
	if err != nil {
		return nil, err
	}
	_, err = in.ready(ctx, false)
	return in, err
}

// processCPU is what a process spent so far, 0 where the system doesn't tell.
func processCPU(pid int) time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(text), ") ") // the name may hold anything
	f := strings.Fields(after)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * time.Second / 100 // Linux tells it in hundredths, whatever it counts in
}
