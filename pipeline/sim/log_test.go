package sim

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"
	"time"
)

// log keeps the last lines of what was done and said, with the bubble's times,
// and the hash of all.
type log struct {
	mu    sync.Mutex
	lines []string
	sum   hash.Hash
}

const keptLines = 150

func newLog() *log { return &log{sum: sha256.New()} }

func (l *log) add(who, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line = fmt.Sprintf("%s %-8s %s", time.Now().Format("15:04:05.000000"), who, line)
	l.sum.Write([]byte(line))
	if l.lines = append(l.lines, line); len(l.lines) > 2*keptLines {
		l.lines = append(l.lines[:0], l.lines[keptLines:]...)
	}
}

func (l *log) hash() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return hex.EncodeToString(l.sum.Sum(nil))
}

func (l *log) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines[max(0, len(l.lines)-keptLines):], "\n")
}

// of is for what somebody says: lines of slog's text, without their time.
func (l *log) of(who string) io.Writer { return said{l, who} }

type said struct {
	log *log
	who string
}

func (s said) Write(p []byte) (int, error) {
	line := bytes.TrimSpace(p)
	if _, rest, ok := bytes.Cut(line, []byte("level=")); ok {
		line = rest
	}
	s.log.add(s.who, string(line))
	return len(p), nil
}

func (s *sim) say(format string, args ...any) { s.log.add("sim", fmt.Sprintf(format, args...)) }
