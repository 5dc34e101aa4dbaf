package kafka

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// repeatAfter is how long a line is not repeated while its text stays the same.
const repeatAfter = time.Minute

// maxRemembered bounds the lines remembered; beyond, all are forgotten, and may
// be said once more.
const maxRemembered = 256

// quietHandler makes the client library's log fit beside the program's own:
// what it calls info is debug here, and a warning that it repeats at each try
// while a broker is away is said once a minute.
type quietHandler struct {
	next slog.Handler
	said *said
}

type said struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func newQuietHandler(next slog.Handler) slog.Handler {
	return quietHandler{next: next, said: &said{last: map[string]time.Time{}}}
}

func demoted(level slog.Level) slog.Level {
	if level < slog.LevelWarn {
		return slog.LevelDebug
	}
	return level
}

func (h quietHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, demoted(level))
}

func (h quietHandler) Handle(ctx context.Context, record slog.Record) error {
	record.Level = demoted(record.Level)
	if record.Level >= slog.LevelWarn && h.said.again(text(record), record.Time) {
		return nil
	}
	record.Message = "kafka client: " + record.Message
	return h.next.Handle(ctx, record)
}

func (h quietHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quietHandler{next: h.next.WithAttrs(attrs), said: h.said}
}

func (h quietHandler) WithGroup(name string) slog.Handler {
	return quietHandler{next: h.next.WithGroup(name), said: h.said}
}

func text(record slog.Record) string {
	var b strings.Builder
	b.WriteString(record.Message)
	record.Attrs(func(a slog.Attr) bool {
		// The local end of a connection is another port at each try.
		if a.Key == "addr" || a.Key == "topic" || a.Key == "err" && !strings.Contains(a.Value.String(), "->") {
			b.WriteString("\x00" + a.Value.String())
		}
		return true
	})
	return b.String()
}

// again reports whether this text was said less than repeatAfter before now.
func (s *said) again(text string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.last[text]; ok && now.Sub(at) < repeatAfter {
		return true
	}
	if len(s.last) >= maxRemembered {
		clear(s.last)
	}
	s.last[text] = now
	return false
}
