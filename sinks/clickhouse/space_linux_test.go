package clickhouse_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"github.com/refundguard/refundguard/sinks/clickhouse/local"
)

// ownEngine is a server with the rollups, in a folder of the test's.
func ownEngine(t *testing.T, dir string) *world {
	t.Helper()
	server(t) // skips where there is none
	engine, err := local.Start(t.Context(), local.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	w := newWorld(t, engine)
	w.log = slog.New(slog.DiscardHandler)
	w.addRollups()
	return w
}

// A disk that is full, and then isn't.
func TestDiskThatIsFull(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server")
	}
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=128m")
	if errors.Is(err, os.ErrPermission) {
		t.Skip("a small disk takes the right to mount one")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	w := ownEngine(t, dir)
	s, _ := w.start()
	w.produceAll(100)
	w.drain(s)
	for _, left := range []int64{32 << 20, 1 << 20, 0} { // of the disk
		ballast := filepath.Join(dir, "ballast")
		f, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		var disk syscall.Statfs_t
		if err := syscall.Statfs(dir, &disk); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Fallocate(int(f.Fd()), 0, 0, int64(disk.Bavail)*disk.Bsize-left); err != nil {
			t.Fatal(err)
		}
		f.Close()
		w.produceAll(100)
		w.failing(s, "no_space")
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		w.drain(s)
		w.audit(nil)
	}
}

// A limit on how large a file may be ends the server in the middle of a write.
func TestServerThatMayNotWriteOn(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server")
	}
	dir := t.TempDir()
	w := ownEngine(t, dir)
	s, _ := w.start()
	for _, limit := range []uint64{100, 1000, 3000} {
		w.produceAll(100)
		w.drain(s)
		limitFiles(t, dir, limit)
		before := w.retries()
		w.wait("a failed try", func() bool { w.produceAll(100); return w.retries() > before })
		w.drain(s)
		w.audit(nil)
	}
}

// limitFiles is RLIMIT_FSIZE for the processes that work in dir.
func limitFiles(t *testing.T, dir string, bytes uint64) {
	t.Helper()
	found := 0
	processes, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, cwd := range processes {
		if at, err := os.Readlink(cwd); err != nil || at != dir {
			continue
		}
		var pid uintptr
		if _, err := fmt.Sscanf(cwd, "/proc/%d/cwd", &pid); err != nil {
			t.Fatal(err)
		}
		limit := syscall.Rlimit{Cur: bytes, Max: ^uint64(0)}
		if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, pid, syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0); errno != 0 {
			t.Fatalf("prlimit: %v", errno)
		}
		found++
	}
	if found == 0 {
		t.Fatalf("no process works in %s", dir)
	}
}
