package pipeline_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/rules/event"
)

// TestLimitsOfRecords: a record at each limit is read, and one beyond goes to
// the dead letters as it is; the stream goes on.
func TestLimitsOfRecords(t *testing.T) {
	for name, limits := range map[string]event.Limits{
		"by default": event.DefaultLimits(), "configured": {MaxBytes: 3000, MaxFieldBytes: 300, MaxDepth: 5},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, testRules)
			w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
			if limits != event.DefaultLimits() {
				w.cfg.Limits.MaxRecordBytes, w.cfg.Limits.MaxFieldBytes, w.cfg.Limits.MaxDepth = limits.MaxBytes, limits.MaxFieldBytes, limits.MaxDepth
			}
			record := func(topic, id, more string) string {
				return fmt.Sprintf(`{"%s_id":%q,"amount":1,"currency":"USD","occurred_at":"2026-01-05T10:00:00Z"%s}`, strings.TrimSuffix(topic, "s"), id, more)
			}
			// long fills a record with an ignored field, spaces or ends, to n bytes.
			long := func(topic, id string, n int) string {
				more := `,"ignored":""`
				return record(topic, id, `,"ignored":"`+strings.Repeat("x", n-len(record(topic, id, more)))+`"`)
			}
			deep := func(n int) string { return `,"ignored":` + strings.Repeat(`[`, n-1) + strings.Repeat(`]`, n-1) }
			objects := func(n int) string {
				return `,"ignored":` + strings.Repeat(`{"a":`, n-1) + "1" + strings.Repeat(`}`, n-1)
			}
			field := func(n int) string { return `,"channel":"` + strings.Repeat("x", n) + `"` }
			id := func(n int) string { return `,"device_id":"` + strings.Repeat("x", n) + `"` }
			type one struct{ name, value, code, field string }
			var sent []one
			for _, topic := range []string{"refunds", "transactions"} {
				for _, c := range []one{
					{"as long as may be", long(topic, "as long as may be", limits.MaxBytes), "", ""},
					{"longer", long(topic, "longer", limits.MaxBytes+1), "TOO_LARGE", ""},
					{"spaces", record(topic, "spaces", "") + strings.Repeat(" ", limits.MaxBytes), "TOO_LARGE", ""},
					{"as deep as may be", record(topic, "as deep as may be", deep(limits.MaxDepth)), "", ""},
					{"deeper", record(topic, "deeper", deep(limits.MaxDepth+1)), "TOO_DEEP", ""},
					{"objects", record(topic, "objects", objects(limits.MaxDepth)), "", ""},
					{"deeper objects", record(topic, "deeper objects", objects(limits.MaxDepth+1)), "TOO_DEEP", ""},
					{"deepest", record(topic, "deepest", `,"ignored":`+strings.Repeat("[", limits.MaxBytes-300)), "TOO_DEEP", ""},
					{"a long field", record(topic, "a long field", field(limits.MaxFieldBytes)), "", ""},
					{"a longer field", record(topic, "a longer field", field(limits.MaxFieldBytes+1)), "TOO_LARGE", "channel"},
					{"an id", record(topic, "an id", id(256)), "", ""},
					{"a longer id", record(topic, "a longer id", id(257)), "INVALID_VALUE", "device_id"},
					{strings.Repeat("i", 256), record(topic, strings.Repeat("i", 256), ""), "", ""},
				} {
					w.sendRaw(topic, 0, c.value)
					if c.code != "" || topic == "refunds" {
						sent = append(sent, c)
					}
				}
			}
			w.send("refunds", 0, refund("after them", "", "ann", "1", 0))
			in := w.start()
			w.passed(in, 14)
			if err := in.end(); err != nil {
				t.Fatal(err)
			}
			decided, refused := w.decisions(), map[string]string{}
			for _, r := range w.cluster.ReadCommitted("dead-letters") {
				refused[string(r.Value)] = header(r, event.HeaderCode) + " " + header(r, event.HeaderField)
			}
			if d := decided["after them"]; d == nil || d.Outcome != event.Approve {
				t.Errorf("the refund behind them: %+v", d)
			}
			letters := 0
			for _, c := range sent {
				if c.code == "" {
					if d := decided[c.name]; d == nil || d.Outcome != event.Approve {
						t.Errorf("%s: %+v, want it approved; dead letter %q", c.name, d, refused[c.value])
					}
					continue
				}
				letters++
				if got := refused[c.value]; got != c.code+" "+c.field {
					t.Errorf("%s: dead letter %q, want %s %s", c.name, got, c.code, c.field)
				}
			}
			if len(refused) != letters {
				t.Errorf("%d dead letters, want %d", len(refused), letters)
			}
		})
	}
}
