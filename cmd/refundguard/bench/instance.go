package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// instance is a process of the program.
type instance struct {
	name    string
	cmd     *exec.Cmd
	guard   io.WriteCloser
	started time.Time
	ended   chan struct{} // closed when it has
	stopped bool          // it was told to end

	mu      sync.Mutex
	address string
	said    []string // last lines
	loaded  time.Duration
	keys    int64 // loaded
	records int64 // read again
}

// settings are what instances of one deployment differ in.
type settings struct {
	state        string // folder's name in the deployment's; "": none
	saveInterval time.Duration
	takeover     string // "": as by default
	env          []string
}

// configuration writes the file of an instance. JSON is YAML.
func (d *deployment) configuration(name string, s settings) (string, error) {
	streams, topics := map[string]any{}, map[string]any{}
	for _, stream := range []string{"transactions", "refunds", "complaints", "confirmations", "reviews", "ledger_results"} {
		streams[stream] = map[string]any{"topic": d.prefix + stream}
	}
	streams["refunds"] = map[string]any{"topic": d.prefix + "refunds", "decide_from": "earliest"}
	for _, topic := range outputTopics {
		topics[topic] = d.prefix + topic
	}
	c := map[string]any{
		"kafka":   map[string]any{"seed_brokers": d.brokers, "transactional_id": d.prefix + "recovery"},
		"rules":   map[string]any{"dir": filepath.Join(d.dir, "rules")},
		"streams": streams, "topics": topics,
		"http": map[string]any{"listen": "127.0.0.1:0"},
		"log":  map[string]any{"format": "json"},
	}
	if s.state != "" {
		c["state"] = map[string]any{"dir": filepath.Join(d.dir, s.state), "save_interval": s.saveInterval.String()}
	}
	if s.takeover != "" {
		c["engine"] = map[string]any{"takeover_after": s.takeover}
	}
	text, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	file := filepath.Join(d.dir, name+".yaml")
	return file, os.WriteFile(file, text, 0o600)
}

// start starts the service and comes back at once.
func (d *deployment) start(s settings) (*instance, error) {
	file, err := d.configuration(fmt.Sprintf("instance-%d", len(d.instances)+1), s)
	if err != nil {
		return nil, err
	}
	return d.launch(s.env, "run", "-c", file)
}

// launch starts the program and comes back at once.
func (d *deployment) launch(env []string, args ...string) (*instance, error) {
	in := &instance{name: fmt.Sprintf("instance-%d", len(d.instances)+1), ended: make(chan struct{})}
	in.cmd = exec.Command(d.program, args...)
	for _, v := range os.Environ() { // REFUNDGUARD_… would override the file
		if !strings.HasPrefix(v, "REFUNDGUARD_") {
			in.cmd.Env = append(in.cmd.Env, v)
		}
	}
	in.cmd.Env = append(in.cmd.Env, env...)
	// Ctrl-C is for us, who end it.
	in.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	logs, err := in.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	in.started = time.Now()
	if err := in.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", d.program, err)
	}
	if err := in.watch(); err != nil {
		_ = in.cmd.Process.Kill()
		_ = in.cmd.Wait()
		return nil, fmt.Errorf("watching over %s: %w", in.name, err)
	}
	go func() {
		in.listen(logs)
		_ = in.cmd.Wait() // what it said is what matters
		_, _ = io.WriteString(in.guard, "gone\n")
		_ = in.guard.Close()
		close(in.ended)
	}()
	d.instances = append(d.instances, in)
	return in, nil
}

// watch has a shell kill the instance should this process end first, however it
// does.
func (in *instance) watch() error {
	sh := exec.Command("sh", "-c", `read -r gone || kill -9 "$1"`, "sh", fmt.Sprint(in.cmd.Process.Pid))
	sh.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := sh.StdinPipe()
	if err != nil {
		return err
	}
	if err := sh.Start(); err != nil {
		return err
	}
	in.guard = pipe
	go func() { _ = sh.Wait() }()
	return nil
}

// listen reads its log.
func (in *instance) listen(logs io.Reader) {
	lines := bufio.NewScanner(logs)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Msg     string        `json:"msg"`
			HTTP    string        `json:"http"`
			Took    time.Duration `json:"took"`
			Keys    int64         `json:"keys"`
			Records int64         `json:"records"`
		}
		_ = json.Unmarshal(lines.Bytes(), &line) // another line is only kept
		in.mu.Lock()
		switch line.Msg {
		case "listening":
			in.address = line.HTTP
		case "state restored":
			in.loaded, in.keys = line.Took, line.Keys
		case "live":
			in.records = line.Records
		}
		if in.said = append(in.said, lines.Text()); len(in.said) > 8 {
			in.said = in.said[1:]
		}
		in.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, logs) // of a line that is too long
}

// failed says why an instance has ended that was to go on.
func (in *instance) failed() error {
	select {
	case <-in.ended:
	default:
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stopped {
		return nil
	}
	return fmt.Errorf("%s ended by itself; it said last:\n%s", in.name, strings.Join(in.said, "\n"))
}

func (in *instance) signal(s syscall.Signal) {
	in.mu.Lock()
	in.stopped = true
	in.mu.Unlock()
	_ = in.cmd.Process.Signal(s) // one that has ended
}

func (in *instance) kill() {
	in.signal(syscall.SIGKILL)
	<-in.ended
}

// stop ends it in order.
func (in *instance) stop(ctx context.Context) error {
	in.signal(syscall.SIGTERM)
	select {
	case <-in.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Minute):
		return fmt.Errorf("%s didn't end within a minute of SIGTERM", in.name)
	}
}

// startWithin is how long an instance may take to be ready.
const startWithin = 5 * time.Minute

// ready waits until it is live, or stands by if that is what is waited for, and
// says when that was.
func (in *instance) ready(ctx context.Context, standby bool) (time.Time, error) {
	path, deadline := "/readyz", time.Now().Add(startWithin)
	if standby {
		path += "?standby=ok"
	}
	for time.Now().Before(deadline) {
		if code, _, err := in.get(ctx, path); err == nil && code == http.StatusOK {
			return time.Now(), nil
		}
		if err := errors.Join(in.failed(), sleep(ctx, 5*time.Millisecond)); err != nil {
			return time.Time{}, err
		}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	return time.Time{}, fmt.Errorf("%s was not ready within %v; it said last:\n%s", in.name, startWithin, strings.Join(in.said, "\n"))
}

var errNoAddress = errors.New("it doesn't listen yet")

func (in *instance) get(ctx context.Context, path string) (code int, body string, err error) {
	in.mu.Lock()
	address := in.address
	in.mu.Unlock()
	if address == "" {
		return 0, "", errNoAddress
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	return resp.StatusCode, string(text), err
}

// metrics are by name: the sum over all labels.
func (in *instance) metrics(ctx context.Context) (map[string]float64, error) {
	_, body, err := in.get(ctx, "/metrics")
	if err != nil {
		return nil, fmt.Errorf("asking %s for its metrics: %w", in.name, err)
	}
	all := map[string]float64{}
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err == nil && !strings.HasPrefix(line, "#") {
			all[line[:strings.IndexAny(line, "{ ")]] += v
		}
	}
	return all, nil
}
