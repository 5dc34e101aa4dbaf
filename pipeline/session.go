package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/calendar"
	"github.com/refundguard/refundguard/pipeline/messages"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// session is the pipeline between two recoveries: what was committed is read
// back, then epochs follow until something fails. All of its fields belong to
// the goroutine of run, where nothing else is said.
type session struct {
	cfg     sessionConfig
	log     *slog.Logger
	metrics *metrics
	schema  *event.Schema
	topics  Topics
	txnID   string
	slots   struct {
		transaction, customer, merchant, amount, currency, method, device, instrument, agent, reason, language int
		txStatus                                                                                               int
	}
	lives    lives
	etas     map[string]calendar.Span
	alertMin rules.Severity

	readAhead int64 // milliseconds
	capacity  int

	adm       *kadm.Client
	producer  *kgo.Client
	clusterID string
	seen      writerID // who wrote the progress before
	inputs    []*input
	refunds   *input
	payments  *input       // transactions; nil where there is no such topic
	deciding  []*partition // whose records wait for their turn
	gating    []*partition // those of them that others wait for
	reader    *reader
	engine    *engine.Engine
	set       *rules.Set
	writers   []writer
	ends      ends

	epochs      int64
	tally       tally
	balance     Balance
	room        room
	probe       probe
	outputs     map[string]string // topic ids by name
	epoch       *epoch
	committing  bool
	commitStart time.Time
	commits     chan committed
	commitWork  sync.WaitGroup // what sends to commits, and to controls
	// why the epoch that is being committed isn't yet; nil: nothing failed
	commitTrouble atomic.Pointer[error]
	failed        error
	mirrored      time.Time

	chunk       []*record      // applied last
	items       []*engine.Item // chunk for the engine
	dueRecs     []*record
	dueItem     []*engine.Item
	outs        []decided
	held        bool // records are read that may not be applied yet
	earlier     earlier
	refundBytes int // what the outputs of a refund take, about

	payRecs  []*record // transactions that are due
	payItems []*engine.Item

	nextRules  *reload // taken when an epoch is closed; if none is, the next session takes it
	fillWanted *fillPlan
	fill       *filler

	folder              *saver          // nil: no state folder
	saver               *saver          // of folder; nil: nothing can be saved there
	saving              *saving         // nil: none is under way
	saved               time.Time       // when the last one ended
	rewrite             [][]byte        // keys to be saved whole
	journalAt           map[int32]int64 // by partition: before this, the journal is in the state
	alertsAt            map[int32]int64 // likewise
	casesAt             map[int32]int64 // likewise
	kept                bool            // the state may hold more than the topics
	missing             bool            // of refunds, the topic no longer holds what the state should
	overload            overload
	breaker             *breaker
	controls            controls
	guards              engine.Guards   // as the engine has them
	guardsChanged       bool            // at the end of the epoch the engine is told
	byTime              []int32         // what is being decided
	follows             bool            // another instance works
	savedEpoch, savedAt int64           // of the state on disk
	lost                int64           // when state was lost that the topics no longer hold, Unix milliseconds; 0: never
	lostRefunds         int64           // likewise, and refunds with it that no decision tells of
	moved               int64           // when this life began with the state of another cluster; 0: it didn't
	rejoinedIDs         map[string]bool // transactions that waited when the state was saved; nil: nobody asks
	began               string          // names the run of progress records that this one belongs to
}

// sessionConfig is the pipeline's configuration with what New resolved of it.
type sessionConfig struct {
	Config
	createTopics bool
	options      []kgo.Opt
	now          func() time.Time // stamps what is written; intervals are measured, whatever the clock does
	files        vfs.FS
	reloads      <-chan reload
	state        func(error) // nil: decisions are being made and committed
	rules        func(*rules.Set)
	committed    func(*progress)
	writer       writerID
	host         string
	sizes        *sizes                // what topics take
	epoch        int64                 // that this process committed last
	cluster      string                // that earlier sessions worked with; "": there was none
	claimed      func(before writerID) // the progress is ours, after that one
	checkpoints  *checkpoints          // nil: none
	calendar     *calendar.Calendar    // likewise
	messages     *messages.Messages
	succeeded    *writerID // whom this process's last claim came after; nil: there was none
}

// chunkRecords bounds what is applied at once, so that due refunds don't wait
// long for their turn.
const chunkRecords = 16384

func newSession(cfg sessionConfig, txnID string, set *rules.Set, schema *event.Schema, log *slog.Logger, m *metrics) *session {
	s := &session{cfg: cfg, log: log, metrics: m, schema: schema, topics: cfg.Names(), txnID: txnID, set: set,
		readAhead: cfg.Engine.ReadAhead.Milliseconds(), capacity: cfg.Engine.BufferRecords, refundBytes: firstRefundBytes,
		epoch: &epoch{}, commits: make(chan committed, 1), etas: map[string]calendar.Span{}}
	s.ends.answer = make(chan endsAnswer, 1)
	for _, st := range schema.Streams {
		m.leftOut.WithLabelValues(st.Name).Set(0)
	}
	for method, d := range cfg.ETA {
		s.etas[method], _ = calendar.ParseSpan(d) // checked by Validate
	}
	s.alertMin, _ = rules.ParseSeverity(cfg.Alerts.MinSeverity)
	rf := schema.Stream("refunds")
	sl := &s.slots
	sl.transaction, sl.customer, sl.merchant, sl.amount, sl.currency = rf.Slot("transaction_id"), rf.Slot("customer_id"), rf.Slot("merchant_id"), rf.Slot("amount"), rf.Slot("currency")
	sl.method, sl.device, sl.instrument, sl.agent, sl.reason = rf.Slot("method"), rf.Slot("device_id"), rf.Slot("instrument_id"), rf.Slot("agent_id"), rf.Slot("reason")
	sl.txStatus = schema.Stream("transactions").Slot("status")
	if sl.language = -1; cfg.Messages.LanguageField != "" {
		sl.language = rf.Slot(cfg.Messages.LanguageField)
	}
	s.lives = newLives(s)
	s.writers = make([]writer, cfg.Engine.Workers)
	s.earlier.of = map[string]*record{}
	s.engine = s.newEngine()
	s.breaker = newBreaker(cfg.Limits.MaxHoldShare, set)
	return s
}

func (s *session) newEngine() *engine.Engine { return newEngine(s.cfg.Config, s.schema, s.set) }

func newEngine(c Config, schema *event.Schema, set *rules.Set) *engine.Engine {
	return engine.New(engine.Config{Schema: schema, Workers: c.Engine.Workers, ReadAhead: c.Engine.ReadAhead.Milliseconds(), ExactEvents: c.State.ExactEvents, Memory: c.State.Memory,
		Retention: c.State.Retention.Milliseconds(), Originals: c.State.Originals.Milliseconds(), Dedup: c.State.Dedup.Milliseconds(),
		HoldDegraded: c.Limits.OnDegraded == "review", HoldWarming: c.Limits.OnWarming == "review", Holdout: c.Holdout.engine()}, set)
}

// run recovers and then works until ctx ends or something fails. When ctx
// ends, what was decided is committed first.
func (s *session) run(ctx context.Context) (err error) {
	// Commits go on for a while after ctx ends.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer func() { s.engine.Close() }()
	if err := s.open(ctx); err != nil {
		return err
	}
	defer s.close(stop)
	if err = s.recover(ctx, work); err == nil {
		s.cfg.state(nil)
		err = s.loop(ctx, work)
	}
	if contested(err) && ctx.Err() == nil {
		s.cfg.state(err)
		err = s.contest(ctx, err)
	}
	return err
}

func (s *session) close(stop func()) {
	stop()
	s.commitWork.Wait()
	if s.reader != nil {
		s.reader.wg.Wait()
		s.reader.client.Close()
	}
	if s.folder != nil {
		s.folder.close()
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
	s.commitStart, s.ends.okAt = time.Now(), time.Now()
	go s.watchTopics(work)
	s.askEnds(work)
	for {
		moved, began := false, time.Now()
		if !s.epoch.full() {
			moved = s.step(work)
		}
		moved = s.fillSome() || moved
		worked := time.Now()
		moved = s.saveFor(worked.Sub(began)/saveShare) || moved
		s.tally.took(stepSave, worked)
		if s.failed == nil && s.commitDue() {
			s.startCommit(work, false)
		}
		if s.failed != nil {
			return s.failed
		}
		select {
		case <-gauges.C:
			s.lookAround(work)
		default:
		}
		select {
		case records := <-s.controls.source(): // whatever else there is to do
			s.controls.came = append(s.controls.came, records...)
		default:
		}
		if moved && len(s.commits)+len(s.ends.answer)+len(s.reader.fail) == 0 && ctx.Err() == nil {
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
			s.nextRules = &r // at the end of the epoch
		case records := <-s.controls.source():
			s.controls.came = append(s.controls.came, records...) // at the end of the epoch
		case <-s.reader.wake:
		case <-idle.C:
		}
	}
}

// lookAround is what is done each second.
func (s *session) lookAround(ctx context.Context) {
	s.askEnds(ctx)
	s.leaveOut(time.Now())
	s.tellLoss(s.cfg.now())
	s.forgetCases()
	s.cfg.state(s.health(ctx))
	s.metrics.observe(s)
	s.shedShadow()
}

// commitDue: something to write and an interval has passed, or a second has.
func (s *session) commitDue() bool {
	if s.committing {
		return false
	}
	since := time.Since(s.commitStart)
	return len(s.epoch.records) > 0 && since >= s.cfg.Engine.CommitInterval || since >= time.Second || s.nextRules != nil || len(s.controls.came) > 0
}

func (s *session) afterCommit(ctx context.Context, c committed) error {
	s.committing = false
	s.metrics.commitSeconds.Observe(c.took.Seconds())
	if c.err != nil {
		return c.err
	}
	s.metrics.add(&c.tally)
	s.noteCommitted(c)
	s.cfg.committed(c.progress)
	s.metrics.setBalance(c.progress.Balance)
	s.startFill(ctx, c.progress.Epoch)
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
	for s.saving != nil && !s.saving.sent && s.saveSome() {
	}
	s.startCommit(ctx, true)
	if s.failed != nil {
		return s.failed
	}
	if err := wait(); err != nil {
		return err
	}
	s.lastSave(ctx)
	return nil
}
