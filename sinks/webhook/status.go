package webhook

import (
	"maps"
	"sync"
)

// State is how an endpoint is.
type State string

// The states.
const (
	Starting  State = "starting"  // not in its group yet
	Active    State = "active"    // delivering, or waiting for alerts
	Throttled State = "throttled" // the receiver asked for patience
	Down      State = "down"      // nothing gets through; alerts wait in Kafka
	Disabled  State = "disabled"  // answered 410 Gone
	Stopped   State = "stopped"
)

// Status is one endpoint's.
type Status struct {
	Endpoint  string
	State     State
	Pending   int    // alerts read and not finished
	LastError string // of a delivery, or of Kafka; "" when there was none
}

// watch is what others may see of an endpoint while it works.
type watch struct {
	mu      sync.Mutex
	status  Status
	offsets map[int32]int64
	changed chan struct{} // closed, and made anew, when something changes
}

func newWatch(endpoint string) *watch {
	return &watch{
		status:  Status{Endpoint: endpoint, State: Starting},
		offsets: map[int32]int64{}, changed: make(chan struct{}),
	}
}

func (w *watch) set(update func(*Status)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.status
	update(&w.status)
	if w.status != before {
		w.tell()
	}
}

func (w *watch) commit(partition int32, offset int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offsets[partition] = offset
	w.tell()
}

func (w *watch) tell() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// see is the present status, the committed offsets, and what is closed when
// one of them changes.
func (w *watch) see() (Status, map[int32]int64, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status, maps.Clone(w.offsets), w.changed
}

// publish shows the loop's state to others.
func (e *endpoint) publish() {
	pending := e.pending()
	e.m.pending.Set(float64(pending))
	down := 0.0
	if e.gate.down {
		down = 1
	}
	e.m.down.Set(down)
	e.watch.set(func(s *Status) {
		s.Pending = pending
		switch {
		case e.disabled, s.State == Starting:
		case e.gate.down:
			s.State = Down
		case !e.gate.until.IsZero():
			s.State = Throttled
		default:
			s.State = Active
		}
	})
}
