package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// when was received what these tests send.
var when = time.Now().Add(-time.Hour)

func received(t time.Time, topic string, partition int32, f fields) *kgo.Record {
	b, err := json.Marshal(f)
	if err != nil {
		panic(err)
	}
	return &kgo.Record{Topic: topic, Partition: partition, Value: b, Timestamp: t}
}

// deleted takes the records before an offset away.
func (r *held) deleted(topic string, partition int32, before int64) {
	r.t.Helper()
	var o kadm.Offsets
	o.AddOffset(topic, partition, before, -1)
	if _, err := r.adm.DeleteRecords(context.Background(), o); err != nil {
		r.t.Fatal(err)
	}
}

// A recovery that is cut off while it waits for a partition, and goes on from
// what it saved, ends in the decisions of one that isn't.
func TestARecoveryThatIsCutOff(t *testing.T) {
	slow(t)
	counts := `
rules:
  - {id: many, score: 1, on_missing: skip, when: 'transactions.by(customer_id).within("400d").count() >= 2'}
`
	alerts := counts + `  - {id: paid, on: transactions, action: alert, severity: low, on_missing: skip, when: 'amount > 0'}` + "\n"
	pay := func(at time.Time, partition int32, id string, after time.Duration) *kgo.Record {
		return received(at, "transactions", partition, tx(id, "ann", "100", after))
	}
	for name, c := range map[string]struct {
		rules  string
		before func(r *held, end func())
		silent int32 // the partition of transactions that it waits for
		during string
	}{
		"nothing was read of what is left of a partition": {rules: counts, silent: 1, before: func(r *held, end func()) {
			r.produce([]*kgo.Record{pay(when, 0, "t1", 0), pay(when, 1, "t2", 0), pay(when, 1, "t3", time.Minute), pay(when, 1, "t4", time.Minute)})
			end()
			r.deleted("transactions", 1, 2)
		}},
		"a partition lost what nobody had read": {rules: counts, silent: 0, before: func(r *held, end func()) {
			r.produce([]*kgo.Record{pay(when, 0, "t1", 0), pay(when, 1, "t2", 0)})
			end()
			r.produce([]*kgo.Record{pay(when, 1, "t3", 0), pay(when, 1, "t4", time.Minute), pay(when, 1, "t5", time.Minute)})
			r.deleted("transactions", 1, 3)
		}},
		"a repeat follows when its id is old": {rules: counts, silent: 1, before: func(r *held, end func()) {
			r.cfg.State.Originals, r.cfg.State.ExactEvents = 24*time.Hour, 1 // of others, no window knows whether it has them
			old := when.AddDate(0, 0, -3)
			r.produce([]*kgo.Record{pay(old, 0, "t1", 0), pay(when, 0, "t2", time.Minute), pay(old, 1, "t1", 0), pay(when, 1, "t3", time.Minute)})
			end()
		}},
		"other rules run meanwhile": {rules: alerts, silent: 1, during: counts, before: func(r *held, end func()) {
			r.produce([]*kgo.Record{pay(when, 1, "t0", 0)})
			end()
			r.hold.Store(true)
			settled := tx("t1", "ann", "100", time.Minute)
			settled["status"] = "settled"
			r.produce([]*kgo.Record{pay(when, 0, "t1", time.Minute), received(when, "transactions", 0, settled), pay(when, 1, "t2", time.Minute)})
			end()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			decided := func(cutOff bool) *held {
				r := newHeld(t, 1, 2)
				r.cfg.Limits.OnWarming = "review"
				r.writeRules(c.rules)
				c.before(r, func() {
					in := r.run()
					if r.hold.Load() {
						r.settle(in)
					} else {
						r.drained()
					}
					if err := in.end(); err != nil {
						t.Fatal(err)
					}
				})
				r.cfg.State.Dir, r.cfg.State.SaveInterval = filepath.Join(t.TempDir(), "state"), time.Millisecond
				if cutOff {
					if c.during != "" {
						r.writeRules(c.during)
					}
					silent := r.c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "transactions", Partitions: []int32{c.silent}, Err: kerr.NotLeaderForPartition, Count: -1})
					in := r.run()
					r.until("it saves", func() bool { return in.metric("refundguard_state_save_seconds") >= 5 })
					if err := in.end(); err != nil {
						t.Fatal(err)
					}
					silent.Remove()
					r.writeRules(c.rules)
				}
				r.hold.Store(false)
				r.produce([]*kgo.Record{received(when, "refunds", 0, refund("Z", "unknown", "ann", "1", time.Hour))})
				in := r.run()
				r.drained()
				if err := in.end(); err != nil {
					t.Fatal(err)
				}
				return r
			}
			decided(true).compare(decided(false).results())
		})
	}
}

// full is a disk on which nothing is left.
type full struct{ vfs.FS }

func (full) GetDiskUsage(string) (vfs.DiskUsage, error) { return vfs.DiskUsage{}, nil }

// A start that has more in memory than there is room for, and can't save it on a
// disk that is full, decides all the same.
func TestARecoveryOnAFullDisk(t *testing.T) {
	slow(t)
	r := newHeld(t, 1, 1)
	big := strings.Repeat("x", 200)
	var records []*kgo.Record
	for i := range 60000 {
		f := tx(fmt.Sprint("t", i), fmt.Sprint("c", i), "100", time.Duration(i)*time.Millisecond)
		f["device_id"], f["merchant_id"], f["instrument_id"] = big, big, big
		records = append(records, received(when, "transactions", 0, f))
	}
	for some := range slices.Chunk(records, 1000) { // a batch has its limits
		if err := r.client.ProduceSync(context.Background(), some...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	r.refund(0, refund("X", "t1", "c1", "60", time.Hour))
	r.through(1)
	r.cfg.State.Dir, r.cfg.State.SaveInterval, r.cfg.State.Memory = "/state", time.Millisecond, 1
	r.files = full{vfs.NewMem()}
	r.refund(0, refund("Y", "t1", "c1", "60", 2*time.Hour))
	r.through(2)
	r.want(map[string]string{"X": "approve", "Y": "reject OVER_REFUND"})
}

// What the journal no longer tells of is missing for good in the streams of a
// standby, also where it begins again.
func TestWhatAStandbyMissesOfTheJournal(t *testing.T) {
	slow(t)
	warming := regexp.MustCompile(`"warming":\[[^]]*decisions`)
	for _, restart := range []bool{false, true} {
		t.Run(map[bool]string{false: "at once", true: "after a restart"}[restart], func(t *testing.T) {
			r := newStateful(t, time.Millisecond)
			r.writeRules(testRules + `  - {id: many, action: alert, on_missing: skip, when: 'decisions.by(customer_id).within("400d").count() >= 2'}` + "\n")
			dir := t.TempDir()
			a := r.join(filepath.Join(dir, "a"))
			r.leader(a)
			r.send("refunds", 0, refund("X", "", "ann", "60", time.Hour))
			r.until("X is decided", func() bool { return a.Balance().Read == 1 })
			r.cut("refund-decisions")
			var b *member
			if restart {
				b = r.restarted(filepath.Join(dir, "b"))
			} else {
				b = r.join(filepath.Join(dir, "b"))
			}
			r.standsBy(b)
			if err := a.end(); err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			r.send("refunds", 0, refund("Z", "", "ann", "50", 2*time.Hour))
			r.until("passed", func() bool { return b.Balance().Read == 2 })
			all := r.read("refund-decisions")
			if z := string(all[len(all)-1].Value); !warming.MatchString(z) {
				t.Errorf("%s\nwant it warming: X is not in the stream", z)
			}
		})
	}
}
