package local_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/refundguard/refundguard/sinks/clickhouse/local"
)

// orphanDir makes a test process a parent that starts a server there, says
// where, and waits to be killed.
const orphanDir = "LOCAL_TEST_ORPHAN_DIR"

func TestMain(m *testing.M) {
	local.RunIfChild()
	if dir := os.Getenv(orphanDir); dir != "" {
		s, err := local.Start(context.Background(), local.Config{Dir: dir})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(s.Addr())
		select {}
	}
	os.Exit(m.Run())
}

const accessDenied = 497 // ClickHouse's error code

func start(t *testing.T, cfg local.Config) *local.Server {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	s, err := local.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func open(t *testing.T, addr, user, password string, protocol clickhouse.Protocol) *sql.DB {
	t.Helper()
	db := clickhouse.OpenDB(&clickhouse.Options{
		Addr: []string{addr}, Protocol: protocol,
		Auth: clickhouse.Auth{Database: "system", Username: user, Password: password},
	})
	t.Cleanup(func() { db.Close() })
	return db
}

func exec1(t *testing.T, db *sql.DB, queries ...string) {
	t.Helper()
	for _, q := range queries {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

func number(t *testing.T, db *sql.DB, query string) (n int64) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func TestServerAnswersOnBothProtocolsAndKeepsItsData(t *testing.T) {
	dir := t.TempDir()
	s := start(t, local.Config{Dir: dir})
	native := open(t, s.Addr(), local.Username, s.Password(), clickhouse.Native)
	exec1(t, native,
		"CREATE DATABASE shop",
		"CREATE TABLE shop.t (id UInt64) ENGINE = MergeTree ORDER BY id",
		"INSERT INTO shop.t SELECT number FROM numbers(1000)")
	http := open(t, s.HTTPAddr(), local.Username, s.Password(), clickhouse.HTTP)
	if got := number(t, http, "SELECT toInt64(count()) FROM shop.t"); got != 1000 {
		t.Errorf("over HTTP: %d rows", got)
	}
	native.Close()
	http.Close()

	// Killed as by a crash, what was acknowledged is still there.
	s.Kill()
	again := start(t, local.Config{Dir: dir})
	db := open(t, again.Addr(), local.Username, again.Password(), clickhouse.Native)
	if got := number(t, db, "SELECT toInt64(count()) FROM shop.t"); got != 1000 {
		t.Errorf("after a crash: %d rows", got)
	}
	db.Close()
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if again.Version() == "" {
		t.Error("no version")
	}
	if err := again.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestWhatUsersMayNotDo(t *testing.T) {
	s := start(t, local.Config{})
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("42\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	admin := open(t, s.Addr(), local.Username, s.Password(), clickhouse.Native)
	exec1(t, admin, "CREATE DATABASE shop", "CREATE TABLE shop.t (id UInt64) ENGINE = MergeTree ORDER BY id")

	users := map[string]*sql.DB{
		"default":      open(t, s.Addr(), "default", "", clickhouse.Native),
		local.Username: admin,
		local.ReadOnly: open(t, s.Addr(), local.ReadOnly, s.Password(), clickhouse.Native),
	}
	for user, queries := range map[string][]string{
		"default": {"SELECT 1 FROM shop.t", "SELECT * FROM file('" + secret + "', 'CSV', 'x Int64')",
			"SELECT * FROM default.`" + secret + "`"},
		local.Username: {"SELECT * FROM file('" + secret + "', 'CSV', 'x Int64')",
			"SELECT * FROM default.`" + secret + "`", "CREATE TABLE shop.f (x Int64) ENGINE = File(CSV, '" + secret + "')",
			"SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'x Int64')"},
		local.ReadOnly: {"INSERT INTO shop.t VALUES (1)", "DROP TABLE shop.t", "CREATE TABLE shop.u (x Int64) ENGINE = Memory",
			"SELECT * FROM default.`" + secret + "`", "SELECT * FROM file('" + secret + "', 'CSV', 'x Int64')"},
	} {
		for _, q := range queries {
			_, err := users[user].ExecContext(t.Context(), q)
			if refusal := new(clickhouse.Exception); !errors.As(err, &refusal) || refusal.Code != accessDenied {
				t.Errorf("%s, %s: %v", user, q, err)
			}
		}
	}
	if got := number(t, users[local.ReadOnly], "SELECT toInt64(count()) FROM shop.t"); got != 0 {
		t.Errorf("%d rows", got)
	}
	if got := number(t, users["default"], "SELECT toInt64(count()) FROM system.tables WHERE database = 'shop'"); got != 0 {
		t.Errorf("the user without a password sees %d tables", got)
	}
	if err := open(t, s.Addr(), local.Username, "wrong", clickhouse.Native).Ping(); err == nil {
		t.Error("a wrong password is accepted")
	}
}

func TestFilesAreForTheOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	start(t, local.Config{Dir: dir})
	for _, name := range []string{"config.xml", "users.xml", "start.sql", "engine.log", "lock"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != fs.FileMode(0o600) {
			t.Errorf("%s has mode %v", name, got)
		}
	}
}

func TestOneServerPerFolder(t *testing.T) {
	t.Parallel() // waits for the lock, for seconds
	dir := t.TempDir()
	start(t, local.Config{Dir: dir})
	_, err := local.Start(t.Context(), local.Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "another ClickHouse uses this folder") {
		t.Errorf("a second server in the folder: %v", err)
	}
}

func TestTwoServersSideBySide(t *testing.T) {
	a, b := start(t, local.Config{}), start(t, local.Config{})
	if a.Addr() == b.Addr() || a.Password() == b.Password() {
		t.Errorf("both on %s, or with one password", a.Addr())
	}
	if err := open(t, a.Addr(), local.Username, b.Password(), clickhouse.Native).Ping(); err == nil {
		t.Error("one server takes the other's password")
	}
}

func TestTakenPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	for name, cfg := range map[string]local.Config{"native": {Port: port}, "http": {HTTPPort: port}} {
		cfg.Dir = t.TempDir()
		_, err := local.Start(t.Context(), cfg)
		if want := fmt.Sprintf("port %d of 127.0.0.1 is in use", port); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestServerEndsWithItsParent(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orphanDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 64)
	n, err := out.Read(line)
	if err != nil {
		t.Fatalf("the parent did not start its server: %v", err)
	}
	addr := strings.TrimSpace(string(line[:n]))
	conn, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	cmd.Process.Kill()
	cmd.Wait()
	// The folder is free again once the orphan has gone: Start waits for that.
	s := start(t, local.Config{Dir: dir})
	if s.Addr() == addr {
		return // the same port again, so it had been given up
	}
	if conn, err := net.DialTimeout("tcp4", addr, time.Second); err == nil {
		conn.Close()
		t.Errorf("the orphan still listens on %s", addr)
	}
}

func TestBinaryOnPathIsPreferred(t *testing.T) {
	// No ClickHouse binary can be had here, so a script turns our own engine
	// into one: it takes the same arguments and files, and SIGTERM ends it.
	cached := start(t, local.Config{}) // the library is there now
	cached.Close()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	library := filepath.Join(cache, "refundguard", "libchdb-26.7.3", "libchdb.so")
	bin := t.TempDir()
	script := `#!/bin/sh
if [ "$2" = --version ]; then echo "ClickHouse server version 26.7.3.1 (official build)."; exit; fi
dir=$(dirname "${2#--config-file=}")
mkfifo "$dir/never"
exec ` + os.Args[0] + ` ` + local.Command + ` library ` + library + ` "$2" --path="$dir/data" --queries-file="$dir/start.sql" --queries-file="$dir/never"
`
	if err := os.WriteFile(filepath.Join(bin, "clickhouse"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	s := start(t, local.Config{})
	db := open(t, s.Addr(), local.Username, s.Password(), clickhouse.Native)
	if got := number(t, db, "SELECT toInt64(1)"); got != 1 {
		t.Errorf("SELECT 1 gives %d", got)
	}
	db.Close()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if conn, err := net.DialTimeout("tcp4", s.Addr(), time.Second); err == nil {
		conn.Close()
		t.Error("the server outlived Close")
	}
}

func TestOldBinaryIsPassedOver(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "clickhouse"), []byte("#!/bin/sh\necho ClickHouse server version 18.16.1.0.\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	var log bytes.Buffer
	s := start(t, local.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if s.Version() == "" || !strings.Contains(log.String(), "too old") {
		t.Errorf("log: %s", log.String())
	}
}

// A client that hangs up, and a native one that can't log in, end a server that
// was not meant for strangers; ours is back at once, where it was.
func TestBadClientsDoNoLastingHarm(t *testing.T) {
	s := start(t, local.Config{})
	db := open(t, s.Addr(), local.Username, s.Password(), clickhouse.Native)
	exec1(t, db, "CREATE DATABASE shop", "CREATE TABLE shop.t (id UInt64) ENGINE = MergeTree ORDER BY id", "INSERT INTO shop.t VALUES (1)")
	dial := func(addr string) net.Conn { // the harm before may show only now
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			conn, err := net.Dial("tcp4", addr)
			if err == nil {
				return conn
			}
			if time.Now().After(deadline) {
				t.Fatalf("%v; ended: %v", err, s.Err())
			}
		}
	}
	for name, harm := range map[string]func(){
		"hangs up": func() {
			conn := dial(s.HTTPAddr())
			defer conn.Close() // with megabytes on their way
			query := "SELECT number FROM system.numbers LIMIT 10000000"
			fmt.Fprintf(conn, "POST /?user=%s&password=%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", local.Username, s.Password(), len(query), query)
			conn.Read(make([]byte, 1))
		},
		"wrong password":           func() { open(t, s.Addr(), local.Username, "wrong", clickhouse.Native).Ping() },
		"wrong password over HTTP": func() { open(t, s.HTTPAddr(), local.Username, "wrong", clickhouse.HTTP).Ping() },
		"no client": func() {
			conn := dial(s.Addr())
			defer conn.Close()
			fmt.Fprint(conn, "\x00\xff\xff\xff\xff\xff\xff\x7f")
		},
	} {
		for range 3 {
			harm()
			answered := false
			for deadline := time.Now().Add(time.Minute); !answered && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
				var n int
				answered = db.QueryRowContext(t.Context(), "SELECT toInt64(count()) FROM shop.t").Scan(&n) == nil && n == 1
			}
			if !answered {
				t.Fatalf("%s: no answer any more; ended: %v", name, s.Err())
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-s.Done():
	default:
		t.Error("not Done after Close")
	}
}
