package webhook

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/event"
)

func TestGuard(t *testing.T) {
	const (
		never  = iota // only if listed
		opened        // by allow_private: true
		always
	)
	for text, want := range map[string]int{
		"93.184.216.34": always, "2606:2800:220:1::1": always, "100.63.255.255": always, "172.32.0.1": always,
		"64:ff9b::5db8:d822": always, // NAT64 of a public address
		"127.0.0.1":          opened, "::1": opened, "::ffff:127.0.0.1": opened, "10.1.2.3": opened, "172.16.0.1": opened,
		"192.168.1.1": opened, "169.254.1.1": opened, "100.64.0.1": opened, "fe80::1%eth0": opened, "fd12::1": opened,
		"fec0::1": opened, "64:ff9b::7f00:1": opened, "2002:0a00:0001::1": opened,
		"0.0.0.0": never, "::": never, "169.254.169.254": never, "::ffff:169.254.169.254": never,
		"64:ff9b::a9fe:a9fe": never, "2002:a9fe:a9fe::1": never, "169.254.170.2": never, "fd00:ec2::254": never,
		"100.100.100.200": never, "168.63.129.16": never, "192.0.0.192": never, "224.0.0.1": never, "ff02::1": never,
		"255.255.255.255": never, "198.18.0.1": never, "192.0.2.1": never, "2001:db8::1": never, "2001::1": never,
		"64:ff9b:1::1": never, "::7f00:1": never,
	} {
		addr := netip.MustParseAddr(text)
		for level, allow := range [][]string{always: nil, opened: {"true"}, never: {"true", "0.0.0.0/0", "::/0"}} {
			g, err := newGuard(allow)
			if err != nil {
				t.Fatal(err)
			}
			if got := g.check(addr) == nil; got != (level <= want) {
				t.Errorf("%s with allow_private %v: allowed is %v", text, allow, got)
			}
		}
	}
	g, err := newGuard([]string{"10.9.8.7", "[fd12::7]", "Soc.Example.com."})
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{"10.9.8.7": true, "10.9.8.8": false, "fd12::7": true, "127.0.0.1": false} {
		if got := g.check(netip.MustParseAddr(addr)) == nil; got != want {
			t.Errorf("%s: allowed is %v", addr, got)
		}
	}
	if !g.trusts("soc.example.COM") || g.trusts("evil.example.com") {
		t.Error("names are compared wrongly")
	}
	if err := g.control("tcp", "nonsense", nil); err == nil {
		t.Error("an address that can't be read is dialled")
	}
}

func TestSignaturesVerify(t *testing.T) {
	secrets := []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IQ=="}
	s, err := newSigner(strings.Join(secrets, " \n"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := newAlert((&event.Alert{AlertID: "a1", Severity: "high", Rule: "r", Message: "m", At: 1_763_769_600_123}).Append(nil), time.Now(), standardBody)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	if err := s.sign(h, a, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets {
		key, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := key.Verify(a.body, h); err != nil {
			t.Errorf("%v: %v", h, err)
		}
		if err := key.Verify(append(a.body, ' '), h); err == nil {
			t.Error("another body verifies too")
		}
	}
	want := `{"type":"refundguard.alert","timestamp":"2025-11-22T00:00:00.123Z","data":`
	if !strings.HasPrefix(string(a.body), want) {
		t.Errorf("the body is %s, want %s…", a.body, want)
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	for name, char := range map[string]string{"ascii": "x", "wide": "世", "escaped": "\"\n", "html": "<&>", "emoji": "🙂", "control": "\x01"} {
		for _, n := range []int{10, 3_000, 10_000, 19_800, 60_000} {
			in := event.Alert{AlertID: "a1", Severity: "high", Rule: "r", RefundID: "ref_1", Message: strings.Repeat(char, n), At: 1}
			record := in.Append(nil)
			a, err := newAlert(record, time.Now(), standardBody)
			if err != nil {
				t.Fatalf("%s %d: %v", name, n, err)
			}
			if len(a.body) >= maxBody {
				t.Errorf("%s %d: a body of %d bytes", name, n, len(a.body))
			}
			var message struct{ Data json.RawMessage }
			if err := json.Unmarshal(a.body, &message); err != nil {
				t.Fatalf("%s %d: %v", name, n, err)
			}
			if len(appendBody(nil, 1, record)) < maxBody {
				if !bytes.Equal(message.Data, record) {
					t.Errorf("%s %d: what needn't be shorter isn't as it was", name, n)
				}
				continue
			}
			out, err := event.ParseAlert(message.Data)
			if err != nil {
				t.Fatal(err)
			}
			beginning, cut := strings.CutSuffix(out.Message, truncated)
			if !cut || !strings.HasPrefix(in.Message, beginning) {
				t.Errorf("%s %d: the message is %.40q…", name, n, out.Message)
			}
			if len(a.body) < maxBody-40 {
				t.Errorf("%s %d: %d bytes are left unused", name, n, maxBody-len(a.body))
			}
			out.Message = in.Message
			if *out != in {
				t.Errorf("%s %d: other fields changed: %+v", name, n, out)
			}
		}
	}
	huge := `{"alert_id":"a","severity":"low","rule":"` + strings.Repeat("r", 30_000) + `","message":"m"}`
	if _, err := newAlert([]byte(huge), time.Now(), standardBody); err == nil {
		t.Error("an alert that can't be made short enough is sent")
	}
}

func TestLedgerKeepsWhatIsUnfinished(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		offset := rapid.Int64Range(0, 1<<40).Draw(t, "start")
		l := newLedger(offset, "")
		finished := map[int64]bool{}
		var records []*kgo.Record
		for range rapid.IntRange(1, 400).Draw(t, "records") {
			offset += rapid.Int64Range(1, 300).Draw(t, "gap")
			records = append(records, &kgo.Record{Offset: offset})
		}
		// Several lives: in each, some more is read and some more finished.
		for next := range rapid.IntRange(1, 4).Draw(t, "lives") {
			var open []*entry
			reads := rapid.IntRange(0, len(records)).Draw(t, "reads")
			for _, r := range records[:reads] {
				if r.Offset < l.prefix() {
					continue
				}
				e := l.add(r)
				if (e == nil) != finished[r.Offset] {
					t.Fatalf("life %d: offset %d, finished %v, has entry %v", next, r.Offset, finished[r.Offset], e != nil)
				}
				if e != nil {
					open = append(open, e)
				}
			}
			for _, e := range open {
				// Few stay open, as maxPending has it.
				if rapid.IntRange(0, 3).Draw(t, "finish") > 0 || len(l.open) > maxPending {
					finished[e.record.Offset] = true
					l.finish(e)
					continue
				}
				e.failed = rapid.IntRange(0, maxRetries+1).Draw(t, "failed")
				e.due = time.Unix(1_800_000_000, 0)
			}
			for o := range finished {
				if o < l.prefix() && !finished[o] {
					t.Fatalf("offset %d is committed unfinished", o)
				}
			}
			if len(l.open) > 0 && l.prefix() != l.open[0].record.Offset {
				t.Fatal("the prefix is not the first unfinished")
			}
			text := l.metadata()
			if len(text) > maxMetadata {
				t.Fatalf("metadata of %d bytes", len(text))
			}
			l = newLedger(l.prefix(), text)
		}
	})
}

func TestLedgerBoundsMetadata(t *testing.T) {
	l := newLedger(0, "")
	for i := range int64(maxPending) {
		e := l.add(&kgo.Record{Offset: i * 1_000_000})
		e.failed, e.due = 9, time.Now()
	}
	text := l.metadata()
	if text == "" || len(text) > maxMetadata {
		t.Errorf("the metadata of a full endpoint has %d bytes, want 1 to %d", len(text), maxMetadata)
	}
	restored := newLedger(l.prefix(), text)
	for i := range int64(maxPending) {
		if e := restored.add(&kgo.Record{Offset: i * 1_000_000}); e == nil || e.failed != 9 {
			t.Fatalf("after a restart alert %d is %+v", i, e)
		}
	}
}

func TestLedgerRewinds(t *testing.T) {
	l := newLedger(10, "")
	for i := range int64(10) {
		if e := l.add(&kgo.Record{Offset: 10 + i}); i%2 == 0 {
			l.finish(e)
		}
	}
	e := l.add(&kgo.Record{Offset: 15}) // read again, from there on
	if e == nil || l.prefix() != 11 || l.seen != 16 {
		t.Errorf("after a rewind to 15 the prefix is %d, seen %d", l.prefix(), l.seen)
	}
}

func FuzzProgress(f *testing.F) {
	l := newLedger(5, "")
	for i := range int64(5) {
		l.add(&kgo.Record{Offset: 5 + 3*i}).failed = 2
	}
	f.Add(int64(5), l.metadata())
	f.Add(int64(0), progressPrefix)
	f.Add(int64(7), progressPrefix+"/////w8")
	f.Add(int64(-1), "member-id")
	f.Fuzz(func(t *testing.T, from int64, metadata string) {
		if from > 1<<50 {
			return
		}
		l := newLedger(from, metadata)
		if l.left != 0 && l.left < from {
			t.Errorf("what is left ends at %d, before %d", l.left, from)
		}
		for o, i := range l.inherited {
			if o < from || o >= l.left || i.failed < 0 || i.failed > maxRetries {
				t.Errorf("inherited %d: %+v", o, i)
			}
		}
		again := newLedger(l.prefix(), l.metadata())
		if len(l.inherited) > 0 && len(l.metadata()) > 0 && len(again.inherited) != len(l.inherited) {
			t.Errorf("%d inherited become %d", len(l.inherited), len(again.inherited))
		}
	})
}

func FuzzAlert(f *testing.F) {
	f.Add((&event.Alert{AlertID: "a1", Severity: "high", Message: "m", At: 1}).Append(nil))
	f.Add([]byte(`{"alert_id":"a","message":"` + strings.Repeat(`\u0001`, 5000) + `"}`))
	f.Add([]byte(` {"alert_id":"a","x":{"y":[1,2]}} `))
	f.Fuzz(func(t *testing.T, value []byte) {
		a, err := newAlert(value, time.UnixMilli(1), standardBody)
		if err != nil {
			return
		}
		if len(a.body) >= maxBody || !json.Valid(a.body) {
			t.Errorf("body of %d bytes, JSON %v: %.200q", len(a.body), json.Valid(a.body), a.body)
		}
		h := http.Header{}
		s, _ := newSigner("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
		if err := s.sign(h, a, time.Now()); err != nil || s[0].Verify(a.body, h) != nil {
			t.Errorf("the signature doesn't verify: %v", err)
		}
	})
}

func TestRetryAfterForms(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "0": 0, "30": 30 * time.Second, "7200": time.Hour, "18446744073709551615": 0, "9223372036854775807": time.Hour,
		"-1": 0, "1.5": 0, "soon": 0,
		"Sun, 22 Nov 2026 00:01:00 GMT": time.Minute, "Sat, 21 Nov 2026 00:01:00 GMT": 0, "Sun, 22 Nov 2037 00:01:00 GMT": time.Hour,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("Retry-After: %s is %v, want %v", header, got, want)
		}
	}
}
