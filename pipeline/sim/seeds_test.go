package sim

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	seeds     = flag.Int("seeds", 6, "how many seeds to run")
	first     = flag.Uint64("seed", 0, "the first of them; alone, the only one")
	exact     = flag.Bool("exact", false, "schedule by the seed, so that it replays exactly: see overlay.sh")
	processes = flag.Int("processes", runtime.NumCPU(), "how many run at the same time")
	within    = flag.Duration("within", 0, "begin no seed after this time; 0: run them all")
	reportDir = flag.String("report", "", "folder for report.md")
)

// limit is how long a seed may take, on a machine that does much else.
const limit = 2 * time.Minute

// TestSeeds runs each seed in a process of its own.
func TestSeeds(t *testing.T) {
	n := *seeds
	from := *first
	if from == 0 {
		from = 1
	} else if !given("seeds") {
		n = 1
	}
	if testing.Short() && !given("seeds") {
		n = min(n, 2)
	}
	program := build(t)
	rep := &report{began: time.Now(), exact: *exact, faults: map[string]int{}}
	next := make(chan uint64)
	var all sync.WaitGroup
	for range max(1, min(*processes, n)) {
		all.Go(func() {
			for seed := range next {
				r, output := runSeed(t, program, seed)
				rep.add(r)
				if !r.Passed {
					t.Errorf("seed %d failed:\n%s\nTo replay it: make sim SEED=%d", seed, output, seed)
				}
			}
		})
	}
	for i := range n {
		if *within > 0 && time.Since(rep.began) > *within {
			t.Logf("%d seeds of %d in %v", i, n, *within)
			break
		}
		next <- from + uint64(i)
	}
	close(next)
	all.Wait()
	rep.write(t)
}

// TestReplay runs seeds twice: all that is in Kafka, with its times, must be the
// same, and all that was logged.
func TestReplay(t *testing.T) {
	if !*exact {
		t.Skip("what Go leaves to chance isn't seeded: see make sim")
	}
	program := build(t)
	for seed := uint64(1); seed <= 6; seed++ {
		a, _ := runSeed(t, program, seed)
		b, _ := runSeed(t, program, seed)
		if a.Hash != b.Hash || a.Hash == "" || a.Frames != b.Frames {
			t.Errorf("seed %d is not the same twice:\n%+v\n%+v", seed, a, b)
		}
	}
	a, _ := runSeed(t, program, 1)
	if b, _ := runSeed(t, program, 2); a.Hash == b.Hash {
		t.Error("two seeds are the same")
	}
}

func given(name string) (found bool) {
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// TestMain removes what build made.
func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if made.dir != "" {
		os.RemoveAll(made.dir)
	}
	os.Exit(code)
}

var made struct {
	once sync.Once
	dir  string
	err  error
}

// build gives the program that runs a seed: this one, or one that is scheduled
// by the seed.
func build(t *testing.T) string {
	t.Helper()
	if !*exact {
		return os.Args[0]
	}
	made.once.Do(func() {
		if made.dir, made.err = os.MkdirTemp("", "refundguard-sim-"); made.err != nil {
			return
		}
		overlay := filepath.Join(made.dir, "overlay")
		for _, command := range [][]string{
			{"bash", "overlay.sh", overlay},
			{"go", "test", "-c", "-overlay", filepath.Join(overlay, "overlay.json"), "-o", filepath.Join(made.dir, "sim.test"), "."},
		} {
			cmd := exec.Command(command[0], command[1:]...)
			cmd.Env = append(os.Environ(), "GOEXPERIMENT=norandomizedheapbase64", "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				made.err = fmt.Errorf("%v: %w\n%s", command, err, out)
				return
			}
		}
	})
	if made.err != nil {
		t.Fatal(made.err)
	}
	return filepath.Join(made.dir, "sim.test")
}

func runSeed(t *testing.T, program string, seed uint64) (r result, output string) {
	dir, err := os.MkdirTemp("", "refundguard-seed-")
	if err != nil {
		t.Error(err)
		return result{Seed: seed}, ""
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-test.run=^TestOneSeed$", "-test.v", "-test.timeout="+(limit-10*time.Second).String())
	// One process, one thread that runs Go, no collection: what is left to the
	// machine's time is left out.
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", seedVariable, seed), folderVariable+"="+dir,
		"GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1", "TZ=UTC")
	if *exact {
		cmd.Env = append(cmd.Env, exactVariable+"=1")
	}
	out, err := cmd.CombinedOutput()
	r = result{Seed: seed}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		if line, ok := strings.CutPrefix(lines.Text(), resultPrefix); ok {
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Errorf("seed %d: %q: %v", seed, line, err)
			}
		}
	}
	if err != nil {
		r.Passed = false
	}
	return r, fmt.Sprintf("%v\n%s", err, out[max(0, len(out)-40_000):])
}
