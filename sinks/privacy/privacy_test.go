package privacy_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/privacy"
)

const key = "0123456789abcdef0123456789abcdef"

func keyFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "privacy.key")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newPseudonymizer(t testing.TB, paths map[string][]string, fields ...string) *privacy.Pseudonymizer {
	t.Helper()
	p, err := privacy.New(privacy.Config{Pseudonymize: fields, KeyFile: keyFile(t, key+"\n")}, paths)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// of is the documented form, computed on its own.
func of(value string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(value))
	return "h_" + hex.EncodeToString(mac.Sum(nil))[:32]
}

func TestPseudonymIsWhatTheREADMESays(t *testing.T) {
	p := newPseudonymizer(t, nil, "customer_id")
	for _, value := range []string{"cus_1", "é", "a\x00b", strings.Repeat("x", 256)} {
		if got := p.Of(value); got != of(value) {
			t.Errorf("%q: %s, want %s", value, got, of(value))
		}
	}
	if p.Of("") != "" {
		t.Error("a missing value is not empty any more")
	}
}

func TestValuesAreReplaced(t *testing.T) {
	p := newPseudonymizer(t, map[string][]string{"email": {"payload.mail"}}, "customer_id", "device_id", "ip", "email")
	const gone = "(left out: it may hold personal data)"
	for name, c := range map[string]struct{ in, want string }{
		"order and space stay": {`{ "amount":"1.50",  "customer_id" : "cus_1","refund_id":"re_1" }`, `{ "amount":"1.50",  "customer_id" : "` + of("cus_1") + `","refund_id":"re_1" }`},
		"at any depth":         {`{"a":[{"original":{"device_id":"dev_1"}}]}`, `{"a":[{"original":{"device_id":"` + of("dev_1") + `"}}]}`},
		"of any type":          {`{"customer_id":[12,{"x":"abcd"},null,true]}`, `{"customer_id":["` + of("12") + `",{"x":"` + of("abcd") + `"},null,true]}`},
		"escaped":              {`{"customer\u005fid":"caf\u00e9","name":"the caf\u00e9"}`, `{"customer\u005fid":"` + of("café") + `","name":"the ` + of("café") + `"}`},
		"another case":         {`{"Customer_ID":"cus_1"}`, `{"Customer_ID":"` + of("cus_1") + `"}`},
		"in other texts":       {`{"customer_id":"cus_1","label_url":"https://x/cus_1/y"}`, `{"customer_id":"` + of("cus_1") + `","label_url":"https://x/` + of("cus_1") + `/y"}`},
		"the longer one":       {`{"customer_id":"cus_1","device_id":"cus_12","x":"cus_12"}`, `{"customer_id":"` + of("cus_1") + `","device_id":"` + of("cus_12") + `","x":"` + of("cus_12") + `"}`},
		"short ones by field":  {`{"customer_id":"us","country":"us","x":"us","y":"usa"}`, `{"customer_id":"` + of("us") + `","country":"us","x":"` + of("us") + `","y":"usa"}`},
		"a path":               {`{"payload":{"mail":"a@b.c"},"mail":"other"}`, `{"payload":{"mail":"` + of("a@b.c") + `"},"mail":"other"}`},
		"addresses":            {`{"x":"from 10.1.2.3: twice, and 2001:db8::1.","at":"10.1.2.3","y":"at 10:15:00"}`, `{"x":"from ` + of("10.1.2.3") + `: twice, and ` + of("2001:db8::1") + `.","at":"10.1.2.3","y":"at 10:15:00"}`},
		"ids stay":             {`{"customer_id":"re_1","refund_id":"re_1","merchant_id":"re_1"}`, `{"customer_id":"` + of("re_1") + `","refund_id":"re_1","merchant_id":"re_1"}`},
		"features of others":   {`{"features":{"refunds.by(customer_id).ever().last(ip)":"10.0.0.1","refunds.by(device_id).ever().sum(amount)":"5.00","x.last(device_id)":"dev_9"}}`, `{"features":{"refunds.by(customer_id).ever().last(ip)":"` + of("10.0.0.1") + `","refunds.by(device_id).ever().sum(amount)":"5.00","x.last(device_id)":"` + of("dev_9") + `"}}`},
		"what people write":    {`{"note":"he is Bob","comment":"","text":"x"}`, `{"note":"` + gone + `","comment":"","text":"` + gone + `"}`},
		"JSON in a string":     {`{"payload":"{\"customer_id\":\"cus_1\"}"}`, `{"payload":"` + gone + `"}`},
		"not JSON":             {`{"customer_id":"cus_1"`, gone},
		"not an object":        {`"cus_1"`, gone},
		"nothing":              {``, ``},
	} {
		rec := &kgo.Record{Value: []byte(c.in)}
		if got := string(p.Record(rec, "customer_id", "device_id", "email").Value); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
		if string(rec.Value) != c.in {
			t.Errorf("%s: the record itself was changed", name)
		}
	}
}

// A message may show any field of the request; one that the record doesn't
// carry can't be told from the rest.
func TestMessagesAreKeptWhereTheirValuesAreKnown(t *testing.T) {
	const value = `{"customer_id":"cus_1","hits":[{"rule":"r","message":"cus_1 from 10.0.0.1 on dev_7"}]}`
	p := newPseudonymizer(t, nil, "customer_id", "ip")
	if got := string(p.Record(&kgo.Record{Value: []byte(value)}, "customer_id").Value); !strings.Contains(got, `"`+of("cus_1")+` from `+of("10.0.0.1")+` on dev_7"`) {
		t.Error(got)
	}
	p = newPseudonymizer(t, nil, "customer_id", "device_id")
	if got := string(p.Record(&kgo.Record{Value: []byte(value)}, "customer_id").Value); strings.Contains(got, "dev_7") || strings.Contains(got, "cus_1") {
		t.Error(got)
	}
	letter := `{"rule":"dead-letter:TOO_LONG","message":"customer_id: \"cus_12345\"… is too long"}`
	if got := string(p.Record(&kgo.Record{Value: []byte(letter)}, "customer_id", "device_id").Value); strings.Contains(got, "cus_1") {
		t.Error(got)
	}
}

func TestKeysAndHeaders(t *testing.T) {
	p := newPseudonymizer(t, nil, "customer_id")
	record := func(value string) *kgo.Record {
		rec := &kgo.Record{Key: []byte("cus_1"), Value: []byte(value), Headers: []kgo.RecordHeader{
			{Key: "Customer_Id", Value: []byte("cus_2")}, {Key: "trace", Value: []byte("of cus_1")}, {Key: "context", Value: []byte(`{"customer_id":"cus_3"}`)}}}
		d := event.DeadLetter{Code: "X", Message: "saw cus_1", Topic: "refunds", Timestamp: 1}
		for _, h := range d.AppendHeaders(nil) {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		return p.Record(rec)
	}
	got := record(`{"customer_id":"cus_1","refund_id":"re_1"}`)
	if string(got.Key) != of("cus_1") {
		t.Errorf("key %s", got.Key)
	}
	texts := map[string]string{}
	for _, h := range got.Headers {
		texts[h.Key] = string(h.Value)
	}
	for key, want := range map[string]string{"Customer_Id": of("cus_2"), "trace": "of " + of("cus_1"), "context": `{"customer_id":"` + of("cus_3") + `"}`,
		event.HeaderMessage: "saw " + of("cus_1"), event.HeaderErrorMessage: "saw " + of("cus_1"), event.HeaderCode: "X", event.HeaderErrorTopic: "refunds"} {
		if texts[key] != want {
			t.Errorf("header %s is %q, want %q", key, texts[key], want)
		}
	}
	for _, h := range record(`cus_1`).Headers {
		if strings.Contains(string(h.Value), "cus_") {
			t.Errorf("nothing is known of what can't be read, and yet header %s is %q", h.Key, h.Value)
		}
	}
	if got := p.Record(&kgo.Record{Key: []byte("re_1"), Value: []byte(`{"refund_id":"re_1"}`)}); string(got.Key) != "re_1" {
		t.Errorf("the key of a refund is %s", got.Key)
	}
}

// In any JSON, nothing is left of the values of pseudonymized fields, it is as
// valid as before, and all else means what it meant.
func TestNoCleartextIsLeft(t *testing.T) {
	p := newPseudonymizer(t, nil, "customer_id", "device_id")
	rapid.Check(t, func(t *rapid.T) {
		var secrets []string
		secret := func() string {
			s := rapid.StringMatching(`sec[a-z"\\é\n]{1,12}`).Draw(t, "secret")
			secrets = append(secrets, s)
			return s
		}
		var object func(depth int) map[string]any
		object = func(depth int) map[string]any {
			o := map[string]any{"amount": json.Number(rapid.StringMatching(`[1-9][0-9]{0,8}`).Draw(t, "amount")), "refund_id": "re_1"}
			for range rapid.IntRange(0, 4).Draw(t, "members") {
				name := rapid.SampledFrom([]string{"customer_id", "device_id", "x", "message", "y\"z", "features", "original"}).Draw(t, "name")
				switch rapid.IntRange(0, 3).Draw(t, "kind") {
				case 0:
					if depth > 0 && name != "features" && name != "customer_id" && name != "device_id" {
						o[name] = []any{object(depth - 1)}
					}
				case 1:
					if len(secrets) > 0 {
						o["say"] = "see " + rapid.SampledFrom(secrets).Draw(t, "said") + "."
					}
				default:
					if name == "customer_id" || name == "device_id" {
						o[name] = secret()
					} else {
						o[name] = "plain"
					}
				}
			}
			return o
		}
		in := object(3)
		in["device_id"] = secret()
		// Values that were said and then overwritten are in no field.
		encoded, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		out := p.Record(&kgo.Record{Value: encoded}, "customer_id", "device_id").Value
		var was, is any
		if err := json.Unmarshal(out, &is); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		_ = json.Unmarshal(encoded, &was)
		fields := map[string]bool{}
		walk(was, "", func(key, text string) {
			if key == "customer_id" || key == "device_id" {
				fields[text] = true
			}
		})
		var texts []string
		walk(is, "", func(_, text string) { texts = append(texts, text) })
		for value := range fields {
			for _, text := range texts {
				if strings.Contains(text, value) {
					t.Fatalf("%q is left in %s", value, out)
				}
			}
		}
		// Undone, it is what it was.
		back := string(out)
		for value := range fields {
			quoted, _ := json.Marshal(value)
			back = strings.ReplaceAll(back, of(value), string(quoted[1:len(quoted)-1]))
		}
		var undone any
		_ = json.Unmarshal([]byte(back), &undone)
		a, _ := json.Marshal(was)
		b, _ := json.Marshal(undone)
		if string(a) != string(b) {
			t.Fatalf("was %s\nis  %s\nundone %s", a, out, b)
		}
	})
}

func walk(v any, key string, text func(key, text string)) {
	switch v := v.(type) {
	case string:
		text(key, v)
	case []any:
		for _, one := range v {
			walk(one, key, text)
		}
	case map[string]any:
		for name, one := range v {
			text("", name)
			walk(one, name, text)
		}
	}
}

func TestFaultsOfTheConfiguration(t *testing.T) {
	for want, c := range map[string]privacy.Config{
		"pseudonymize[0]: \"Customer\" is not the name":  {Pseudonymize: []string{"Customer"}, KeyFile: keyFile(t, key)},
		"pseudonymize[0]: refund_id can't be replaced":   {Pseudonymize: []string{"refund_id"}, KeyFile: keyFile(t, key)},
		"pseudonymize[1]: ip is there twice":             {Pseudonymize: []string{"ip", "ip"}, KeyFile: keyFile(t, key)},
		"key_file: is missing":                           {Pseudonymize: []string{"ip"}},
		"key_file: is set, and nothing is pseudonymized": {KeyFile: keyFile(t, key)},
		"has 31 bytes, at least 32":                      {Pseudonymize: []string{"ip"}, KeyFile: keyFile(t, key[1:]+"\n")},
		"no such file":                                   {Pseudonymize: []string{"ip"}, KeyFile: "no/such/file"},
	} {
		if _, err := privacy.New(c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if p, err := privacy.New(privacy.Config{}, nil); p != nil || err != nil {
		t.Error(p, err)
	}
}

// Whatever comes: no panic, valid JSON where it was an object, nothing else where it wasn't.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"customer_id":"cus_1","features":{"a(ip)":"1.2.3.4"}}`), "k", "v")
	f.Add([]byte(`{"a":[1,[]],"ip":{},"":""}`), "ip", "{")
	f.Add([]byte(" {\n} "), "", "")
	p := newPseudonymizer(f, map[string][]string{"ip": {"a.b"}}, "customer_id", "ip")
	f.Fuzz(func(t *testing.T, value []byte, key, header string) {
		got := p.Record(&kgo.Record{Key: []byte(key), Value: value, Headers: []kgo.RecordHeader{{Key: key, Value: []byte(header)}}})
		var o map[string]any
		if json.Unmarshal(value, &o) == nil && o != nil && !json.Valid(got.Value) && !strings.HasPrefix(string(got.Value), "(left out") {
			t.Fatalf("%s became %s", value, got.Value)
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	p := newPseudonymizer(b, nil, "customer_id", "instrument_id", "ip")
	value := []byte(`{"decision_id":"0123456789abcdef","refund_id":"re_17","transaction_id":"tx_17","customer_id":"cus_17","amount":"129.90","currency":"USD","outcome":"review","decided_by":"engine","score":60,"hits":[{"rule":"refund-velocity","mode":"live","action":"review","score":40,"severity":"high","reason":"VELOCITY_CUSTOMER","message":"cus_17 asked for 6"}],"features":{"refunds.by(customer_id).within(\"7d\").count()":6},"original":{"transaction_id":"tx_17","amount":"200.00","occurred_at":"2026-01-05T10:00:00Z","instrument_id":"card_1"},"ruleset":"sha256:00","occurred_at":"2026-01-05T10:00:00Z","received_at":"2026-01-05T10:00:00Z","decided_at":"2026-01-05T10:00:00Z","source":{"topic":"refunds","partition":3,"offset":1234}}`)
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		p.Record(&kgo.Record{Value: value, Key: []byte("re_17")}, "customer_id")
	}
}
