package demo

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// prometheus is the one of this machine, if it has one, beside the demo: it scrapes
// the service and evaluates the alert rules.
type prometheus struct {
	address string // "": there is none
	stop    context.CancelFunc
	ended   chan struct{}
}

// prometheusConfig has the job's name that the alert rules go by.
const prometheusConfig = `global: {scrape_interval: 2s, evaluation_interval: 5s}
rule_files: [refundguard.rules.yml]
scrape_configs:
  - job_name: refundguard
    static_configs: [{targets: [%q]}]
`

// startPrometheus starts it where the program is on PATH. Without it the demo goes on
// all the same.
func (s *stage) startPrometheus() error {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		return nil // where tells how to get it
	}
	dir := s.folder.path("prometheus")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making Prometheus' folder: %w", err)
	}
	for name, content := range map[string][]byte{
		"prometheus.yml":        fmt.Appendf(nil, prometheusConfig, s.endpoints.HTTP),
		"refundguard.rules.yml": s.o.AlertRules,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("writing Prometheus' configuration: %w", err)
		}
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	output, err := os.Create(filepath.Join(dir, "prometheus.log"))
	if err != nil {
		return fmt.Errorf("making Prometheus' log: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = output, output
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		stop()
		output.Close()
		return fmt.Errorf("starting %s: %w", program, err)
	}
	s.prometheus = prometheus{address: address, stop: stop, ended: make(chan struct{})}
	go func() {
		err := cmd.Wait()
		output.Close()
		if ctx.Err() == nil {
			s.log.Warn("Prometheus ended; the demo goes on without it", "error", err, "log", output.Name())
		}
		close(s.prometheus.ended)
	}()
	return nil
}

func (p *prometheus) close() {
	if p.stop != nil {
		p.stop()
		<-p.ended
	}
}

// freeAddress is one of the loopback interface where nobody listens now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// about says where it is, or how to get it.
func (p *prometheus) about() string {
	if p.address == "" {
		return "none on PATH: apt-get install prometheus, or prometheus.io/download"
	}
	return "http://" + p.address + "/graph (and /alerts)"
}
