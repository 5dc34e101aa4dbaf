package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// session is the pipeline between two recoveries: what was committed is read
// back, then epochs follow until something fails. All of its fields belong to
// the goroutine of run, where nothing else is said.
type session struct {
	cfg      sessionConfig
	log      *slog.Logger
	metrics  *metrics
	schema   *event.Schema
	topics   Topics
	txnID    string
	slots    struct{ method, device, instrument int }
	etas     map[string]time.Duration
	alertMin rules.Severity

	readAhead int64 // milliseconds
	capacity  int

	adm       *kadm.Client
	producer  *kgo.Client
	clusterID string
	inputs    []*input
	refunds   *input
	reader    *reader
	engine    *engine.Engine
	set       *rules.Set
	writers   []writer
	ends      ends

	epochs      int64
	balance     Balance
	epoch       *epoch
	committing  bool
	commitStart time.Time
	commits     chan committed
	failed      error
	mirrored    time.Time

	chunk   []*record      // applied last
	items   []*engine.Item // chunk for the engine
	dueRecs []*record
	dueItem []*engine.Item
	outs    []decided
	held    bool // records are read that may not be applied yet
}

// sessionConfig is the pipeline's configuration with what New resolved of it.
type sessionConfig struct {
	Config
	createTopics bool
	options      []kgo.Opt
	reloads      <-chan reload
	state        func(error) // nil: decisions are being made and committed
	rules        func(*rules.Set)
	committed    func(*progress)
}

// chunkRecords bounds what is applied at once, so that due refunds don't wait
// long for their turn.
const chunkRecords = 16384

func newSession(cfg sessionConfig, txnID string, set *rules.Set, schema *event.Schema, log *slog.Logger, m *metrics) *session {
	s := &session{cfg: cfg, log: log, metrics: m, schema: schema, topics: cfg.Names(), txnID: txnID, set: set,
		readAhead: cfg.Engine.ReadAhead.Milliseconds(), capacity: cfg.Engine.BufferRecords,
		epoch: &epoch{}, commits: make(chan committed, 1), etas: map[string]time.Duration{}}
	s.ends.answer = make(chan endsAnswer, 1)
	m.leftOut.Reset()
	for method, d := range cfg.ETA {
		s.etas[method], _ = parseDays(d) // checked by Validate
	}
	s.alertMin, _ = rules.ParseSeverity(cfg.Alerts.MinSeverity)
	rf := schema.Stream("refunds")
	s.slots.method, s.slots.device, s.slots.instrument = rf.Slot("method"), rf.Slot("device_id"), rf.Slot("instrument_id")
	s.writers = make([]writer, cfg.Engine.Workers)
	s.engine = engine.New(engine.Config{Schema: schema, Workers: cfg.Engine.Workers, ReadAhead: cfg.Engine.ReadAhead.Milliseconds(),
		HoldDegraded: cfg.Limits.OnDegraded == "review", HoldWarming: cfg.Limits.OnWarming == "review"}, set)
	return s
}

// run recovers and then works until ctx ends or something fails. When ctx
// ends, what was decided is committed first.
func (s *session) run(ctx context.Context) (err error) {
	// Commits go on for a while after ctx ends.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer s.engine.Close()
	if err := s.open(ctx); err != nil {
		return err
	}
	defer s.close(stop)
	if err := s.recover(ctx, work); err != nil {
		return err
	}
	s.cfg.state(nil)
	return s.loop(ctx, work)
}

func (s *session) close(stop func()) {
	stop()
	if s.reader != nil {
		s.reader.wg.Wait()
		s.reader.client.Close()
	}
	s.producer.Close()
	s.adm.Close()
}

// loop is the work between recovery and the end.
func (s *session) loop(ctx, work context.Context) error {
	idle := time.NewTicker(10 * time.Millisecond)
	defer idle.Stop()
	gauges := time.NewTicker(time.Second)
	defer gauges.Stop()
	s.commitStart = time.Now()
	s.askEnds(work)
	for {
		moved := false
		if !s.epoch.full() {
			moved = s.step(work)
		}
		if s.failed == nil && s.commitDue() {
			s.startCommit(work)
		}
		if s.failed != nil {
			return s.failed
		}
		if moved && len(s.commits) == 0 && len(s.ends.answer) == 0 && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return s.drain(work)
		case err := <-s.reader.fail:
			return err
		case c := <-s.commits:
			if err := s.afterCommit(work, c); err != nil {
				return err
			}
		case a := <-s.ends.answer:
			s.learnEnds(a)
		case r := <-s.cfg.reloads:
			s.reload(r)
		case <-s.reader.wake:
		case <-idle.C:
		case <-gauges.C:
			s.askEnds(work)
			s.leaveOut(time.Now())
			s.cfg.state(s.health())
			s.metrics.observe(s)
		}
	}
}

// stuck is how long a commit may take before the service says that it isn't
// ready. The client goes on trying meanwhile.
const stuck = 5 * time.Second

// health is why decisions aren't being committed.
func (s *session) health() error {
	if took := time.Since(s.commitStart); s.committing && took > stuck {
		return fmt.Errorf("an epoch has been committing for %s: is Kafka away?", took.Round(time.Second))
	}
	return nil
}

// commitDue: something to write and an interval has passed, or a second has.
func (s *session) commitDue() bool {
	if s.committing {
		return false
	}
	since := time.Since(s.commitStart)
	return len(s.epoch.records) > 0 && since >= s.cfg.Engine.CommitInterval || since >= time.Second
}

func (s *session) afterCommit(ctx context.Context, c committed) error {
	s.committing = false
	s.metrics.commits.Observe(c.took.Seconds())
	if c.err != nil {
		s.metrics.aborts.Inc()
		return c.err
	}
	s.cfg.committed(c.progress)
	s.metrics.setBalance(c.progress.Balance)
	if time.Since(s.mirrored) > 5*time.Second {
		s.mirrored = time.Now()
		go s.mirror(ctx, c.progress)
	}
	return nil
}

// mirror writes the progress as consumer-group offsets, which the program
// itself never reads: lag tools do.
func (s *session) mirror(ctx context.Context, p *progress) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var offsets kadm.Offsets
	for _, st := range p.Streams {
		for id, pp := range st.Partitions {
			at := pp.Applied
			if st.Stream == "refunds" {
				at = pp.Decided
			}
			offsets.AddOffset(st.Topic, int32(id), at, -1)
		}
	}
	if _, err := s.adm.CommitOffsets(ctx, s.txnID, offsets); err != nil && ctx.Err() == nil {
		s.log.Debug("mirroring the progress as group offsets failed", "group", s.txnID, "error", err)
	}
}

// drain commits what was decided and ends.
func (s *session) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	wait := func() error {
		select {
		case c := <-s.commits:
			return s.afterCommit(ctx, c)
		case <-ctx.Done():
			return fmt.Errorf("stopping: the last epoch could not be committed within 8 s; it is decided again after the next start")
		}
	}
	if s.committing {
		if err := wait(); err != nil {
			return err
		}
	}
	s.startCommit(ctx)
	if s.failed != nil {
		return s.failed
	}
	return wait()
}

// step applies what may be applied and decides what is due. It reports whether
// there was anything.
func (s *session) step(ctx context.Context) bool {
	moved := s.collect(s.applyLimit())
	if moved {
		s.applyChunk()
	}
	decided := s.pass()
	if s.held || s.refundsWait() {
		s.askEnds(ctx)
	}
	return moved || decided
}

// refundsWait reports whether the ends of partitions are worth asking for.
func (s *session) refundsWait() bool {
	for _, p := range s.refunds.partitions {
		if p.waiting() > 0 || !p.atEnd() {
			return true
		}
	}
	return false
}

// collect takes records up to a limit from all partitions in turn.
func (s *session) collect(limit frontier) bool {
	s.chunk, s.items, s.held = s.chunk[:0], s.items[:0], false
	for _, in := range s.inputs {
		for _, p := range in.partitions {
			for len(s.chunk) < chunkRecords {
				most := chunkRecords / 8
				if in == s.refunds && p.stop < 0 {
					most = min(most, s.capacity-p.waiting())
				}
				if most <= 0 {
					break
				}
				got := p.take(limit, most)
				if len(got) == 0 {
					break
				}
				s.gather(p, got)
				if in == s.refunds && p.stop < 0 {
					for i := range got {
						p.push(&got[i])
					}
				}
			}
			s.reader.resume(p)
			s.held = s.held || p.peek() != nil
		}
	}
	return len(s.chunk) > 0
}

func (s *session) gather(p *partition, got []record) {
	for i := range got {
		r := &got[i]
		r.history = p.in == s.refunds && r.Offset < p.decideFrom
		s.chunk = append(s.chunk, r)
		if r.err != nil {
			s.items = append(s.items, nil)
			continue
		}
		p.watermark = max(p.watermark, r.Event.Time)
		if p.cut {
			p.cut = false
			s.engine.Incomplete(p.in.index, r.Event.Time)
		}
		s.items = append(s.items, &r.Item)
	}
}

// applyChunk enters the chunk into the state. What is refused of streams other
// than refunds goes out now; refunds are passed in the order of their
// partition.
func (s *session) applyChunk() {
	s.engine.Apply(s.items)
	now := time.Now()
	for _, r := range s.chunk {
		switch {
		case r.part.in == s.refunds:
			if r.history && r.err == nil && r.Fate == engine.Fresh {
				s.engine.Settle(&r.Item, event.Approve)
			}
		case r.err != nil:
			s.refuse(r, r.err, rules.Medium, now)
		case r.Fate == engine.Conflict:
			s.refuse(r, conflict(r), rules.Medium, now)
		case r.Fate == engine.Duplicate:
			s.metrics.duplicates.WithLabelValues(r.part.in.stream.Name).Inc()
		}
	}
	s.metrics.applied.Add(float64(len(s.chunk)))
	clear(s.chunk)
	clear(s.items)
}

// decidable reports whether a refund waits for its decision; others only wait
// for their turn.
func (r *record) decidable() bool {
	return r.err == nil && r.Fate == engine.Fresh && !r.history
}

// pass goes through the refunds that wait, in the order of each partition, as
// far as they are due.
func (s *session) pass() bool {
	d := s.align()
	now := time.Now()
	s.dueRecs, s.dueItem = s.dueRecs[:0], s.dueItem[:0]
	passed := false
	for _, p := range s.refunds.partitions {
		for h := p.head(); h != nil; h = p.head() {
			if h.decidable() {
				ok, degraded := d.of(h)
				if !ok {
					break
				}
				h.Degraded = degraded
				s.dueRecs, s.dueItem = append(s.dueRecs, h), append(s.dueItem, &h.Item)
			} else {
				s.passBy(h, now)
			}
			s.balance.Read++
			passed = true
			p.pop()
		}
	}
	s.decideDue(now)
	return passed
}

// passBy counts a refund record that isn't decided.
func (s *session) passBy(r *record, now time.Time) {
	switch {
	case r.err != nil:
		s.balance.DeadLettered++
		s.refuse(r, r.err, rules.High, now)
	case r.Fate == engine.Conflict:
		s.balance.DeadLettered++
		s.refuse(r, conflict(r), rules.Critical, now)
	case r.Fate == engine.Duplicate:
		s.balance.Duplicates++
		s.metrics.duplicates.WithLabelValues("refunds").Inc()
	case r.history:
		s.balance.History++
	}
}

func (s *session) decideDue(now time.Time) {
	if len(s.dueRecs) == 0 {
		return
	}
	if cap(s.outs) < len(s.dueRecs) {
		s.outs = make([]decided, len(s.dueRecs))
	}
	outs := s.outs[:len(s.dueRecs)]
	s.engine.Decide(s.dueItem, func(w, i int, d *event.Decision, res *rules.Result) {
		outs[i] = s.describe(w, s.dueRecs[i], d, res, now)
	})
	for i, r := range s.dueRecs {
		s.enter(r, &outs[i])
	}
	clear(outs)
	clear(s.dueRecs)
	clear(s.dueItem)
}

// reload takes a new rule set between two epochs, or tells why not.
func (s *session) reload(r reload) {
	now := time.Now()
	err := r.err
	if err == nil {
		err = s.readable(r.set)
	}
	if err != nil {
		s.metrics.refusedRuleset.Set(1)
		s.log.Error("the changed rules were refused, the running ones stay", "ruleset", s.set.Version, "error", err)
		a := event.Alert{AlertID: event.AlertID("ruleset-refused", s.txnID, err.Error()), Rule: "ruleset-refused", Severity: "high", At: now.UnixMilli(),
			Message: "the changed rule files do not check; the running rules stay: " + clip(err.Error(), 2000)}
		s.alert(&a)
		return
	}
	s.metrics.refusedRuleset.Set(0)
	s.engine.SetRules(r.set)
	s.set = r.set
	s.cfg.rules(r.set)
	s.markRequired()
	s.metrics.setRules(r.set, now)
	s.log.Info("rules reloaded", "ruleset", r.set.Version, "rules", len(r.set.Rules), "took", time.Since(now))
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}

// markRequired says which inputs decisions wait for.
func (s *session) markRequired() {
	for _, in := range s.inputs {
		in.required = in == s.refunds || in.stream.Name == "transactions" || readsStream(s.set, in.stream.Name)
	}
}

func readsStream(set *rules.Set, name string) bool {
	for i := range set.Series {
		src := set.Series[i].Source
		if src == name || src == "updates" && name == "transactions" {
			return true
		}
	}
	return false
}

// readable refuses a rule set that reads a stream whose topic is missing.
func (s *session) readable(set *rules.Set) error {
	for _, st := range s.schema.Streams {
		if !readsStream(set, st.Name) {
			continue
		}
		found := false
		for _, in := range s.inputs {
			found = found || in.stream == st
		}
		if !found {
			return fmt.Errorf("a rule reads the stream %s, but its topic %q does not exist: create the topic and restart, or name another as streams.%s.topic", st.Name, st.Topic, st.Name)
		}
	}
	return nil
}
