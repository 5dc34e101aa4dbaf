// Package engine is refundguard's core without Kafka and without a clock: keyed
// state over past events, and decisions about refunds over that state.
//
// It works in two steps that never overlap. [Engine.Apply] enters events:
// repeated ids are told apart, transactions are remembered, windows are fed.
// [Engine.Decide] decides refunds over state that nobody writes meanwhile, the
// sums of refunds per transaction excepted, which it keeps itself.
//
// State is sharded by key hash; shard i belongs to worker i, so there are no
// locks. What is kept of a set of events doesn't depend on their order, except
// that the first applied record of an id is the event.
package engine

import (
	"crypto/sha256"
	"hash"
	"math"
	"sync"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/window"
)

// Fate is what Apply found an item to be.
type Fate uint8

// The fates.
const (
	Fresh     Fate = iota + 1 // a new event
	Duplicate                 // the same id with the same bytes
	Update                    // transactions: a known id with other bytes
	Conflict                  // other streams: a known id with other bytes
)

// Item is one decoded record on its way through the engine. Prepare must have
// been called on it.
type Item struct {
	Event     event.Event
	Stream    int // index in the schema's Streams
	Partition int32
	Offset    int64
	Received  int64 // Kafka timestamp, Unix milliseconds

	// Seen is from when on its id counts as known, Unix milliseconds: the later of
	// Received and when it was first applied. Producers set Kafka timestamps, and
	// an id that is forgotten too early is paid twice.
	Seen int64

	// Sent is occurred_at as it was sent, where Event.Time was moved to the
	// Kafka timestamp; else it equals Event.Time.
	Sent int64

	// Hold, when set, is the reason why this refund must not be approved
	// whatever the rules say, e.g. EVENT_IN_FUTURE.
	Hold     string
	Degraded bool // decided while state is known to be incomplete

	Fate Fate // set by Apply

	content uint64 // hash of the record's bytes
	id      uint64 // hash of the event's id

	refunded rules.Refunded // with which bringBack asked for keys
}

// Prepare computes what Apply needs of a record's bytes. It may run on any
// goroutine.
func (it *Item) Prepare(data []byte) {
	it.content = xxh3.Hash(data)
	it.id = xxh3.HashString(it.Event.ID())
}

// Config is what an engine is made with.
type Config struct {
	Schema  *event.Schema
	Workers int // number of workers and shards; at least 1

	// ReadAhead is how far, in milliseconds of event time, events may be applied
	// beyond the earliest refund that is undecided. Windows keep that much more
	// than they reach back.
	ReadAhead int64

	// ExactEvents is how many events per key and series are kept one by one
	// before the oldest go to buckets; 0: the default of package window.
	ExactEvents int

	// Retention, Originals and Dedup are for how long, in milliseconds since they
	// were seen, ids are kept of refunds, of transactions and of others; 0: for
	// ever. What is older is not saved any longer, and not restored.
	Retention, Originals, Dedup int64

	// Memory is how many bytes of state are kept in memory, about; 0: all. See
	// KeepOnDisk.
	Memory int64

	// Whether decisions over state that is incomplete, or over windows that are
	// still filling, must not approve.
	HoldDegraded, HoldWarming bool

	Holdout Holdout
}

// Engine holds the state. Its methods are called by one goroutine at a time.
type Engine struct {
	cfg      Config
	set      *rules.Set
	stores   []*store
	byStream [][]int // stream index -> indices in stores
	updates  []int   // those on the stream updates
	derived  derivation
	plans    [2]plan // what to find and compute for refunds, and for transactions
	shards   []*shard
	workers  []*worker
	newest   int64 // greatest event time applied
	received int64 // greatest Kafka timestamp applied
	earliest int64 // smallest

	loss   Loss
	shed   bool
	guards Guards

	keepsExpired bool

	tracking bool           // what changes is noted, for StartSave
	nextID   int            // of a store
	saved    map[int]bool   // ids of stores that are saved
	dropped  map[int]uint16 // by stream, the day before which what is saved was dropped
	forgot   map[int]int64  // by stream, the Kafka timestamp before which ids are not known

	transactions, refunds int // stream indices
	slots                 slots
	run                   chan func()
	closed                sync.Once

	disk     Saved     // nil: nothing leaves memory
	eviction *eviction // under way
}

// slots of the built-in fields that the engine itself reads.
type slots struct {
	txStatus, txAmount, txCurrency, txTime, txInstrument                  int
	rfTransaction, rfAmount, rfCurrency, rfCustomer, rfMerchant, rfMethod int
}

// shard is the state that one worker owns.
type shard struct {
	originals *table[original]
	updates   updates
	ids       []*table[uint64] // by stream, content hash; nil for transactions
	refunded  *table[reserved]
	moved     map[string]int64 // refund id -> Event.Time, where that isn't occurred_at; of ids in memory
	filled    map[uint64]bool  // updates that Fill was given; nil: it was given nothing

	changed []uint64 // hashes of what changed in refunded since the last save
	gone    [][]byte // keys of what is saved and forgotten
}

// worker is the scratch of one worker.
type worker struct {
	evals    [2]*rules.Evaluator // by plan
	found    [2][]found          // likewise, by index in finds
	selected [2][]selected       // likewise, by index in spans
	decided  []derived           // since the last Derive
	fill     []int
	out      [][]op // by destination shard
	order    int    // of what is routed: op.order
	queues   [][]op // of what insertAll enters
	ops      [together]*op
	own      []int32 // items whose ids are this worker's
	touched  uint64  // keeps what only fetches from being left out
	scratch  []byte
	values   []int64
	original event.Event
	due      []int32
	decision event.Decision
	shown    event.Original
	distinct window.Scratch
	mac      hash.Hash // of Holdout; nil: there is none
	sum      [sha256.Size]byte
}

// op is one insertion into a series, routed to the shard of its key.
type op struct {
	event *event.Event
	id    uint64
	store int
	order int // of the event among those that are applied with it
	hash  uint64
	key   string
}

// New makes an empty engine that runs set.
func New(cfg Config, set *rules.Set) *Engine {
	e := &Engine{cfg: cfg, newest: math.MinInt64, earliest: math.MaxInt64, run: make(chan func()), dropped: map[int]uint16{}, forgot: map[int]int64{}}
	for i, s := range cfg.Schema.Streams {
		switch s.Name {
		case "transactions":
			e.transactions = i
			e.slots.txStatus, e.slots.txAmount, e.slots.txCurrency = s.Slot("status"), s.Slot("amount"), s.Slot("currency")
			e.slots.txTime, e.slots.txInstrument = s.TimeSlot(), s.Slot("instrument_id")
		case "refunds":
			e.refunds = i
			e.slots.rfTransaction, e.slots.rfAmount, e.slots.rfCurrency = s.Slot("transaction_id"), s.Slot("amount"), s.Slot("currency")
			e.slots.rfCustomer, e.slots.rfMerchant, e.slots.rfMethod = s.Slot("customer_id"), s.Slot("merchant_id"), s.Slot("method")
		}
	}
	for range cfg.Workers {
		e.shards = append(e.shards, e.newShard())
		e.workers = append(e.workers, &worker{out: make([][]op, cfg.Workers), mac: cfg.Holdout.newMAC(),
			original: event.Event{Vals: make([]event.Value, 0, event.MaxFields)}, values: make([]int64, event.MaxFields)})
	}
	for range cfg.Workers - 1 {
		go func() {
			for f := range e.run {
				f()
			}
		}()
	}
	e.SetRules(set)
	return e
}

// Close ends the engine's goroutines.
func (e *Engine) Close() { e.closed.Do(func() { close(e.run) }) }

// parallel runs f once per worker and waits for all. Worker 0 is the caller;
// for a few items it is all of them, since waking the others takes longer.
func (e *Engine) parallel(items int, f func(w int)) {
	if items < parallelFrom {
		for w := range e.workers {
			f(w)
		}
		return
	}
	var wg sync.WaitGroup
	wg.Add(len(e.workers) - 1)
	for w := 1; w < len(e.workers); w++ {
		e.run <- func() { defer wg.Done(); f(w) }
	}
	f(0)
	wg.Wait()
}

const parallelFrom = 32

// owner is the shard of a key hash.
func (e *Engine) owner(hash uint64) int {
	return int((hash >> 32) * uint64(len(e.shards)) >> 32)
}

// Stats are sizes of the state: keys, how many of them are on disk only, events
// that are in memory one by one, and the memory that all that takes.
type Stats struct {
	Keys, Cold, Events, Bytes int64
}

// Stats counts what is kept. It reads all shards: call it between steps.
func (e *Engine) Stats() Stats {
	var st Stats
	for w, sh := range e.shards {
		st.Keys += int64(sh.originals.n + sh.refunded.n)
		st.Cold += int64(sh.originals.cold + sh.refunded.cold)
		for _, t := range sh.ids {
			st.Keys, st.Cold = st.Keys+int64(t.n), st.Cold+int64(t.cold)
		}
		for _, s := range e.stores {
			x := s.shards[w]
			st.Keys, st.Cold, st.Events = st.Keys+int64(x.Keys()), st.Cold+int64(x.Cold()), st.Events+x.Events()
		}
		st.Bytes += e.shardBytes(w)
	}
	return st
}

func (e *Engine) shardBytes(w int) int64 {
	sh := e.shards[w]
	n := sh.originals.bytes() + sh.updates.bytes() + sh.refunded.bytes()
	for _, t := range sh.ids {
		n += t.bytes()
	}
	for _, s := range e.stores {
		n += s.shards[w].Bytes()
	}
	return n
}

// Timings gives what the rules' conditions took since the last call, as
// rules.Evaluator.Timings does. It must not run beside Decide or Evaluate.
func (e *Engine) Timings(each func(rule string, n int64, took time.Duration)) {
	for _, w := range e.workers {
		for _, v := range w.evals {
			if v != nil {
				v.Timings(each)
			}
		}
	}
}
