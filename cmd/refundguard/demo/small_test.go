package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/starter"
)

func TestSpeed(t *testing.T) {
	for text, want := range map[string]string{"1d/s": "1d/s", "24h/s": "1d/s", "0.5d/s": "43200x", "5000x": "5000x", "90m/s": "5400x", "2w/s": "14d/s", "max": "max", "1x": "1x"} {
		var s Speed
		if err := s.Set(text); err != nil || s.String() != want {
			t.Errorf("%q is %s, %v: want %s", text, s.String(), err, want)
		}
	}
	for _, text := range []string{"", "x", "/s", "d/s", "fast", "-1x", "0x", "1d", "1y/s", "NaNx", "Infx", "1e300d/s"} {
		var s Speed
		if err := s.Set(text); err == nil || !strings.Contains(err.Error(), "1d/s") {
			t.Errorf("%q: error %v", text, err)
		}
	}
}

func TestReached(t *testing.T) {
	start := time.UnixMilli(1000)
	if got := Speed(86400).reached(5, start, start.Add(2*time.Second)); got != 5+2*86_400_000 {
		t.Errorf("two seconds at a day each reach %d", got)
	}
	if got := Max.reached(5, start, start.Add(time.Millisecond)); got < 1<<60 {
		t.Errorf("at max only %d", got)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[int64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := number(v); got != want {
			t.Errorf("%d is %s", v, got)
		}
	}
}

func TestClipTakesOutControls(t *testing.T) {
	if got := clip("a\x1b[2Jb\nc", 80); got != "a?[2Jb?c" {
		t.Errorf("%q", got)
	}
	if got := clip(strings.Repeat("é", 50), 30); got != strings.Repeat("é", 29)+"…" {
		t.Errorf("%q", got)
	}
}

func TestFolderKeepsRulesOnly(t *testing.T) {
	starter := fstest.MapFS{"a.yaml": {Data: []byte("rules: []\n")}}
	dir := filepath.Join(t.TempDir(), "demo")
	f, err := openFolder(dir, "", starter)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openFolder(dir, "", starter); err == nil || !strings.Contains(err.Error(), "another demo runs in") {
		t.Errorf("a second demo: %v", err)
	}
	rule := filepath.Join(dir, "rules", "a.yaml")
	for _, name := range []string{rule, f.path("log"), f.path(logName)} {
		if err := os.WriteFile(name, []byte("edited"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(f.path("state"), 0o700), os.Mkdir(f.path("prometheus"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	f, err = openFolder(dir, "", starter)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if text, err := os.ReadFile(rule); string(text) != "edited" {
		t.Errorf("the edited rule is %q, %v", text, err)
	}
	for _, gone := range []string{"prometheus", "state", logName} {
		if _, err := os.Stat(f.path(gone)); err == nil {
			t.Errorf("%s of the last demo is still there", gone)
		}
	}
}

func TestEngineHint(t *testing.T) {
	f := &folder{dir: "/here/demo"}
	for path, says := range map[string]string{"/home/cache/lib": "XDG_CACHE_HOME", "/here/demo/clickhouse": "--dir", "/here/demo2": "XDG_CACHE_HOME"} {
		err := hint(f.engineHint(fmt.Errorf("starting: %w", &fs.PathError{Op: "mkdir", Path: path, Err: syscall.EROFS})))
		if !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "--dir") && strings.Contains(err.Error(), "XDG") {
			t.Errorf("%s: %v does not say %s alone", path, err, says)
		}
	}
}

func TestStarterRulesAreKnown(t *testing.T) {
	ids, err := ruleIDs(starter.FS)
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.LoadFS(starter.FS, "starter", rules.Options{Schema: event.Builtin()})
	if err != nil {
		t.Fatal(err)
	}
	all := set.Rules
	if set.Transactions != nil {
		all = append(all, set.Transactions.Rules...)
	}
	for _, r := range all {
		if !ids[r.ID] {
			t.Errorf("%s is not known as a starter rule", r.ID)
		}
	}
	if len(ids) != len(all) {
		t.Errorf("%d ids of %d rules", len(ids), len(all))
	}
}

func TestLogForPeople(t *testing.T) {
	var file strings.Builder
	var told []string
	log := slog.New(newTee(&file, func(_ slog.Level, line string) { told = append(told, line) }, false)).With("sink", "webhook")
	log.Info("listening")
	log.Info("rules reloaded", "ruleset", "sha256:1", "rules", 61)
	log.Warn("it waits", "error", "connection\x1b[2J refused")
	log.Error("refused", "ruleset", "sha256:1", "error", "mine.yaml:4:11: unknown name\n  |     when: resaon\n  |           ^")
	want := []string{
		"rules reloaded (sink webhook, rules 61)",
		"warn: it waits (sink webhook): connection?[2J refused",
		"error: refused (sink webhook):\nmine.yaml:4:11: unknown name\n  |     when: resaon\n  |           ^",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if lines := strings.Count(file.String(), "\n"); lines != 4 || !strings.Contains(file.String(), "sink=webhook ruleset=sha256:1") {
		t.Errorf("%d lines in the file:\n%s", lines, file.String())
	}
}

func TestFolderOfOthersIsLeftAlone(t *testing.T) {
	dir := folderOf(t, map[string]string{"thesis.txt": "years of work"})
	if _, err := openFolder(dir, "", fstest.MapFS{}); err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "thesis.txt")); err != nil {
		t.Error(err)
	}
}

func TestTemporaryFolderGoes(t *testing.T) {
	f, err := openFolder("", "", fstest.MapFS{"a.yaml": {Data: []byte("rules: []\n")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.dir); err == nil {
		t.Errorf("%s is still there", f.dir)
	}
}

func TestTakenPortSaysWhatToDo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = hint(tryAddress(l.Addr().String()))
	if err == nil || !strings.Contains(err.Error(), "another program has that port") || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("error %v", err)
	}
	s := &stage{o: Options{Kafka: l.Addr().String()}, cast: newCast(Options{}, nil, nil)}
	err = hint(s.openKafka())
	if err == nil || !strings.Contains(err.Error(), "another program has that port") || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("error %v", err)
	}
}
