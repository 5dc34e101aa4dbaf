// Package local starts a real ClickHouse on the loopback interface, for the
// demo and for tests: a `clickhouse` binary where there is one, else the
// ClickHouse that lives in chDB's library, fetched once, checked and kept.
//
// Whichever it is, it runs in a process of its own, started through our own
// executable: a main function or TestMain that uses this package must call
// [RunIfChild] before anything else.
package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Config says where a server lives. Only Dir is needed.
type Config struct {
	Dir      string // data, configuration and log; kept by Close. One server at a time
	CacheDir string // where the engine's library is kept; "": refundguard in the user's cache folder
	Password string // of both users; "": a random one
	Port     int    // native protocol; 0: a free one
	HTTPPort int    // 0: a free one
	Memory   int64  // the most bytes that the server may hold; 0: 3 GiB
	Logger   *slog.Logger
}

// Users of the server. ReadOnly may read every table that isn't the system's
// own and can't change settings.
const (
	Username = "refundguard"
	ReadOnly = "dashboards"
)

// Server is a running ClickHouse.
type Server struct {
	cfg     Config
	process *process
	version string
}

// Start brings a server up and waits until it answers. Fetching the engine
// (178 MB, once per machine) counts against ctx; the server itself lives until
// Close, or until this process ends, however that happens.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if os.Getenv(childEnv) != "" {
		return nil, errors.New("start ClickHouse: this process is ClickHouse's own child: its main function (or TestMain) must call local.RunIfChild first")
	}
	if cfg.Dir == "" {
		return nil, errors.New("start ClickHouse: no folder given for its data")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("start ClickHouse: %w", err)
	}
	cfg.Dir = dir
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Memory <= 0 {
		cfg.Memory = 3 << 30
	}
	if cfg.Password == "" {
		cfg.Password = rand.Text()
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("start ClickHouse: folder for its data: %w", err)
	}
	found, err := findEngine(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s, err := startLocked(ctx, cfg, found)
	if err != nil {
		return nil, fmt.Errorf("start ClickHouse (%s) in %s: %w", found, cfg.Dir, err)
	}
	return s, nil
}

// startLocked tries again where a port that was free a moment ago was taken by
// someone else meanwhile.
func startLocked(ctx context.Context, cfg Config, found engine) (*Server, error) {
	lock, err := lockPath(ctx, filepath.Join(cfg.Dir, lockFile), stopTimeout)
	if errors.Is(err, errLocked) {
		return nil, errors.New("another ClickHouse uses this folder: stop the program that runs it, or choose another folder")
	}
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if port := takenPort(cfg); port != 0 {
		return nil, fmt.Errorf("port %d of 127.0.0.1 is in use by another program: stop it, or choose another port", port)
	}
	const tries = 5
	for try := 1; ; try++ {
		attempt := cfg
		if err := choosePorts(&attempt); err != nil {
			return nil, err
		}
		name := rand.Text()
		if err := writeFiles(attempt, name); err != nil {
			return nil, err
		}
		p, err := startProcess(attempt, found, lock)
		if err != nil {
			return nil, err
		}
		version, err := p.waitReady(ctx, attempt, name)
		if err == nil {
			return &Server{cfg: attempt, process: p, version: version}, nil
		}
		p.stop()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if taken := takenPort(attempt); taken == 0 || try == tries {
			return nil, err
		}
	}
}

// choosePorts fills in the ports that were left open.
func choosePorts(cfg *Config) error {
	var held []io.Closer // until both are chosen, so that they differ
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for _, port := range []*int{&cfg.Port, &cfg.HTTPPort} {
		if *port != 0 {
			continue
		}
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("find a free port on 127.0.0.1: %w", err)
		}
		held = append(held, l)
		*port = l.Addr().(*net.TCPAddr).Port
	}
	return nil
}

// takenPort is the port of cfg that somebody holds now, or 0.
func takenPort(cfg Config) int {
	for _, port := range []int{cfg.Port, cfg.HTTPPort} {
		if port == 0 {
			continue
		}
		l, err := net.Listen("tcp4", loopback(port))
		if err != nil {
			return port
		}
		l.Close()
	}
	return 0
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Addr is host:port of the native protocol.
func (s *Server) Addr() string { return loopback(s.cfg.Port) }

// HTTPAddr is host:port of the HTTP protocol.
func (s *Server) HTTPAddr() string { return loopback(s.cfg.HTTPPort) }

// Ports are those of Addr and HTTPAddr, for a Config that starts the server
// again where its clients know it.
func (s *Server) Ports() (native, http int) { return s.cfg.Port, s.cfg.HTTPPort }

// Password is that of both users, Username and ReadOnly.
func (s *Server) Password() string { return s.cfg.Password }

// Version is ClickHouse's own, e.g. "26.7.3.1".
func (s *Server) Version() string { return s.version }

// Done is closed when the server's process has ended, asked or not.
func (s *Server) Done() <-chan struct{} { return s.process.done }

// Close ends the server; what was acknowledged stays in Dir. Close clients
// first: it waits for them, for at most 10 s.
func (s *Server) Close() error { return s.process.stop() }

// Kill ends the server at once, as a crash would.
func (s *Server) Kill() { s.process.kill(); <-s.process.done }

const (
	readyTimeout = time.Minute
	stopTimeout  = 10 * time.Second
)
