package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/connect"
	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/integration/model"
)

// sim is one seed: a Kafka, machines, instances of the service's core, a world
// that is written, and what fails meanwhile, in a synctest bubble.
type sim struct {
	t          *testing.T
	rng        *rand.Rand
	modelRules string
	cfg        pipeline.Config
	lag        time.Duration
	partitions int32
	payments   bool // a rule on transactions is there all the time
	certain    bool // nothing may be left out, so that the model knows every decision

	net      *network
	kafka    *kfake.Cluster
	brokers  []string
	machines []*machine
	world    *model.Disorder
	people   *people
	cases    *caseWatch
	hook     *hook // nil: without webhooks
	checker  *host
	log      *log

	mu          sync.Mutex
	running     []*instance
	gaveWay     int
	instances   atomic.Int64
	starting    atomic.Int64
	rulesBroken atomic.Bool
	healing     sync.WaitGroup
	result      result
}

// result is what is told of a seed.
type result struct {
	Seed        uint64         `json:"seed"`
	Hash        string         `json:"hash"` // of all that is in Kafka, and of the log
	Faults      map[string]int `json:"faults"`
	Virtual     time.Duration  `json:"virtual_ns"`
	Records     int            `json:"records"`
	Decisions   int            `json:"decisions"`
	Degraded    int            `json:"degraded"`
	Starts      int64          `json:"starts"`
	GaveWay     int            `json:"gave_way"`
	Frames      int64          `json:"frames"`
	Alerts      int            `json:"alerts"`      // that webhooks were to deliver
	Undelivered int            `json:"undelivered"` // of them, dead letters
	Evicted     int            `json:"evicted"`     // members that kfake kept, see hook.evict
	Lost        int            `json:"lost"`
	Doubled     int            `json:"doubled"`
	States      int            `json:"states"` // saved at the end, that were compared
	Lives       map[string]int `json:"lives"`  // what became of refunds after their decision
	Certain     bool           `json:"certain"`
	Passed      bool           `json:"passed"`
}

// locked is a source for several goroutines.
type locked struct {
	mu     sync.Mutex
	source rand.Source
}

func (l *locked) Uint64() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.source.Uint64()
}

func newRand(seed, stream uint64) *rand.Rand {
	return rand.New(&locked{source: rand.NewPCG(seed, stream)})
}

func newSim(t *testing.T, seed uint64, modelRules string) *sim {
	s := &sim{t: t, rng: newRand(seed, 10), modelRules: modelRules, log: newLog(),
		result: result{Seed: seed, Faults: map[string]int{}}}
	// The world's times are Kafka's and the machines' times, too.
	time.Sleep(time.Until(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)))
	s.net = newNetwork(newRand(seed, 11))
	s.lag = []time.Duration{time.Millisecond, 5 * time.Millisecond, 40 * time.Millisecond}[s.rng.IntN(3)]
	s.checker = s.net.host("checker", time.Millisecond)
	s.checker.spared = true
	s.certain, s.payments = s.rng.IntN(5) > 0, s.coin()

	n := 1 + s.rng.IntN(3)
	if !isExact() {
		n = 1 // a client of more waits for its own mutexes while it waits for an answer
	}
	ports := []int{9092, 9093, 9094}[:n]
	for _, port := range ports {
		s.brokers = append(s.brokers, fmt.Sprintf("127.0.0.1:%d", port))
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(n), kfake.Ports(ports...), kfake.ListenFn(s.net.listen), kfake.ClusterID("sim"))
	if err != nil {
		t.Fatal(err)
	}
	s.kafka = cluster

	s.cfg = pipeline.DefaultConfig()
	s.cfg.Rules.Dir = "rules"
	s.cfg.State.Dir, s.cfg.State.SaveInterval = stateDir, []time.Duration{100 * time.Millisecond, time.Second, 5 * time.Second}[s.rng.IntN(3)]
	s.cfg.State.Memory = []int64{0, 1, 100_000}[s.rng.IntN(3)]
	s.cfg.Engine.Workers = 1 + s.rng.IntN(3)
	s.cfg.Engine.TakeoverAfter = []time.Duration{0, 0, 3 * time.Second}[s.rng.IntN(3)]
	s.cfg.Engine.BufferRecords = []int{256, 16384}[s.rng.IntN(2)]
	s.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
	if s.certain {
		s.cfg.Engine.AlignTimeout = 24 * time.Hour
	}
	s.writeRules()

	partitions := int32(1 + s.rng.IntN(3))
	strange := model.NewStrange(t, s.modelRules, seed)
	strange.NoTies, strange.Step = true, []time.Duration{time.Minute, 90 * time.Minute}[s.rng.IntN(2)]
	strange.Customers, strange.Devices = 2+s.rng.IntN(60), 1+s.rng.IntN(20)
	if s.coin() {
		strange.Lag = s.skew
	}
	s.world = model.NewDisorder(strange, seed, partitions)
	strange.World.Degrades = !s.certain
	s.partitions = partitions
	s.people = s.newPeople(seed)
	s.createTopics(partitions)
	if s.coin() {
		s.hook = newHook(s)
	}
	for n := range 2 + s.rng.IntN(2) {
		s.newMachine(fmt.Sprintf("m%d", n))
	}
	return s
}

// skew is by how much a producer's clock goes wrong.
func (s *sim) skew() time.Duration {
	switch s.rng.IntN(8) {
	case 0:
		return s.upTo(300 * 24 * time.Hour)
	case 1, 2:
		return s.upTo(time.Hour)
	case 3:
		return -s.upTo(4 * time.Minute)
	}
	return 250 * time.Millisecond
}

func (s *sim) createTopics(partitions int32) {
	cl, err := kgo.NewClient(s.options(s.checker)...)
	if err != nil {
		s.t.Fatal(err)
	}
	defer cl.Close()
	made, err := kadm.NewClient(cl).CreateTopics(context.Background(), partitions, 1, nil, append([]string{"refunds", "transactions"}, model.LifeTopics...)...)
	if err != nil || made.Error() != nil {
		s.t.Fatal(err, made.Error())
	}
	compact := "compact"
	made, err = kadm.NewClient(cl).CreateTopics(context.Background(), partitions, 1, map[string]*string{"cleanup.policy": &compact}, casesTopic)
	if err != nil || made.Error() != nil {
		s.t.Fatal(err, made.Error())
	}
	if made, err = kadm.NewClient(cl).CreateTopics(context.Background(), 1, 1, nil, "refundguard-controls"); err != nil || made.Error() != nil {
		s.t.Fatal(err, made.Error())
	}
}

// run is the life of a seed, up to its checks.
func (s *sim) run() {
	keeping, stop := context.WithCancel(context.Background())
	go s.keep(keeping)
	s.watchCases()
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		s.feed(60+s.rng.IntN(500), s.world.Step)
	}()
	s.start(s.machines[0], s.cfg)
	if s.hook != nil {
		s.hook.start()
	}
	s.chaos(3 + s.rng.IntN(18))
	<-fed
	s.feed(1<<30, s.world.Rest)
	s.healing.Wait()
	s.ruleFile("own.yaml", ownRules[s.rng.IntN(len(ownRules))])
	s.rulesBroken.Store(false)
	s.drain()
	stop()
	if s.coin() {
		s.end()
	}
	for _, i := range s.live() {
		s.kill(i, true)
	}

	// What is asked now sees all that was before: it must be in the state that
	// is taken back, as it is in the model.
	if s.coin() {
		s.people.holdAll()
	}
	s.say("the last start")
	if s.coin() {
		s.newMachine("new") // it has the topics alone
		s.start(s.machines[len(s.machines)-1], s.cfg)
	}
	keeping, stop = context.WithCancel(context.Background())
	go s.keep(keeping)
	s.feed(30, s.world.Step)
	s.feed(1<<30, s.world.Rest)
	s.drain()
	time.Sleep(s.upTo(10 * time.Second)) // and time passes
	stop()
	s.end()
	if s.hook != nil {
		s.hook.drain()
	}
	s.check()
}

// feed writes so many records of the world, or what next still has. Each step
// is acknowledged before the next.
func (s *sim) feed(n int, next func(int) []*kgo.Record) {
	host := s.net.host("feeder", 2*time.Millisecond)
	host.spared = true
	options := append(s.options(host), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	transactional := s.rng.IntN(3) == 0
	if transactional {
		options = append(options, kgo.TransactionalID("feeder"))
	}
	cl, err := kgo.NewClient(options...)
	if err != nil {
		s.t.Fatal(err)
	}
	defer cl.Close()
	talk, err := kgo.NewClient(append(s.options(host), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		s.t.Fatal(err)
	}
	defer talk.Close()
	for n > 0 {
		step := next(1 + s.rng.IntN(12))
		if len(step) == 0 {
			return
		}
		n -= len(step)
		if transactional {
			err = s.inTransaction(cl, step)
		} else {
			err = cl.ProduceSync(context.Background(), step...).FirstErr()
		}
		if err != nil {
			s.t.Errorf("writing the world: %v", err)
			return
		}
		s.people.See(step)
		if err = s.people.speak(talk); err != nil {
			s.t.Errorf("writing what people say: %v", err)
			return
		}
		if s.rng.IntN(12) == 0 {
			time.Sleep(s.upTo(3 * time.Second))
		}
		time.Sleep(s.upTo(200 * time.Millisecond))
	}
}

// write writes records at once, for good.
func (s *sim) write(records ...*kgo.Record) {
	cl, err := kgo.NewClient(append(s.options(s.checker), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		s.t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
}

// inTransaction writes records in a transaction, now and then behind one that is
// aborted and held the same.
func (s *sim) inTransaction(cl *kgo.Client, step []*kgo.Record) error {
	ctx := context.Background()
	for _, commit := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if commit == kgo.TryAbort && s.rng.IntN(5) > 0 {
			continue
		}
		if err := cl.BeginTransaction(); err != nil {
			return err
		}
		copies := make([]*kgo.Record, len(step))
		for i, r := range step {
			c := *r
			copies[i] = &c
		}
		if err := cl.ProduceSync(ctx, copies...).FirstErr(); err != nil {
			return err
		}
		if err := connect.EndTransaction(ctx, cl, commit, copies...); err != nil {
			return err
		}
	}
	return nil
}

// patience is how long anything may take once nothing fails any more.
const patience = 10 * time.Minute

// drain waits until all that was written is applied, decided and committed.
func (s *sim) drain() {
	w := s.world.Strange.World
	want := int64(w.Count("refunds", ""))
	for deadline := time.Now().Add(patience); ; time.Sleep(500 * time.Millisecond) {
		p := model.LastProgress(s.t, topics{s})
		if p.Balance.Read == want && s.allApplied(p) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%v after all faults have healed: %+v of %d refunds", patience, p, want)
		}
	}
}

func (s *sim) allApplied(p model.Progress) bool {
	ends := s.ends(append([]string{"refunds", "transactions"}, model.LifeTopics...)...)
	for _, st := range p.Streams {
		for id, end := range ends[st.Topic] {
			if int(id) >= len(st.Partitions) || st.Partitions[id].Applied < end.Offset {
				return false
			}
			if slices.Contains(model.LifeTopics, st.Topic) && st.Partitions[id].Decided < end.Offset {
				return false // it waits for its turn
			}
		}
	}
	return len(p.Streams) > 0
}

func (s *sim) ends(names ...string) kadm.ListedOffsets {
	cl, err := kgo.NewClient(s.options(s.checker)...)
	if err != nil {
		s.t.Fatal(err)
	}
	defer cl.Close()
	listed, err := kadm.NewClient(cl).ListCommittedOffsets(context.Background(), names...)
	if err != nil {
		s.t.Fatal(err)
	}
	return listed
}

// recovered waits for another commit, for a while.
func (s *sim) recovered() {
	before := s.ends("refundguard-progress")["refundguard-progress"][0].Offset
	for range 60 {
		time.Sleep(time.Second)
		if s.ends("refundguard-progress")["refundguard-progress"][0].Offset > before {
			return
		}
	}
}
