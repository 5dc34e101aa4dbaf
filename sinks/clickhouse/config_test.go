package clickhouse_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/refundguard/refundguard/connect"
	"github.com/refundguard/refundguard/sinks/clickhouse"
)

func TestValidateReportsAllFaultsUnderTheirKeys(t *testing.T) {
	good := clickhouse.DefaultConfig()
	good.Addr = []string{"127.0.0.1:9000", "[::1]:9000"}
	if err := good.Validate(); err != nil {
		t.Errorf("the default with an address: %v", err)
	}
	bad := clickhouse.Config{
		Addr: []string{"http://x:8123", "a:1,b:2", "host", ":9000", "h:0"}, Database: "a-b", Protocol: "grpc",
		TLS:       connect.TLS{CertFile: "c", ServerName: "s"},
		BatchRows: 200_001, BatchBytes: 1, BatchInterval: time.Hour, Timeout: 1, MaxRefused: -1,
	}
	err := bad.Validate()
	if err == nil {
		t.Fatal("no fault found")
	}
	faults := strings.Split(err.Error(), "\n")
	for _, key := range []string{"addr[0]", "addr[1]", "addr[2]", "addr[3]", "addr[4]", "database", "username", "protocol", "group",
		"tls.server_name", "tls.cert_file", "batch_rows", "batch_bytes", "batch_interval", "timeout", "max_refused"} {
		found := false
		for _, f := range faults {
			found = found || strings.HasPrefix(f, key+": ")
		}
		if !found {
			t.Errorf("nothing about %s in:\n%v", key, err)
		}
	}
	if err := (clickhouse.Config{}).Validate(); err == nil || !strings.HasPrefix(err.Error(), "addr: none is given") {
		t.Errorf("no address: %v", err)
	}
}

func TestFilesThatCanNotBeUsedAreNamed(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := clickhouse.DefaultConfig()
	cfg.Addr = []string{"127.0.0.1:1"}
	cfg.PasswordFile = filepath.Join(dir, "missing")
	cfg.TLS = connect.TLS{Enabled: true, CAFile: text, CertFile: text, KeyFile: text}
	_, err := clickhouse.New(cfg, clickhouse.Deps{Topics: topics})
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, want := range []string{"password_file: ", "tls.ca_file: " + text + " holds no certificate", "tls.cert_file: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing of %q in: %v", want, err)
		}
	}
}

func TestPasswordComesFromItsFile(t *testing.T) {
	w := newWorld(t, server(t))
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(w.cfg.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.cfg.Password, w.cfg.PasswordFile = "", file
	if _, err := clickhouse.Migrate(t.Context(), w.cfg); err != nil {
		t.Error(err)
	}
}
