package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// prometheusAPI is where a Prometheus answers, as http://HOST:PORT.
type prometheusAPI string

// ask reads the data of one answer.
func (p prometheusAPI) ask(path string, with url.Values, into any) error {
	response, err := http.Get(string(p) + "/api/v1/" + path + "?" + with.Encode())
	if err != nil {
		return fmt.Errorf("asking Prometheus: %w", err)
	}
	defer response.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: into}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Status != "success" {
		return fmt.Errorf("asking Prometheus: it answered %s for %s %v: %s (%v)", response.Status, path, with, answer.Error, err)
	}
	return nil
}

// demoWithPrometheus starts a demo, and waits until its Prometheus is said to run. end
// ends the demo, which must not have found faults; without it the demo ends with the test.
func demoWithPrometheus(t *testing.T, args ...string) (address prometheusAPI, end func()) {
	t.Helper()
	if _, err := exec.LookPath("prometheus"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("prometheus is missing: install the package prometheus")
		}
		t.Skip("prometheus is missing (Debian: prometheus)")
	}
	root := newRootCmd()
	var out, progress syncBuffer
	root.SetOut(&out)
	root.SetErr(&progress)
	root.SetArgs(append([]string{"demo", "--dir", t.TempDir()}, args...))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- root.ExecuteContext(ctx); close(done) }()
	t.Cleanup(func() { // before the folder goes
		stop()
		for range done {
		}
	})
	eventually(t, "says where Prometheus is", func() bool {
		select {
		case err := <-done:
			if os.Getenv("CI") != "true" && err != nil && strings.Contains(err.Error(), "ClickHouse") {
				t.Skipf("the demo ended: %v", err)
			}
			t.Fatalf("the demo ended: %v\n%s", err, progress.String())
		default:
		}
		if m := regexp.MustCompile(`Prometheus +(http://\S+)/graph`).FindStringSubmatch(progress.String()); m != nil {
			address = prometheusAPI(m[1])
		}
		return address != ""
	})
	return address, func() {
		t.Helper()
		stop()
		if err := <-done; err != nil {
			t.Errorf("%v\n%s%s", err, progress.String(), out.String())
		}
	}
}

// While the demo runs, this machine's Prometheus scrapes it and has the alert rules;
// it is gone when the demo is.
func TestDemoStartsPrometheus(t *testing.T) {
	slow(t)
	address, end := demoWithPrometheus(t, "--speed", "max", "--transactions", "2000", "--seed", "3", "--without", "ledger,analyst,customers")
	eventually(t, "has scraped decisions", func() bool {
		var answer struct{ Result []any }
		query := `up{job="refundguard"} == 1 and on (instance) sum by (instance) (refundguard_decisions_total) > 0`
		return address.ask("query", url.Values{"query": {query}}, &answer) == nil && len(answer.Result) == 1
	})
	var rules struct{ Groups []struct{ Rules []any } }
	if err := address.ask("rules", nil, &rules); err != nil || len(rules.Groups) != 1 || len(rules.Groups[0].Rules) < 20 {
		t.Errorf("rules are %+v, %v", rules, err)
	}
	end()
	if _, err := http.Get(string(address)); err == nil {
		t.Error("Prometheus still answers")
	}
}
