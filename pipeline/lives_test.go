package pipeline_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/rules/event"
)

const lifeRules = `
rules:
  - {id: over-refund, severity: critical, action: reject, reason: OVER_REFUND, when: 'original != nil and refunded + amount > original.amount'}
  - {id: large, severity: high, action: review, reason: LARGE, customer_message: We look at large refunds., when: amount > 50}
`

// life is a world in which refunds go on after their decision.
type life struct {
	*held
	n int
}

func newLife(t *testing.T) *life {
	r := newHeld(t, 2, 1, kfake.SeedTopics(2, "reviews", "confirmations", "ledger-results"))
	r.writeRules(lifeRules)
	return &life{held: r}
}

func (r *life) at() string {
	r.n++
	return base.Add(24*time.Hour + time.Duration(r.n)*time.Second).Format(time.RFC3339)
}

func (r *life) verdict(id, refundID, verdict, analyst string) {
	r.send("reviews", 0, fields{"review_id": id, "refund_id": refundID, "verdict": verdict, "analyst": analyst, "occurred_at": r.at()})
}

func (r *life) confirm(id, refundID string, confirmed bool) {
	r.send("confirmations", 1, fields{"confirmation_id": id, "refund_id": refundID, "confirmed": confirmed, "occurred_at": r.at()})
}

func (r *life) result(id, refundID, status, amount string) {
	f := fields{"result_id": id, "refund_id": refundID, "status": status, "occurred_at": r.at()}
	if amount != "" {
		f["amount"], f["currency"] = amount, "USD"
	}
	r.send("ledger-results", 1, f)
}

// outcomes are a refund's decisions, in order.
func (r *life) outcomes(refundID string) string {
	var all []string
	for _, rec := range r.read("refund-decisions") {
		d, err := event.ParseDecision(rec.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		if d.RefundID == refundID {
			all = append(all, d.Outcome.String()+" "+d.DecidedBy)
		}
	}
	return strings.Join(all, ", ")
}

// statuses are what a customer is told, in order.
func (r *life) statuses(refundID string) string {
	var all []string
	for _, rec := range r.read("refund-status") {
		st, err := event.ParseStatus(rec.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		if st.RefundID == refundID {
			all = append(all, st.Status)
		}
	}
	return strings.Join(all, ", ")
}

// released counts the records of each refund on its way to the ledger.
func (r *life) released() map[string]int {
	all := map[string]int{}
	for _, rec := range r.read("refunds-approved") {
		var f struct {
			ID string `json:"refund_id"`
		}
		if err := json.Unmarshal(rec.Value, &f); err != nil {
			r.t.Fatal(err)
		}
		all[f.ID]++
	}
	return all
}

// refusals are the codes of dead letters.
func (r *life) refusals() (codes []string) {
	for _, rec := range r.read("dead-letters") {
		codes = append(codes, header(rec, "refundguard-code"))
	}
	return codes
}

// alerted are the rules of alerts of a refund.
func (r *life) alerted(refundID string) (rules []string) {
	for _, rec := range r.read("alerts") {
		a, err := event.ParseAlert(rec.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		if a.RefundID == refundID {
			rules = append(rules, a.Rule)
		}
	}
	return rules
}

// A held request is released by a verdict, byte for byte, or ends with it; what
// can't be is refused and changes nothing; what the ledger did is told.
func TestVerdictsAndResults(t *testing.T) {
	r := newLife(t)
	r.cfg.Review.SecondAbove = "500"
	in := r.run()
	r.send("transactions", 0, tx("t1", "ann", "2000", 0))
	text, err := json.Marshal(refund("held", "t1", "ann", "100", time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	asked := &kgo.Record{Topic: "refunds", Partition: 1, Key: []byte("a key"), Value: text, Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("v")}, {Key: "h"}}}
	if err := r.client.ProduceSync(t.Context(), asked).FirstErr(); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"ended", "denied", "twice", "large"} {
		f := refund(id, "t1", "ann", "100", 2*time.Hour)
		if id == "large" {
			f["amount"], f["agent_id"] = "600", "carl"
		}
		r.send("refunds", 0, f)
	}
	r.send("refunds", 0, refund("small", "t1", "ann", "1", 3*time.Hour))
	r.until("decided", func() bool { return in.Balance().Read == 6 })

	r.verdict("v1", "nobody", "approve", "bob")
	r.verdict("v2", "held", "approve", "bob")
	r.verdict("v3", "held", "reject", "bob")
	r.verdict("v4", "ended", "escalate", "bob")
	r.send("reviews", 0, fields{"review_id": "v5", "refund_id": "ended", "verdict": "reject", "analyst": "bob", "label": "fraud", "occurred_at": r.at()})
	r.verdict("v6", "ended", "approve", "bob")
	r.verdict("v7", "large", "approve", "carl")
	r.verdict("v8", "large", "approve", "bob")
	r.verdict("v9", "large", "approve", "bob")
	r.verdict("v10", "large", "approve", "dora")
	r.confirm("c1", "denied", false)
	r.confirm("c2", "small", false)
	r.confirm("c3", "held", true)
	r.result("l1", "nobody", "executed", "")
	r.result("l2", "twice", "executed", "100")
	r.drained()
	r.verdict("v11", "twice", "approve", "bob")
	r.result("l3", "held", "executed", "90")
	r.result("l4", "held", "executed", "100")
	r.result("l5", "small", "failed", "")
	r.result("l6", "large", "executed", "600")
	for range 2 {
		back := tx("t1", "ann", "2000", 0)
		back["status"] = "charged_back"
		r.send("transactions", 0, back)
	}
	r.drained()
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string][3]string{
		"held":   {"review engine, approve analyst:bob", "in_review, approved, executed", "[EXECUTED_OTHER_AMOUNT EXECUTED_TWICE]"},
		"ended":  {"review engine, reject analyst:bob", "in_review, rejected", "[]"},
		"denied": {"review engine, reject customer", "in_review, rejected", "[denied-by-customer]"},
		"twice":  {"review engine", "in_review", "[EXECUTED_WITHOUT_APPROVAL]"},
		"large":  {"review engine, approve analyst:dora", "in_review, approved, executed", "[]"},
		"small":  {"approve engine", "approved, failed", "[denied-by-customer LEDGER_FAILED]"},
		"nobody": {"", "", "[EXECUTED_UNKNOWN_REFUND]"},
	} {
		alerts := r.alerted(id)
		slices.Sort(alerts[:])
		slices.SortFunc(alerts, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
		if got := [3]string{r.outcomes(id), r.statuses(id), fmt.Sprint(alerts)}; got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
	if got := r.released(); !maps.Equal(got, map[string]int{"held": 1, "large": 1, "small": 1}) {
		t.Errorf("released: %v", got)
	}
	codes := r.refusals()
	slices.Sort(codes)
	if want := []string{"ALREADY_PAID", "CASE_FINISHED", "NOT_IN_REVIEW", "SAME_ANALYST", "SELF_APPROVAL", "UNKNOWN_REFUND", "UNKNOWN_REFUND"}; !slices.Equal(codes, want) {
		t.Errorf("refused: %v, want %v", codes, want)
	}
	for _, rec := range r.read("refunds-approved") {
		if string(rec.Key) == "a key" && (string(rec.Value) != string(asked.Value) || len(rec.Headers) != 4 || rec.Headers[1].Value != nil) {
			t.Errorf("released is %s with %v, asked for was %s", rec.Value, rec.Headers, asked.Value)
		}
	}
	if b := in.Balance(); b.Read != 6 || b.Approved != 3 || b.Rejected != 2 || b.InReview != 1 {
		t.Errorf("%+v", b)
	}
	labels := map[string]string{}
	for _, rec := range r.read("refund-labels") {
		l, err := event.ParseLabel(rec.Value)
		if err != nil {
			t.Fatal(err)
		}
		labels[l.RefundID+l.TransactionID] += l.Label + " " + l.Source + " " + l.By
	}
	if want := map[string]string{"ended": "fraud analyst bob", "denied": "fraud customer ann", "small": "fraud customer ann", "t1": "fraud chargeback "}; !maps.Equal(labels, want) {
		t.Errorf("labels: %v, want %v", labels, want)
	}
	// What was rejected or failed is given back, what was paid counts.
	in = r.run()
	r.send("refunds", 1, refund("rest", "t1", "ann", "1199", 30*time.Hour))
	r.send("refunds", 1, refund("more", "t1", "ann", "2", 31*time.Hour))
	r.until("decided", func() bool { return in.Balance().Read == 8 })
	if rest, more := r.outcomes("rest"), r.outcomes("more"); rest != "review engine" || more != "reject engine" {
		t.Errorf("of 2000 paid are 100, 600 and 100: of 1200 left %s gets 1199, then %s gets 2", rest, more)
	}
}

// Whatever becomes of the process and the state folder, verdicts and results are
// carried out once, and sums count what they did.
func TestLivesSurvive(t *testing.T) {
	slow(t)
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			script := func(r *life, each func(i int)) {
				rng := rand.New(rand.NewPCG(seed, 9))
				r.send("transactions", 0, tx("t1", "ann", "1000", 0))
				for i := range 40 {
					amount := []string{"10", "60", "70"}[rng.IntN(3)]
					id := fmt.Sprint("r", i)
					r.send("refunds", int32(rng.IntN(2)), refund(id, fmt.Sprint("t", 1+rng.IntN(2)), "ann", amount, time.Duration(i+1)*time.Minute))
					of := fmt.Sprint("r", rng.IntN(i+1))
					switch rng.IntN(6) {
					case 0, 1:
						r.verdict(fmt.Sprint("v", i), of, []string{"approve", "reject", "escalate"}[rng.IntN(3)], "bob")
					case 2:
						r.confirm(fmt.Sprint("c", i), of, rng.IntN(2) == 0)
					case 3, 4:
						r.result(fmt.Sprint("l", i), of, []string{"executed", "failed"}[rng.IntN(2)], "")
					}
					each(i)
				}
			}
			all := func(r *life) map[string]string {
				got := map[string]string{"released": fmt.Sprint(r.released())}
				for i := range 40 {
					id := fmt.Sprint("r", i)
					alerts := r.alerted(id)
					slices.Sort(alerts)
					got[id] = fmt.Sprint(r.outcomes(id), "|", r.statuses(id), "|", alerts)
				}
				codes := r.refusals()
				slices.Sort(codes)
				got["refused"] = fmt.Sprint(codes)
				return got
			}
			once := newLife(t)
			in := once.run()
			once.until("live", func() bool { return in.Ready() == nil })
			script(once, func(int) { once.drained() })
			want := all(once)

			r := newLife(t)
			dir := filepath.Join(t.TempDir(), "state")
			if seed%2 == 0 {
				r.cfg.State.Dir, r.cfg.State.SaveInterval = dir, 5*time.Millisecond
			}
			rng := rand.New(rand.NewPCG(seed, 10))
			in = r.run()
			r.until("live", func() bool { return in.Ready() == nil })
			script(r, func(i int) {
				r.drained()
				switch rng.IntN(6) {
				case 0:
					if err := in.end(); err != nil {
						t.Fatal(err)
					}
					if rng.IntN(3) == 0 {
						_ = os.RemoveAll(dir)
					}
					in = r.run()
				case 1: // another takes over
					old := in
					in = r.run()
					r.until("it took over", func() bool { return in.Ready() == nil && old.Ready() != nil })
					old.leave()
				}
			})
			got := all(r)
			for id, w := range want {
				if got[id] != w {
					t.Errorf("%s:\n%s\nwithout restarts:\n%s", id, got[id], w)
				}
			}
		})
	}
}

// What happens to a refund whose partition is silent waits for it, longer than the
// decisions of others do: it may have been asked for.
func TestAVerdictWaitsForASilentPartition(t *testing.T) {
	slow(t)
	r := newLife(t)
	r.cfg.Engine.AlignTimeout = 200 * time.Millisecond
	r.ends[1].Store(5) // which it doesn't bring
	r.hold.Store(true)
	in := r.run()
	r.until("live", func() bool { return in.Ready() == nil })
	r.result("l1", "late", "failed", "")
	r.verdict("v1", "late", "approve", "bob")
	r.refund(0, refund("other", "", "ann", "5", 48*time.Hour))
	r.until("the partition is left out", func() bool { return strings.Contains(r.outcomes("other"), "review engine") })
	r.refund(0, refund("another", "", "ann", "5", 49*time.Hour))
	r.until("it still is", func() bool { return r.outcomes("another") != "" })
	if codes, alerts := r.refusals(), r.alerted("late"); len(codes)+len(alerts) > 0 {
		t.Errorf("refused: %v, alerted: %v", codes, alerts)
	}
	r.send("refunds", 1, refund("late", "", "ann", "60", time.Hour))
	r.hold.Store(false)
	r.drained()
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	if got := r.outcomes("late"); got != "review engine, approve analyst:bob" {
		t.Errorf("late: %s", got)
	}
	if codes := r.refusals(); !slices.Equal(codes, []string{"NOT_APPROVED"}) && len(codes) > 0 {
		t.Errorf("refused: %v", codes)
	}
}

// What happens to a refund that is read and not decided yet waits for that, also
// where it is stamped earlier.
func TestAVerdictWaitsForTheDecision(t *testing.T) {
	r := newLife(t)
	r.hold.Store(true)
	r.send("transactions", 0, tx("t9", "z", "1", 90*time.Minute))
	in := r.run()
	r.refund(0, refund("first", "", "ann", "5", time.Hour))
	r.until("the first one is decided", func() bool { return in.Balance().Read == 1 })
	r.refund(0, refund("held", "", "ann", "60", 2*time.Hour)) // not due: transactions are not past 2h
	waiting := func(stream string) (n int64) {
		st, err := pipeline.ReadStatus(t.Context(), r.cfg, "refundguard", []kgo.Opt{kgo.SeedBrokers(r.c.ListenAddrs()...)})
		if err == nil {
			for _, s := range st.Streams {
				if s.Stream == stream {
					n = s.Undecided
				}
			}
		}
		return n
	}
	r.until("it waits", func() bool { return waiting("refunds") == 1 })
	at := base.Add(time.Hour).Format(time.RFC3339)
	r.send("reviews", 0, fields{"review_id": "v1", "refund_id": "held", "verdict": "approve", "analyst": "bob", "occurred_at": at})
	r.send("confirmations", 0, fields{"confirmation_id": "c1", "refund_id": "held", "confirmed": true, "occurred_at": at})
	r.send("ledger-results", 1, fields{"result_id": "l1", "refund_id": "first", "status": "executed", "occurred_at": at})
	r.until("others have their turn", func() bool { return strings.HasSuffix(r.statuses("first"), "executed") })
	// One that comes when it was asked for before which refunds wait.
	r.refund(0, refund("later", "", "ann", "70", 2*time.Hour))
	r.until("it waits, too", func() bool { return waiting("refunds") == 2 })
	r.send("reviews", 1, fields{"review_id": "v2", "refund_id": "later", "verdict": "reject", "analyst": "bob", "occurred_at": at})
	r.until("both verdicts wait, or were refused", func() bool { return waiting("reviews") == 2 || len(r.refusals()) > 0 })
	r.hold.Store(false)
	r.drained()
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	if got := r.outcomes("held"); got != "review engine, approve analyst:bob" {
		t.Errorf("held: %s", got)
	}
	if got := r.outcomes("later"); got != "review engine, reject analyst:bob" {
		t.Errorf("later: %s", got)
	}
	if codes := r.refusals(); len(codes) > 0 {
		t.Errorf("refused: %v", codes)
	}
}

// Time that passes escalates, or does what the configuration says, once, also
// where the service was down meanwhile.
func TestDeadlines(t *testing.T) {
	for _, what := range []string{"escalate", "approve", "reject"} {
		t.Run(what, func(t *testing.T) {
			r := newLife(t)
			var skew time.Duration
			r.now = func() time.Time { return time.Now().Add(skew) }
			for severity := range r.cfg.Review.OnDeadline {
				r.cfg.Review.OnDeadline[severity] = what
			}
			in := r.run()
			r.send("transactions", 0, tx("t1", "ann", "1000", 0))
			r.send("refunds", 0, refund("held", "t1", "ann", "60", time.Hour))
			r.send("refunds", 0, refund("late", "t1", "ann", "10", time.Hour))
			r.until("decided", func() bool { return in.Balance().Read == 2 })
			if err := in.end(); err != nil {
				t.Fatal(err)
			}
			skew = 61 * time.Minute // high: an hour
			in = r.run()
			r.until("told", func() bool { return len(r.alerted("held")) == 1 })
			want := map[string]string{"escalate": "review engine", "approve": "review engine, approve deadline", "reject": "review engine, reject deadline"}[what]
			if got := r.outcomes("held"); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if err := in.end(); err != nil {
				t.Fatal(err)
			}
			skew = 6 * 24 * time.Hour
			in = r.run()
			r.until("the other is overdue", func() bool { return len(r.alerted("late")) == 1 })
			r.drained()
			if err := in.end(); err != nil {
				t.Fatal(err)
			}
			if got := r.statuses("late"); got != "approved, overdue" {
				t.Errorf("late: %s", got)
			}
			if n := len(r.alerted("held")); n != map[string]int{"escalate": 2, "approve": 2, "reject": 1}[what] {
				t.Errorf("%d alerts of the held one", n)
			}
		})
	}
}
