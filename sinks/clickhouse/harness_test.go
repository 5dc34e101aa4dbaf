package clickhouse_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/refundguard/refundguard/sinks/clickhouse/local"
)

func TestMain(m *testing.M) {
	local.RunIfChild()
	code := m.Run()
	if err := shared.remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// shared is the server of all tests that don't kill theirs.
var shared sharedServer

type sharedServer struct {
	once   sync.Once
	dir    string
	server *local.Server
	err    error
}

func (s *sharedServer) start() (*local.Server, error) {
	s.once.Do(func() {
		if s.dir, s.err = os.MkdirTemp("", "refundguard-clickhouse-"); s.err == nil {
			// The library's count of its memory grows over all tests, whatever it
			// holds, which is a tenth of this.
			s.server, s.err = local.Start(context.Background(), local.Config{Dir: s.dir, Memory: 16 << 30})
		}
	})
	return s.server, s.err
}

func (s *sharedServer) remove() error {
	if s.server != nil {
		s.server.Kill() // the data is of no use any more
	}
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}

func server(t testing.TB) *local.Server {
	t.Helper()
	s, err := shared.start()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	// A test before may have ended it: see local.Server.
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		answer, err := http.Get("http://" + s.HTTPAddr() + "/ping")
		if err == nil {
			answer.Body.Close()
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server is gone: %v, %v", err, s.Err())
		}
	}
}

// ownServer is one for a test that breaks connections: what that does to the
// server may show only later, see local.Server.
func ownServer(t testing.TB) *local.Server {
	t.Helper()
	server(t) // skips where there is none
	s, err := local.Start(t.Context(), local.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// restartable is a server, and how it is started again where it was.
func restartable(t *testing.T) (engine *local.Server, again func() *local.Server) {
	t.Helper()
	if testing.Short() {
		t.Skip("restarts a server")
	}
	server(t) // skips where there is none
	cfg := local.Config{Dir: t.TempDir()}
	again = func() *local.Server {
		t.Helper()
		engine, err := local.Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return engine
	}
	engine = again()
	cfg.Password = engine.Password()
	cfg.Port, cfg.HTTPPort = engine.Ports()
	return engine, again
}

// patience bounds every wait: far longer than any takes on a loaded machine.
const patience = 90 * time.Second

// slow leaves a test out of the short run, which is for between two edits.
func slow(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds")
	}
}
