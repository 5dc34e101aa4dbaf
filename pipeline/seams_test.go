package pipeline_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/rules/event"
)

// failCommit makes the next commit fail, so that the session starts over.
func (r *held) failCommit() {
	r.c.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
		resp := req.ResponseKind().(*kmsg.EndTxnResponse)
		resp.ErrorCode = kerr.UnknownServerError.Code
		return resp, nil, true
	})
}

const (
	fewRules = `
rules:
  - {id: large, action: review, severity: high, on_missing: skip, when: 'amount > 50'}
`
	allRules = fewRules + `
  - {id: burst, on: transactions, action: alert, severity: low, on_missing: skip, when: 'transactions.by(customer_id).within("1h").count() >= 2'}
  - {id: a, score: 1, on_missing: skip, when: 'hits.by(customer_id).where(rule == "burst").ever().count() >= 1'}
  - {id: b, score: 1, on_missing: skip, when: 'hits.by(customer_id).where(rule == "large").ever().count() >= 1'}
  - {id: c, score: 1, on_missing: skip, when: 'decisions.by(customer_id).ever().count() >= 1'}
  - {id: d, score: 1, on_missing: skip, when: 'refunds.by(customer_id).ever().count() >= 1'}
  - {id: e, score: 1, on_missing: skip, when: 'transactions.by(customer_id).ever().sum(amount) >= 1'}
`
)

// shop sends the events of a few customers, and counts them.
type shop struct {
	r                    *held
	rng                  *rand.Rand
	now                  time.Duration
	sent                 int64 // refunds
	large, refunds, paid [4]int
}

func (s *shop) trade() {
	c, amount := s.rng.IntN(len(s.paid)), 1+s.rng.IntN(100)
	s.now += time.Duration(s.rng.IntN(600)) * time.Second
	at := s.now - time.Duration(s.rng.IntN(300))*time.Second
	if s.rng.IntN(3) > 0 {
		s.r.send("transactions", int32(c%2), tx(fmt.Sprint("t", s.rng.Uint64()), fmt.Sprint(c), fmt.Sprint(amount), at))
		s.paid[c] += amount
		return
	}
	if amount > 50 {
		s.large[c]++
	}
	s.refund(c, fmt.Sprint("r", s.sent), fmt.Sprint(amount), at)
}

func (s *shop) refund(c int, id, amount string, at time.Duration) {
	s.r.send("refunds", int32(c%2), refund(id, "", fmt.Sprint(c), amount, at))
	s.sent++
	s.refunds[c]++
}

// Whatever ended sessions, and whatever was reloaded on the way, in the end all
// streams hold what the topics do, and nothing was decided or told twice.
func TestStreamsAfterRestartsAndReloads(t *testing.T) {
	for seed := uint64(1); seed < 3; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := newHeld(t, 2, 2)
			r.cfg.Rules.Reload, r.cfg.Engine.BufferRecords = 10*time.Millisecond, 256
			r.writeRules(allRules)
			s := &shop{r: r, rng: rand.New(rand.NewPCG(seed, 1))}
			in := r.run()
			few := false
			for range 10 {
				for range 20 + s.rng.IntN(300) {
					s.trade()
				}
				switch s.rng.IntN(4) {
				case 0:
					r.failCommit()
				case 1, 2:
					few = !few
					r.writeRules(map[bool]string{true: fewRules, false: allRules}[few])
					time.Sleep(time.Duration(s.rng.IntN(60)) * time.Millisecond)
					if s.rng.IntN(2) == 0 {
						r.failCommit()
					}
				case 3:
					if err := in.end(); err != nil {
						t.Fatal(err)
					}
					in = r.run()
				}
			}
			r.writeRules(allRules + "# again\n")
			r.until("all passed", func() bool { return in.Balance().Read == s.sent })
			s.now += time.Hour
			for probe := 0; ; probe++ {
				before := s.refunds
				for c := range s.paid {
					s.refund(c, fmt.Sprintf("probe%d-%d", probe, c), "1", s.now)
				}
				s.now += time.Minute
				r.until("all passed", func() bool { return in.Balance().Read == s.sent })
				if s.whole(t, probe, before) {
					break
				}
				if probe == 50 {
					t.Fatal("still warming")
				}
			}
		})
	}
}

// whole compares what the last refunds saw, once nothing is warming.
func (s *shop) whole(t *testing.T, probe int, refunds [4]int) bool {
	bursts, told := map[string]int{}, map[string]bool{}
	for _, rec := range s.r.read("alerts") {
		a, err := event.ParseAlert(rec.Value)
		if err != nil || told[a.AlertID] {
			t.Fatalf("alert %+v, again: %v; %v", a, told[a.AlertID], err)
		}
		told[a.AlertID] = true
		if a.Rule == "burst" {
			bursts[a.CustomerID]++
		}
	}
	saw := map[string]*event.Decision{}
	for _, rec := range s.r.read("refund-decisions") {
		d, err := event.ParseDecision(rec.Value)
		if err != nil || saw[d.RefundID] != nil {
			t.Fatalf("decision %+v, before it %+v; %v", d, saw[d.RefundID], err)
		}
		saw[d.RefundID] = d
	}
	for c := range s.paid {
		d := saw[fmt.Sprintf("probe%d-%d", probe, c)]
		if len(d.Features) != 5 || len(d.Warming) > 0 {
			return false
		}
		var got []string // by name: decisions, hits of burst, of large, refunds, transactions
		for _, f := range d.Features {
			if got = append(got, f.Str); f.Str == "" {
				got[len(got)-1] = fmt.Sprint(f.Num)
			}
		}
		want := fmt.Sprintf("[%d %d %d %d %d.00]", refunds[c], bursts[fmt.Sprint(c)], s.large[c], refunds[c], s.paid[c])
		if fmt.Sprint(got) != want {
			t.Errorf("customer %d saw %v, want %v", c, got, want)
		}
	}
	return true
}

// Of three instances that start together one stays, at the first start and
// after it, and nothing is decided twice.
func TestOfThreeInstancesOneStays(t *testing.T) {
	r := newHeld(t, 2, 1)
	n := int64(0)
	for range 3 {
		all := []*instance{r.run(), r.run(), r.run()}
		for range 40 {
			r.send("refunds", int32(n%2), refund(fmt.Sprint("r", n), "", "ann", "1", time.Hour))
			n++
			time.Sleep(5 * time.Millisecond)
		}
		var stay []*instance
		r.until("two ended", func() bool {
			stay = stay[:0]
			for _, in := range all {
				if len(in.done) == 0 {
					stay = append(stay, in)
				}
			}
			return len(stay) <= 1
		})
		for _, in := range all {
			if len(stay) == 1 && in == stay[0] {
				r.passed(in, n)
				if err := in.end(); err != nil {
					t.Error(err)
				}
			} else if err := in.wait(); !errors.Is(err, pipeline.ErrFenced) {
				t.Errorf("ended with %v, want ErrFenced", err)
			}
		}
		if len(stay) != 1 {
			t.Fatal("none stayed")
		}
	}
	for id, d := range r.decided() {
		if len(d) != 1 {
			t.Errorf("%s: %v", id, d)
		}
	}
}
