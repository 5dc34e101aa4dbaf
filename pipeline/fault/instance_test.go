package fault

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/integration/model"
)

// build makes the program that is tested: the one that is shipped.
func build(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "refundguard")
	args := append([]string{"build", "-o", file}, strings.Fields(*buildFlags)...)
	if out, err := exec.Command("go", append(args, "../../cmd/refundguard")...).CombinedOutput(); err != nil {
		t.Fatalf("build refundguard: %v\n%s", err, out)
	}
	return file
}

// configuration has small epochs, so that what happens between two of them
// happens often. A partition that is silent because of us is none that may be
// left out: the model knows of no degraded decision.
const configuration = `kafka: {seed_brokers: ["%s"]}
rules: {dir: "%s"}
streams: {refunds: {decide_from: earliest}}
engine: {commit_interval: 10ms, align_timeout: 1h, takeover_after: %s}
state: {dir: "%s", save_interval: 200ms, memory: 100kB}
review:
  sla: {low: 2s, medium: 8s, high: 8s, critical: 1m}
  on_deadline: {low: approve, medium: escalate, high: reject, critical: escalate}
  second_above: "60"
eta: {original: 2s, balance: 1h, bank_transfer: 1h, other: 6s}
http: {listen: "127.0.0.1:0"}
`

// takeover is the shortest silence that a standby may be told to take for the
// leader's end.
const takeover = 2 * time.Second

// instance is a process of the service.
type instance struct {
	cmd     *exec.Cmd
	name    string
	standby bool   // stands by while another one works, instead of taking over
	state   string // folder
	log     string // file
	guard   io.WriteCloser
	ended   chan struct{} // closed when err is set
	err     error
}

// launch starts an instance and returns at once.
func launch(r *runner, n int, state string) *instance {
	t := r.T
	t.Helper()
	i := &instance{name: fmt.Sprintf("instance %d", n), standby: r.standby, state: state, ended: make(chan struct{})}
	i.log = filepath.Join(r.logs, fmt.Sprintf("%d.log", n))
	file := filepath.Join(r.state, fmt.Sprintf("%d.yaml", n))
	rules, err := filepath.Abs(ruleFile)
	if err != nil {
		t.Fatal(err)
	}
	after := time.Duration(0)
	if i.standby {
		after = takeover
	}
	text := fmt.Sprintf(configuration, r.door, rules, after, state)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(i.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	i.cmd = exec.Command(r.program, "run", "-c", file)
	i.cmd.Stdout, i.cmd.Stderr = log, log
	if err := i.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", i.name, err)
	}
	i.watch(t)
	go func() {
		i.err = i.cmd.Wait()
		io.WriteString(i.guard, "gone\n") // its pid can be another process from now on
		i.guard.Close()
		close(i.ended)
	}()
	return i
}

// watch has a shell kill the instance if this process ends first, however it
// does: a stopped process would stay for ever.
func (i *instance) watch(t *testing.T) {
	t.Helper()
	sh := exec.Command("sh", "-c", `read -r gone || kill -9 "$1"`, "sh", fmt.Sprint(i.cmd.Process.Pid))
	sh.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := sh.StdinPipe()
	if err == nil {
		err = sh.Start()
	}
	if err != nil {
		i.cmd.Process.Kill()
		t.Fatalf("watch over %s: %v", i.name, err)
	}
	i.guard = pipe
	go sh.Wait()
}

func (i *instance) signal(s syscall.Signal) { i.cmd.Process.Signal(s) }

func (i *instance) kill() {
	i.signal(syscall.SIGKILL)
	<-i.ended
}

// over reports whether the process has ended.
func (i *instance) over() bool {
	select {
	case <-i.ended:
		return true
	default:
		return false
	}
}

// within waits for the end.
func (i *instance) within(d time.Duration) bool {
	select {
	case <-i.ended:
		return true
	case <-time.After(d):
		return false
	}
}

func (i *instance) said() []byte {
	text, err := os.ReadFile(i.log)
	if err != nil {
		return []byte(err.Error())
	}
	return text
}

// wrote reports whether a progress is this instance's.
func (i *instance) wrote(p model.Progress) bool {
	return strings.HasSuffix(p.Host, fmt.Sprintf(":%d", i.cmd.Process.Pid))
}

// What an instance does.
const (
	unready = iota
	works
	standsBy
)

var address = regexp.MustCompile(`http=(\S+)`)

// role is what the instance does by its own account.
func (i *instance) role() int {
	at := address.FindSubmatch(i.said())
	if at == nil {
		return unready
	}
	answer, err := (&http.Client{Timeout: time.Second}).Get(fmt.Sprintf("http://%s/readyz?standby=ok", at[1]))
	if err != nil {
		return unready
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	switch {
	case err != nil || answer.StatusCode != http.StatusOK:
		return unready
	case bytes.Contains(text, []byte(pipeline.ErrStandby.Error())):
		return standsBy
	}
	return works
}

// replaced reports whether the instance ended because another took over.
func (i *instance) replaced() bool {
	return bytes.Contains(i.said(), []byte(pipeline.ErrFenced.Error()))
}

// lastWords are the end of what it said.
func (i *instance) lastWords() []byte {
	lines := bytes.SplitAfter(i.said(), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-30):], nil)
}
