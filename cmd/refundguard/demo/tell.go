package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
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
	warning string
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

// warned takes a line of the service's log that a person should see.
func (t *teller) warned(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.warning == line {
		return
	}
	t.warning = line
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
	if t.warning != "" {
		lines = append(lines, "log         "+t.warning)
	}
	for _, line := range lines {
		b.WriteString(clip(line, width(t.out)) + "\n")
	}
	t.painted = len(lines)
	_, _ = io.WriteString(t.out, b.String()) // a terminal that is gone is nobody's loss
}

// clip cuts a line to the terminal's width, so that it stays one line, and
// takes out what a terminal would not print but obey: ids and messages come
// from outside.
func clip(line string, width int) string {
	line = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, line)
	if width < 20 || utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:width-1]) + "…"
}

// where says what can be looked at, and edited.
func (s *stage) where() []string {
	return []string{
		"",
		"metrics     http://" + s.endpoints.HTTP + "/metrics (and /readyz, /livez)",
		"ClickHouse  http://" + s.server.HTTPAddr() + "/play  user dashboards, password " + s.server.Password() + ", tables refundguard.*",
		"Kafka       " + strings.Join(s.endpoints.Kafka, ","),
		"rules       " + s.folder.rules + "  (edit them: changes act within a second)",
		"log         " + s.folder.path(logName),
		"",
	}
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
	c := s.receiver.Counts()
	lines := []string{
		fmt.Sprintf("shop        %s, %s: %s events, %s a second", time.UnixMilli(s.feeder.now.Load()).UTC().Format("2006-01-02 15:04"), state, number(s.feeder.events.Load()), number(int64(rate))),
		"outcomes    " + outcomes(t.Outcomes),
		"rules       " + top(t.Rules, 6),
		"attacks     " + attacks(t.Labels, &t.Honest),
		fmt.Sprintf("balance     %s: %s", b, holds),
		fmt.Sprintf("refused     %s dead letters", number(t.Topics[topicDeadLetters])),
	}
	rows, err := s.countRows(context.Background())
	if err != nil {
		lines = append(lines, "ClickHouse  "+err.Error())
	} else {
		lines = append(lines, "ClickHouse  "+top(rows, 10))
	}
	lines = append(lines, fmt.Sprintf("alerts      %s raised, %s delivered", number(t.Alerts), number(int64(c.Alerts))))
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
	return fmt.Sprintf("%s: %s events (%s a second), %s; %s dead letters; %d of %d alerts delivered",
		time.UnixMilli(s.feeder.now.Load()).UTC().Format("2006-01-02"), number(s.feeder.events.Load()), number(int64(rate)),
		outcomes(t.Outcomes), number(t.Topics[topicDeadLetters]), s.receiver.Counts().Alerts, t.Alerts)
}

// tee is a log to a file, of which warnings (or everything) go to a person too.
type tee struct {
	file  slog.Handler
	short slog.Handler
}

func newTee(file io.Writer, person func(string), all bool) slog.Handler {
	level := slog.LevelWarn
	if all {
		level = slog.LevelInfo
	}
	drop := func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 {
			return slog.Attr{}
		}
		return a
	}
	return &tee{
		file:  slog.NewTextHandler(file, &slog.HandlerOptions{Level: slog.LevelInfo}),
		short: slog.NewTextHandler(lineWriter(person), &slog.HandlerOptions{Level: level, ReplaceAttr: drop}),
	}
}

type lineWriter func(string)

func (w lineWriter) Write(p []byte) (int, error) {
	w(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

func (t *tee) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (t *tee) Handle(ctx context.Context, r slog.Record) error {
	if t.short.Enabled(ctx, r.Level) {
		_ = t.short.Handle(ctx, r.Clone()) // lineWriter never fails
	}
	return t.file.Handle(ctx, r)
}

func (t *tee) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &tee{t.file.WithAttrs(attrs), t.short.WithAttrs(attrs)}
}

func (t *tee) WithGroup(name string) slog.Handler {
	return &tee{t.file.WithGroup(name), t.short.WithGroup(name)}
}
