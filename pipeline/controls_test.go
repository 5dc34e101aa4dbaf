package pipeline_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

const controlsTopic = "refundguard-controls"

// control puts a record on the topic of controls and waits until it is in force;
// "" is none: the control ends.
func (w *world) control(id, value string) {
	w.t.Helper()
	r := &kgo.Record{Topic: controlsTopic, Value: []byte(value)}
	if id != "" {
		r.Key = []byte(id)
	}
	if value == "" {
		r.Value = nil
	}
	w.cluster.Produce(r)
	end := w.cluster.ReadCommitted(controlsTopic)
	w.inForce(end[len(end)-1].Offset + 1)
}

// inForce waits until an epoch is committed for which controls were in force up to
// an offset.
func (w *world) inForce(next int64) {
	w.t.Helper()
	w.until(fmt.Sprintf("controls up to %d are in force", next), func() bool {
		all := w.cluster.ReadCommitted("refundguard-progress")
		var p struct {
			Controls struct{ Next int64 }
		}
		if err := json.Unmarshal(all[len(all)-1].Value, &p); err != nil {
			w.t.Fatal(err)
		}
		return p.Controls.Next >= next
	})
}

const controlledRules = `
rules:
  - {id: large, action: review, reason: LARGE, severity: high, on_missing: skip, when: 'amount >= 100'}
  - {id: stolen, action: reject, reason: STOLEN, on_missing: skip, when: 'device_id == "stolen"'}
  - {id: fails, action: review, on_missing: skip, when: 'device_id == "fails" and 5 / (amount / amount - 1) > 5'}
  - {id: watch, action: alert, on_missing: skip, when: 'device_id == "watched"'}
`

// controlsModel says what is in force and decides by it.
type controlsModel struct {
	holds   map[string]string    // id -> merchant, "" is everything
	snoozes map[string][3]string // id -> rule, field, value
	until   map[string]time.Time
}

func (m *controlsModel) decide(r fields, now time.Time) (outcome, hits, controls string) {
	text := func(f string) string { s, _ := r[f].(string); return s }
	var shown, named []string
	mode := func(rule string) string {
		for _, id := range slices.Sorted(maps.Keys(m.snoozes)) {
			if s := m.snoozes[id]; s[0] == rule && text(s[1]) == s[2] && now.Before(m.until[id]) {
				named = append(named, id)
				return "snoozed"
			}
		}
		return "live"
	}
	outcome = "approve"
	hit := func(rule, says string) {
		how := mode(rule)
		shown = append(shown, rule+" "+how)
		if how == "live" && says != "" && outcome != "reject" {
			outcome = says
		}
	}
	if text("amount") == "100" {
		hit("large", "review LARGE")
	}
	switch text("device_id") {
	case "stolen":
		hit("stolen", "reject")
	case "fails":
		if mode("fails") == "live" {
			outcome = "review RULE_FAILED"
		}
	case "watched":
		hit("watch", "")
	}
	if outcome == "approve" {
		for _, all := range []bool{true, false} {
			for _, id := range slices.Sorted(maps.Keys(m.holds)) {
				if of := m.holds[id]; all && of == "" || !all && of != "" && of == text("merchant_id") {
					named = append(named, id)
					outcome = "review HOLD"
				}
			}
		}
	}
	return outcome, strings.Join(shown, ", "), strings.Join(named, ", ")
}

// Whatever is put in force and ended, with restarts in between, while the service
// is down too, and with records that say nothing: each decision is the one that
// what is in force asks for, and names it. Each hold alerts when it begins and when
// it ends.
func TestControlsOverRestarts(t *testing.T) {
	slow(t)
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 11))
			w := newWorld(t, 2, controlledRules)
			w.cfg.Streams["refunds"] = streamFrom("earliest")
			var clock atomic.Int64
			clock.Store(time.Now().UnixMilli())
			w.now = func() time.Time { return time.UnixMilli(clock.Load()) }
			m := &controlsModel{holds: map[string]string{}, snoozes: map[string][3]string{}, until: map[string]time.Time{}}
			pick := func(of ...string) string { return of[r.IntN(len(of))] }
			in := w.start()
			w.until("ready", func() bool { return in.Ready() == nil })
			sent, began, ended, refused := int64(0), map[string]int{}, map[string]int{}, 0.0
			end := func(id string) {
				if _, is := m.holds[id]; is {
					ended[id]++
				}
				delete(m.holds, id)
				delete(m.snoozes, id)
			}
			for range 10 {
				var records []*kgo.Record
				add := func(id, value string) {
					rec := &kgo.Record{Topic: controlsTopic, Key: []byte(id), Value: []byte(value)}
					if value == "" {
						rec.Value = nil
					}
					records = append(records, rec)
				}
				down := r.IntN(3) == 0
				if down {
					if err := in.end(); err != nil {
						t.Fatal(err)
					}
					refused = 0 // of the next process
				}
				touched := map[string]bool{} // a hold that begins and ends at once need not alert
				for range 1 + r.IntN(2) {
					switch pick("hold", "hold", "snooze", "snooze", "end", "end", "garbage", "pass") {
					case "hold":
						merchant := pick("", "m1", "m2")
						id := "hold " + merchant
						if touched[id] {
							continue
						}
						touched[id] = true
						what := `"all":true`
						if merchant != "" {
							what = fmt.Sprintf(`"merchant_id":%q`, merchant)
						}
						add(id, `{"kind":"hold",`+what+`,"reason":"an incident","by":"ann"}`)
						if _, is := m.holds[id]; !is {
							began[id]++
						}
						m.holds[id] = merchant
					case "snooze":
						s := [3]string{pick("large", "stolen", "fails", "watch"), "customer_id", pick("ann", "bob")}
						if r.IntN(3) == 0 {
							s[1], s[2] = "device_id", pick("stolen", "fails", "other")
						}
						id := "snooze " + s[0] + " " + s[2]
						until := time.UnixMilli(clock.Load() + int64(r.IntN(3))*600_000)
						add(id, fmt.Sprintf(`{"kind":"snooze","rule":%q,%q:%q,"until":%q}`, s[0], s[1], s[2], until.UTC().Format("2006-01-02T15:04:05.000Z")))
						m.snoozes[id], m.until[id] = s, until
					case "end":
						ids := slices.Sorted(maps.Keys(m.holds))
						for id := range m.snoozes {
							ids = append(ids, id)
						}
						slices.Sort(ids)
						if len(ids) == 0 {
							continue
						}
						if id := pick(ids...); !touched[id] {
							touched[id] = true
							add(id, "")
							end(id)
						}
					case "garbage":
						add(pick("hold ", "hold m1", "snooze large ann", "else", ""), pick(`{"kind":"hold"}`, `{`, "\x00", `{"kind":"thaw"}`, `{"kind":"hold","all":1}`))
						refused++
					case "pass":
						clock.Add(600_000)
					}
				}
				w.cluster.Produce(records...)
				if down {
					in = w.start()
				}
				if all := w.cluster.ReadCommitted(controlsTopic); len(all) > 0 {
					w.inForce(all[len(all)-1].Offset + 1)
				}
				w.until("what can't be read is counted", func() bool { return in.metric("refundguard_controls_refused_total") >= refused })
				if got := in.metric("refundguard_controls_refused_total"); got != refused {
					t.Fatalf("%v controls were refused, want %v", got, refused)
				}
				held := float64(len(m.holds))
				w.until("expired snoozes have ended", func() bool {
					n := 0.0
					for id := range m.snoozes {
						if w.now().Before(m.until[id]) {
							n++
						}
					}
					return in.metric("refundguard_snoozes") == n && in.metric("refundguard_holds") == held
				})
				want := map[string]string{}
				for range 6 {
					id := fmt.Sprintf("r%04d", sent)
					f := refund(id, "", pick("ann", "bob", "cat"), pick("5", "100"), time.Duration(sent)*time.Second)
					f["merchant_id"], f["device_id"] = pick("m1", "m2", "m3"), pick("stolen", "fails", "watched", "other", "other")
					outcome, hits, controls := m.decide(f, w.now())
					want[id] = outcome + " | " + hits + " | " + controls
					w.send("refunds", int32(sent%2), f)
					sent++
				}
				w.passed(in, sent)
				all := w.decisions()
				for id, says := range want {
					d := all[id]
					got := d.Outcome.String()
					if d.Outcome == event.Review {
						got += " " + d.Reason
					}
					var hits []string
					for _, h := range d.Hits {
						hits = append(hits, h.Rule+" "+h.Mode)
					}
					if got = got + " | " + strings.Join(hits, ", ") + " | " + strings.Join(d.Controls, ", "); got != says {
						t.Fatalf("%s: %s\nwant %s\nholds %v, snoozes %v", id, got, says, m.holds, m.snoozes)
					}
				}
			}
			gotBegan, gotEnded := map[string]int{}, map[string]int{}
			count := func(rule string, got map[string]int) {
				for _, message := range w.alertsOf(rule) {
					got[message[strings.LastIndex(message, "(")+1:len(message)-1]]++ // the id is at the end
				}
			}
			count("hold-begins", gotBegan)
			count("hold-ends", gotEnded)
			if !maps.Equal(gotBegan, began) || !maps.Equal(gotEnded, ended) {
				t.Errorf("holds began %v and ended %v, want %v and %v", gotBegan, gotEnded, began, ended)
			}
		})
	}
}

// A reset ends what was tripped before it, once; one from before doesn't.
func TestAResetOfATrippedRule(t *testing.T) {
	slow(t)
	w := newWorld(t, 1, trippable)
	w.cfg.Streams["refunds"] = streamFrom("earliest")
	in := w.start()
	w.until("ready", func() bool { return in.Ready() == nil })
	reset := func(n int) { w.control(fmt.Sprint("reset ", n), `{"kind":"reset","rule":"odd","by":"ann"}`) }
	reset(0)
	odd := func(int) bool { return true }
	w.sendRefunds(0, 500, odd)
	w.passed(in, 500)
	w.until("it is tripped", func() bool { return in.metric("refundguard_breaker_tripped") == 1 })
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	in = w.start() // and reads the reset again
	w.until("it still is", func() bool { return in.Ready() == nil && in.metric("refundguard_breaker_tripped") == 1 })
	reset(1)
	if n := in.metric("refundguard_breaker_tripped"); n != 0 {
		t.Errorf("%v tripped after a reset", n)
	}
	held := in.Balance().InReview
	w.sendRefunds(500, 10, odd)
	if b := w.passed(in, 510); b.InReview != held+10 {
		t.Errorf("balance %+v, and %d were held before the reset", b, held)
	}
	if alerts := w.alertsOf("breaker:odd"); len(alerts) != 1 {
		t.Errorf("alerts: %q", alerts)
	}
}

// Where the topic is lost while something is on hold, nobody can tell whether it
// still is: nothing is decided. Where nothing was, it begins anew.
func TestControlsThatAreLost(t *testing.T) {
	slow(t)
	for _, held := range []bool{true, false} {
		w := newWorld(t, 1, controlledRules)
		in := w.start()
		w.until("ready", func() bool { return in.Ready() == nil })
		w.control("snooze", `{"kind":"snooze","rule":"large","customer_id":"ann","until":"2099-01-01T00:00:00Z"}`)
		if held {
			w.control("hold", `{"kind":"hold","all":true}`)
			w.control("hold", `{"kind":"hold","merchant_id":"m1"}`)
		}
		if err := in.end(); err != nil {
			t.Fatal(err)
		}
		if _, err := kadm.NewClient(w.client).DeleteTopics(context.Background(), controlsTopic); err != nil {
			t.Fatal(err)
		}
		in = w.start()
		if held {
			if err := in.wait(); err == nil || !strings.Contains(err.Error(), "was deleted or cut") || !strings.Contains(err.Error(), "topics.controls") {
				t.Errorf("it ended with %v", err)
			}
			w.cfg.Topics.Controls = "controls-2"
			in = w.start()
		}
		w.until("ready", func() bool { return in.Ready() == nil })
		w.sendRaw("refunds", 0, `{"refund_id":"r1","customer_id":"ann","merchant_id":"m1","amount":"100","currency":"USD","occurred_at":"2026-01-05T10:00:00Z"}`)
		w.passed(in, 1)
		if d := w.decisions()["r1"]; d.Reason != "LARGE" || len(d.Controls) > 0 {
			t.Errorf("decision %+v", d)
		}
	}
}
