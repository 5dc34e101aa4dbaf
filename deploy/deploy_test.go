// Package deploy_test checks what is in this folder with the programs that read it.
package deploy_test

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// tool is the path of a program that a test needs, by one of its names; without it
// the test is skipped, but on a build server, which installs it.
func tool(t *testing.T, debianPackage string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: install the package %s", names[0], debianPackage)
	}
	t.Skipf("%s is missing (Debian: %s)", names[0], debianPackage)
	return ""
}

// run runs a tool, which says by its exit code whether it found faults.
func run(t *testing.T, path string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", path, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestPrometheusTakesItsFiles(t *testing.T) {
	promtool := tool(t, "prometheus", "promtool")
	if out := run(t, promtool, "check", "config", "prometheus/prometheus.yml"); !strings.Contains(out, "1 rule files found") {
		t.Errorf("the alert rules aren't loaded:\n%s", out)
	}
	run(t, promtool, "check", "rules", "prometheus/refundguard.rules.yml")
}

// Each alert fires, and doesn't.
func TestAlertsFire(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	run(t, tool(t, "prometheus", "promtool"), "test", "rules", "prometheus/tests/refundguard_test.yml")
}

func TestAlertmanagerTakesItsFile(t *testing.T) {
	amtool := tool(t, "prometheus-alertmanager", "amtool")
	run(t, amtool, "check-config", "alertmanager/alertmanager.yml")
	for _, severity := range []string{"critical", "warning"} {
		run(t, amtool, "config", "routes", "test", "--config.file=alertmanager/alertmanager.yml", "--verify.receivers=nobody", "severity="+severity)
	}
}

func TestClickHouseUsersAreXML(t *testing.T) {
	file, err := os.Open("compose/clickhouse-users.xml")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for d := xml.NewDecoder(file); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
