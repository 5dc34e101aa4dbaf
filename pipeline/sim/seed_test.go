package sim

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"
)

// The environment of a process that runs one seed.
const (
	seedVariable   = "REFUNDGUARD_SIM_SEED" // overlay.sh seeds the scheduler by it, too
	folderVariable = "REFUNDGUARD_SIM_DIR"
	exactVariable  = "REFUNDGUARD_SIM_EXACT" // "1": built with the overlay
)

// isExact reports whether this program was built with the overlay. Only there
// does time pass while somebody waits for a mutex of one who waits for time.
func isExact() bool { return os.Getenv(exactVariable) != "" }

// resultPrefix begins the line that tells the result.
const resultPrefix = "RESULT "

// TestOneSeed is the seed of the environment, in a process of its own: what a
// process has seen before would be in the pools and maps of the next seed.
func TestOneSeed(t *testing.T) {
	seed, err := strconv.ParseUint(os.Getenv(seedVariable), 10, 64)
	dir := os.Getenv(folderVariable)
	if err != nil || dir == "" {
		t.Skip("for TestSeeds")
	}
	rules, err := filepath.Abs(modelRules)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir) // so that no path is another in each process
	if err := os.Mkdir("rules", 0o700); err != nil {
		t.Fatal(err)
	}
	cryptotest.SetGlobalRandom(t, seed)
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, seed, rules)
		began := time.Now()
		// The process ends here: those who were killed need not come to an end.
		defer func() {
			if caught := recover(); caught != nil {
				t.Errorf("panic: %v\n%s", caught, debug.Stack())
			}
			r := &s.result
			r.Records, r.Virtual, r.Starts, r.GaveWay, r.Frames = len(s.world.Strange.World.Sent), time.Since(began), s.instances.Load(), s.gaveWay, s.net.frames
			r.Certain, r.Passed = s.certain, !t.Failed()
			code := 0
			if !r.Passed {
				fmt.Println(s.log.tail())
				code = 1
			}
			line, err := json.Marshal(r)
			if err != nil {
				panic(err)
			}
			fmt.Printf("%s%s\n", resultPrefix, line)
			os.Exit(code)
		}()
		s.run()
	})
}
