package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// storeFront is a Kafka and a service that can be started again with another
// configuration.
type storeFront struct {
	t       *testing.T
	file    string
	brokers []string
	client  *kgo.Client
}

func newStoreFront(t *testing.T) *storeFront {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "refunds", "transactions"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	s := &storeFront{t: t, file: filepath.Join(t.TempDir(), "refundguard.yaml"), brokers: cluster.ListenAddrs()}
	if s.client, err = kgo.NewClient(kgo.SeedBrokers(s.brokers...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	rules := filepath.Join(filepath.Dir(s.file), "rules")
	if err := os.Mkdir(rules, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(rules, "r.yaml"), []byte("rules: [{id: large, action: review, severity: high, when: amount > 100, message: 'large: {{amount}}'}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// run starts the service with more settings; stop ends it.
func (s *storeFront) run(more string) (running *service, stop func()) {
	s.t.Helper()
	content := fmt.Sprintf("kafka: {seed_brokers: [%q]}\nrules: {dir: %q}\nhttp: {listen: '127.0.0.1:0'}\n%s\n", s.brokers[0], filepath.Join(filepath.Dir(s.file), "rules"), more)
	if err := os.WriteFile(s.file, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	l := mustLoad(s.t, content)
	running, err := newService(l.config, slog.New(slog.NewTextHandler(s.t.Output(), nil)))
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- running.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(stop)
	eventually(s.t, "is ready", func() bool { return running.Ready() == nil })
	return running, stop
}

func (s *storeFront) send(refund string) {
	s.t.Helper()
	r := &kgo.Record{Topic: "refunds", Key: []byte("k"), Value: []byte(refund), Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte("abc")}}}
	if err := s.client.ProduceSync(s.t.Context(), r).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
}

func TestDeadLettersAreListedShownAndReplayed(t *testing.T) {
	s := newStoreFront(t)
	first, stop := s.run("streams: {refunds: {decide_from: earliest}}")
	s.send(`{"refund_id":"r1","amt":"25","currency":"USD","occurred_at":"` + time.Now().UTC().Format(time.RFC3339) + `"}`)
	eventually(t, "dead-letters", func() bool { return first.pipeline.Balance().DeadLettered == 1 })

	var letters []letter
	r := runCommand(t, "dlq", "list", "-c", s.file, "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &letters); err != nil || len(letters) != 1 {
		t.Fatalf("%v in:\n%s%s", err, r.out, r.err)
	}
	if l := letters[0]; l.Place != "0:0" || l.Topic != "refunds" || l.Code != "MISSING_FIELD" || l.Field != "amount" {
		t.Errorf("%+v", l)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"list"}, exitFine, "MISSING_FIELD"},
		{[]string{"list", "--code", "WRONG_TYPE"}, exitFine, "no dead letters"},
		{[]string{"list", "--since", "soon"}, exitUsage, "--since"},
		{[]string{"show", "0:0"}, exitFine, `"amt":"25"`},
		{[]string{"show", "0:0"}, exitFine, `header   trace: "abc"`},
		{[]string{"show", "0:7"}, exitProblems, "no dead letter at 0:7"},
		{[]string{"show", "7"}, exitUsage, "PARTITION:OFFSET"},
		{[]string{"replay"}, exitUsage, "name places"},
		{[]string{"replay", "0:7"}, exitProblems, "1 of 1 dead letters were not found"},
		{[]string{"replay", "--all", "--dry-run"}, exitFine, "nothing was sent"},
	} {
		if r := runCommand(t, append([]string{"dlq", c.args[0], "-c", s.file}, c.args[1:]...)...); r.code != c.code || !strings.Contains(r.out+r.err, c.says) {
			t.Errorf("%v: exit %d, want %d and %q in:\n%s%s", c.args, r.code, c.code, c.says, r.out, r.err)
		}
	}
	stop()

	second, _ := s.run("streams: {refunds: {decide_from: earliest, fields: {amount: {from: amt}}}}")
	for range 2 {
		if r := runCommand(t, "dlq", "replay", "0:0", "-c", s.file); r.code != exitFine || !strings.Contains(r.out, "1 dead letters were sent again") {
			t.Fatal(r.out, r.err)
		}
	}
	eventually(t, "decides it once", func() bool { b := second.pipeline.Balance(); return b.Approved == 1 && b.Duplicates == 1 })
	if b := second.pipeline.Balance(); b.Read != 3 || b.DeadLettered != 1 {
		t.Errorf("%+v", b)
	}
}

func TestAlertsAreListedAndReplayed(t *testing.T) {
	var mu sync.Mutex
	var bodies []string
	taken := func() int { mu.Lock(); defer mu.Unlock(); return len(bodies) }
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		bodies = append(bodies, string(b))
	}))
	t.Cleanup(server.Close)
	s := newStoreFront(t)
	s.run(fmt.Sprintf("streams: {refunds: {decide_from: earliest}}\nwebhooks: [{name: soc, format: slack, url: %q, allow_private: ['true']}]\nalerts: {min_severity: high}", server.URL))
	s.send(`{"refund_id":"r1","amount":"250","currency":"USD","occurred_at":"` + time.Now().UTC().Format(time.RFC3339) + `"}`)
	eventually(t, "alerts", func() bool { return taken() == 1 })
	var alerts []struct {
		ID   string `json:"alert_id"`
		Rule string `json:"rule"`
	}
	r := runCommand(t, "alerts", "list", "-c", s.file, "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &alerts); err != nil || len(alerts) != 1 || alerts[0].Rule != "large" {
		t.Fatalf("%v in:\n%s%s", err, r.out, r.err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"list"}, exitFine, "large: 250"},
		{[]string{"list", "--rule", "other"}, exitFine, "no alerts"},
		{[]string{"list", "--min-severity", "awful"}, exitUsage, "awful"},
		{[]string{"replay", "--endpoint", "soc"}, exitUsage, "--undelivered"},
		{[]string{"replay", "--endpoint", "nobody", "--all"}, exitUsage, "soc"},
		{[]string{"replay", "--endpoint", "soc", "--undelivered"}, exitFine, "0 alerts delivered"},
		{[]string{"replay", "--endpoint", "soc", "--all", "--dry-run"}, exitFine, "would go to soc"},
		{[]string{"replay", "--endpoint", "soc", alerts[0].ID}, exitFine, "1 alerts delivered, 0 failed"},
	} {
		r := runCommand(t, append([]string{"alerts", c.args[0], "-c", s.file}, c.args[1:]...)...)
		if r.code != c.code || !strings.Contains(r.out+r.err, c.says) {
			t.Errorf("%v: exit %d, want %d and %q in:\n%s%s", c.args, r.code, c.code, c.says, r.out, r.err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(bodies) != 2 || bodies[0] != bodies[1] {
		t.Errorf("delivered: %q", bodies)
	}
}
