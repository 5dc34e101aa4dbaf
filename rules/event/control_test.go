package event_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/event"
)

func TestControlGolden(t *testing.T) {
	for name, c := range map[string]*event.Control{
		"control_snooze": {Kind: event.ControlSnooze, Rule: "refund-velocity", CustomerID: "cus_1", Until: 1715171696789, Reason: "moves house", By: "ann", At: 1714566896789},
		"control_hold":   {Kind: event.ControlHold, All: true, Reason: "an incident", By: "ann", At: 1714566896789},
		"control_reset":  {Kind: event.ControlReset, Rule: "refund-velocity", By: "ann", At: 1714566896789},
	} {
		golden(t, "testdata/"+name+".json", append(c.Append(nil), '\n'))
	}
}

func TestControlRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringN(1, 40, -1)
		c := &event.Control{Reason: anyText.Draw(t, "reason"), By: anyText.Draw(t, "by"), At: rapid.Int64Range(1, 253402300799_999).Draw(t, "at")}
		switch c.Kind = rapid.SampledFrom([]string{event.ControlSnooze, event.ControlHold, event.ControlReset}).Draw(t, "kind"); c.Kind {
		case event.ControlSnooze:
			c.Rule, c.Until = id.Draw(t, "rule"), rapid.Int64Range(1, 253402300799_999).Draw(t, "until")
			*rapid.SampledFrom([]*string{&c.CustomerID, &c.MerchantID, &c.InstrumentID, &c.DeviceID}).Draw(t, "subject") = id.Draw(t, "id")
		case event.ControlHold:
			if c.All = rapid.Bool().Draw(t, "all"); !c.All {
				c.MerchantID = id.Draw(t, "merchant")
			}
		case event.ControlReset:
			c.Rule = id.Draw(t, "rule")
		}
		written := c.Append(nil)
		if !json.Valid(written) {
			t.Fatalf("not JSON: %s", written)
		}
		got, err := event.ParseControl(written)
		if err != nil {
			t.Fatalf("%v\n%s", err, written)
		}
		if diff := cmp.Diff(c, got); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
	})
}

func TestControlsThatAreRefused(t *testing.T) {
	for text, says := range map[string]string{
		``:                                  "",
		`null`:                              "",
		`[]`:                                "object",
		`{}`:                                "kind",
		`{"kind":"freeze"}`:                 `"freeze" is none`,
		`{"kind":"hold"}`:                   "either merchant_id or all",
		`{"kind":"hold","all":false}`:       "either merchant_id or all",
		`{"kind":"hold","all":"yes"}`:       "true or false",
		`{"kind":"hold","customer_id":"c"}`: "either merchant_id or all",
		`{"kind":"hold","merchant_id":"m","all":true}`: "either merchant_id or all",
		`{"kind":"reset"}`: "rule",
		`{"kind":"snooze","customer_id":"c","until":"2026-01-01T00:00:00Z"}`:                            "rule",
		`{"kind":"snooze","rule":"r","until":"2026-01-01T00:00:00Z"}`:                                   "exactly one",
		`{"kind":"snooze","rule":"r","customer_id":"c","device_id":"d","until":"2026-01-01T00:00:00Z"}`: "exactly one",
		`{"kind":"snooze","rule":"r","customer_id":"c"}`:                                                "until",
		`{"kind":"snooze","rule":"r","customer_id":"c","until":"tomorrow"}`:                             "RFC 3339",
		`{"kind":"snooze","rule":"r","customer_id":"c","until":"2026-01-01T00:00:00Z","at":"0"}`:        "RFC 3339",
		`{"kind":"snooze","rule":"r","all":true,"customer_id":"c","until":"2026-01-01T00:00:00Z"}`:      "exactly one",
		`{"kind":"hold","all":true} {"kind":"hold","all":true}`:                                         "",
		`{"kind":"hold","all":true`: "",
	} {
		c, err := event.ParseControl([]byte(text))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: read as %+v, %v, want %q", text, c, err, says)
		}
	}
}

func FuzzParseControl(f *testing.F) {
	f.Add([]byte(`{"kind":"snooze","rule":"r","customer_id":"c","until":"2026-01-01T00:00:00Z","by":"ann"}`))
	f.Add([]byte(`{"kind":"hold","all":true}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := event.ParseControl(data)
		if err != nil {
			return
		}
		again, err := event.ParseControl(c.Append(nil))
		if err != nil || cmp.Diff(c, again) != "" {
			t.Errorf("%s is written again as %s: %v", data, c.Append(nil), err)
		}
	})
}
