// Package integration tests the service against a slow model, on what it writes
// to Kafka: in process, or with REFUNDGUARD_TEST_KAFKA=apache on the real one.
package integration

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/connect"
	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/integration/model"
	"github.com/refundguard/refundguard/pipeline/kafkatest"
)

// scene is a cluster with the input topics, and a world to write into them.
type scene struct {
	*testing.T
	cluster  *kafkatest.Cluster
	world    *model.World
	settings settings
	written  int
}

func newScene(t *testing.T, w *model.World, partitions int32) *scene {
	t.Helper()
	cluster := kafkatest.Start(t)
	cluster.CreateTopics(partitions, nil, "refunds", "transactions")
	return &scene{T: t, cluster: cluster, world: w,
		settings: settings{Brokers: cluster.Brokers(), Rules: w.Rules, DecideFrom: "earliest", State: t.TempDir()}}
}

// next are the records up to the given share of all, and those of the same
// event time as the last of them: what is decided at the end of the streams has
// seen everything of its time.
func (s *scene) next(share float64) []model.Sent {
	all := s.world.Sent
	end := min(max(s.written, int(share*float64(len(all)))), len(all))
	for end > 0 && end < len(all) && all[end].At == all[end-1].At {
		end++
	}
	next := all[s.written:end]
	s.written = end
	return next
}

// write appends the world's records up to the given share of all.
func (s *scene) write(share float64) {
	s.Helper()
	var records []*kgo.Record
	for _, next := range s.next(share) {
		records = append(records, next.Record)
	}
	s.cluster.Produce(records...)
}

// feed writes up to the given share to a service that runs, as a source with
// transactions of its own does: purchases before the refunds that see them,
// each lot at once, and now and then something that it takes back. It needs
// topics of one partition: of several, a reader can see a part of a lot.
func (s *scene) feed(share float64) {
	s.Helper()
	cl := s.cluster.Client(kgo.TransactionalID("source"))
	transact := func(end kgo.TransactionEndTry, records ...*kgo.Record) {
		s.Helper()
		if len(records) == 0 {
			return
		}
		err := cl.BeginTransaction()
		if err == nil {
			err = cl.ProduceSync(s.Context(), records...).FirstErr()
		}
		if err == nil {
			err = connect.EndTransaction(s.Context(), cl, end, records...)
		}
		if err != nil {
			s.Fatalf("feed: %v", err)
		}
	}
	for lot := 0; float64(s.written) < share*float64(len(s.world.Sent)); lot++ {
		byTopic := make(map[string][]*kgo.Record)
		for _, next := range s.next(float64(s.written+40) / float64(len(s.world.Sent))) {
			byTopic[next.Record.Topic] = append(byTopic[next.Record.Topic], next.Record)
		}
		transact(kgo.TryCommit, byTopic["transactions"]...)
		if lot%3 == 0 {
			transact(kgo.TryAbort, &kgo.Record{Topic: "refunds", Value: []byte("never said")})
		}
		transact(kgo.TryCommit, byTopic["refunds"]...)
	}
}

// untilCaughtUp waits until the service has committed that it read everything
// that was written. A transaction that is committed can be read a moment later.
func (s *scene) untilCaughtUp(sv *service) {
	s.Helper()
	written := make(map[string]int)
	for _, w := range s.world.Sent[:s.written] {
		written[w.Record.Topic]++
	}
	for topic, n := range written {
		sv.until("what was written to "+topic, func() bool { return len(s.cluster.ReadCommitted(topic)) == n })
	}
	ends, err := admin(s.cluster).ListCommittedOffsets(s.Context(), "refunds", "transactions")
	if err != nil {
		s.Fatal(err)
	}
	var last model.Progress
	defer func() {
		if s.Failed() {
			s.Logf("written: %v; the inputs end at %v; the last progress is %+v", written, ends, last)
		}
	}()
	sv.until("the inputs' end", func() bool {
		last = model.LastProgress(s, s.cluster)
		applied := 0
		for _, stream := range last.Streams {
			for partition, at := range stream.Partitions {
				if end, ok := ends.Lookup(stream.Topic, int32(partition)); ok && at.Applied >= end.Offset {
					applied++
				}
			}
		}
		return applied == len(ends["refunds"])+len(ends["transactions"]) && last.Balance.Read == int64(written["refunds"])
	})
}

// finish waits until the service has done everything, ends it and compares.
func (s *scene) finish(sv *service) *model.Comparison {
	s.Helper()
	s.untilCaughtUp(sv)
	sv.stop()
	return model.Compare(s.T, s.cluster, s.world)
}

// crashes writes all of the world, lets the service die at one step of a
// transaction after the other, and then end its work.
func (s *scene) crashes() *model.Comparison {
	s.Helper()
	s.write(1)
	refunds := s.world.Count("refunds", model.IsEvent)
	halfway := 0
	for _, step := range deaths {
		settings := s.settings
		settings.Die = step
		sv := startProcess(s.T, settings)
		sv.untilDead()
		decided := len(s.cluster.ReadCommitted("refund-decisions"))
		s.Logf("dead %s: %d of %d refunds are decided", step, decided, refunds)
		if decided > 0 && decided < refunds {
			halfway++
		}
	}
	if halfway == 0 {
		s.Errorf("the service never died half-way: the test does not test what it is for")
	}
	return s.finish(start(s.T, s.settings))
}

// deaths are steps of a transaction after which the service is killed.
var deaths = []death{
	{After: 1, Key: endTxn, Answered: false}, // nobody knows whether it was committed
	{After: 1, Key: endTxn, Answered: true},  // committed, and nothing done about it
	{After: 1, Key: produce, Answered: false},
	{After: 2, Key: produce, Answered: true},
	{After: 3, Key: endTxn, Answered: false},
	{After: 3, Key: endTxn, Answered: true},
	{After: 9, Key: produce, Answered: true},
}

// orderly stops the service half-way, and starts it again.
func (s *scene) orderly() *model.Comparison {
	s.Helper()
	s.write(0.5)
	adm := admin(s.cluster)
	sv := start(s.T, s.settings)
	sv.until("some decisions", func() bool { return decidedSoFar(s.T, adm) > 0 })
	sv.stop()
	s.write(1)
	return s.finish(start(s.T, s.settings))
}

func TestRetailYear(t *testing.T) {
	s := newScene(t, retailWorld(t), 3)
	s.write(1)
	c := s.finish(start(t, s.settings))
	checkAllPublished(c)
}

func TestRetailYearWithCrashes(t *testing.T) {
	c := newScene(t, retailWorld(t), 3).crashes()
	checkAllPublished(c)
}

// TestRetailYearFromTheMiddle leaves the first half of the year undecided: it
// only feeds windows, and what was refunded.
func TestRetailYearFromTheMiddle(t *testing.T) {
	w := retailWorld(t)
	from := time.Date(2010, 6, 1, 0, 0, 0, 0, time.UTC)
	w.Model.From = from.UnixMilli()
	s := newScene(t, w, 2)
	s.settings.DecideFrom = from.Format(time.RFC3339)
	s.write(1)
	c := s.finish(start(t, s.settings))
	for refund, columns := range published(t) {
		if d, decided := c.Decisions[refund]; decided {
			seen := d.Seen(t)
			checkPublished(t, refund, columns, seen.Features, seen.Hits)
		}
	}
	if history := model.LastProgress(t, s.cluster).Balance.History; history == 0 || len(c.Decisions) == 0 {
		t.Errorf("%d refunds are history and %d decided", history, len(c.Decisions))
	}
}

// checkAllPublished compares all decisions with the figures that come with the
// data set.
func checkAllPublished(c *model.Comparison) {
	c.Helper()
	rows := published(c.T)
	for refund, columns := range rows {
		d, decided := c.Decisions[refund]
		if !decided {
			c.Errorf("refund %s is not decided", refund)
			continue
		}
		seen := d.Seen(c.T)
		checkPublished(c.T, refund, columns, seen.Features, seen.Hits)
	}
	c.Logf("%d refunds agree with the data set", len(rows))
}

func TestStrangeWorld(t *testing.T) {
	for seed := range uint64(3) {
		s := newScene(t, strangeWorld(t, seed, 3000), int32(1+seed))
		s.write(1)
		s.finish(start(t, s.settings))
	}
}

func TestStrangeWorldStoppedHalfWay(t *testing.T) {
	newScene(t, strangeWorld(t, 10, 3000), 2).orderly()
}

// TestStrangeWorldLive feeds a service that runs, is killed, and goes on.
func TestStrangeWorldLive(t *testing.T) {
	s := newScene(t, strangeWorld(t, 12, 3000), 1)
	adm := admin(s.cluster)
	sv := startProcess(t, s.settings)
	for _, share := range []float64{0.3, 0.6} {
		s.feed(share - 0.25)
		before := decidedSoFar(t, adm)
		sv.until("it is at work", func() bool { return decidedSoFar(t, adm) > before })
		s.feed(share)
		sv.crash()
		s.feed(share + 0.05)
		sv = startProcess(t, s.settings)
	}
	s.feed(1)
	s.finish(sv)
}

// TestLongTimeInAMoment feeds years within seconds to a service that runs: one
// that applied one stream far ahead of another would forget what the other's
// events still ask for.
func TestLongTimeInAMoment(t *testing.T) {
	s := newScene(t, strangeWorldAt(t, 15, 3000, 24*time.Hour), 1)
	sv := start(t, s.settings)
	for burst := range 20 {
		s.feed(float64(burst+1) / 20)
		s.untilCaughtUp(sv)
	}
	s.finish(sv)
}

// TestBrokerAway takes the broker away from a service at work, in good order
// and without.
func TestBrokerAway(t *testing.T) {
	s := newScene(t, strangeWorld(t, 13, 3000), 1)
	sv := start(t, s.settings)
	s.feed(0.1)
	adm := admin(s.cluster)
	sv.until("it is at work", func() bool { return decidedSoFar(t, adm) > 0 })
	s.feed(0.3)
	s.cluster.Stop()
	s.cluster.Restart()
	s.feed(0.6)
	s.cluster.Kill()
	s.cluster.Restart()
	s.feed(1)
	s.finish(sv)
}

// TestTakeOver starts a second instance while the first is at work: the first
// gives way, and nothing is done twice.
func TestTakeOver(t *testing.T) {
	s := newScene(t, strangeWorld(t, 14, 3000), 1)
	adm := admin(s.cluster)
	first := start(t, s.settings)
	s.feed(0.2)
	first.until("it is at work", func() bool { return decidedSoFar(t, adm) > 0 })
	second := startProcess(t, s.settings)
	s.feed(0.6)
	if err := first.ended(); !errors.Is(err, pipeline.ErrFenced) {
		t.Errorf("the first instance ended with: %v", err)
	}
	s.feed(1)
	s.finish(second)
}

// TestStandby kills the instance that works, again and again; one stands by each
// time, and another joins.
func TestStandby(t *testing.T) {
	s := newScene(t, strangeWorld(t, 16, 4000), 1)
	s.settings.TakeoverAfter = 2 * time.Second
	adm, joined := admin(s.cluster), 0
	join := func() *service {
		joined++
		mine := s.settings
		mine.State = filepath.Join(s.settings.State, fmt.Sprint(joined%2))
		return startProcess(t, mine)
	}
	first := join()
	s.feed(0.1)
	first.until("it is at work", func() bool { return decidedSoFar(t, adm) > 0 })
	for share := 0.2; share < 0.9; share += 0.2 {
		second := join()
		s.feed(share)
		second.until("it stands by", func() bool { return strings.Contains(second.log.String(), "standing by") })
		s.feed(share + 0.05)
		first.crash()
		s.feed(share + 0.1)
		second.until("it is at work", func() bool { return strings.Contains(second.log.String(), "msg=live") })
		first = second
	}
	s.feed(1)
	s.finish(first)
}

func TestStrangeWorldWithCrashes(t *testing.T) {
	newScene(t, strangeWorld(t, 11, 6000), 2).crashes()
}
