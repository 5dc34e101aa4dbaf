package shop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Files lists the names of what Write makes in its folder.
func Files() []string {
	return []string{Transactions + ".jsonl", Refunds + ".jsonl", Labels + ".jsonl"}
}

// Write writes the rest of the shop into a folder, one file for each stream,
// and returns the number of lines of each. tick is called now and then. Files
// that are there are replaced only if replace says so, else the error is
// fs.ErrExist. They are complete, or not there at all.
func Write(ctx context.Context, s *Shop, dir string, replace bool, tick func()) (lines map[string]int64, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the folder: %w", err)
	}
	if !replace {
		for _, name := range Files() {
			if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
				return nil, &fs.PathError{Op: "making", Path: filepath.Join(dir, name), Err: fs.ErrExist}
			}
		}
	}
	out := map[string]*file{}
	defer func() {
		for _, f := range out {
			f.abandon()
		}
	}()
	for _, name := range Files() {
		f, err := newFile(dir, name)
		if err != nil {
			return nil, err
		}
		out[name] = f
	}
	lines = map[string]int64{}
	for n := 0; ; n++ {
		r, ok := s.Next()
		if !ok {
			break
		}
		if n%4096 == 0 {
			if ctx.Err() != nil {
				return nil, fmt.Errorf("interrupted: nothing was written: %w", context.Cause(ctx))
			}
			tick()
		}
		f := out[r.Stream+".jsonl"]
		_, _ = f.w.Write(r.Value) // the writer keeps its error
		if err := f.w.WriteByte('\n'); err != nil {
			return nil, fmt.Errorf("writing %s: %w", f.path, err)
		}
		lines[r.Stream]++
	}
	for _, f := range out {
		if err := f.finish(); err != nil {
			return nil, fmt.Errorf("writing %s: %w", f.path, err)
		}
	}
	return lines, nil
}

// file is written beside its name, and takes it when it is complete.
type file struct {
	path string
	tmp  *os.File
	w    *bufio.Writer
}

func newFile(dir, name string) (*file, error) {
	tmp, err := os.CreateTemp(dir, "."+name+"-*")
	if err != nil {
		return nil, fmt.Errorf("making %s: %w", filepath.Join(dir, name), err)
	}
	return &file{filepath.Join(dir, name), tmp, bufio.NewWriterSize(tmp, 1<<18)}, nil
}

func (f *file) finish() error {
	err := errors.Join(f.w.Flush(), f.tmp.Chmod(0o644), f.tmp.Close())
	if err == nil {
		err = os.Rename(f.tmp.Name(), f.path)
	}
	return err
}

// abandon removes what was not finished.
func (f *file) abandon() {
	f.tmp.Close()
	os.Remove(f.tmp.Name())
}
