package bench

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// sleeper is a deployment whose program only lives.
func sleeper(t *testing.T) *deployment {
	t.Helper()
	d := &deployment{program: filepath.Join(t.TempDir(), "program"), dir: t.TempDir()}
	if err := os.WriteFile(d.program, []byte("#!/bin/sh\nexec sleep 600\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}

func (in *instance) ends(t *testing.T) {
	t.Helper()
	select {
	case <-in.ended:
	case <-time.After(30 * time.Second):
		in.kill()
		t.Error("the instance lives on")
	}
}

// What was started is ended when a run is, and when this process is gone and
// can't do it: then the pipe to its guard closes.
func TestNoInstanceOutlivesTheRun(t *testing.T) {
	d := sleeper(t)
	a, err := d.start(settings{})
	if err != nil {
		t.Fatal(err)
	}
	d.close(t.Context())
	a.ends(t)
	if err := a.failed(); err != nil {
		t.Errorf("it was told to end: %v", err)
	}
	if _, err := os.Stat(d.dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}

	d = sleeper(t)
	b, err := d.start(settings{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.guard.Close(); err != nil {
		t.Fatal(err)
	}
	b.ends(t)
	if err := d.alive(); err == nil {
		t.Error("an instance that ended by itself goes unnoticed")
	}
}
