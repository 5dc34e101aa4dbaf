package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// folder is where a demo keeps what it writes. Each demo begins anew: of an
// earlier one only the rules stay, since someone may have edited them.
type folder struct {
	dir   string
	rules string // the rules' folder, which may be elsewhere
	lock  *os.File
	gone  bool            // removed by close
	given map[string]bool // ids of the starter rules; nil where the rules are elsewhere
}

// marker tells a demo's folder from one that must not be emptied.
const marker = ".refundguard-demo"

// openFolder prepares dir, or a temporary folder where it is empty. starter
// are the rule files to put into rules, unless there are some.
func openFolder(dir, rules string, starter fs.FS) (*folder, error) {
	f := &folder{gone: dir == ""}
	var err error
	if dir == "" {
		dir, err = os.MkdirTemp("", "refundguard-demo-")
	} else {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return nil, hint(fmt.Errorf("making the demo's folder: %w", err))
	}
	f.dir, f.rules = dir, rules
	if err := f.open(starter); err != nil {
		f.close()
		return nil, hint(err)
	}
	return f, nil
}

func (f *folder) open(starter fs.FS) error {
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return fmt.Errorf("making the demo's folder: %w", err)
	}
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return fmt.Errorf("looking into the demo's folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(f.dir, marker)); err != nil && len(entries) > 0 {
		return fmt.Errorf("the folder %s holds other things than a demo: choose an empty or a new one with --dir", f.dir)
	}
	if f.lock, err = os.OpenFile(filepath.Join(f.dir, marker), os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return fmt.Errorf("taking the demo's folder: %w", err)
	}
	if err := syscall.Flock(int(f.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.lock.Close()
		f.lock = nil
		return fmt.Errorf("another demo runs in %s: stop it, or choose another folder with --dir", f.dir)
	}
	for _, old := range []string{"clickhouse", "prometheus", "state", logName} {
		if err := os.RemoveAll(filepath.Join(f.dir, old)); err != nil {
			return fmt.Errorf("removing the last demo's %s: %w", old, err)
		}
	}
	if f.rules != "" {
		if _, err := os.Stat(f.rules); err != nil {
			return fmt.Errorf("looking for the rules: %w", err)
		}
		return nil
	}
	f.rules = filepath.Join(f.dir, "rules")
	if f.given, err = ruleIDs(starter); err != nil {
		return fmt.Errorf("reading the starter rules: %w", err)
	}
	if entries, err := os.ReadDir(f.rules); err == nil && len(entries) > 0 {
		return nil
	}
	if err := os.CopyFS(f.rules, starter); err != nil {
		return fmt.Errorf("writing the starter rules: %w", err)
	}
	return nil
}

// ruleIDs finds the rules of files in canonical form.
func ruleIDs(files fs.FS) (map[string]bool, error) {
	ids := map[string]bool{}
	return ids, fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		text, err := fs.ReadFile(files, path)
		for _, found := range ruleID.FindAllSubmatch(text, -1) {
			ids[string(found[1])] = true
		}
		return err
	})
}

var ruleID = regexp.MustCompile(`(?m)^  - id: (\S+)$`)

const logName = "refundguard.log"

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

// logged reports whether the log says anything.
func (f *folder) logged() bool {
	info, err := os.Stat(f.path(logName))
	return err == nil && info.Size() > 0
}

// close gives the folder up; a temporary one is removed.
func (f *folder) close() error {
	var err error
	if f.gone && f.dir != "" {
		err = os.RemoveAll(f.dir)
	}
	if f.lock != nil {
		f.lock.Close()
	}
	return err
}

// hint adds what to do to errors whose own text doesn't tell.
func hint(err error) error {
	switch {
	case errors.As(err, new(advised)):
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: free some space, or choose a folder on another disk with --dir", err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: choose a folder of yours with --dir", err)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another program has that port; stop it, or leave the address out for a free one", err)
	}
	return err
}

// advised is an error that says itself what to do.
type advised struct{ error }

func (a advised) Unwrap() error { return a.error }

// engineHint adds what to do where ClickHouse's engine can't be kept: its files
// are not in the demo's folder, so that another --dir would not help.
func (f *folder) engineHint(err error) error {
	var at *fs.PathError
	if !errors.As(err, &at) || at.Op == "fork/exec" || at.Path == f.dir || strings.HasPrefix(at.Path, f.dir+string(filepath.Separator)) {
		return err
	}
	return advised{fmt.Errorf("%w: the ClickHouse engine is kept there; point XDG_CACHE_HOME to a folder that you may write to, with 1 GB free", err)}
}
