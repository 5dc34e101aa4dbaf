package pipeline_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/refundguard/refundguard/pipeline"
)

// A start without a state that doesn't come to its end has saved what it had by
// then; the next one goes on from there, and decides as if nothing had happened.
func TestARecoveryIsSavedOnItsWay(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			sc := &script{r: rand.New(rand.NewPCG(seed, 5))}
			before, after := sc.batch(), sc.batch()
			once := newStateWorld(t)
			once.produce(before)
			once.produce(after)
			once.hold.Store(false)
			in := once.run()
			once.drained()
			if err := in.end(); err != nil {
				t.Fatal(err)
			}

			w := newStateWorld(t)
			w.cfg.State.Dir, w.cfg.State.SaveInterval, w.cfg.State.Memory = filepath.Join(t.TempDir(), "state"), 10*time.Millisecond, int64(seed%2)
			w.produce(before)
			in = w.run()
			w.settle(in) // some wait
			if err := in.end(); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(w.cfg.State.Dir); err != nil {
				t.Fatal(err)
			}
			cut := w.c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "transactions", Partitions: []int32{1}, Err: kerr.NotLeaderForPartition, Count: -1})
			in = w.run()
			w.until("what can be had is saved", func() bool { return in.metric("refundguard_state_save_seconds") > 5 })
			if err := in.end(); err != nil {
				t.Fatal(err)
			}
			cut.Remove()
			s, err := pipeline.OpenState(w.cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
			if err != nil {
				t.Fatal(err)
			}
			info := s.Info()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for _, st := range info.Streams {
				if all := st.Stream == "refunds"; st.Applied[0] == 0 || (st.Applied[1] > 0) != all {
					t.Errorf("saved is %+v, want all but partition 1 of transactions", st)
				}
			}
			w.produce(after)
			w.hold.Store(false)
			in = w.run()
			w.drained()
			if err := in.end(); err != nil {
				t.Fatal(err)
			}
			w.compare(once.results())
		})
	}
}
