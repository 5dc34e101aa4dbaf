package event_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/event"
)

func exampleStatus() *event.Status {
	return &event.Status{RefundID: "ref_1", CustomerID: "cus_1", Status: "in_review", Reason: "VELOCITY_CUSTOMER",
		CustomerMessage: "Your refund needs a short check.", ETA: 1714998896789, At: 1714566897042}
}

func exampleAlert(t testing.TB) *event.Alert {
	return &event.Alert{AlertID: event.AlertID("ref_1", "refund-velocity"), Rule: "refund-velocity", Severity: "high", RefundID: "ref_1",
		TransactionID: "tx_1", CustomerID: "cus_1", MerchantID: "mer_1", DeviceID: "dev_1", InstrumentID: "card_1",
		Outcome: "review", Amount: 129_9000, Currency: currency(t, "USD"), Message: "cus_1 asked for 6 refunds", At: 1714566897042}
}

func exampleLabel() *event.Label {
	return &event.Label{LabelID: event.LabelID(event.LabelByChargeback, "tx_1", "ref_1"), RefundID: "ref_1", Label: event.LabelFraud, Source: event.LabelByChargeback,
		By: "acquirer", At: 1714998896789, Weight: event.LabelWeight(event.LabelByChargeback), Reason: "CHARGED_BACK", Note: `"not mine"`}
}

func exampleCase(t testing.TB) *event.CaseSummary {
	return &event.CaseSummary{RefundID: "ref_1", TransactionID: "tx_1", CustomerID: "cus_1", MerchantID: "mer_1", Method: "card", RequestReason: "defective",
		Amount: 129_9000, Currency: currency(t, "USD"), State: "executed", Severity: "high", Reason: "APPROVED_BY_ANALYST", DecidedBy: "analyst:ann",
		DecisionID: event.DecisionID("ref_1", 2), FirstBy: "bob", OccurredAt: 1714566897042, ReceivedAt: 1714566897043, OpenedAt: 1714566897044,
		Since: 1714566897045, DueAt: 1714566897046, ExecutedAt: 1714566897047, ChangedAt: 1714566897048, Denied: true, Satisfied: event.No}
}

// TestGolden holds the formats still: whoever reads the topics relies on them.
func TestGolden(t *testing.T) {
	jpy := currency(t, "JPY")
	for name, record := range map[string]interface{ Append([]byte) []byte }{
		"decision": exampleDecision(),
		"decision_bare": &event.Decision{DecisionID: event.DecisionID("r", 0), RefundID: "r", Amount: 500_0000, Currency: jpy,
			Outcome: event.Approve, DecidedBy: "engine", Ruleset: "sha256:0", Source: event.Source{Topic: "refunds"}},
		"decision_marked": &event.Decision{DecisionID: event.DecisionID("r", 1), RefundID: "r", Amount: 1, Currency: jpy,
			Outcome: event.Reject, DecidedBy: "analyst:ann", Reason: "EVENT_IN_FUTURE", Degraded: true, Holdout: true,
			Warming: []string{`refunds.by(customer_id).ever().count()`}, Controls: []string{"hold", "snooze-0123456789ab"}, Ruleset: "sha256:0", Source: event.Source{Topic: "refunds"}},
		"status":            exampleStatus(),
		"status_bare":       &event.Status{RefundID: "ref_1", Status: "received", At: 1},
		"alert":             exampleAlert(t),
		"alert_bare":        &event.Alert{AlertID: event.AlertID("x"), Rule: "DUPLICATE_CONFLICT", Severity: "critical", At: -1},
		"case":              exampleCase(t),
		"case_bare":         &event.CaseSummary{RefundID: "r", Amount: 1, Currency: jpy, State: "in_review", DecidedBy: "engine", DecisionID: event.DecisionID("r", 1), ChangedAt: 1},
		"label":             exampleLabel(),
		"label_transaction": &event.Label{LabelID: "l", TransactionID: "t", Label: event.LabelFraud, Source: event.LabelByChargeback, At: 1, Weight: 40},
		"label_bare":        &event.Label{LabelID: "l", RefundID: "r", Label: event.LabelLegit, Source: event.LabelByAnalyst, At: 1, Weight: 10},
	} {
		golden(t, "testdata/"+name+".json", append(record.Append(nil), '\n'))
	}
}

func TestIDs(t *testing.T) {
	// Fixed for ever: receivers drop repeats by them.
	for got, want := range map[string]string{
		event.DecisionID("ref_1", 0):              "bbd6a95bd9548fe39993ae3696776d4f",
		event.DecisionID("ref_1", 1):              "528b497bda8582bb1a86181401f20368",
		event.AlertID("ref_1", "refund-velocity"): "8d3d306f515b76967849eae92e1ae205",
		event.LabelID("import", "ref_1", "fraud"): "c4a5763d5993a297aec19d19426140ab",
	} {
		if got != want {
			t.Errorf("id %s, want %s", got, want)
		}
	}
	ids := []string{event.AlertID("ab", "c"), event.AlertID("a", "bc"), event.AlertID("abc"), event.AlertID("abc", ""), event.AlertID(), event.DecisionID("ab", 0), event.LabelID("ab", "c")}
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != 7 {
		t.Errorf("only %d ids are different: %q", n, ids)
	}
}

func TestOutcome(t *testing.T) {
	for o := range event.Outcome(5) {
		got, ok := event.ParseOutcome(o.String())
		if known := o >= event.Approve && o <= event.Reject; ok != known || ok && got != o {
			t.Errorf("outcome %d is %q, which is read as %d, %v", o, o, got, ok)
		}
	}
}

// readBack is what a feature is after being written and read.
func readBack(f event.Feature) event.Feature {
	got := event.Feature{Name: f.Name, Kind: f.Kind}
	switch f.Kind {
	case event.FeatureMoney:
		got.Kind, got.Str = event.FeatureString, event.Money(f.Num).Format(f.Currency)
	case event.FeatureError:
		got.Kind = event.FeatureNil
	case event.FeatureFloat:
		got.Float = f.Float
		if n, err := strconv.ParseInt(strconv.FormatFloat(f.Float, 'f', -1, 64), 10, 64); err == nil {
			got.Kind, got.Num, got.Float = event.FeatureInt, n, 0
		}
	case event.FeatureString:
		got.Str = f.Str
	case event.FeatureInt, event.FeatureBool:
		got.Num = f.Num
	}
	return got
}

var anyText = rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "a", "\"\\\b\f\n\r\t\x00\x1f\x7f", "é\u2028\U0010ffff", "</script>"}))

func drawDecision(t *rapid.T) *event.Decision {
	text := func(name string) string { return anyText.Draw(t, name) }
	id := rapid.StringN(1, 40, -1)
	cur := rapid.SampledFrom([]string{"USD", "JPY", "KWD", "CLF"})
	drawCurrency := func() event.Currency { c, _ := event.ParseCurrency(cur.Draw(t, "currency")); return c }
	at := rapid.Int64Range(-62135596800_000, 253402300799_999)
	amount := rapid.Int64Range(-999_999_999_999_999_999, 999_999_999_999_999_999)
	texts := func(name string) []string { return rapid.SliceOfN(anyText, 0, 3).Draw(t, name) }
	d := &event.Decision{
		DecisionID: id.Draw(t, "id"), RefundID: id.Draw(t, "refund"), TransactionID: text("tx"), CustomerID: text("customer"), MerchantID: text("merchant"),
		Amount: event.Money(amount.Draw(t, "amount")), Currency: drawCurrency(), Outcome: event.Outcome(rapid.IntRange(1, 3).Draw(t, "outcome")),
		DecidedBy: text("by"), Reason: text("reason"), Score: rapid.Int64().Draw(t, "score"), Skipped: texts("skipped"), Ruleset: text("ruleset"),
		OccurredAt: at.Draw(t, "occurred"), ReceivedAt: at.Draw(t, "received"), DecidedAt: at.Draw(t, "decided"),
		Source:   event.Source{Topic: text("topic"), Partition: rapid.Int32().Draw(t, "partition"), Offset: rapid.Int64().Draw(t, "offset")},
		Degraded: rapid.Bool().Draw(t, "degraded"), Holdout: rapid.Bool().Draw(t, "holdout"), Warming: texts("warming"), Controls: texts("controls"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "hits") {
		d.Hits = append(d.Hits, event.Hit{Rule: text("rule"), Mode: text("mode"), Action: text("action"), Score: rapid.Int64().Draw(t, "score"),
			Severity: text("severity"), Reason: text("reason"), Message: text("message")})
	}
	for range rapid.IntRange(0, 2).Draw(t, "errors") {
		d.Errors = append(d.Errors, event.RuleError{Rule: text("rule"), Error: text("error")})
	}
	names := rapid.SliceOfNDistinct(anyText, 0, 4, rapid.ID).Draw(t, "names")
	slices.Sort(names)
	for _, name := range names {
		d.Features = append(d.Features, event.Feature{Name: name, Kind: event.FeatureKind(rapid.IntRange(0, 6).Draw(t, "kind")),
			Currency: drawCurrency(), Num: amount.Draw(t, "num"), Float: rapid.Float64().Draw(t, "float"), Str: text("str")})
		if f := &d.Features[len(d.Features)-1]; f.Kind == event.FeatureBool {
			f.Num &= 1
		}
	}
	if rapid.Bool().Draw(t, "known") {
		d.Original = &event.Original{TransactionID: text("original"), Amount: event.Money(amount.Draw(t, "amount")), Currency: drawCurrency(),
			OccurredAt: at.Draw(t, "paid"), InstrumentID: text("instrument")}
	}
	return d
}

func TestDecisionRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDecision(t)
		written := d.Append([]byte("x"))[1:]
		if !json.Valid(written) {
			t.Fatalf("not JSON: %s", written)
		}
		got, err := event.ParseDecision(written)
		if err != nil {
			t.Fatalf("%v\n%s", err, written)
		}
		want := *d
		want.Features = nil
		for _, f := range d.Features {
			want.Features = append(want.Features, readBack(f))
		}
		if diff := cmp.Diff(&want, got, emptyIsNil); diff != "" {
			t.Fatalf("differs:\n%s\n%s", diff, written)
		}
		if again := got.Append(nil); string(again) != string(written) {
			t.Fatalf("written again:\n%s\n%s", written, again)
		}
	})
}

var emptyIsNil = cmp.FilterValues(func(a, b []string) bool { return len(a) == 0 && len(b) == 0 }, cmp.Comparer(func(a, b []string) bool { return true }))

func TestNoticesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string { return anyText.Draw(t, name) }
		id := rapid.StringN(1, 40, -1)
		at := rapid.Int64Range(-62135596800_000, 253402300799_999)
		s := &event.Status{RefundID: id.Draw(t, "refund"), CustomerID: text("customer"), Status: id.Draw(t, "status"), Reason: text("reason"),
			CustomerMessage: text("message"), ETA: at.Draw(t, "eta"), At: at.Draw(t, "at")}
		gotStatus, err := event.ParseStatus(s.Append(nil))
		if diff := cmp.Diff(s, gotStatus); err != nil || diff != "" {
			t.Fatalf("status: %v\n%s", err, diff)
		}
		usd, _ := event.ParseCurrency("USD")
		a := &event.Alert{AlertID: id.Draw(t, "alert"), Rule: text("rule"), Severity: text("severity"), RefundID: text("refund"), TransactionID: text("tx"),
			CustomerID: text("customer"), MerchantID: text("merchant"), DeviceID: text("device"), InstrumentID: text("instrument"), Outcome: text("outcome"),
			Amount: event.Money(rapid.Int64Range(0, 1e17).Draw(t, "amount")), Currency: rapid.SampledFrom([]event.Currency{0, usd}).Draw(t, "currency"),
			Message: text("message"), At: at.Draw(t, "at")}
		gotAlert, err := event.ParseAlert(a.Append(nil))
		if diff := cmp.Diff(a, gotAlert); err != nil || diff != "" {
			t.Fatalf("alert: %v\n%s", err, diff)
		}
		l := drawLabel(t)
		gotLabel, err := event.ParseLabel(l.Append(nil))
		if diff := cmp.Diff(l, gotLabel); err != nil || diff != "" {
			t.Fatalf("label: %v\n%s", err, diff)
		}
	})
}

// TestParseFuture: a newer version may add members anywhere.
func TestParseFuture(t *testing.T) {
	added := `{"new":{"a":[1,"x"]},`
	old := string(exampleDecision().Append(nil))
	newer := strings.ReplaceAll(old, "{", added)
	newer = strings.Replace(newer, `"features":`+added, `"features":{`, 1)
	d, err := event.ParseDecision([]byte(newer))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(d.Append(nil)); got != old {
		t.Errorf("read from a newer version:\n%s\nwant\n%s", got, old)
	}
}

func TestParseRefuses(t *testing.T) {
	good := string(exampleDecision().Append(nil))
	for _, c := range []struct{ old, new, want string }{
		{good, ``, "no value"},
		{good, `[]`, "is an array"},
		{good, `{}`, "decision_id: is missing"},
		{good, good + good, "more follows"},
		{good, good[:len(good)-1], "the record ends"},
		{`"decision_id":"`, `"id":"`, "decision_id: is missing"},
		{`"outcome":"review"`, `"outcome":"maybe"`, `"maybe" is no outcome`},
		{`"outcome":"review",`, ``, "outcome: is missing"},
		{`"amount":"129.90"`, `"amount":129.90`, "amount: is a number; expected a string"},
		{`"amount":"129.90"`, `"amount":"129.90001"`, "more than 4 decimals"},
		{`"currency":"USD"`, `"currency":"usd"`, "ISO 4217"},
		{`"score":60`, `"score":60.5`, "is not an integer of 64 bits"},
		{`"partition":3`, `"partition":4294967296`, "is not an integer of 32 bits"},
		{`"hits":[`, `"hits":[7,`, "is a number; expected an object"},
		{`"hits":[`, `"hits":[{},],"x":[`, "is no JSON value"},
		{`"skipped":["agent-share"]`, `"skipped":"agent-share"`, "skipped: is a string; expected an array"},
		{`"source":{`, `"degraded":"yes","source":{`, "degraded: is a string; expected true or false"},
		{`.count()":6`, `.count()":[6]`, "expected a number, a string, true, false or null"},
		{`.count()":6`, `.count()":1e999`, "is too large"},
		{`"occurred_at":"2024-05-01T12:34:56.789Z"`, `"occurred_at":"yesterday"`, "is not a time"},
		{`"ruleset":"`, `"ruleset":"` + "\xff", "not UTF-8"},
		{`"ruleset":"`, `"ruleset":"\ud800`, "surrogate"},
		{`{"decision_id"`, `{"x":` + strings.Repeat("[", 100000) + `,"decision_id"`, "nests deeper"},
	} {
		record := strings.Replace(good, c.old, c.new, 1)
		if _, err := event.ParseDecision([]byte(record)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("with %.60q: %v; want an error about %q", c.new, err, c.want)
		}
	}
	if _, err := event.ParseStatus([]byte(`{"refund_id":"r"}`)); err == nil {
		t.Error("a status without status was read")
	}
	if _, err := event.ParseAlert([]byte(`{"rule":"r"}`)); err == nil {
		t.Error("an alert without id was read")
	}
}

func FuzzParseDecision(f *testing.F) {
	f.Add(exampleDecision().Append(nil))
	f.Add([]byte(`{"decision_id":"d","refund_id":"r","outcome":"reject","features":{"a":1e3,"b":-0,"c":1.50,"a":null},"hits":[{"rule":"x"},{}],"original":{"amount":"1"}}`))
	f.Add(exampleLabel().Append(nil))
	f.Add(exampleCase(f).Append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := event.ParseStatus(data); err == nil && !json.Valid(s.Append(nil)) {
			t.Fatalf("status of %q", data)
		}
		if a, err := event.ParseAlert(data); err == nil && !json.Valid(a.Append(nil)) {
			t.Fatalf("alert of %q", data)
		}
		if l, err := event.ParseLabel(data); err == nil {
			written := l.Append(nil)
			if again, err := event.ParseLabel(written); err != nil || *again != *l {
				t.Fatalf("label of %q, written %q, is read as %+v, %v", data, written, again, err)
			}
		}
		if c, err := event.ParseCaseSummary(data); err == nil {
			written := c.Append(nil)
			if again, err := event.ParseCaseSummary(written); err != nil || *again != *c {
				t.Fatalf("case of %q, written %q, is read as %+v, %v", data, written, again, err)
			}
		}
		d, err := event.ParseDecision(data)
		if err != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("read, but not JSON: %q", data)
		}
		written := d.Append(nil)
		again, err := event.ParseDecision(written)
		if err != nil {
			t.Fatalf("%v\n%s", err, written)
		}
		if got := again.Append(nil); string(got) != string(written) {
			t.Fatalf("written twice:\n%s\n%s", written, got)
		}
	})
}

// TestAppendInvalidUTF8: it can't come from a record, but what is written must
// be readable all the same.
func TestAppendInvalidUTF8(t *testing.T) {
	d := exampleDecision()
	d.CustomerID = "a\xff\xc0b"
	got, err := event.ParseDecision(d.Append(nil))
	if err != nil || got.CustomerID != "a\ufffd\ufffdb" {
		t.Errorf("%v, %q", err, got.CustomerID)
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	d, s, a, l, c := exampleDecision(), exampleStatus(), exampleAlert(t), exampleLabel(), exampleCase(t)
	buf := make([]byte, 0, 8192)
	if allocs := testing.AllocsPerRun(100, func() { buf = c.Append(l.Append(a.Append(s.Append(d.Append(buf[:0]))))) }); allocs != 0 {
		t.Errorf("%v allocations, want none", allocs)
	}
}
