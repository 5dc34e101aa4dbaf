package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// crashAfter makes the sink that runs now die, as far as Kafka can see: after
// its n-th commit from now no further one gets through, and the one itself only
// if applied. The channel is closed when it is time to stop the sink.
func (w *world) crashAfter(n int, applied bool) (died <-chan struct{}, revive func()) {
	dead := make(chan struct{})
	var commits, over atomic.Int64
	w.fake.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
		if over.Load() == 1 {
			w.fake.DropControl()
			return nil, nil, false
		}
		w.fake.KeepControl()
		c := commits.Add(1)
		if c == int64(n) {
			close(dead)
		}
		if c < int64(n) || c == int64(n) && applied {
			return nil, nil, false
		}
		return nil, errors.New("the sink has crashed"), true
	})
	return dead, func() { over.Store(1) }
}

// crashAtTransaction is crashAfter for the transaction that writes a dead
// letter: nothing gets through from one of its steps on.
func (w *world) crashAtTransaction(n int) (died <-chan struct{}, revive func()) {
	dead := make(chan struct{})
	steps := []int16{int16(kmsg.InitProducerID), int16(kmsg.Produce), int16(kmsg.AddOffsetsToTxn), int16(kmsg.TxnOffsetCommit), int16(kmsg.EndTxn)}
	step := steps[n/3%len(steps)]
	var over atomic.Int64
	var once sync.Once
	w.fake.Control(func(req kmsg.Request) (kmsg.Response, error, bool) {
		if over.Load() == 1 {
			w.fake.DropControl()
			return nil, nil, false
		}
		w.fake.KeepControl()
		if req.Key() == step {
			once.Do(func() { close(dead) })
		}
		select {
		case <-dead:
			if !slices.Contains(steps, req.Key()) && req.Key() != int16(kmsg.OffsetCommit) {
				return nil, nil, false
			}
			return nil, errors.New("the sink has crashed"), true
		default:
			return nil, nil, false
		}
	})
	return dead, func() { over.Store(1) }
}

// Whatever commit a sink dies at, and whatever its successor's batches would
// be, rows that were written are not written again. What proves it are raw
// rows: FINAL would hide repeats.
func TestCrashesDoubleNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	w := newFakeWorld(t, server(t))
	for crash := range 12 {
		w.cfg.BatchRows = []int{7, 10_000, 50, 1, 300}[crash%5]
		w.produceDecisions(60 + rand.IntN(100))
		died, revive := w.crashAfter(1+rand.IntN(7), crash%2 == 0)
		_, stop := w.start()
		select {
		case <-died:
			// Inserts that the commit announced are under way, or done, or not.
			time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
		case <-time.After(time.Second): // it had fewer commits to make
		}
		stop()
		revive()
	}
	w.cfg.BatchRows = 10_000
	s, _ := w.start()
	w.drain(s)
	w.expectDecisions(w.produced)
}

func TestServerThatIsKilledLosesAndDoublesNothing(t *testing.T) {
	engine, again := restartable(t)
	w := newWorld(t, engine)
	w.cfg.BatchRows = 20
	s, _ := w.start()
	for range 4 {
		w.produceDecisions(150)
		w.wait("the first rows", func() bool { n, err := s.Counts(context.Background()); return err == nil && n["decisions"] > 0 })
		engine.Kill()
		w.produceDecisions(50)
		w.wait("Ready to say so", func() bool { err := s.Ready(); return err != nil })
		if err := s.Ready(); err != nil && !strings.Contains(err.Error(), "unreachable") {
			t.Errorf("Ready: %v", err)
		}
		engine = again()
	}
	defer engine.Close()
	w.drain(s)
	w.expectDecisions(w.produced)
	w.wait("Ready", func() bool { return s.Ready() == nil })
}

// A server that is killed in the middle of an insert may know its token and not
// have its rows. Here they are deleted; the token stays.
func TestRowsThatTheServerOnlySeemsToHave(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	w := newFakeWorld(t, server(t))
	w.step = 86_400_000 / 4 // two months
	w.cfg.BatchInterval = 2 * time.Second
	w.produceDecisions(200)
	_, revive := w.crashAfter(22, false)
	s, stop := w.start() // 21 partitions announce a batch each, and no more gets through
	w.wait("the rows", func() bool { n, err := s.Counts(context.Background()); return err == nil && n["decisions"] == 200 })
	stop()
	revive()
	w.exec("ALTER TABLE hits DELETE WHERE 1 SETTINGS mutations_sync = 2")
	w.exec("ALTER TABLE decisions DELETE WHERE toYYYYMM(occurred_at) = 202311 SETTINGS mutations_sync = 2")
	if got := w.query("SELECT count() < 200 FROM decisions"); got != "1" {
		t.Fatal("no row was deleted: nothing is tested")
	}
	s, _ = w.start()
	w.drain(s)
	w.audit(nil)
}

func TestSinksThatComeAndGoShareTheWork(t *testing.T) {
	w := newWorld(t, server(t))
	w.cfg.BatchRows = 25
	s, _ := w.start()
	for i := range 5 {
		w.produceDecisions(100)
		_, stop := w.start()
		w.produceDecisions(100)
		if i%2 == 0 {
			time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		}
		stop()
	}
	w.drain(s)
	w.expectDecisions(w.produced)
}

func TestTopicThatIsMadeAgainIsReadFromItsBeginning(t *testing.T) {
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("running=%v", running), func(t *testing.T) {
			w := newFakeWorld(t, server(t))
			s, stop := w.start()
			w.transaction(kgo.TryCommit, alert(1), alert(2), alert(3))
			w.drain(s)
			if !running {
				stop()
			}
			if err := errors.Join(w.fake.DeleteTopic(topics.Alerts), w.fake.CreateTopic(topics.Alerts, 3, nil)); err != nil {
				t.Fatal(err)
			}
			w.transaction(kgo.TryCommit, alert(4), alert(5), alert(6))
			if !running {
				s, _ = w.start()
			}
			w.wait("six alerts", func() bool {
				n, err := s.Counts(context.Background())
				return err == nil && n["alerts"] == 6
			})
			w.expect(map[string]uint64{"alerts": 6})
		})
	}
}

func TestRecordsThatRetentionTookAreNotWaitedFor(t *testing.T) {
	w := newFakeWorld(t, server(t))
	var records []*kgo.Record
	for i := range 300 {
		rec := w.decision(i)
		rec.Partition = 0
		records = append(records, rec)
	}
	w.options = append(w.options, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	w.cfg.BatchRows = 100
	w.transaction(kgo.TryCommit, records[:200]...)
	died, revive := w.crashAfter(1, true) // a batch is announced
	_, stop := w.start()
	<-died
	stop()
	revive()
	if err := w.fake.DeleteRecords(topics.Decisions, 0, 150); err != nil {
		t.Fatal(err)
	}
	w.transaction(kgo.TryCommit, records[200:]...)
	s, _ := w.start()
	w.drain(s)
	if got := w.query("SELECT (uniqExact(decision_id) >= 150, count() = uniqExact(decision_id)) FROM decisions"); got != "(1,1)" {
		t.Errorf("at least what is still there, and nothing twice: %s", got)
	}
}

// A committed offset that the log doesn't reach any more: an unclean election
// cut it. What is there now is stored, and the sink goes on.
func TestLogThatWasCutIsReadAnew(t *testing.T) {
	w := newWorld(t, server(t))
	client, err := kgo.NewClient(w.options...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	details, err := adm.ListTopics(t.Context(), topics.Decisions)
	if err != nil {
		t.Fatal(err)
	}
	commits := kadm.Offsets{}
	for partition := range int32(3) {
		commits.Add(kadm.Offset{Topic: topics.Decisions, Partition: partition, At: 100_000, LeaderEpoch: -1,
			Metadata: fmt.Sprintf(`{"topic_id":%q,"to":100100}`, details[topics.Decisions].ID)})
	}
	if err := adm.CommitAllOffsets(t.Context(), w.cfg.Group, commits); err != nil {
		t.Fatal(err)
	}
	w.produceDecisions(200)
	s, _ := w.start()
	w.wait("200 decisions", func() bool { n, err := s.Counts(context.Background()); return err == nil && n["decisions"] == 200 })
	w.produceDecisions(100)
	w.wait("300 decisions", func() bool { n, err := s.Counts(context.Background()); return err == nil && n["decisions"] == 300 })
	w.expectDecisions(300)
}

// An operator moves the group: no mark of ours, so no batch is under way.
func TestGroupThatWasMovedByHand(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, metadata := range []string{"", "moved by hand", `{"to":7}`, `{"topic_id":7}`, "[]"} {
		w := newWorld(t, server(t))
		w.cfg.Database = fmt.Sprintf("%s_%d", w.cfg.Database, len(metadata))
		w.transaction(kgo.TryCommit, alert(0), alert(1), alert(2), alert(3), alert(4))
		ends := w.ends()
		client, err := kgo.NewClient(w.options...)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		commits := kadm.Offsets{}
		left := uint64(0)
		for partition, end := range ends[topics.Alerts] {
			at := end
			if end > 2 { // the last of them, and the end of its transaction
				at, left = end-2, left+1
			}
			commits.Add(kadm.Offset{Topic: topics.Alerts, Partition: partition, At: at, LeaderEpoch: -1, Metadata: metadata})
		}
		if err := kadm.NewClient(client).CommitAllOffsets(t.Context(), w.cfg.Group, commits); err != nil {
			t.Fatal(err)
		}
		s, stop := w.start()
		w.drain(s)
		w.wait("what was left", func() bool { n, err := s.Counts(context.Background()); return err == nil && n["alerts"] == left })
		stop()
	}
}
