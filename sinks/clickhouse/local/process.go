package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// lockFD is the child's descriptor of the folder's lock.
const lockFD = 3

// process is the child that is, or watches, the server.
type process struct {
	cmd  *exec.Cmd
	life io.WriteCloser // its standard input: closing it ends the server
	log  string
	done chan struct{} // closed once the child has ended; err says how
	err  error
	once sync.Once
	over error // of stop
}

// startProcess hands the lock to the child, which keeps it until its end, even
// where this process is killed before.
func startProcess(cfg Config, found engine, lock *os.File) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find our own executable: %w", err)
	}
	logPath := filepath.Join(cfg.Dir, logFile)
	if err := os.Rename(logPath, logPath+".1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("set the last log aside: %w", err)
	}
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	defer log.Close()

	cmd := exec.Command(self, append([]string{Command, string(found.kind), found.path}, found.args(cfg)...)...)
	cmd.Dir = cfg.Dir
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{lock}
	cmd.SysProcAttr = ownGroup() // ^C is for us; and a kill reaches what it started
	life, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the server's process: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server's process: %w", err)
	}
	p := &process{cmd: cmd, life: life, log: logPath, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// stop closes the life line and kills what is still there after a while.
func (p *process) stop() error {
	p.once.Do(func() { p.over = p.wait() })
	return p.over
}

func (p *process) wait() error {
	p.life.Close()
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		p.kill()
		<-p.done
		return fmt.Errorf("ClickHouse did not end within %v and was killed (log: %s)", stopTimeout, p.log)
	}
}

// kill ends the child's whole group.
func (p *process) kill() {
	select {
	case <-p.done: // its number may be another's by now
	default:
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// waitReady waits until the server with this display name answers and returns
// its version. Any end of the child before that is a failure, and so is a
// stranger's answer on a port that we lost.
func (p *process) waitReady(ctx context.Context, cfg Config, name string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("no answer within %v", readyTimeout))
	defer cancel()
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return "", p.ended()
		case <-ctx.Done():
			return "", fmt.Errorf("%w (log: %s)%s", context.Cause(ctx), p.log, p.logTail())
		case <-tick.C:
		}
		who, version, err := ask(ctx, client, loopback(cfg.HTTPPort))
		switch {
		case err != nil: // not listening yet
		case who != name:
			return "", fmt.Errorf("a stranger answers on %s", loopback(cfg.HTTPPort))
		default:
			return version, nil
		}
	}
}

// ended says how the child ended, in its own words.
func (p *process) ended() error {
	how := "with status 0"
	if p.err != nil {
		how = "with " + p.err.Error()
	}
	return fmt.Errorf("the process ended %s before it was ready (log: %s)%s", how, p.log, p.logTail())
}

// signaled reports whether the child has ended, and by a signal.
func (p *process) signaled() bool {
	<-p.done
	var exit *exec.ExitError
	if !errors.As(p.err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled()
}

// logTail is the end of the child's log, for an error's text.
func (p *process) logTail() string {
	const most = 2048
	f, err := os.Open(p.log)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		f.Seek(-most, io.SeekEnd) // an error here: the beginning is shown instead
	}
	text, _ := io.ReadAll(io.LimitReader(f, most))
	if len(text) == 0 {
		return ""
	}
	return ":\n" + strings.TrimSpace(string(text))
}

// ask sends one query, as the user without a password and without rights, so
// that no stranger learns ours. Every answer to a query names the server.
func ask(ctx context.Context, client *http.Client, addr string) (name, version string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/", strings.NewReader("SELECT version()"))
	if err != nil {
		return "", "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return "", "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	if err != nil {
		return "", "", err
	}
	return res.Header.Get("X-ClickHouse-Server-Display-Name"), strings.TrimSpace(string(text)), nil
}
