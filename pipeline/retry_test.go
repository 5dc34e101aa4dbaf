package pipeline_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/refundguard/refundguard/rules/event"
)

// uncommitted is what was written of a topic, aborted or not.
func (r *held) uncommitted(topic string) (out []*kgo.Record) {
	r.t.Helper()
	ends, err := r.adm.ListEndOffsets(context.Background(), topic)
	if err != nil {
		r.t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0)
	cl := r.connect(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}), kgo.KeepControlRecords())
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for at := int64(0); at < end.Offset; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			r.t.Fatal(err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			if at = rec.Offset + 1; !rec.Attrs.IsControl() {
				out = append(out, rec)
			}
		})
	}
	return out
}

func same(a, b *kgo.Record) bool {
	return string(a.Key) == string(b.Key) && string(a.Value) == string(b.Value) && fmt.Sprint(a.Headers) == fmt.Sprint(b.Headers)
}

// An epoch that is aborted is sent again as it was, though the clock and the
// rules have moved on, and without going back to what is committed.
func TestAnAbortedEpochIsSentAgainAsItWas(t *testing.T) {
	r := newHeld(t, 1, 1)
	r.cfg.Rules.Reload = 10 * time.Millisecond
	in := r.run()
	r.send("refunds", 0, refund("before", "", "ann", "1", 0))
	r.passed(in, 1)
	// Only an epoch with a decision writes there, after which other topics have
	// their records.
	fault := r.c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "refund-status", Count: 3})
	r.send("refunds", 0, refund("x", "", "bob", "60", time.Minute))
	r.until("the epoch has failed", func() bool { return fault.Hits() > 0 })
	r.writeRules("rules:\n  - {id: all, action: reject, when: 'amount > 50'}\n")
	r.passed(in, 2)
	if n := in.metric("refundguard_recoveries_total"); n != 0 {
		t.Errorf("started over %v times", n)
	}
	for _, topic := range []string{decisions, "refunds-approved"} {
		var tries []*kgo.Record
		for _, rec := range r.uncommitted(topic)[1:] {
			tries = append(tries, rec)
			if !same(rec, tries[0]) {
				t.Errorf("%s: %s\nis not %s", topic, rec.Value, tries[0].Value)
			}
		}
		if len(tries) < 2 {
			t.Errorf("%s: written %d times, want some aborted", topic, len(tries))
		}
	}
	r.whole(in, 2)
}

// Whether an epoch is committed whose EndTxn got no clear answer is what the
// committed progress says.
func TestAnUnknownOutcomeIsResolvedByWhatIsCommitted(t *testing.T) {
	slow(t)
	for _, code := range []*kerr.Error{kerr.UnknownServerError, kerr.InvalidProducerEpoch, kerr.InvalidTxnState} {
		t.Run(code.Message, func(t *testing.T) {
			r := newHeld(t, 1, 1)
			in := r.run()
			r.send("refunds", 0, refund("before", "", "ann", "1", 0))
			r.passed(in, 1)
			other := r.connect()
			met := make(chan struct{})
			var asked atomic.Bool
			r.c.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
				if asked.Swap(true) {
					return nil, nil, false
				}
				q := *req.(*kmsg.EndTxnRequest)
				// The broker does as it is told; the answer says otherwise.
				r.c.SleepControl(func() {
					again := q
					if _, err := again.RequestWith(context.Background(), other); err != nil {
						t.Error(err)
					}
				})
				resp := q.ResponseKind().(*kmsg.EndTxnResponse)
				resp.ErrorCode = code.Code
				close(met)
				return resp, nil, true
			})
			r.send("refunds", 0, refund("x", "", "bob", "1", time.Minute))
			r.passed(in, 2)
			<-met
			if n := in.metric("refundguard_recoveries_total"); n != 0 {
				t.Errorf("started over %v times", n)
			}
			var again []string
			for _, rec := range r.uncommitted(decisions) {
				d, err := event.ParseDecision(rec.Value)
				if err != nil {
					t.Fatal(err)
				}
				again = append(again, d.RefundID)
			}
			if fmt.Sprint(again) != "[before x]" {
				t.Errorf("written: %v, want each once", again)
			}
			r.whole(in, 2)
		})
	}
}

// A transaction that takes longer than transaction.timeout.ms, as when the
// service is paused, is aborted by the broker, and sent again.
func TestATransactionThatTimesOut(t *testing.T) {
	slow(t)
	r := newHeld(t, 1, 1)
	r.c.ControlKey(int16(kmsg.InitProducerID), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.c.KeepControl()
		req.(*kmsg.InitProducerIDRequest).TransactionTimeoutMillis = 500
		return nil, nil, false
	})
	in := r.run()
	r.send("refunds", 0, refund("before", "", "ann", "1", 0))
	r.passed(in, 1)
	r.c.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.c.DropControl()
		r.c.SleepControl(func() { time.Sleep(3 * time.Second) })
		return nil, nil, false
	})
	r.send("refunds", 0, refund("x", "", "bob", "1", time.Minute))
	r.passed(in, 2)
	if n := len(r.uncommitted(decisions)); n < 3 {
		t.Errorf("%d decisions were written, want one aborted", n)
	}
	r.whole(in, 2)
}

// Somebody who takes the transactional.id and goes away again is no successor.
func TestFencedWithoutASuccessor(t *testing.T) {
	slow(t)
	r := newHeld(t, 1, 1)
	in := r.run()
	r.send("refunds", 0, refund("before", "", "ann", "1", 0))
	r.passed(in, 1)
	thief := r.connect(kgo.TransactionalID("refundguard"))
	if _, _, err := thief.ProducerID(context.Background()); err != nil {
		t.Fatal(err)
	}
	thief.Close()
	r.send("refunds", 0, refund("x", "", "bob", "1", time.Minute))
	r.whole(in, 2)
}

// An epoch that was sent again counts when readers see it, not when it is
// answered as committed.
func TestACommitThatIsNotThere(t *testing.T) {
	slow(t)
	r := newHeld(t, 1, 1)
	in := r.run()
	r.send("refunds", 0, refund("before", "", "ann", "1", 0))
	r.passed(in, 1)
	other := r.connect()
	var asked atomic.Int32
	r.c.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.c.KeepControl()
		q := *req.(*kmsg.EndTxnRequest)
		resp := q.ResponseKind().(*kmsg.EndTxnResponse)
		switch asked.Add(1) {
		case 1:
			resp.ErrorCode = kerr.UnknownServerError.Code
		case 2: // it is aborted, and the answer is that of a commit
			q.Commit = false
			r.c.SleepControl(func() {
				answer, err := q.RequestWith(context.Background(), other)
				if err != nil {
					t.Error(err)
				}
				resp = answer
			})
		default:
			return nil, nil, false
		}
		return resp, nil, true
	})
	r.send("refunds", 0, refund("x", "", "bob", "1", time.Minute))
	r.until("it goes on", func() bool { return asked.Load() > 3 })
	r.whole(in, 2)
}

// A broker that has not ended the transaction before on a partition refuses a batch
// of the next one until it has. Were it sent again as late as the client asks for
// metadata by default, 5 s later, this would take minutes.
func TestTheTransactionBeforeIsNotYetEnded(t *testing.T) {
	r := newHeld(t, 1, 1)
	in := r.run()
	r.send("refunds", 0, refund("before", "", "ann", "1", 0))
	r.passed(in, 1)
	const times = 30
	fault := r.c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: decisions, Err: kerr.ConcurrentTransactions, Count: times})
	r.send("refunds", 0, refund("x", "", "ann", "1", time.Minute))
	r.passed(in, 2)
	if fault.Hits() != times {
		t.Errorf("refused %d times", fault.Hits())
	}
	if n := in.metric("refundguard_recoveries_total"); n != 0 {
		t.Errorf("started over %v times", n)
	}
	r.whole(in, 2)
}
