package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// teller tells a person what goes on: on a terminal in one place that it
// paints again, else a line now and then.
type teller struct {
	out      io.Writer
	terminal bool
	every    time.Duration

	mu      sync.Mutex
	warning string // the last one
	news    string // the last line of the log that was told
	waits   string
	painted int // lines on the terminal that are to be painted over
	open    bool
	last    time.Time
	events  int64
}

func newTeller(o Options) *teller {
	t := &teller{out: o.Err, terminal: o.Terminal && !o.Verbose, every: 5 * time.Second}
	if t.terminal {
		t.every = 250 * time.Millisecond
	}
	return t
}

func (t *teller) stage(format string, args ...any) {
	fmt.Fprintf(t.out, format+" …\n", args...)
}

func (t *teller) note(text string) { fmt.Fprintln(t.out, text) }

// told takes a line of the service's log that a person should see; it may have
// more lines below it.
func (t *teller) told(level slog.Level, line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.news == line {
		return
	}
	t.news = line
	if level >= slog.LevelWarn {
		t.warning = line
	}
	if !t.terminal || !t.open {
		fmt.Fprintln(t.out, line)
	}
}

func (t *teller) lastWarning() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.warning
}

// waiting takes what the end is waiting for.
func (t *teller) waiting(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waits = what
}

func (t *teller) begin(s *stage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open, t.last = true, time.Now()
	for _, line := range s.where() {
		fmt.Fprintln(t.out, line)
	}
}

func (t *teller) leaving() {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintln(t.out, "\nEnding: what was sent is decided first (once more Ctrl-C: end at once) …")
	t.painted = 0
}

func (t *teller) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open = false
}

func (t *teller) refresh(s *stage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	since := time.Since(t.last)
	if since < t.every {
		return
	}
	t.last = time.Now()
	events := s.feeder.events.Load()
	rate := float64(events-t.events) / since.Seconds()
	t.events = events
	if !t.terminal {
		line := s.line(rate)
		if t.waits != "" {
			line += "; so far " + t.waits
		}
		fmt.Fprintln(t.out, line)
		return
	}
	var b strings.Builder
	if t.painted > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", t.painted)
	}
	lines := s.panel(rate)
	if t.waits != "" {
		lines = append(lines, "so far      "+t.waits)
	}
	for i, line := range strings.Split(t.news, "\n") {
		if t.news != "" {
			lines = append(lines, [...]string{"log         ", "            "}[min(i, 1)]+line)
		}
	}
	for _, line := range lines {
		b.WriteString(clip(line, width(t.out)) + "\n")
	}
	t.painted = len(lines)
	_, _ = io.WriteString(t.out, b.String()) // a terminal that is gone is nobody's loss
}

// clip cuts a line to the terminal's width, so that it stays one line.
func clip(line string, width int) string {
	line = printable(line)
	if width < 20 || utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:width-1]) + "…"
}

// printable takes out what a terminal would not print but obey: ids and messages
// come from outside.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, line)
}

// where says what can be looked at, and edited.
func (s *stage) where() []string {
	lines := []string{"", "metrics     http://" + s.endpoints.HTTP + "/metrics (and /readyz, /livez)"}
	if !s.o.Once {
		lines = append(lines, "Prometheus  "+s.prometheus.about(),
			"Grafana     not part of the demo: docker compose -f deploy/compose.yaml up, or import dashboards/*.json, with this ClickHouse and Prometheus as data sources")
	}
	return append(lines,
		"ClickHouse  http://"+s.server.HTTPAddr()+"/play  user dashboards, password "+s.server.Password()+", tables refundguard.*",
		"Kafka       "+strings.Join(s.endpoints.Kafka, ","),
		"rules       "+s.folder.rules+"  (edit them: changes act within a second)",
		"log         "+s.folder.path(logName),
		"")
}

// panel is how it goes, for a terminal.
func (s *stage) panel(rate float64) []string {
	t := s.audit.Tally()
	b := t.progress.Balance
	holds := "holds"
	if b.Read != b.sum() {
		holds = "DOES NOT HOLD"
	}
	state := "at " + s.feeder.speed.String()
	if s.feeder.ended.Load() {
		state = "the end; Ctrl-C ends the demo"
		if s.o.Once {
			state = "all sent"
		}
	}
	delivered := int64(s.receiver.Counts().Alerts)
	lines := []string{
		fmt.Sprintf("shop        %s, %s: %s events, %s a second", time.UnixMilli(s.feeder.now.Load()).UTC().Format("2006-01-02 15:04"), state, number(s.feeder.events.Load()), number(int64(rate))),
		"outcomes    " + outcomes(t.Outcomes),
		"rules       " + top(t.Rules, 6),
		"attacks     " + attacks(t.Labels, &t.Honest),
		fmt.Sprintf("balance     %s: %s", b, holds),
		"refused     " + top(t.Refused, 3),
	}
	if own := s.own(t.Rules); len(own) > 0 {
		lines = slices.Insert(lines, 3, "yours       "+top(own, 6))
	}
	rows, err := s.countRows(context.Background())
	if err != nil {
		lines = append(lines, "ClickHouse  "+err.Error())
	} else {
		lines = append(lines, "ClickHouse  "+top(rows, 10))
	}
	lines = append(lines, strings.Split(strings.TrimSpace(programs(s.cast.did())+"found       "+findings(s.cast.deeds.compare(s.cast.rules(), t.Found, &faults{}))), "\n")...)
	lines = append(lines, fmt.Sprintf("alerts      %s raised, %s delivered", number(max(t.Alerts, delivered)), number(delivered)))
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.lastAlert; a != nil {
		lines = append(lines, fmt.Sprintf("last alert  %s %s %s: %s", a.Severity, a.Rule, a.RefundID, a.Message))
	}
	return lines
}

// line is the same in short.
func (s *stage) line(rate float64) string {
	t := s.audit.Tally()
	delivered := int64(s.receiver.Counts().Alerts) // the audit may not have read them yet
	line := fmt.Sprintf("%s: %s events (%s a second), %s; %s dead letters; %d of %d alerts delivered",
		time.UnixMilli(s.feeder.now.Load()).UTC().Format("2006-01-02"), number(s.feeder.events.Load()), number(int64(rate)),
		outcomes(t.Outcomes), number(t.Topics[topicDeadLetters]), delivered, max(t.Alerts, delivered))
	if own := s.own(t.Rules); len(own) > 0 {
		line += "; your rules: " + top(own, 6)
	}
	return line
}

// own are the hits of rules that aren't the starter's: whoever writes one wants
// to see it, and it seldom is among the most frequent.
func (s *stage) own(rules map[string]int64) map[string]int64 {
	hits := maps.Clone(rules)
	maps.DeleteFunc(hits, func(rule string, _ int64) bool {
		return s.folder.given == nil || s.folder.given[strings.TrimSuffix(rule, " (shadow)")]
	})
	return hits
}
