package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/rules/event"
)

// desk is a front with all topics that reviews need, and what analysts do there.
type desk struct {
	*storeFront
	n int
}

// Analysts' names are read from elsewhere than by default, which what is written
// must follow.
const deskSettings = `
streams: {refunds: {decide_from: earliest}, reviews: {fields: {analyst: {from: who.name}}}}
review: {second_above: 500}`

func newDesk(t *testing.T) *desk {
	d := &desk{storeFront: newStoreFront(t)}
	rules := `rules:
  - {id: large, action: review, severity: high, reason: LARGE, when: 'amount > 100', message: 'large: {{amount}}'}
  - {id: repeat, action: review, severity: critical, when: 'customer_id != nil and refunds.by(customer_id).within("7d").count() > 0'}
`
	if err := os.WriteFile(filepath.Join(filepath.Dir(d.file), "rules", "r.yaml"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) topics() *desk {
	_, err := kadm.NewClient(d.client).CreateTopics(d.t.Context(), 2, 1, nil, "reviews", "confirmations", "ledger-results", "complaints")
	if err != nil {
		d.t.Fatal(err)
	}
	return d
}

// ask writes a refund request, and gives its bytes.
func (d *desk) ask(id, customer, amount, more string) string {
	d.n++
	name, _ := json.Marshal(customer)
	at := time.Now().Add(time.Duration(d.n) * time.Millisecond).UTC().Format(time.RFC3339Nano)
	text := fmt.Sprintf(`{"refund_id":%q, "customer_id":%s,"merchant_id":%q,"amount":%q,"currency":"USD","occurred_at":%q%s}`, id, name, "m-"+customer[:1], amount, at[:23]+"Z", more)
	d.send(text)
	return text
}

func (d *desk) command(code int, says string, args ...string) ran {
	d.t.Helper()
	r := runCommand(d.t, append([]string{"review"}, append(args, "-c", d.file)...)...)
	if r.code != code || !strings.Contains(r.out+r.err, says) {
		d.t.Errorf("%v: exit %d, want %d and %q in:\n%s%s", args, r.code, code, says, r.out, r.err)
	}
	return r
}

// verdicts runs a command and gives what it says in JSON.
func (d *desk) verdicts(code int, args ...string) []verdict {
	d.t.Helper()
	r := d.command(code, "", append(args, "-o", "json")...)
	var all []verdict
	if err := json.Unmarshal([]byte(r.out), &all); err != nil {
		d.t.Fatalf("%v: %v in:\n%s%s", args, err, r.out, r.err)
	}
	return all
}

// queue is what list shows: the refunds in its order.
func (d *desk) queue(args ...string) string {
	d.t.Helper()
	r := d.command(exitFine, "", append([]string{"list", "-o", "json"}, args...)...)
	var all []caseJSON
	if err := json.Unmarshal([]byte(r.out), &all); err != nil {
		d.t.Fatalf("%v in:\n%s", err, r.out)
	}
	var ids []string
	for _, c := range all {
		ids = append(ids, c.RefundID)
	}
	return strings.Join(ids, " ")
}

func (d *desk) read(topic string) (all []*kgo.Record) {
	d.t.Helper()
	err := kafka.Read(d.t.Context(), []kgo.Opt{kgo.SeedBrokers(d.brokers...)}, topic, time.Time{}, func(r *kgo.Record) error {
		all = append(all, r)
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return all
}

func TestVerdictsFromTheCommandLine(t *testing.T) {
	d := newDesk(t).topics()
	service, stop := d.run(deskSettings)
	d.command(exitFine, "nothing is in review", "list")
	held := d.ask("held", "ann", "200.5", `,"agent_id":"gus"`)
	d.ask("two", "bea", "600", "")
	d.ask("ends", "cat", "150", "")
	d.ask("urgent", "cat", "150", "")
	d.ask("small", "dan", "5", "")
	eventually(t, "all are decided", func() bool { return service.pipeline.Balance().Read == 5 })

	// What can't be is refused before anything is written.
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{exitUsage, "--as is missing", []string{"approve", "held"}},
		{exitUsage, "--label", []string{"approve", "held", "--as", "bob", "--label", "maybe"}},
		{exitUsage, "--wait", []string{"approve", "held", "--as", "bob", "--wait", "soon"}},
		{exitUsage, "--wait", []string{"approve", "held", "--as", "bob", "--wait", "-1s"}},
		{exitUsage, "named twice", []string{"approve", "held", "held", "--as", "bob"}},
		{exitUsage, "not UTF-8", []string{"approve", "held", "--as", "bob", "--note", "\xff"}},
		{exitUsage, "note: has 5000 bytes", []string{"approve", "held", "--as", "bob", "--note", strings.Repeat("x", 5000)}},
		{exitUsage, "arg", []string{"approve", "--as", "bob"}},
		{exitUsage, "neither text nor json", []string{"approve", "held", "--as", "bob", "-o", "xml"}},
		{exitProblems, "UNKNOWN_REFUND", []string{"approve", "nobody", "--as", "bob"}},
		{exitProblems, `approve: refund "small" is approved: nothing was changed`, []string{"approve", "small", "--as", "bob"}},
		{exitProblems, "SELF_APPROVAL", []string{"approve", "held", "--as", "gus"}},
		{exitFine, "the refund is approved", []string{"approve", "held", "--as", "bob", "--dry-run"}},
		{exitFine, "approved first by bob", []string{"approve", "two", "--as", "bob", "--dry-run"}},
		{exitFine, "severity critical, deadline", []string{"escalate", "ends", "--as", "bob", "--dry-run"}},
	} {
		d.command(c.code, c.says, c.args...)
	}
	if n := len(d.read("reviews")); n != 0 {
		t.Fatalf("%d verdicts were written", n)
	}

	// One of each, with what they say.
	v := d.verdicts(exitFine, "approve", "held", "--as", "bob", "--note", "<called> them", "--label", "legit")[0]
	if v.Result != resultCarriedOut || v.Message != "the refund is approved" || v.Case.State != "approved" || v.Analyst != "bob" {
		t.Errorf("%+v", v)
	}
	written := d.read("reviews")
	if len(written) != 1 || string(written[0].Key) != "held" {
		t.Fatalf("%d verdicts, want one keyed by its refund", len(written))
	}
	var got struct {
		ReviewID string            `json:"review_id"`
		Who      map[string]string `json:"who"`
		Verdict  string            `json:"verdict"`
		Note     string            `json:"note"`
		Label    string            `json:"label"`
		At       time.Time         `json:"occurred_at"`
	}
	if err := json.Unmarshal(written[0].Value, &got); err != nil || got.ReviewID != v.ReviewID || len(v.ReviewID) != 36 || got.Who["name"] != "bob" || got.Verdict != "approve" ||
		got.Note != "<called> them" || got.Label != "legit" || time.Since(got.At).Abs() > time.Minute {
		t.Errorf("%v: %s", err, written[0].Value)
	}
	released := 0
	for _, r := range d.read("refunds-approved") {
		if string(r.Value) == held {
			released++
		}
	}
	if released != 1 {
		t.Errorf("the request was released %d times", released)
	}
	d.command(exitProblems, "NOT_IN_REVIEW", "reject", "held", "--as", "bob")

	d.command(exitFine, "approved first by bob: a second analyst must approve it, too", "approve", "two", "--as", "bob")
	d.command(exitProblems, "SAME_ANALYST", "approve", "two", "--as", "bob")
	d.command(exitFine, "severity critical, deadline", "escalate", "ends", "--as", "bob")
	// Several at once, each with its own end.
	ids := map[string]string{}
	for _, v := range d.verdicts(exitProblems, "reject", "ends", "small", "nobody", "urgent", "--as", "eve", "--label", "fraud") {
		ids[v.RefundID] = v.Result + " " + v.Code
		if wrote := v.ReviewID != ""; wrote != (v.Result == resultCarriedOut) {
			t.Errorf("%+v", v)
		}
	}
	if want := (map[string]string{"ends": "carried out ", "urgent": "carried out ", "small": "refused NOT_IN_REVIEW", "nobody": "refused UNKNOWN_REFUND"}); fmt.Sprint(ids) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", ids, want)
	}

	// The service has the last word: here the command knows no second analyst.
	other := write(t, "other.yaml", strings.Replace(string(must(os.ReadFile(d.file))), "second_above: 500", "second_above: ''", 1))
	r := runCommand(t, "review", "approve", "two", "--as", "bob", "-c", other)
	if r.code != exitProblems || !strings.Contains(r.out, "SAME_ANALYST") || !strings.Contains(r.out, resultRefused) {
		t.Errorf("exit %d:\n%s%s", r.code, r.out, r.err)
	}
	letters := d.read("dead-letters")
	if len(letters) != 1 || string(letters[0].Key) != "two" {
		t.Fatalf("%d dead letters, want that of the second approval", len(letters))
	}
	// In the same words as the command's own.
	refusal, err := event.ParseDeadLetter(headersOf(letters[0]))
	if err != nil {
		t.Fatal(err)
	}
	d.command(exitProblems, refusal.Message, "approve", "two", "--as", "bob")
	if q := d.queue(); q != "two" {
		t.Errorf("in review: %s", q)
	}
	d.command(exitFine, "the refund is approved", "approve", "two", "--as", "eve")
	if b := service.pipeline.Balance(); b.Approved != 3 || b.Rejected != 2 || b.InReview != 0 {
		t.Errorf("%+v", b)
	}

	// Nobody is there to carry it out; then somebody is.
	d.ask("late", "fay", "300", "")
	d.ask("later", "fay", "300", "")
	eventually(t, "they are decided", func() bool { return service.pipeline.Balance().InReview == 2 })
	stop()
	if v := d.verdicts(exitProblems, "reject", "late", "--as", "bob", "--wait", "100ms")[0]; v.Result != resultUnknown || v.ReviewID == "" || !strings.Contains(v.Message, "refundguard status") {
		t.Errorf("%+v", v)
	}
	if v := d.verdicts(exitFine, "reject", "later", "--as", "bob", "--wait", "0")[0]; v.Result != resultWritten || v.ReviewID == "" {
		t.Errorf("%+v", v)
	}
	d.run(deskSettings)
	eventually(t, "they are rejected", func() bool { return d.queue() == "" })
}

func TestTheQueueAndTheStory(t *testing.T) {
	d := newDesk(t).topics()
	service, _ := d.run(deskSettings)
	first := d.ask("r1", "ann", "200", `,"agent_id":"gus"`)
	d.ask("r2", "ann", "700", "")
	d.ask("r3", "b\u001b[2Jad", "300", "")
	eventually(t, "all are decided", func() bool { return service.pipeline.Balance().InReview == 3 })

	// r2 is critical: its deadline is the nearest.
	for args, want := range map[string]string{
		"": "r2 r1 r3", "--severity critical": "r2", "--customer ann": "r2 r1", "--merchant m-a --severity high": "r1", "--limit 1": "r2", "--limit 0": "r2 r1 r3", "--overdue": "", "--customer nobody": "",
	} {
		if got := d.queue(strings.Fields(args)...); got != want {
			t.Errorf("list %s: %q, want %q", args, got, want)
		}
	}
	d.command(exitUsage, "--severity", "list", "--severity", "awful")
	d.command(exitUsage, "--limit", "list", "--limit", "-1")
	d.command(exitFine, "and 2 more", "list", "--limit", "1")
	if r := d.command(exitFine, `b\u001b[2Jad`, "list"); strings.Contains(r.out, "\x1b") {
		t.Errorf("a customer steers the terminal: %q", r.out)
	}
	d.command(exitProblems, `refund "r9" has no case`, "show", "r9")
	d.command(exitProblems, "nothing here yet", "list", "--observe") // nobody observes

	now := time.Now().UTC().Format(time.RFC3339)
	put := func(topic, format string, args ...any) { d.put(topic, "k", fmt.Appendf(nil, format, args...)) }
	put("complaints", `{"complaint_id":"c1","kind":"other","occurred_at":%q,"customer_id":"ann","text":"where is it?"}`, now)
	put("complaints", `{"complaint_id":"c2","kind":"other","occurred_at":%q,"refund_id":"r1","text":"not mine"}`, now)
	put("complaints", `{"complaint_id":"c3","kind":"other","occurred_at":%q,"customer_id":"zed","text":"another's"}`, now)
	put("complaints", `{"complaint_id":"c4","kind":"nonsense","occurred_at":%q,"customer_id":"ann"}`, now)
	put("confirmations", `{"confirmation_id":"y1","refund_id":"r1","confirmed":true,"satisfied":false,"occurred_at":%q}`, now)
	put("reviews", `{"review_id":"self","refund_id":"r1","verdict":"approve","who":{"name":"gus"},"occurred_at":%q}`, now)
	eventually(t, "the agent's approval is refused", func() bool { return len(d.read("dead-letters")) == 2 }) // and c4
	d.command(exitFine, "carried out", "approve", "r1", "--as", "bob", "--note", "they called")
	put("ledger-results", `{"result_id":"l1","refund_id":"r1","status":"executed","amount":"200","currency":"USD","occurred_at":%q}`, now)

	var s struct {
		Case          caseJSON
		Request       *requestJSON
		Decisions     []struct{ Outcome string }
		Statuses      []struct{ Status string }
		Alerts        []struct{ Rule string }
		Reviews       []said
		Confirmations []said
		LedgerResults []said `json:"ledger_results"`
		Complaints    []struct {
			Record struct {
				ID string `json:"complaint_id"`
			}
		}
	}
	var shown ran
	eventually(t, "the ledger's result is known", func() bool {
		shown = d.command(exitFine, "", "show", "r1", "-o", "json")
		if err := json.Unmarshal([]byte(shown.out), &s); err != nil {
			t.Fatalf("%v in:\n%s", err, shown.out)
		}
		return s.Case.State == "executed"
	})
	if q := s.Request; q == nil || q.Value != first || q.Key == nil || *q.Key != "k" || len(q.Headers) != 1 || q.Headers[0].Key != "trace" || *q.Headers[0].Value != "abc" {
		t.Errorf("the request: %+v\nwant %s", q, first)
	}
	complaints := fmt.Sprint(s.Complaints)
	refused := map[string]string{}
	for _, v := range s.Reviews {
		var r struct{ Verdict string }
		_ = json.Unmarshal(v.Record, &r)
		refused[v.Refused] += r.Verdict
	}
	if len(s.Decisions) != 2 || s.Decisions[0].Outcome != "review" || s.Decisions[1].Outcome != "approve" || len(s.Statuses) != 3 || s.Statuses[2].Status != "executed" || len(s.Alerts) != 0 ||
		len(s.Confirmations) != 1 || len(s.LedgerResults) != 1 || !strings.Contains(complaints, "c1") || !strings.Contains(complaints, "c2") || len(s.Complaints) != 2 ||
		len(refused) != 2 || refused["SELF_APPROVAL"] != "approve" || refused[""] != "approve" {
		t.Errorf("%s", shown.out)
	}
	text := d.command(exitFine, "executed since", "show", "r1").out
	for _, says := range []string{first, `header   trace: "abc"`, "large: 200", `refunds.by(customer_id).within("7d").count()`, "SELF_APPROVAL", "they called", "where is it?", "analyst:bob"} {
		if !strings.Contains(text, says) {
			t.Errorf("no %q in:\n%s", says, text)
		}
	}
	// In review, its request is that of the case.
	if text := d.command(exitFine, "in_review since", "show", "r2").out; !strings.Contains(text, `{"refund_id":"r2", `) || !strings.Contains(text, "where is it?") || strings.Contains(text, "not mine") {
		t.Errorf("%s", text)
	}

	// A case of before all began anew is nobody's.
	for _, r := range d.read("refundguard-cases") {
		if string(r.Key) != "r3" {
			continue
		}
		ghost := &kgo.Record{Topic: r.Topic, Key: []byte("ghost"), Value: r.Value}
		for _, h := range r.Headers {
			if h.Key == "refundguard-life" {
				h.Value = bytes.Repeat([]byte("0"), len(h.Value))
			}
			ghost.Headers = append(ghost.Headers, h)
		}
		if err := d.client.ProduceSync(t.Context(), ghost).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if q := d.queue(); q != "r2 r3" {
		t.Errorf("in review: %s", q)
	}
	d.command(exitProblems, "UNKNOWN_REFUND", "approve", "ghost", "--as", "bob")
}

// Before there is a service, with the topic that it makes, and without one.
func TestReviewsWithoutAService(t *testing.T) {
	slow(t)
	d := newDesk(t)
	content := fmt.Sprintf("kafka: {seed_brokers: [%q]}\nrules: {dir: %q}\n", d.brokers[0], filepath.Join(filepath.Dir(d.file), "rules"))
	if err := os.WriteFile(d.file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	d.command(exitProblems, "refundguard status", "list")
	d.command(exitProblems, "refundguard status", "approve", "r1", "--as", "bob")
	const settings = "streams: {refunds: {decide_from: earliest}}"
	service, stop := d.run(settings)
	d.ask("r1", "ann", "200", "")
	d.ask("r2", "bob", "200", "")
	eventually(t, "they are decided", func() bool { return service.pipeline.Balance().InReview == 2 })
	d.command(exitFine, "carried out", "approve", "r1", "--as", "bob")
	stop()
	if _, err := kadm.NewClient(d.client).DeleteTopics(t.Context(), "reviews"); err != nil {
		t.Fatal(err)
	}
	service, _ = d.run(settings)
	eventually(t, "it goes on", func() bool { return service.pipeline.Ready() == nil })
	d.command(exitProblems, "must be created", "approve", "r2", "--as", "bob")
	d.topics()
	eventually(t, "it reads the new topic", func() bool {
		r := runCommand(t, "review", "approve", "r2", "--as", "bob", "-c", d.file)
		if r.code != exitFine && !strings.Contains(r.err, "nothing was written") {
			t.Fatal(r.out + r.err)
		}
		return r.code == exitFine
	})
	if n := len(d.read("reviews")); n != 1 {
		t.Errorf("%d verdicts were written, want 1", n)
	}
	d.command(exitFine, "r1", "show", "r1")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
