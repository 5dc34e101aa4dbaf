// Package fault breaks the service, its network and its broker under load, and
// has the independent model judge what is in the topics afterwards. It runs the
// program that is shipped against the real Apache Kafka, on this machine only:
//
//	go test ./pipeline/fault -kills 40 -zombies 8 -terms 4 -proxy 20 -broker 3 -seed 1
//
// In the first part of a run one instance works, and a successor is started when
// it was harmed; in the second part others stand by, and take over.
package fault

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/refundguard/refundguard/pipeline/integration/model"
	"github.com/refundguard/refundguard/pipeline/kafkatest"
)

var (
	kills      = flag.Int("kills", 0, "how often the service is killed (SIGKILL)")
	zombies    = flag.Int("zombies", 0, "how often it is stopped (SIGSTOP), mostly replaced, and resumed")
	terms      = flag.Int("terms", 0, "how often an instance is asked to end in good order (SIGTERM)")
	torn       = flag.Int("proxy", 0, "how often the network between it and the broker fails")
	brokers    = flag.Int("broker", 0, "how often the broker is killed and restarted")
	standby    = flag.Float64("standby", 0.5, "share of the faults, from 0 to 1, that are done while other instances stand by")
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
	alone, standingBy := bags(map[string]int{kill: *kills, zombie: *zombies, term: *terms, network: *torn, broker: *brokers}, *standby)
	if len(alone)+len(standingBy) == 0 {
		t.Skip("no faults are asked for: see make fault")
	}
	os.Setenv("REFUNDGUARD_TEST_KAFKA", "apache")
	if *seed == 0 {
		*seed = rand.Uint64() | 1
	}
	rng := rand.New(rand.NewPCG(*seed, 2))

	cluster := kafkatest.Start(t)
	cluster.CreateTopics(partitions, nil, append([]string{"refunds", "transactions"}, model.LifeTopics...)...)
	door, back := cluster.Proxied()
	rep := newReport(append(slices.Clone(alone), standingBy...))
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
	r.recovered("the start", time.Now(), nil)

	r.part(alone, *limit*time.Duration(len(alone))/time.Duration(len(alone)+len(standingBy)))
	r.standby = true
	r.part(standingBy, *limit)
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

// bags hold each kind of fault as often as it is wanted, in a certain order: in
// the second are those of this share.
func bags(wanted map[string]int, share float64) (first, second []string) {
	for _, kind := range kinds {
		n := wanted[kind]
		later := int(float64(n)*share + 0.5)
		first = append(first, slices.Repeat([]string{kind}, n-later)...)
		second = append(second, slices.Repeat([]string{kind}, later)...)
	}
	return first, second
}
