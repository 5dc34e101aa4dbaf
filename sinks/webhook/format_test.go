package webhook_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/webhook"
)

// delivered is the body that an endpoint of this format gets of an alert.
func delivered(t *testing.T, format string, a *event.Alert) (body string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		bodies := make(chan string, 1)
		h.serve(80, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("webhook-signature") != "" {
				t.Error("it is signed")
			}
			b, _ := io.ReadAll(r.Body)
			bodies <- string(b)
		}))
		sink, _ := h.start(webhook.Endpoint{Name: "x", URL: "http://127.0.0.1:80/api/v2/alerts", Format: format})
		h.produce(a)
		h.drained(sink, time.Hour)
		body = <-bodies
	})
	return body
}

func sampleAlert() *event.Alert {
	usd, _ := event.ParseCurrency("USD")
	amount, _ := event.ParseMoney([]byte("25"))
	return &event.Alert{AlertID: "a1", Rule: "refund-velocity", Severity: "high", RefundID: "rfd_1", CustomerID: "cus_<1>", MerchantID: "mer_1", Outcome: "review",
		Amount: amount, Currency: usd, Message: "cus_<1> asked for 6 refunds & more", At: 1_763_769_600_000}
}

func TestSlackBody(t *testing.T) {
	want := `{"text":"high: refund-velocity","blocks":[{"type":"section","text":{"type":"mrkdwn","text":"*high: refund-velocity*\ncus_&lt;1&gt; asked for 6 refunds &amp; more"}},` +
		`{"type":"context","elements":[{"type":"mrkdwn","text":"refund ` + "`rfd_1` · outcome `review` · amount `25 USD` · customer `cus_&lt;1&gt;` · merchant `mer_1`" + ` · 2025-11-22T00:00:00Z"}]}]}`
	if got := delivered(t, "slack", sampleAlert()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// A text that grows by escaping stays within what Slack takes, and whole.
	a := sampleAlert()
	a.Message = strings.Repeat("é&", 2_000)
	var got struct {
		Blocks []struct{ Text struct{ Text string } }
	}
	if err := json.Unmarshal([]byte(delivered(t, "slack", a)), &got); err != nil {
		t.Fatal(err)
	}
	text := got.Blocks[0].Text.Text
	if n := utf8.RuneCountInString(text); n > 3_000 || !utf8.ValidString(text) || !strings.HasSuffix(text, "é&amp;… [truncated]") && !strings.HasSuffix(text, "&amp;é… [truncated]") {
		t.Errorf("%d characters, ending in %q", n, text[len(text)-40:])
	}
}

// The real Alertmanager takes an alert, and shows it.
func TestAlertmanager(t *testing.T) {
	program, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		program, err = exec.LookPath("alertmanager")
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("alertmanager is missing: install the package prometheus-alertmanager")
		}
		t.Skip("alertmanager is missing (Debian: prometheus-alertmanager)")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(config, []byte("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	cmd := exec.CommandContext(t.Context(), program, "--config.file="+config, "--storage.path="+dir, "--web.listen-address="+addr, "--cluster.listen-address=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })

	h := newRealHouse(t, 1)
	// It may still be starting: the first try fails, the next comes soon.
	sink, _ := h.start(webhook.Endpoint{Name: "am", URL: fmt.Sprintf("http://%s/api/v2/alerts", addr), Format: "alertmanager",
		AllowPrivate: []string{"true"}, Retries: []time.Duration{time.Second, time.Second, time.Second, time.Second, time.Second}})
	a := sampleAlert()
	a.At = time.Now().UnixMilli()
	h.produce(a)
	h.drained(sink, time.Minute)
	if dead := h.logs.String(); strings.Contains(dead, "dead letter") {
		t.Fatal(dead)
	}
	resp, err := http.Get("http://" + addr + "/api/v2/alerts")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var alerts []struct {
		Labels, Annotations map[string]string
		StartsAt            time.Time
	}
	if err := json.NewDecoder(resp.Body).Decode(&alerts); err != nil || len(alerts) != 1 {
		t.Fatalf("%d alerts, %v", len(alerts), err)
	}
	got := alerts[0]
	for label, want := range map[string]string{"alertname": "refund-velocity", "severity": "high", "service": "refundguard", "alert_id": "a1", "outcome": "review", "merchant": "mer_1"} {
		if got.Labels[label] != want {
			t.Errorf("label %s is %q, want %q", label, got.Labels[label], want)
		}
	}
	for name, want := range map[string]string{"summary": a.Message, "refund": "rfd_1", "customer": "cus_<1>", "amount": "25 USD"} {
		if got.Annotations[name] != want {
			t.Errorf("annotation %s is %q, want %q", name, got.Annotations[name], want)
		}
	}
	if got.StartsAt.UnixMilli() != a.At {
		t.Errorf("starts at %v", got.StartsAt)
	}
}
