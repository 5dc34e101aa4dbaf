package webhook_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/webhook"
)

// README.md shows this function.
func receive(secret string, seen func(id string) bool) http.Handler {
	key, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		log.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 20_000))
		if err != nil || key.Verify(body, r.Header) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if !seen(r.Header.Get("webhook-id")) {
			log.Printf("%s", body) // {"type":"refundguard.alert","timestamp":…,"data":{"alert_id":…}}
		}
	})
}

func TestReadmeShowsAReceiverThatWorks(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(source), "shows this function.\n")
	code, _, _ = strings.Cut(code, "\n}\n")
	if !strings.Contains(string(readme), "```go\n"+code+"\n}\n```") {
		t.Error("README.md doesn't show receive as it is here")
	}

	log.SetOutput(io.Discard)
	defer log.SetOutput(os.Stderr)
	h := newRealHouse(t, 1)
	var ids []string
	server := httptest.NewServer(receive(secretA, func(id string) bool { ids = append(ids, id); return false }))
	defer server.Close()
	sink, _ := h.start(webhook.Endpoint{Name: "soc", URL: server.URL, Secret: secretB + " " + secretA, AllowPrivate: []string{"true"}})
	h.produce(alertOf("a", "high"))
	h.drained(sink, 30*time.Second)
	if strings.Join(ids, " ") != "a" {
		t.Errorf("it got %v", ids)
	}
}

func TestReadmeNamesAllMetrics(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	h := newRealHouse(t, 1)
	h.start(endpoint("soc", 1))
	families, err := h.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.Contains(string(readme), "`"+f.GetName()+"`") {
			t.Errorf("README.md doesn't name %s", f.GetName())
		}
	}
}

func TestReceiver(t *testing.T) {
	var got []string
	receiver, err := webhook.NewReceiver(secretA, func(a *event.Alert) { got = append(got, a.AlertID) })
	if err != nil {
		t.Fatal(err)
	}
	key, err := standardwebhooks.NewWebhook(secretA)
	if err != nil {
		t.Fatal(err)
	}
	send := func(id, body string, at time.Time, spoil func(http.Header)) int {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		signature, err := key.Sign(id, at, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("webhook-id", id)
		r.Header.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
		r.Header.Set("webhook-signature", signature)
		if spoil != nil {
			spoil(r.Header)
		}
		w := httptest.NewRecorder()
		receiver.ServeHTTP(w, r)
		return w.Code
	}
	const body = `{"type":"refundguard.alert","timestamp":"2026-01-01T00:00:00Z","data":{"alert_id":"a","rule":"r","severity":"low","at":"2026-01-01T00:00:00Z"}}`
	now := time.Now()
	for name, c := range map[string]struct {
		id, body string
		at       time.Time
		spoil    func(http.Header)
		want     int
	}{
		"unsigned":     {"x", body, now, func(h http.Header) { h.Del("webhook-signature") }, 401},
		"another id":   {"x", body, now, func(h http.Header) { h.Set("webhook-id", "y") }, 401},
		"replayed":     {"x", body, now.Add(-time.Hour), nil, 401},
		"too large":    {"x", strings.Repeat(" ", webhook.MaxBody) + body, now, nil, 400},
		"another type": {"x", `{"type":"other","data":{}}`, now, nil, 400},
		"no alert":     {"x", `{"type":"refundguard.alert","data":{}}`, now, nil, 400},
		"no JSON":      {"x", `hello`, now, nil, 400},
	} {
		if code := send(c.id, c.body, c.at, c.spoil); code != c.want {
			t.Errorf("%s: status %d, want %d", name, code, c.want)
		}
	}
	for range 3 {
		if code := send("a", body, now, nil); code != http.StatusNoContent {
			t.Errorf("status %d", code)
		}
	}
	if c := receiver.Counts(); c != (webhook.Counts{Alerts: 1, Repeats: 2, Refused: 7}) || len(got) != 1 {
		t.Errorf("counts are %+v, with %d calls", c, len(got))
	}
	if _, err := webhook.NewReceiver("hunter2", nil); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a bad secret: %v", err)
	}
}
