package webhook_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/sinks"
	"github.com/refundguard/refundguard/sinks/webhook"
)

func TestValidateReportsAllFaults(t *testing.T) {
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := webhook.Endpoint{Name: "good", URL: "https://example.com/hook", Secret: secretA + "\n" + secretB}
	if err := (webhook.Config{good}).Validate(); err != nil {
		t.Fatalf("a good configuration: %v", err)
	}
	twin := good
	twin.Name, twin.Group = "twin", "refundguard-webhook-good"
	err := webhook.Config{
		good, good, twin,
		{Name: "a b", URL: "ftp://user:hunter2@/x", Format: "slack", MinSeverity: "urgent", Timeout: time.Hour,
			MaxInFlight: 1000, Retries: []time.Duration{-1}, GiveUpAfter: -1, AllowPrivate: []string{"10.0.0.0/99"},
			Headers: map[string]string{"webhook-id": "x", "X Y": "z", "X-Z": "a\nb"}, TLS: webhook.TLS{CAFile: notPEM}},
		{Name: "b", URL: "http://e.com/%zz?token=hunter2", Format: "smoke", Secret: "hunter2"},
		{Name: "c", URL: "https://e.com", Secret: "whsec_aGk="},
		{Name: "d", URL: "https://e.com", Secret: "whsec_hunter2!", TLS: webhook.TLS{CAFile: "/no/such/file"}},
		{Name: "e"},
		{Name: "f", URL: "https://hooks.example.com/x", Format: "slack", Secret: secretA},
		{Name: "g", URL: "http://alertmanager:9093", Format: "alertmanager"},
	}.Validate()
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, want := range []string{
		"webhooks[1] good: name: webhooks[0] has it already",
		`webhooks[2] twin: group: webhooks[1] reads with "refundguard-webhook-good" already`,
		`webhooks[3] a b: name: "a b"`, `url: the scheme "ftp"`, "url: has no host", "url: holds a user",
		"webhooks[8] f: secret: slack takes no signatures", "webhooks[9] g: url: Alertmanager takes alerts at https://HOST/api/v2/alerts", `min_severity: "urgent"`, "timeout: 1h0m0s", "max_in_flight: 1000",
		"retries: number 1", "give_up_after: -1ns", `allow_private: "10.0.0.0/99"`, "headers: Webhook-Id is set by refundguard",
		`headers: "X Y" is not`, "headers: X-Z: the value", "holds no certificate in PEM",
		"webhooks[4] b: url: is not a URL", `format: "smoke"`,
		"webhooks[5] c: secret: number 1 holds 2 bytes", "webhooks[6] d: secret: what follows whsec_", "/no/such/file",
		"webhooks[7] e: url: missing", "webhooks[7] e: secret: missing; make one with",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the faults don't say %q", want)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the faults show a secret")
	}
	if t.Failed() {
		t.Log(err)
	}
}

func TestConfigFromKoanf(t *testing.T) {
	for allow, want := range map[any]string{true: "1", "true": "true", "10.0.0.0/8,localhost": "10.0.0.0/8,localhost"} {
		k := koanf.New(".")
		err := k.Load(confmap.Provider(map[string]any{"webhooks": []any{map[string]any{
			"name": "soc", "url": "https://example.com", "secret": secretA, "min_severity": "high", "timeout": "3s",
			"retries": []any{"1s", "1m"}, "allow_private": allow, "headers": map[string]any{"Authorization": "Bearer x"},
			"tls": map[string]any{"ca_file": ""},
		}}}, "."), nil)
		if err != nil {
			t.Fatal(err)
		}
		var cfg webhook.Config
		if err := k.Unmarshal("webhooks", &cfg); err != nil {
			t.Fatal(err)
		}
		e := cfg[0]
		if strings.Join(e.AllowPrivate, " ") != want {
			t.Errorf("allow_private: %v becomes %q", allow, e.AllowPrivate)
		}
		if e.Timeout != 3*time.Second || len(e.Retries) != 2 || e.Retries[1] != time.Minute || e.Headers["Authorization"] != "Bearer x" {
			t.Errorf("it becomes %+v", e)
		}
		if err := cfg.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestNewMakesNoConnection(t *testing.T) {
	cfg := webhook.Config{endpoint("a", 1), endpoint("b", 2)}
	reg := prometheus.NewRegistry()
	deps := webhook.Deps{
		Options:     []kgo.Opt{kgo.SeedBrokers("192.0.2.1:9092")},
		AlertsTopic: "alerts", DeadLettersTopic: "dead-letters", Registerer: reg,
	}
	sink, err := webhook.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]int{}
	for _, f := range families {
		series[f.GetName()] = len(f.Metric)
	}
	for name, want := range map[string]int{
		"refundguard_webhook_deliveries_total": 2 * 3, "refundguard_webhook_retries_total": 2 * len(sinks.Reasons()),
		"refundguard_webhook_in_flight": 2, "refundguard_webhook_pending": 2, "refundguard_webhook_endpoint_down": 2,
		"refundguard_webhook_endpoint_disabled": 2, "refundguard_webhook_request_duration_seconds": 2,
	} {
		if series[name] != want {
			t.Errorf("%s has %d series at the start, want %d", name, series[name], want)
		}
	}
	for _, st := range sink.Status() {
		if st.State != webhook.Starting {
			t.Errorf("%s is %s before Run", st.Endpoint, st.State)
		}
	}
	sink.Close()
	if err := sink.Run(t.Context()); err == nil {
		t.Error("a closed sink runs")
	}
	if _, err := webhook.New(cfg, deps); err == nil {
		t.Error("metrics of the same names are registered twice")
	}
	if _, err := webhook.New(webhook.Config{{Name: "x"}}, webhook.Deps{}); err == nil {
		t.Error("New takes a configuration that Validate refuses")
	}
	if err := webhook.DefaultConfig().Validate(); err != nil {
		t.Errorf("no endpoints: %v", err)
	}
}
