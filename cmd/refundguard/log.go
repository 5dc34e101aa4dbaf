package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

var (
	logLevels  = []string{"debug", "info", "warn", "error"}
	logFormats = []string{"auto", "logfmt", "json"}
)

func (c logConfig) validate() (err error) {
	if !slices.Contains(logLevels, c.Level) {
		err = fmt.Errorf("level: %q is not one of %s", c.Level, strings.Join(logLevels, ", "))
	}
	if !slices.Contains(logFormats, c.Format) {
		err = errors.Join(err, fmt.Errorf("format: %q is not one of %s", c.Format, strings.Join(logFormats, ", ")))
	}
	return err
}

// newLogger writes for people on a terminal, and logfmt elsewhere, unless a
// format is asked for.
func newLogger(c logConfig, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	switch file, isFile := w.(*os.File); {
	case c.Format == "json":
		return slog.New(slog.NewJSONHandler(w, options))
	case c.Format == "auto" && isFile && term.IsTerminal(int(file.Fd())):
		return slog.New(tint.NewTextHandler(w, &tint.Options{
			Level: level, TimeFormat: time.TimeOnly, NoColor: os.Getenv("NO_COLOR") != "",
		}))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
