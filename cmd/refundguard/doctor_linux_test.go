package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A disk that fills up is told of before saves don't fit.
func TestDoctorLooksAtTheDisk(t *testing.T) {
	disk := t.TempDir()
	err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=10m")
	if errors.Is(err, os.ErrPermission) {
		t.Skip("a small disk takes the right to mount one")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	c := newClinic(t, 1)
	state := fmt.Sprintf("state: {dir: %q}", filepath.Join(disk, "not", "yet"))
	for _, step := range []struct {
		ballast  int // KiB
		warnings [][2]string
	}{{0, nil}, {8 << 10, nil}, {9<<10 + 512, [][2]string{{"state.dir", "MiB free of 10"}}}, {0, nil}} {
		if err := os.WriteFile(filepath.Join(disk, "ballast"), make([]byte, step.ballast<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		c.expect("amount > 5", state, step.warnings...)
	}
}
