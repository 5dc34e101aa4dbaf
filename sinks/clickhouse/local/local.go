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
	"regexp"
	"strconv"
	"sync"
	"time"
)

// Config says where a server lives. Only Dir is needed.
type Config struct {
	Dir      string // data, configuration and log; kept by Close. One server at a time
	CacheDir string // where the engine's library is kept; "": refundguard in the user's cache folder
	Password string // of all users; "": a random one
	Port     int    // native protocol; 0: a free one
	HTTPPort int    // 0: a free one
	Users    []User // besides Username and ReadOnly
	Memory   int64  // the most bytes that the server may hold; 0: 3 GiB
	Logger   *slog.Logger
}

// User is one more user of the server. It has the server's password.
type User struct {
	Name   string
	Grants []string // e.g. GRANT SELECT ON refundguard.*
}

// Users of the server. ReadOnly may read every table that isn't the system's
// own and can't change settings.
const (
	Username = "refundguard"
	ReadOnly = "dashboards"
)

var userName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// Server is a running ClickHouse. One that ends by itself is started again, on
// the same ports: chDB's library does so whenever a client of the native
// protocol can't log in, or is no ClickHouse client at all.
type Server struct {
	cfg     Config
	engine  engine
	version string
	ctx     context.Context // until Close
	cancel  context.CancelFunc
	done    chan struct{}
	err     error // once done is closed

	mu      sync.Mutex
	process *process
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
	for _, u := range cfg.Users {
		if !userName.MatchString(u.Name) || u.Name == Username || u.Name == ReadOnly || u.Name == "default" {
			return nil, fmt.Errorf("start ClickHouse: %q can't be the name of one more user", u.Name)
		}
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("start ClickHouse: folder for its data: %w", err)
	}
	found, err := findEngine(ctx, cfg)
	if err != nil {
		return nil, err
	}
	running, err := startLocked(ctx, cfg, found)
	if err != nil {
		return nil, fmt.Errorf("start ClickHouse (%s) in %s: %w", found, cfg.Dir, err)
	}
	s := &Server{cfg: running.cfg, engine: found, version: running.version, done: make(chan struct{}), process: running.process}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.watch()
	return s, nil
}

// started is what a successful start comes to.
type started struct {
	cfg     Config // with its ports
	process *process
	version string
}

// startLocked tries again where a port that was free a moment ago was taken by
// someone else meanwhile, and where a client that can't log in, or hung up, ended
// the library before it was ready.
func startLocked(ctx context.Context, cfg Config, found engine) (*started, error) {
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
		if err := writeFiles(attempt, found.kind, name); err != nil {
			return nil, err
		}
		p, err := startProcess(attempt, found, lock)
		if err != nil {
			return nil, err
		}
		version, err := p.waitReady(ctx, attempt, name)
		if err == nil {
			return &started{attempt, p, version}, nil
		}
		p.stop()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if again := takenPort(attempt) != 0 || p.signaled(); !again || try == tries {
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

// Password is that of all users.
func (s *Server) Password() string { return s.cfg.Password }

// Version is ClickHouse's own, e.g. "26.7.3.1".
func (s *Server) Version() string { return s.version }

// Done is closed when the server has ended for good: by Close or Kill, or
// because it can't be started again, and then Err says why.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err is why the server is Done without being asked.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Close ends the server; what was acknowledged stays in Dir. Close clients
// first: it waits for them, for at most 10 s.
func (s *Server) Close() error { return s.end((*process).stop) }

// Kill ends the server at once, as a crash would.
func (s *Server) Kill() {
	s.end(func(p *process) error { p.kill(); return nil })
}

func (s *Server) end(how func(*process) error) error {
	s.mu.Lock()
	s.cancel()
	p := s.process
	s.mu.Unlock()
	err := how(p)
	<-s.done
	return err
}

// watch starts the server again when it ends without being asked.
func (s *Server) watch() {
	defer close(s.done)
	for {
		<-s.process.done // only we replace it
		if s.ctx.Err() != nil {
			return
		}
		s.cfg.Logger.Warn("ClickHouse ended by itself: starting it again", "how", s.process.err, "log", s.process.log+".1")
		again, err := startLocked(s.ctx, s.cfg, s.engine)
		if err != nil {
			if s.ctx.Err() == nil {
				s.err = fmt.Errorf("start ClickHouse again (%s) in %s: %w", s.engine, s.cfg.Dir, err)
				s.cfg.Logger.Error("ClickHouse is gone", "error", s.err)
			}
			return
		}
		s.mu.Lock()
		s.process = again.process
		closed := s.ctx.Err() != nil
		s.mu.Unlock()
		if closed { // end has seen the one before
			again.process.stop()
			return
		}
	}
}

const (
	readyTimeout = time.Minute
	stopTimeout  = 10 * time.Second
)
