// Package fault breaks the service, its network and its broker under load, and
// has the independent model judge what is in the topics afterwards. It runs the
// program that is shipped against the real Apache Kafka, on this machine only:
//
//	go test ./pipeline/fault -kills 40 -zombies 8 -proxy 20 -broker 3 -seed 1
package fault

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/refundguard/refundguard/pipeline/integration/model"
	"github.com/refundguard/refundguard/pipeline/kafkatest"
)

var (
	kills      = flag.Int("kills", 0, "how often the service is killed (SIGKILL)")
	zombies    = flag.Int("zombies", 0, "how often it is stopped (SIGSTOP), mostly replaced, and resumed")
	torn       = flag.Int("proxy", 0, "how often the network between it and the broker fails")
	brokers    = flag.Int("broker", 0, "how often the broker is killed and restarted")
	seed       = flag.Uint64("seed", 0, "what is done when, and what is written; 0: chosen, and told in the report")
	limit      = flag.Duration("for", 8*time.Minute, "begin no fault after this time")
	rate       = flag.Float64("rate", 250, "records written a second")
	reportDir  = flag.String("report", "", "folder for report.md and report.json")
	buildFlags = flag.String("build", "", "flags for building the program, such as -race")
)

const ruleFile = "../integration/testdata/rules/strange.yaml"

// patience is how long anything may take that takes seconds.
const patience = 2 * time.Minute

func TestFaults(t *testing.T) {
	plan := bag(map[string]int{kill: *kills, zombie: *zombies, network: *torn, broker: *brokers})
	if len(plan) == 0 {
		t.Skip("no faults are asked for: see make fault")
	}
	os.Setenv("REFUNDGUARD_TEST_KAFKA", "apache")
	if *seed == 0 {
		*seed = rand.Uint64() | 1
	}
	rng := rand.New(rand.NewPCG(*seed, 2))
	rng.Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })

	cluster := kafkatest.Start(t)
	cluster.CreateTopics(partitions, nil, "refunds", "transactions")
	door, back := cluster.Proxied()
	rep := newReport(plan)
	r := &runner{
		T: t, rng: rng, cluster: cluster, proxy: startProxy(t, door, back), door: door,
		program: build(t), state: t.TempDir(), logs: logDir(t), report: rep,
	}
	defer rep.write(t)
	t.Cleanup(r.end)
	r.start()
	r.watcher = watch(t, cluster.Brokers())
	load := newLoad(t, *seed, cluster.Brokers(), *rate)
	stop, written := make(chan struct{}), make(chan error, 1)
	go func() { written <- load.run(context.Background(), stop) }()
	r.recovered("the start", time.Now())

	for _, what := range plan {
		if time.Since(rep.Began) > *limit {
			t.Logf("%s have passed: the rest of the faults is left out", *limit)
			break
		}
		r.fault(what)
	}
	r.proxy.heal()
	close(stop)
	select {
	case err := <-written:
		if err != nil {
			t.Fatalf("writing the load: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the load can't be written")
	}
	r.drain(load.Strange.World)
	r.listen()
	verdict := model.Compare(t, cluster, load.Strange.World)
	rep.judge(t, load, verdict)
}

// logDir is where instances say what they do: kept beside the report.
func logDir(t *testing.T) string {
	t.Helper()
	if *reportDir == "" {
		return t.TempDir()
	}
	dir := filepath.Join(*reportDir, "logs")
	err := os.RemoveAll(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// bag holds each kind of fault as often as it is wanted, in a certain order.
func bag(wanted map[string]int) (all []string) {
	for _, kind := range kinds {
		for range wanted[kind] {
			all = append(all, kind)
		}
	}
	return all
}
