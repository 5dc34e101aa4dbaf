package pipeline_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/refundguard/refundguard/rules/event"
)

// approving has every deadline approve what nobody has looked at.
func (r *life) approving() (skip func(time.Duration)) {
	var skew time.Duration
	r.now = func() time.Time { return time.Now().Add(skew) }
	for severity := range r.cfg.Review.OnDeadline {
		r.cfg.Review.OnDeadline[severity] = "approve"
	}
	return func(d time.Duration) { skew += d }
}

// What was said while the service was down comes before the deadlines that passed
// meanwhile: a verdict, a denial, and the ledger's result.
func TestWhatWasSaidInTimeComesBeforeDeadlines(t *testing.T) {
	r := newLife(t)
	skip := r.approving()
	in := r.run()
	r.send("transactions", 0, tx("t1", "ann", "1000", 0))
	for i, id := range []string{"rejected", "denied", "nobody"} {
		r.send("refunds", 0, refund(id, "t1", "ann", "60", time.Duration(i+1)*time.Hour))
	}
	r.send("refunds", 0, refund("paid", "t1", "ann", "10", 5*time.Hour))
	r.until("decided", func() bool { return in.Balance().Read == 4 })
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	// Each behind records that have to be read first.
	for i := range 2000 {
		r.send("reviews", 0, fields{"review_id": fmt.Sprint("none", i)})
	}
	r.verdict("v1", "rejected", "reject", "bob")
	r.confirm("c1", "denied", false)
	r.result("l1", "paid", "executed", "10")
	skip(6 * 24 * time.Hour)
	in = r.run()
	r.until("the deadline of the third", func() bool { return len(r.alerted("nobody")) > 0 })
	r.drained()
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string][2]string{
		"rejected": {"review engine, reject analyst:bob", "[]"},
		"denied":   {"review engine, reject customer", "[denied-by-customer]"},
		"paid":     {"approve engine", "[]"},
		"nobody":   {"review engine, approve deadline", "[review-deadline]"},
	} {
		if got := [2]string{r.outcomes(id), fmt.Sprint(r.alerted(id))}; got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}

// A deadline releases nothing that is on hold: people are asked again.
func TestADeadlineReleasesNothingOnHold(t *testing.T) {
	for name, hold := range map[string]string{"everything": `"all":true`, "its merchant": `"merchant_id":"m1"`, "another merchant": `"merchant_id":"m2"`} {
		t.Run(name, func(t *testing.T) {
			r := newLife(t)
			skip := r.approving()
			in := r.run()
			r.send("transactions", 0, tx("t1", "ann", "1000", 0))
			f := refund("held", "t1", "ann", "60", time.Hour)
			f["merchant_id"] = "m1"
			r.send("refunds", 0, f)
			r.until("decided", func() bool { return in.Balance().Read == 1 })
			if err := in.end(); err != nil {
				t.Fatal(err)
			}
			control := &kgo.Record{Topic: controlsTopic, Key: []byte("h1"), Value: fmt.Appendf(nil, `{"kind":"hold",%s,"reason":"an attack","by":"bob","at":"2026-01-05T10:00:00Z"}`, hold)}
			if err := r.client.ProduceSync(t.Context(), control).FirstErr(); err != nil {
				t.Fatal(err)
			}
			skip(61 * time.Minute)
			in = r.run()
			r.until("the deadline passes", func() bool { return len(r.alerted("held")) > 0 })
			if err := in.end(); err != nil {
				t.Fatal(err)
			}
			want := "review engine"
			if name == "another merchant" {
				want += ", approve deadline"
			}
			if got := r.outcomes("held"); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// A refund that was released stays so, whatever became of the topic of cases since
// the state was saved: nobody can release it again.
func TestReleasedOnceWhateverBecameOfTheCases(t *testing.T) {
	for name, spoil := range map[string]func(r *life, adm *kadm.Client) error{
		"made anew": func(r *life, adm *kadm.Client) error {
			_, err := adm.DeleteTopics(r.t.Context(), casesTopic)
			return err
		},
		"more partitions": func(r *life, adm *kadm.Client) error {
			_, err := adm.UpdatePartitions(r.t.Context(), 24, casesTopic)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newLife(t)
			state, before := filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "before")
			if name == "made anew" { // else without a state: all is read
				r.cfg.State.Dir, r.cfg.State.SaveInterval = state, time.Hour
			} else if _, err := kadm.NewClient(r.client).CreateTopic(t.Context(), 23, 1, nil, casesTopic); err != nil {
				t.Fatal(err)
			}
			in := r.run()
			r.send("transactions", 0, tx("t1", "ann", "5000", 0))
			const n = 30
			for i := range n {
				r.send("refunds", 0, refund(fmt.Sprint("r", i), "t1", "ann", "60", time.Duration(i+1)*time.Hour))
			}
			r.until("decided", func() bool { return in.Balance().Read == n })
			if err := in.end(); err != nil {
				t.Fatal(err)
			}
			if r.cfg.State.Dir != "" {
				if err := os.CopyFS(before, os.DirFS(state)); err != nil {
					t.Fatal(err)
				}
			}
			if err := spoil(r, kadm.NewClient(r.client)); err != nil {
				t.Fatal(err)
			}
			want := map[string]int{}
			for round := range 2 {
				in = r.run()
				r.until("live", func() bool { return in.Ready() == nil })
				for i := range n / 2 {
					id := fmt.Sprint("r", i)
					r.verdict(fmt.Sprint(round, id), id, "approve", "bob")
					want[id] = 1
				}
				r.drained()
				if err := in.end(); err != nil {
					t.Fatal(err)
				}
				if r.cfg.State.Dir == "" {
					continue
				}
				// A crash before anything was saved.
				if err := os.RemoveAll(state); err != nil {
					t.Fatal(err)
				}
				if err := os.CopyFS(state, os.DirFS(before)); err != nil {
					t.Fatal(err)
				}
			}
			if got := r.released(); !maps.Equal(got, want) {
				t.Errorf("released: %v, want %v", got, want)
			}
			if b := in.Balance(); b.Approved != n/2 || b.InReview != n/2 {
				t.Errorf("%+v", b)
			}
		})
	}
}

const casesTopic = "refundguard-cases"

// lostCases are the messages of what tells of them.
func (r *life) lostCases() (messages []string) {
	for _, rec := range r.read("alerts") {
		if a, err := event.ParseAlert(rec.Value); err == nil && a.Rule == "cases-lost" {
			messages = append(messages, a.Severity+": "+a.Message)
		}
	}
	return messages
}

// Where neither the topic nor the state has the case of a refund in review any
// more, somebody is told: no verdict can help it.
func TestLostCasesAreTold(t *testing.T) {
	r := newLife(t)
	in := r.run()
	r.send("transactions", 0, tx("t1", "ann", "5000", 0))
	for _, id := range []string{"a", "b", "c"} {
		r.send("refunds", 0, refund(id, "t1", "ann", "60", time.Hour))
	}
	r.send("refunds", 0, refund("paid", "t1", "ann", "10", time.Hour))
	r.until("decided", func() bool { return in.Balance().Read == 4 })
	r.verdict("v1", "a", "reject", "bob")
	r.drained()
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	in = r.run()
	r.until("live", func() bool { return in.Ready() == nil })
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	if lost := r.lostCases(); len(lost) > 0 {
		t.Fatalf("nothing is lost, and told was %q", lost)
	}
	if _, err := kadm.NewClient(r.client).DeleteTopics(t.Context(), casesTopic); err != nil {
		t.Fatal(err)
	}
	in = r.run()
	r.until("it is told", func() bool { return len(r.lostCases()) > 0 })
	r.verdict("v2", "b", "approve", "bob")
	r.drained()
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	if told := r.lostCases(); len(told) != 1 || !strings.HasPrefix(told[0], "critical: 2 refunds are in review") {
		t.Errorf("%q", told)
	}
	if codes := r.refusals(); fmt.Sprint(codes) != "[CASE_FINISHED]" {
		t.Errorf("refused: %v", codes)
	}
}

// A partition of verdicts that brings nothing doesn't stop time, and a deadline
// approves nothing then: somebody may have rejected it.
func TestADeadlineApprovesNothingUnheard(t *testing.T) {
	r := newLife(t)
	r.cfg.Engine.AlignTimeout = 100 * time.Millisecond
	r.approving()
	var skew atomic.Int64
	r.now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
	in := r.run()
	r.send("transactions", 0, tx("t1", "ann", "1000", 0))
	r.send("refunds", 0, refund("held", "t1", "ann", "60", time.Hour))
	r.until("decided", func() bool { return in.Balance().Read == 1 })
	var silent atomic.Bool
	r.c.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.c.KeepControl()
		q := req.(*kmsg.ListOffsetsRequest)
		if !silent.Load() || !slices.ContainsFunc(q.Topics, func(t kmsg.ListOffsetsRequestTopic) bool { return t.Topic == "reviews" }) {
			return nil, nil, false
		}
		return offsetsAnswer(q, func(topic string, partition int32) int64 {
			if topic == "reviews" && partition == 1 {
				return 1000 // which never comes
			}
			return 0
		}), nil, true
	})
	silent.Store(true)
	skew.Store(int64(61 * time.Minute))
	r.until("the deadline passes", func() bool { return len(r.alerted("held")) == 1 })
	if got := r.outcomes("held"); got != "review engine" {
		t.Errorf("unheard: %s", got)
	}
	silent.Store(false)
	skew.Store(int64(24 * time.Hour))
	r.until("the next one passes", func() bool { return len(r.alerted("held")) == 2 })
	if got := r.outcomes("held"); got != "review engine, approve deadline" {
		t.Errorf("heard: %s", got)
	}
}

// A record of an unknown refund that is stamped minutes ahead doesn't keep those
// behind it waiting for that time.
func TestWhatIsStampedAheadKeepsNothingWaiting(t *testing.T) {
	r := newLife(t)
	in := r.run()
	r.send("transactions", 0, tx("t1", "ann", "1000", 0))
	r.send("refunds", 0, refund("held", "t1", "ann", "60", time.Hour))
	r.until("decided", func() bool { return in.Balance().Read == 1 })
	r.hold.Store(true) // the transactions never end
	ahead := func(d time.Duration) string { return time.Now().Add(d).Format(time.RFC3339) }
	r.send("confirmations", 1, fields{"confirmation_id": "c1", "refund_id": "nobody", "confirmed": true, "occurred_at": ahead(4 * time.Minute)})
	r.confirm("c2", "held", false)
	later := tx("t2", "bob", "1", 0)
	later["occurred_at"] = ahead(30 * time.Second)
	r.send("transactions", 0, later)
	r.until("the customer's denial", func() bool { return r.outcomes("held") == "review engine, reject customer" })
	if codes := r.refusals(); fmt.Sprint(codes) != "[UNKNOWN_REFUND]" {
		t.Errorf("refused: %v", codes)
	}
}

// What the ledger says of a refund of before decide_from is counted, and alerts
// nobody.
func TestAResultOfHistory(t *testing.T) {
	r := newLife(t)
	r.send("refunds", 0, refund("old", "", "ann", "60", time.Minute))
	r.cfg.Streams["refunds"] = streamFrom("latest")
	in := r.run()
	r.until("live", func() bool { return in.Ready() == nil })
	r.result("l1", "old", "executed", "60")
	r.until("it is counted", func() bool { return in.metric("refundguard_case_events_total") == 1 })
	if rules := r.alerted("old"); len(rules) != 0 || len(r.refusals()) != 0 {
		t.Errorf("alerts %v, dead letters %v", rules, r.refusals())
	}
}
