package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/sinks/webhook"
)

func get(t *testing.T, url, accept string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", accept)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestHTTPEndpoints(t *testing.T) {
	var pipelineErr, sinkErr error
	server := httptest.NewServer(newServer([]probe{
		{"pipeline", true, func() error { return pipelineErr }},
		{"clickhouse", false, func() error { return sinkErr }},
	}, newRegistry()).Handler)
	defer server.Close()

	for _, c := range []struct {
		pipeline, sink error
		code           int
		text           string
	}{
		{nil, nil, 200, "pipeline: ready\nclickhouse: ready\n"},
		{nil, errors.New("gone"), 200, "pipeline: ready\nclickhouse: not ready: gone\n"},
		{errors.New("a\nb"), nil, 503, "pipeline: not ready: a; b\nclickhouse: ready\n"},
	} {
		pipelineErr, sinkErr = c.pipeline, c.sink
		if code, text := get(t, server.URL+"/readyz", ""); code != c.code || text != c.text {
			t.Errorf("%d %q, want %d %q", code, text, c.code, c.text)
		}
		code, text := get(t, server.URL+"/readyz", "application/json")
		var answer readiness
		if err := json.Unmarshal([]byte(text), &answer); err != nil || code != c.code || answer.Ready != (c.pipeline == nil) || len(answer.Parts) != 2 {
			t.Errorf("%d %s, %v", code, text, err)
		}
	}
	pipelineErr = fmt.Errorf("%w: another works", pipeline.ErrStandby)
	for query, want := range map[string]int{"": 503, "?standby=ok": 200} {
		if code, text := get(t, server.URL+"/readyz"+query, ""); code != want || !strings.Contains(text, "standing by") {
			t.Errorf("%q: %d %q", query, code, text)
		}
	}
	if code, text := get(t, server.URL+"/livez", ""); code != 200 || text != "ok\n" {
		t.Errorf("%d %q", code, text)
	}
	code, text := get(t, server.URL+"/metrics", "")
	for _, name := range []string{"refundguard_build_info{", "go_goroutines ", "process_start_time_seconds "} {
		if code != 200 || !strings.Contains(text, name) {
			t.Errorf("%d, %s is missing", code, name)
		}
	}
	if code, _ := get(t, server.URL+"/", ""); code != 404 {
		t.Errorf("/ gives %d", code)
	}
	if response, err := http.Post(server.URL+"/readyz", "", nil); err != nil || response.StatusCode != 405 {
		t.Errorf("POST gives %v, %v", response, err)
	}
}

// freePort is a port that nobody listens on now.
func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func testConfig(t *testing.T, brokers ...string) config {
	t.Helper()
	c := defaultConfig()
	c.Kafka.SeedBrokers = brokers
	c.Pipeline.Rules.Dir = "../../rules/starter"
	c.HTTP.Listen = "127.0.0.1:0"
	return c
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// eventually waits for a condition, far longer than any takes.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for !condition() {
		select {
		case <-deadline:
			t.Fatal("never: " + what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// The service starts before Kafka does, says so, goes to work when Kafka is
// there, and stops in order; ClickHouse, which never comes, stops nothing.
func TestServiceWaitsForKafka(t *testing.T) {
	port := freePort(t)
	c := testConfig(t, (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String())
	c.ClickHouse.Addr = []string{(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: freePort(t)}).String()}
	var log syncBuffer
	s, err := newService(c, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()

	url := "http://" + s.Address() + "/readyz"
	eventually(t, "says that it waits for Kafka", func() bool {
		code, text := get(t, url, "")
		return code == 503 && strings.Contains(text, "waiting for kafka") && strings.Contains(text, "connection refused")
	})
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	eventually(t, "is ready, without ClickHouse", func() bool {
		code, text := get(t, url, "")
		return code == 200 && strings.Contains(text, "pipeline: ready") && strings.Contains(text, "clickhouse: not ready")
	})
	if !strings.Contains(log.String(), `msg=starting version=`) || !strings.Contains(log.String(), fmt.Sprintf("kafka=[127.0.0.1:%d]", port)) {
		t.Errorf("does not say what starts, and where:\n%s", log.String())
	}
	if n := strings.Count(log.String(), "kafka can't be reached"); n != 1 {
		t.Errorf("said %d times that Kafka is away:\n%s", n, log.String())
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("stopped with %v\n%s", err, log.String())
	}
	if _, err := net.Dial("tcp", s.Address()); err == nil {
		t.Error("still listens after the end")
	}
}

// What no waiting mends ends run with its exit code, and says what to do.
func TestRunExitsWhereOnlyAPersonHelps(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "refunds", "transactions"), kfake.SeedTopics(5, "refundguard-progress"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	file := filepath.Join(t.TempDir(), "refundguard.yaml")
	text := fmt.Sprintf("kafka: {seed_brokers: [%q]}\nrules: {dir: ../../rules/starter}\nhttp: {listen: \"127.0.0.1:0\"}\n", cluster.ListenAddrs()[0])
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := runCommand(t, "run", "-c", file)
	if r.code != exitProblems || !strings.Contains(r.err, "Name another as topics.progress") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

func TestServiceStopsWhileWaiting(t *testing.T) {
	s, err := newService(testConfig(t, "127.0.0.1:1"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
}

// Two instances with logs and metrics of their own run side by side.
func TestTwoServices(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 2 {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()
		s, err := newService(testConfig(t, cluster.ListenAddrs()...), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		eventually(t, "is ready", func() bool { return s.Ready() == nil })
	}
	stop()
	all.Wait()
}

func TestServiceRefusesATakenAddress(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c := testConfig(t, "127.0.0.1:1")
	c.HTTP.Listen = listener.Addr().String()
	if _, err := newService(c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "http.listen") {
		t.Error(err)
	}
}

// An observing instance must not write, or read in the name of, a live one.
func TestObservedSharesNothing(t *testing.T) {
	live := testConfig(t, "127.0.0.1:1")
	live.Pipeline.State.Dir = "/var/lib/refundguard"
	live.Webhooks = webhook.Config{webhook.DefaultEndpoint()}
	observing := live.observed()
	if len(live.Webhooks) != 1 || live.Pipeline.Observe {
		t.Error("changes the live configuration")
	}
	if len(observing.Webhooks) != 0 {
		t.Error("alerts too")
	}
	for name, pair := range map[string][2]string{
		"topic":    {live.Pipeline.Names().Decisions, observing.Pipeline.Names().Decisions},
		"alerts":   {live.Pipeline.Names().Alerts, observing.Pipeline.Names().Alerts},
		"progress": {live.Pipeline.Names().Progress, observing.Pipeline.Names().Progress},
		"state":    {live.Pipeline.State.Dir, observing.Pipeline.State.Dir},
		"database": {live.ClickHouse.Database, observing.ClickHouse.Database},
		"group":    {live.ClickHouse.Group, observing.ClickHouse.Group},
	} {
		if pair[0] == pair[1] || pair[1] == "" {
			t.Errorf("%s: live %q, observing %q", name, pair[0], pair[1])
		}
	}
}

// Who reads the log, and not /readyz, learns as well that Kafka went away.
func TestServiceTellsThatItIsNotReady(t *testing.T) {
	slow(t)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	var log syncBuffer
	s, err := newService(testConfig(t, cluster.ListenAddrs()...), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	eventually(t, "is ready", func() bool { return s.Ready() == nil })
	var away atomic.Bool
	away.Store(true)
	cluster.Control(func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		return nil, errors.New("away"), away.Load()
	})
	eventually(t, "says that it is not ready", func() bool { return strings.Contains(log.String(), `msg="not ready: `) })
	away.Store(false)
	eventually(t, "says that it is ready again", func() bool { return strings.Contains(log.String(), `msg="ready again" after=`) })
	stop()
	if err := <-done; err != nil {
		t.Errorf("stopped with %v", err)
	}
	if n := strings.Count(log.String(), "msg=\"not ready: "); n != 1 {
		t.Errorf("said %d times that it is not ready:\n%s", n, log.String())
	}
}
