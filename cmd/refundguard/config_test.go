package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/refundguard/refundguard/cmd/refundguard/settings"
)

var update = flag.Bool("update", false, "rewrite the expected messages in testdata")

const example = "../../deploy/refundguard.yaml"

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustLoad(t *testing.T, content string, environ ...string) *loaded {
	t.Helper()
	l, err := loadConfig(write(t, "refundguard.yaml", content), environ)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestExamplesLoad(t *testing.T) {
	for _, file := range []string{example, "../../deploy/compose/refundguard.yaml"} {
		l, err := loadConfig(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.check(); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// What is commented out in the example is right too, and nothing is left out.
func TestExampleIsComplete(t *testing.T) {
	content, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?m)^( *)#(\S)`).ReplaceAll(content, []byte("$1$2"))
	l := mustLoad(t, string(all))
	if len(l.faults) == 0 || slices.ContainsFunc(l.faults, func(f *settings.Fault) bool { return f.Key != "webhooks[0].secret_file" }) {
		t.Fatalf("want the example's secret to be missing and no other fault, got:\n%v", l.faults)
	}
	for _, key := range l.shown.Keys() {
		if l.from.Origin(key) == "default" && !strings.HasPrefix(key, "streams.") {
			t.Errorf("the example does not show %s", key)
		}
	}
	// Defaults that it shows are the defaults.
	for _, f := range l.check().(settings.Faults) {
		if !strings.Contains(f.Message, "_file") {
			t.Errorf("the example holds a fault: %v", f)
		}
	}
}

// Each bad file stands beside everything that config print says of it.
func TestBadConfigurations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		l, err := loadConfig(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = l.check()
		if err == nil {
			t.Errorf("%s: accepted", file)
			continue
		}
		golden, got := strings.TrimSuffix(file, ".yaml")+".txt", err.Error()+"\n"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, _ := os.ReadFile(golden)
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s:\n%s", file, diff)
		}
		if strings.Contains(got, "hunter2") {
			t.Errorf("%s: shows a secret:\n%s", file, got)
		}
	}
}

// What is printed is what holds, the topics that nobody has set included.
func TestConfigPrintShowsTopics(t *testing.T) {
	file := write(t, "refundguard.yaml", "kafka: {seed_brokers: ['a:1']}\nrules: {dir: testdata}\nstreams: {refunds: {decide_from: latest}, gifts: {id: gift_id}, reviews: {topic: verdicts}}\n")
	r := runCommand(t, "config", "print", "-c", file, "-o", "json")
	var c struct {
		Streams map[string]struct{ Topic string }
	}
	if err := json.Unmarshal([]byte(r.out), &c); err != nil || r.code != exitFine {
		t.Fatalf("exit %d, %v\n%s", r.code, err, r.err)
	}
	for stream, want := range map[string]string{"refunds": "refunds", "transactions": "transactions", "ledger_results": "ledger-results", "gifts": "gifts", "reviews": "verdicts"} {
		if got := c.Streams[stream].Topic; got != want {
			t.Errorf("the topic of %s is %q, want %q", stream, got, want)
		}
	}
}

func TestEnvironmentWinsOverFile(t *testing.T) {
	l := mustLoad(t, "kafka: {seed_brokers: ['a:1'], client_id: file}\nstreams: {refunds: {topic: file}}",
		"REFUNDGUARD_KAFKA_SEED_BROKERS=b:2,c:3",
		"REFUNDGUARD_KAFKA_SASL_MECHANISM=PLAIN", "REFUNDGUARD_KAFKA_SASL_USERNAME=u", "REFUNDGUARD_KAFKA_SASL_PASSWORD=p",
		"REFUNDGUARD_STREAMS_REFUNDS_DECIDE_FROM=latest", "REFUNDGUARD_STREAMS_LEDGER_RESULTS_TOPIC=env",
		"REFUNDGUARD_CURRENCY_RATES_EUR=1.08", "REFUNDGUARD_ETA_BANK_TRANSFER=2d",
		"REFUNDGUARD_WEBHOOKS_0_NAME=soc", "REFUNDGUARD_WEBHOOKS_0_URL=https://example.com",
		"REFUNDGUARD_WEBHOOKS_0_SECRET_FILE="+write(t, "secret", "whsec_"+strings.Repeat("A", 32)+"\n"),
		// Not settings: ours, and what Kubernetes makes of a service of our name.
		"REFUNDGUARD_RETAIL=/data", "REFUNDGUARD_TEST_KAFKA=x", "REFUNDGUARD_CONFIG=x",
		"REFUNDGUARD_SERVICE_HOST=10.0.0.1", "REFUNDGUARD_SERVICE_PORT_HTTP=80", "REFUNDGUARD_PORT=tcp://10.0.0.1:80",
		"REFUNDGUARD_PORT_80_TCP_ADDR=10.0.0.1", "REFUNDGUARD_METRICS_SERVICE_HOST=10.0.0.2")
	if err := l.check(); err != nil {
		t.Fatal(err)
	}
	for name, ok := range map[string]bool{
		"list":        slices.Equal(l.Kafka.SeedBrokers, []string{"b:2", "c:3"}),
		"file stays":  l.Kafka.ClientID == "file" && l.Pipeline.Streams["refunds"].Topic == "file",
		"one login":   len(l.Kafka.SASL) == 1 && l.Kafka.SASL[0].Password == "p",
		"stream":      l.Pipeline.Streams["refunds"].DecideFrom == "latest" && l.Pipeline.Streams["ledger_results"].Topic == "env",
		"rate":        l.Pipeline.Currency.Rates["EUR"] == "1.08",
		"eta":         l.Pipeline.ETA["bank_transfer"] == "2d",
		"secret file": l.Webhooks[0].Secret == "whsec_"+strings.Repeat("A", 32),
		"defaults":    l.Webhooks[0].MaxInFlight == 8 && l.Kafka.CreateTopics,
	} {
		if !ok {
			t.Errorf("%s: %+v", name, l.config)
		}
	}
	if bad := mustLoad(t, "", "REFUNDGUARD_KAFKA_BROKERS=x"); len(bad.faults) != 1 {
		t.Errorf("an unknown variable gives %v", bad.faults)
	}
}

func TestSecretFiles(t *testing.T) {
	hook := "webhooks: [{name: a, url: 'https://example.com', secret_file: %s%s}]\nkafka: {seed_brokers: ['a:1']}"
	for name, c := range map[string]struct{ content, want string }{
		"missing": {fmt.Sprintf(hook, "/no/such/file", ""), "no such file"},
		"both":    {fmt.Sprintf(hook, "/no/such/file", ", secret: whsec_AAAA"), "give one of the two"},
		"kafka": {"kafka: {seed_brokers: ['a:1'], sasl: {mechanism: PLAIN, username: u, password_file: /no/such/file}}",
			"kafka.sasl[0].password_file"},
		"clickhouse": {"kafka: {seed_brokers: ['a:1']}\nclickhouse: {addr: ['a:1'], password_file: /no/such/file}",
			"clickhouse.password_file"},
	} {
		err := mustLoad(t, c.content).check()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q in: %v", name, c.want, err)
		}
	}
}

// ran is what a command did.
type ran struct {
	code     int
	out, err string
}

func runCommand(t *testing.T, args ...string) ran {
	t.Helper()
	root := newRootCmd()
	var stdout, stderr bytes.Buffer
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	root.SetArgs(args)
	code := exitCode(root.ExecuteContext(t.Context()), root)
	return ran{code, stdout.String(), stderr.String()}
}

func TestConfigPrint(t *testing.T) {
	file := write(t, "refundguard.yaml", `kafka:
  seed_brokers: [a:1]
  sasl: [{mechanism: SCRAM-SHA-256, username: u, password: hunter2}]
clickhouse: {addr: ["a:9000"], password: hunter2}
webhooks: [{name: soc, url: "https://hooks.example.com/hunter2", secret: whsec_`+strings.Repeat("A", 32)+`, headers: {Authorization: hunter2}}]
`)
	text := runCommand(t, "config", "print", "-c", file)
	withOrigin := runCommand(t, "config", "print", "-c", file, "--origin")
	asJSON := runCommand(t, "config", "print", "-c", file, "-o", "json", "--origin")
	for _, r := range []ran{text, withOrigin, asJSON} {
		if r.code != exitFine || strings.Contains(r.out+r.err, "hunter2") || strings.Contains(r.out, "whsec_") || strings.Count(r.out, settings.Hidden) != 5 {
			t.Errorf("exit %d, shows a secret or hides too much:\n%s%s", r.code, r.out, r.err)
		}
	}
	if !strings.Contains(withOrigin.out, "client_id: refundguard # default") || !strings.Contains(withOrigin.out, "seed_brokers: [a:1] # "+file+":2") {
		t.Errorf("origins are missing:\n%s", withOrigin.out)
	}
	var document struct {
		Config  map[string]any
		Origins map[string]string
	}
	if err := json.Unmarshal([]byte(asJSON.out), &document); err != nil || document.Origins["kafka.seed_brokers"] != file+":2" || document.Config["kafka"] == nil {
		t.Errorf("%v\n%s", err, asJSON.out)
	}
	if bad := runCommand(t, "config", "print", "-c", "testdata/typo.bad.yaml"); bad.code != exitProblems || !strings.Contains(bad.out, "kafka:") || !strings.Contains(bad.err, "typo.bad.yaml:2:3") {
		t.Errorf("exit %d:\n%s\n%s", bad.code, bad.out, bad.err)
	}
}

func FuzzConfig(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.bad.yaml")
	for _, file := range append(files, example) {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content, "REFUNDGUARD_KAFKA_SASL_0_PASSWORD=x")
	}
	f.Fuzz(func(t *testing.T, content []byte, variable string) {
		if bytes.Contains(content, []byte("file")) || strings.Contains(variable, "FILE") {
			return // would open any file
		}
		path := filepath.Join(t.TempDir(), "fuzz.yaml")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := loadConfig(path, []string{variable})
		if err != nil {
			t.Fatal(err)
		}
		_ = l.check()
	})
}

// slow leaves a test out of the short run, which is for between two edits.
func slow(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds")
	}
}
