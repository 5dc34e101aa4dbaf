package sim

import (
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// disk is a machine's, in memory.
type disk struct {
	vfs.FS
	mem *vfs.MemFS

	mu     sync.Mutex
	slow   time.Duration // an operation takes up to so long
	rng    *rand.Rand
	full   bool
	writes int // operations that write
	trapAt int // at this one, trap is called; 0: never
	trap   func()
}

// stateDir is on each disk. Its parent was there before us, and is synced.
const stateDir = "/state"

func newDisk(mem *vfs.MemFS, seed uint64) *disk {
	d := &disk{mem: mem, rng: rand.New(rand.NewPCG(seed, 3))}
	d.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(d.before))
	return d
}

// before says what becomes of an operation.
func (d *disk) before(op errorfs.Op) error {
	d.mu.Lock()
	var wait time.Duration
	if d.slow > 0 {
		wait = time.Duration(d.rng.Int64N(int64(d.slow)))
	}
	writes := op.Kind.ReadOrWrite() == errorfs.OpIsWrite
	full := d.full && writes && op.Kind != errorfs.OpRemove && op.Kind != errorfs.OpRemoveAll && op.Kind != errorfs.OpFileClose
	var trap func()
	if writes && op.Kind != errorfs.OpFileClose {
		if d.writes++; d.writes == d.trapAt {
			trap = d.trap
		}
	}
	d.mu.Unlock()
	if trap != nil {
		trap()
	}
	if wait > 0 {
		time.Sleep(wait)
	}
	if full {
		return syscall.ENOSPC
	}
	return nil
}

func (d *disk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return vfs.DiskUsage{AvailBytes: 1 << 10}, nil
	}
	return vfs.DiskUsage{AvailBytes: 1 << 40}, nil
}

// set makes the disk slow or full, or well again. What waits for a disk holds
// mutexes, and only the overlay lets time pass for those who wait for these.
func (d *disk) set(slow time.Duration, full bool) {
	if !isExact() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slow, d.full = slow, full
}

// onWrite calls f, once, at the n-th operation from now that writes.
func (d *disk) onWrite(n int, f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trapAt, d.trap = d.writes+n, f
}

// crashed is the disk as a crash leaves it.
func (d *disk) crashed(kept int, seed uint64) *disk {
	return newDisk(d.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: rand.New(rand.NewPCG(seed, 4))}), seed)
}
