package demo

import (
	"context"
	"io"
	"log/slog"
	"strings"
)

// tee is a log to a file, of which a person is told what asks for attention, or
// everything.
type tee struct {
	file slog.Handler
	all  bool
	tell func(slog.Level, string)
	with []slog.Attr
}

func newTee(file io.Writer, tell func(slog.Level, string), all bool) slog.Handler {
	return &tee{file: slog.NewTextHandler(file, &slog.HandlerOptions{Level: slog.LevelInfo}), all: all, tell: tell}
}

func (t *tee) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// reloaded is the one message that isn't a warning and is told all the same:
// who edits a rule waits for it.
const reloaded = "rules reloaded"

func (t *tee) Handle(ctx context.Context, r slog.Record) error {
	if t.all || r.Level >= slog.LevelWarn || r.Message == reloaded {
		t.tell(r.Level, t.text(r))
	}
	return t.file.Handle(ctx, r)
}

// text is a record in words: what is wrong last, on lines of its own where it
// has several, such as a rule with a caret below it.
func (t *tee) text(r slog.Record) string {
	var fields []string
	fault := ""
	add := func(a slog.Attr) bool {
		switch value := a.Value.Resolve().String(); a.Key {
		case "ruleset": // a hash, which says nothing to a person
		case "error":
			fault = value
		default:
			fields = append(fields, a.Key+" "+value)
		}
		return true
	}
	for _, a := range t.with {
		add(a)
	}
	r.Attrs(add)
	text := r.Message
	if r.Level >= slog.LevelWarn {
		text = strings.ToLower(r.Level.String()) + ": " + text
	}
	if len(fields) > 0 {
		text += " (" + strings.Join(fields, ", ") + ")"
	}
	switch {
	case strings.Contains(fault, "\n"):
		text += ":\n" + fault
	case fault != "":
		text += ": " + fault
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return strings.Join(lines, "\n")
}

func (t *tee) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &tee{t.file.WithAttrs(attrs), t.all, t.tell, append(t.with[:len(t.with):len(t.with)], attrs...)}
}

func (t *tee) WithGroup(name string) slog.Handler {
	return &tee{t.file.WithGroup(name), t.all, t.tell, t.with}
}
