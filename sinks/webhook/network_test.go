package webhook_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/refundguard/refundguard/sinks/webhook"
)

// eventually fails unless ok comes to hold within half a minute.
func (h *house) eventually(what string, ok func() bool) {
	h.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("it never came to be that %s\n%s", what, h.logs.String())
		}
	}
}

func TestTwoMembersShareAnEndpoint(t *testing.T) {
	h := newRealHouse(t, 4)
	s := &script{}
	server := httptest.NewServer(s)
	defer server.Close()
	member := func(name string) (*webhook.Sink, func()) {
		return h.start(webhook.Endpoint{Name: "soc", URL: server.URL, Secret: secretA,
			AllowPrivate: []string{"true"}, Headers: map[string]string{"X-Member": name}})
	}
	deliveredBy := func(name string) (n int) {
		for _, hit := range s.all() {
			if hit.head.Get("X-Member") == name {
				n++
			}
		}
		return n
	}
	_, stopFirst := member("first")
	h.produce(many("a", 100)...)
	h.eventually("the first member delivers", func() bool { return deliveredBy("first") > 0 })
	second, _ := member("second")
	batches := 0
	h.eventually("the second member delivers too", func() bool {
		h.produce(many(fmt.Sprintf("b%d", batches), 20)...)
		batches++
		return deliveredBy("second") > 0
	})
	stopFirst()
	h.produce(many("c", 100)...)
	h.drained(second, 30*time.Second)
	s.each(t, 1, "a", 100)
	for i := range batches {
		s.each(t, 1, fmt.Sprintf("b%d", i), 20)
	}
	s.each(t, 1, "c", 100)
}

func TestPrivateAddressesAreRefused(t *testing.T) {
	inside := &script{}
	server := httptest.NewServer(inside)
	defer server.Close()
	for name, c := range map[string]struct {
		url   string
		allow []string
		want  bool
	}{
		"address":           {server.URL, nil, false},
		"name":              {"http://localhost:" + port(server), nil, false}, // what a rebound name resolves to is checked like this one
		"allowed":           {server.URL, []string{"true"}, true},
		"allowed by CIDR":   {server.URL, []string{"127.0.0.0/8"}, true},
		"allowed by name":   {"http://localhost:" + port(server), []string{"10.0.0.0/8,localhost"}, true},
		"another is":        {server.URL, []string{"10.0.0.0/8", "localhost"}, false},
		"not though listed": {server.URL, []string{"false"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newRealHouse(t, 1)
			before := len(inside.all())
			sink, stop := h.start(webhook.Endpoint{Name: "soc", URL: c.url, Secret: secretA, AllowPrivate: c.allow})
			h.produce(alertOf("a", "high"))
			if c.want {
				h.drained(sink, 30*time.Second)
				return
			}
			h.eventually("a try fails", func() bool { return sink.Status()[0].LastError != "" })
			stop()
			if len(inside.all()) != before {
				t.Error("the private address got a request")
			}
			h.metric("refundguard_webhook_retries_total", 1, "soc", "denied")
		})
	}
}

func port(s *httptest.Server) string { return s.URL[len("http://127.0.0.1:"):] }

func TestRedirectsAreNotFollowed(t *testing.T) {
	h := newRealHouse(t, 1)
	inside, outside := &script{}, &script{}
	target := httptest.NewServer(inside)
	defer target.Close()
	outside.answer = func(w http.ResponseWriter, _ string, try int) {
		w.Header().Set("Location", target.URL)
		w.WriteHeader([]int{301, 302, 303, 307, 308}[try-1])
	}
	server := httptest.NewServer(outside)
	defer server.Close()
	sink, _ := h.start(webhook.Endpoint{Name: "soc", URL: server.URL, Secret: secretA, AllowPrivate: []string{"true"},
		Retries: []time.Duration{1, 1, 1, 1}})
	h.produce(alertOf("a", "high"))
	h.drained(sink, 30*time.Second)
	if got := len(inside.all()); got != 0 {
		t.Errorf("the redirect's target got %d requests", got)
	}
	h.deadLetters(1)
}

func TestAnswersAreReadWithABound(t *testing.T) {
	h := newRealHouse(t, 1)
	done := make(chan int, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		written := 0
		for {
			n, err := w.Write(make([]byte, 64<<10))
			if written += n; err != nil || written > 1<<30 {
				done <- written
				return
			}
		}
	}))
	defer server.Close()
	sink, _ := h.start(webhook.Endpoint{Name: "soc", URL: server.URL, Secret: secretA, AllowPrivate: []string{"true"}})
	h.produce(alertOf("a", "high"))
	h.drained(sink, 30*time.Second)
	if got := <-done; got > 1<<30 {
		t.Errorf("the endpoint could answer with %d bytes", got)
	}
}

func TestTLSOfAnAuthorityOfOnesOwn(t *testing.T) {
	s := &script{}
	server := httptest.NewUnstartedServer(s)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	for _, trusted := range []bool{true, false} {
		h := newRealHouse(t, 1)
		e := webhook.Endpoint{Name: "soc", URL: server.URL, Secret: secretA, AllowPrivate: []string{"true"}}
		if trusted {
			e.TLS.CAFile = writePEM(t, server.Certificate().Raw)
		}
		sink, _ := h.start(e)
		h.produce(alertOf("a", "high"))
		if trusted {
			h.drained(sink, 30*time.Second)
		} else {
			h.eventually("the try fails", func() bool { return sink.Status()[0].LastError != "" })
		}
	}
	if got := s.tries("a"); got != 1 {
		t.Errorf("%d requests, want the one of who trusts the authority", got)
	}
}

func writePEM(t *testing.T, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(path, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
