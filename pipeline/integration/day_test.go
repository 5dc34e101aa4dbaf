package integration

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/integration/model"
	"github.com/refundguard/refundguard/pipeline/kafkatest"
)

// The day: one on which many asked for refunds.
var (
	dayBegins = time.Date(2010, 11, 11, 0, 0, 0, 0, time.UTC)
	dayEnds   = dayBegins.Add(24 * time.Hour)
)

// secondAbove is the amount above which two must approve.
const secondAbove = "30"

// Deadlines that pass, and those that don't while the test runs.
const (
	soon  = 2 * time.Second
	later = time.Hour
)

func dayLife() *life {
	review := pipeline.DefaultConfig().Review
	review.SLA = map[string]time.Duration{"low": soon, "medium": later, "high": later, "critical": soon}
	review.OnDeadline = pipeline.BySeverity{"low": "reject", "medium": "escalate", "high": "escalate", "critical": "approve"}
	review.SecondAbove = secondAbove
	return &life{Review: review, Base: "GBP", Memory: 100_000,
		ETA: map[string]string{"original": "1h", "bank_transfer": "1h", "other": "1h", "balance": soon.String()}}
}

// day is the world up to the end of the day, and the day's refunds.
type day struct {
	*scene
	*stage
	refunds  []model.Sent // of the day, in order
	history  []string     // ids of refunds of before
	expected map[string]model.Expected
	fed      int
	kills    *rand.Rand
}

// paymentOf is the transaction that a refund is of; each of the day's has its own,
// of twice as much. Nobody's: rules that count a customer's see none of them.
func paymentOf(refund string) string { return "pay_" + refund }

func newDay(t *testing.T, seed uint64) *day {
	t.Helper()
	cast := casting(t, dayWorld(t, nil))
	w := dayWorld(t, cast)
	d := &day{scene: newScene(t, w, 3), expected: w.Model.DecideAll(), kills: rand.New(rand.NewPCG(seed, 1))}
	d.cluster.CreateTopics(2, nil, "reviews", "confirmations", "ledger-results")
	d.settings.DecideFrom, d.settings.Life = dayBegins.Format(time.RFC3339), dayLife()
	d.stage = newStage(d.scene, seed)
	var before []*kgo.Record
	for _, sent := range w.Sent {
		id := idOf(t, sent.Record)
		switch {
		case sent.Record.Topic == "transactions":
			before = append(before, sent.Record)
		case sent.At < dayBegins.UnixMilli():
			before, d.history = append(before, sent.Record), append(d.history, id)
		default:
			d.refunds = append(d.refunds, sent)
			d.add(d.script(id, cast[id], sent.Record))
		}
	}
	d.add(strangers(d.history)...)
	d.cluster.Produce(before...)
	return d
}

func idOf(t testing.TB, r *kgo.Record) string {
	fields := model.Fields(t, r.Value)
	return cmp.Or(fields["refund_id"], fields["transaction_id"])
}

// dayWorld is the shop's year up to the end of the day, whose refunds play their
// roles. They have headers, too, which have to come back.
func dayWorld(t *testing.T, cast map[string]part) *model.World {
	t.Helper()
	file := filepath.Join(t.TempDir(), "day.yaml")
	text, err := os.ReadFile(retailRuleFile)
	if err == nil {
		err = os.WriteFile(file, bytes.Replace(text, []byte("policy:"), []byte(model.DeskRules+"policy:"), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	w := &model.World{Model: model.Day(t, file), Rules: file}
	w.Model.From = dayBegins.UnixMilli()
	for _, topic := range []string{"transactions", "refunds"} {
		for _, r := range kafkatest.Lines(t, topic, "customer_id", filepath.Join(retailDir(t), topic+".jsonl")) {
			fields := model.Fields(t, r.Value)
			at, err := time.Parse(time.RFC3339, fields["occurred_at"])
			if err != nil {
				t.Fatal(err)
			}
			if !at.Before(dayEnds) {
				continue
			}
			if topic == "refunds" && !at.Before(dayBegins) {
				id := fields["refund_id"]
				w.Add(t, &kgo.Record{Topic: "transactions", Value: fmt.Appendf(nil, `{"transaction_id":%q,"amount":"%s","currency":"GBP","occurred_at":%q}`,
					paymentOf(id), decimal(2*model.Units(t, fields["amount"])), at.Add(-time.Hour).Format(time.RFC3339))}, model.IsEvent)
				rest := bytes.Replace(r.Value[1:], fmt.Appendf(nil, `"transaction_id":%q,`, fields["transaction_id"]), nil, 1)
				r.Value = fmt.Appendf(nil, `{"transaction_id":%q,%s%s`, paymentOf(id), cast[id].fields(), rest)
				r.Headers = []kgo.RecordHeader{{Key: "trace", Value: []byte(id)}, {Key: "trace", Value: nil}, {Key: "", Value: []byte{}}}
			}
			w.Add(t, r, model.IsEvent)
		}
	}
	slices.SortStableFunc(w.Sent, func(a, b model.Sent) int { return cmp.Compare(a.At, b.At) })
	return w
}

func decimal(units int64) string { return fmt.Sprintf("%d.%04d", units/10_000, units%10_000) }

// part is a role with the number of who plays it, from 1 on.
type part struct {
	*role
	n int
}

func (p part) fields() string {
	switch {
	case p.role == nil:
		return ""
	case p.merchant == "":
		return p.role.fields
	}
	return fmt.Sprintf("%q:%q,", "merchant_id", p.merchant) + p.role.fields
}

// casting gives each role to two refunds. Those of a desk go to refunds that
// rules let pass without a hit: its own then says what the severity is.
func casting(t *testing.T, w *model.World) map[string]part {
	t.Helper()
	expected, cast := w.Model.DecideAll(), make(map[string]part)
	for i := range roles {
		for n := range 2 {
			found := false
			for _, sent := range w.Sent {
				if sent.Record.Topic != "refunds" || sent.At < dayBegins.UnixMilli() {
					continue
				}
				id, large := idOf(t, sent.Record), isLarge(t, sent.Record)
				e := expected[id]
				if _, taken := cast[id]; taken || e.Outcome != "approve" {
					continue
				}
				if roles[i].merchant != "" && len(liveHits(e)) > 0 || roles[i].large && !large || roles[i].merchant == "urgent" && large != roles[i].large {
					continue
				}
				cast[id], found = part{&roles[i], n + 1}, true
				break
			}
			if !found {
				t.Fatalf("of the day's %d refunds there is none left for %q, %d", len(expected), roles[i].name, n+1)
			}
		}
	}
	return cast
}

func isLarge(t *testing.T, r *kgo.Record) bool {
	return model.Units(t, model.Fields(t, r.Value)["amount"]) > model.Units(t, secondAbove)
}

func liveHits(e model.Expected) []string {
	return slices.DeleteFunc(slices.Clone(e.Hits), func(rule string) bool { return rule == "everything-else" })
}

// script is what happens to one of the day's refunds.
func (d *day) script(id string, p part, r *kgo.Record) *script {
	fields, e := model.Fields(d.scene, r.Value), d.expected[id]
	s := &script{id: id, role: "rest", amount: fields["amount"], customer: fields["customer_id"], large: isLarge(d.scene.T, r)}
	severities := map[string]string{"R5": "high", "unknown-and-large": "critical", "idle": "low", "urgent": "critical"}
	ranks := []string{"", "low", "medium", "high", "critical"}
	rank := 0
	var alerts []string
	for _, rule := range liveHits(e) {
		rank = max(rank, slices.Index(ranks, cmp.Or(severities[rule], "medium")))
		if rule == "R5" || rule == "unknown-and-large" {
			alerts = append(alerts, rule)
		}
	}
	s.severity = ranks[cmp.Or(rank, 2)]
	s.decided(e.Outcome, alerts)
	if p.role == nil {
		rest(s, e.Outcome, len(d.scripts))
	} else {
		s.role = fmt.Sprintf("%s %d", p.name, p.n)
		p.play(s)
	}
	return s
}

// feed writes the day's refunds up to a share of them, each when the one before
// is there: what one must see is certain then.
func (d *day) feed(share float64) {
	d.scene.Helper()
	for ; float64(d.fed) < share*float64(len(d.refunds)); d.fed++ {
		d.writeNow(d.refunds[d.fed].Record)
	}
}

// killed lets a service work, and kills it: mostly a moment after it is live,
// now and then on its way there, and now and then at a step of a transaction.
func (d *day) killed(share float64) {
	d.scene.Helper()
	settings := d.settings
	wait, live := time.Duration(d.kills.Int64N(int64(1500*time.Millisecond))), false
	how := d.kills.IntN(5)
	switch how {
	case 0:
		live = true // it needn't be
	case 1, 2:
		wait = 10 * time.Second // at most
		settings.Die = deaths[d.kills.IntN(len(deaths))]
		settings.Die.After += d.kills.Int32N(20)
	}
	sv := startProcess(d.scene, settings)
	began, fed := time.Now(), d.fed
	for !sv.dead() {
		if !live && bytes.Contains(sv.log.Bytes(), []byte("msg=live")) {
			began, live = time.Now(), true
		}
		if live && time.Since(began) > wait {
			break
		}
		if time.Since(began) > patience {
			d.scene.Fatalf("the service isn't live after %s\n%s", patience, sv.log)
		}
		d.act(20 * time.Millisecond)
		if live && float64(d.fed+1) < share*float64(len(d.refunds)) {
			d.feed(float64(d.fed+1) / float64(len(d.refunds)))
		}
	}
	d.feed(share)
	if sv.dead() {
		sv.untilDead() // and not by an error
	} else {
		sv.crash()
	}
	d.cluster.ExpireMembers()
	d.scene.Logf("killed (%d, %v): %d of the day's refunds were written meanwhile, %d scripts are open", how, settings.Die, d.fed-fed, len(d.unfinished()))
}

// TestDayOfARefundDesk is a day of the shop, all that follows a decision
// included: analysts who work the queue, customers who answer, a ledger that
// pays, each of whom does each thing wrong twice. The service is killed again and
// again. What must be in the topics in the end is known to the record, and
// ClickHouse has the same.
func TestDayOfARefundDesk(t *testing.T) {
	d, kills := newDay(t, 1), 14
	if testing.Short() {
		kills = 4
	}
	var w *warehouse
	if !testing.Short() {
		w = newWarehouse(t, d.cluster.Brokers())
		d.settings.Life.ClickHouse = &w.sink
	}
	d.open()
	for n := range kills {
		d.killed(float64(n+1) / float64(kills+1))
	}
	sv := startProcess(t, d.settings)
	d.feed(1)
	d.playOut(sv)

	// What counts in refunded must have survived, too.
	sv.crash()
	d.cluster.ExpireMembers()
	probes := d.probes()
	sv = startProcess(t, d.settings)
	for _, r := range probes {
		d.writeNow(r)
	}
	d.playOut(sv)
	if w != nil {
		w.equals(sv, d.cluster)
	}
	sv.stop()
	d.check(probes)
}

// open has a first service make its topics.
func (d *day) open() {
	d.scene.Helper()
	sv := startProcess(d.scene, d.settings)
	sv.until("its first epoch", func() bool { return len(d.cluster.ReadCommitted("refundguard-progress")) > 0 })
	d.watch(d.scene)
	sv.crash()
}

// probes are two more refunds of each of the day's payments: one of all that may
// still be refunded, which no rule may reject, and one of a penny more.
func (d *day) probes() (all []*kgo.Record) {
	at := dayEnds
	for _, sent := range d.refunds {
		sc := d.scripts[idOf(d.scene, sent.Record)]
		left := 2 * model.Units(d.scene, sc.amount)
		if sc.reserved {
			left /= 2
		}
		for _, p := range []struct{ kind, amount, outcome string }{{"rest", decimal(left), "review"}, {"more", "0.01", "reject"}} {
			id := fmt.Sprintf("%s_%s", p.kind, sc.id)
			at = at.Add(time.Second)
			all = append(all, &kgo.Record{Topic: "refunds", Timestamp: at, Value: fmt.Appendf(nil,
				`{"refund_id":%q,"transaction_id":%q,"amount":"%s","currency":"GBP","occurred_at":%q}`, id, paymentOf(sc.id), p.amount, at.Format(time.RFC3339))})
			probe := &script{id: id, role: strings.TrimSpace("probe of " + sc.role), severity: "medium", amount: p.amount}
			probe.decided(p.outcome, nil)
			d.add(probe)
		}
	}
	return all
}
