package integration

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/integration/model"
)

// outputs are the topics in which what follows is seen.
var outputs = []string{"refund-decisions", "refund-status", "refunds-approved", "alerts", "dead-letters", "refund-labels", "refundguard-cases"}

// sighting is what one record says: of which refund, and what.
func sighting(t testing.TB, r *kgo.Record) (refund, what string) {
	t.Helper()
	var v struct {
		RefundID  string `json:"refund_id"`
		Outcome   string
		DecidedBy string `json:"decided_by"`
		Status    string
		Rule      string
		Label     string
		Source    any // a label's; a decision has another
	}
	if r.Topic != "dead-letters" && r.Topic != "refundguard-cases" {
		if err := json.Unmarshal(r.Value, &v); err != nil {
			t.Fatalf("%s: %s: %v", r.Topic, r.Value, err)
		}
	}
	switch r.Topic {
	case "refund-decisions":
		return v.RefundID, "decision " + v.Outcome + " " + v.DecidedBy
	case "refund-status":
		return v.RefundID, "status " + v.Status
	case "refunds-approved":
		return v.RefundID, "released"
	case "alerts":
		return v.RefundID, "alert " + v.Rule
	case "refund-labels":
		source, _ := v.Source.(string)
		return v.RefundID, "label " + v.Label + " " + source
	case "dead-letters":
		return string(r.Key), "letter " + model.Header(r, "refundguard-code")
	}
	what = "case " + model.Header(r, "refundguard-state")
	if severity := model.Header(r, "refundguard-severity"); severity != "" {
		what += " " + severity
	}
	return string(r.Key), what
}

// stage is where the scripts are played: everybody around the service, in the
// test's goroutine.
type stage struct {
	*testing.T
	rng     *rand.Rand
	watcher *kgo.Client
	writer  *kgo.Client
	scripts map[string]*script
	seen    map[string]trace
	changed map[string]bool // scripts that may go on
	moved   time.Time       // when something was seen last
}

// standstill is for how long nothing is written where something still must be:
// longer than any deadline, and any pause of a loaded machine.
const standstill = 45 * time.Second

func newStage(s *scene, seed uint64) *stage {
	return &stage{T: s.T, rng: rand.New(rand.NewPCG(seed, 0)), writer: s.cluster.Client(kgo.ProducerLinger(0)),
		scripts: make(map[string]*script), seen: make(map[string]trace), changed: make(map[string]bool)}
}

func (s *stage) add(all ...*script) {
	for _, sc := range all {
		s.scripts[sc.id], s.changed[sc.id] = sc, true
	}
}

// watch begins to read what the service writes, once the topics are there.
func (s *stage) watch(sc *scene) {
	s.watcher = sc.cluster.Client(kgo.ConsumeTopics(outputs...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond), kgo.MetadataMinAge(50*time.Millisecond))
}

// act takes in what was written meanwhile, and does what is to be done next.
func (s *stage) act(within time.Duration) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), within)
	defer cancel()
	fetches := s.watcher.PollFetches(ctx)
	if err := fetches.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		s.Fatalf("reading what the service writes: %v", err)
	}
	fetches.EachRecord(func(r *kgo.Record) {
		refund, what := sighting(s, r)
		if s.seen[refund] == nil {
			s.seen[refund] = make(trace)
		}
		s.seen[refund][what]++
		s.changed[refund], s.moved = true, time.Now()
	})
	for id := range s.changed {
		if sc := s.scripts[id]; sc != nil {
			s.play(sc)
		}
	}
	clear(s.changed)
}

// play takes a script's next steps, as far as what it waits for has been seen.
// Now and then a record is written twice, which is a duplicate.
func (s *stage) play(sc *script) {
	s.Helper()
	for sc.next < len(sc.steps) && len(s.seen[sc.id].lacks(sc.wants(sc.next))) == 0 {
		st := &sc.steps[sc.next]
		sc.next++
		if st.topic == "" {
			continue
		}
		records := []*kgo.Record{sc.record(s, st)}
		refused := slices.ContainsFunc(st.then, func(what string) bool { return what[:6] == "letter" })
		if !refused && s.rng.IntN(4) == 0 {
			again := *records[0]
			records = append(records, &again)
		}
		s.writeNow(records...)
	}
}

func (s *stage) writeNow(records ...*kgo.Record) {
	s.Helper()
	if err := s.writer.ProduceSync(s.Context(), records...).FirstErr(); err != nil {
		s.Fatalf("writing to %s: %v", records[0].Topic, err)
	}
}

// unfinished are the scripts that aren't at their end, and what they wait for.
func (s *stage) unfinished() map[string][]string {
	open := make(map[string][]string)
	for id, sc := range s.scripts {
		if missing := s.seen[id].lacks(sc.wants(len(sc.steps))); len(missing) > 0 || sc.next < len(sc.steps) {
			open[id+" ("+sc.role+")"] = missing
		}
	}
	return open
}

// playOut goes on until all scripts are at their end.
func (s *stage) playOut(sv *service) {
	s.Helper()
	s.moved = time.Now()
	for len(s.unfinished()) > 0 {
		sv.check()
		if s.act(50 * time.Millisecond); time.Since(s.moved) > standstill {
			s.Fatalf("nothing has happened for %s, and these still wait: %v", standstill, s.unfinished())
		}
	}
}
