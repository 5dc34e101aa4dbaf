package bench

import (
	"io"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"
)

// Result is one measurement.
type Result struct {
	Name            string           `json:"name"`
	Events          int              `json:"events"`
	Refunds         int              `json:"refunds"`
	CPUs            int              `json:"cpus"` // that could be used at the same time
	Seconds         float64          `json:"seconds"`
	EventsPerSecond float64          `json:"events_per_second"`
	CPUPerEvent     float64          `json:"cpu_us_per_event"` // of this process, in microseconds
	Allocs          float64          `json:"allocs_per_event"` // of this process, on Go's heap
	AllocBytes      float64          `json:"alloc_bytes_per_event"`
	RSS             float64          `json:"rss_mib"` // greatest so far
	Outcomes        map[string]int64 `json:"outcomes"`
	Digest          string           `json:"digest,omitempty"` // of every refund's outcome, score and rules; whatever their order

	// Speedup is how many times as many events a second these were than by the
	// first measurement, which the others are compared to.
	Speedup float64 `json:"speedup,omitempty"`

	// Transactions are of the engine: more of them, no refunds, after all else.
	Transactions *Steady `json:"transactions,omitempty"`

	Rules       int     `json:"rules,omitempty"`
	Evaluations float64 `json:"evaluations_per_second,omitempty"` // of rules' conditions

	Saves       int `json:"saves,omitempty"` // of the state, and copies of it in a bucket; gate with --state
	Checkpoints int `json:"checkpoints,omitempty"`

	Sinks *SinksResult `json:"sinks,omitempty"` // gate with --sinks
}

// Steady is what an event costs an engine that has seen many of its kind.
type Steady struct {
	Events      int     `json:"events"`
	CPUPerEvent float64 `json:"cpu_us_per_event"`
	Allocs      float64 `json:"allocs_per_event"`
	AllocBytes  float64 `json:"alloc_bytes_per_event"`
}

// Options are common to all measurements.
type Options struct {
	Events  int
	Seed    uint64
	Hot     float64   // share of the events that one merchant has on top of the job's
	CPUs    int       // that the engine uses; 0: all that Go does
	Profile io.Writer // where a CPU profile of what is measured goes; nil: none
}

// cost is what something took.
type cost struct {
	wall, cpu      time.Duration
	mallocs, bytes uint64
}

// spent is all that this process did so far.
func spent() cost {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return cost{wall: time.Since(processStart), cpu: cpuTime(), mallocs: m.Mallocs, bytes: m.TotalAlloc}
}

var processStart = time.Now()

func (c cost) plus(d cost) cost {
	return cost{c.wall + d.wall, c.cpu + d.cpu, c.mallocs + d.mallocs, c.bytes + d.bytes}
}

func (c cost) minus(d cost) cost {
	return cost{c.wall - d.wall, c.cpu - d.cpu, c.mallocs - d.mallocs, c.bytes - d.bytes}
}

func (c cost) steady(events int) *Steady {
	n := float64(events)
	return &Steady{Events: events, CPUPerEvent: perEvent(c.cpu, events), Allocs: float64(c.mallocs) / n, AllocBytes: float64(c.bytes) / n}
}

// stopwatch measures what the process spends while it runs.
type stopwatch struct {
	since   cost
	sum     cost
	profile bool
}

// start begins with a heap that was just collected.
func (o *Options) start() *stopwatch {
	runtime.GC()
	profile := o.Profile != nil && pprof.StartCPUProfile(o.Profile) == nil // an error says that there is one
	return &stopwatch{since: spent(), profile: profile}
}

func (w *stopwatch) pause() { w.sum = w.sum.plus(spent().minus(w.since)) }

func (w *stopwatch) resume() { w.since = spent() }

// stop ends it; it must not be paused.
func (w *stopwatch) stop() cost {
	w.pause()
	if w.profile {
		pprof.StopCPUProfile()
	}
	return w.sum
}

func (c cost) result(name string, events, refunds int) Result {
	n := float64(events)
	return Result{Name: name, Events: events, Refunds: refunds, CPUs: runtime.GOMAXPROCS(0), Seconds: c.wall.Seconds(),
		EventsPerSecond: n / c.wall.Seconds(), CPUPerEvent: perEvent(c.cpu, events), Allocs: float64(c.mallocs) / n, AllocBytes: float64(c.bytes) / n,
		RSS: peakRSS(), Outcomes: map[string]int64{}}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakRSS is the greatest resident memory that this process had, in MiB.
func peakRSS() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Maxrss) / 1024
}

func perEvent(d time.Duration, n int) float64 { return float64(d.Nanoseconds()) / 1000 / float64(n) }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
