package pipeline_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
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
			undisturbed := decidedOnce(t, before, after)

			w := newStateWorld(t)
			w.cfg.State.Dir, w.cfg.State.SaveInterval, w.cfg.State.Memory = filepath.Join(t.TempDir(), "state"), 10*time.Millisecond, int64(seed%2)
			w.produce(before)
			want := map[string][]int64{}
			for range 50 { // until the partition that will be cut off has something
				in := w.run()
				w.settle(in) // some wait
				if err := in.end(); err != nil {
					t.Fatal(err)
				}
				for _, st := range w.committed() {
					want[st.Stream] = st.Decided
				}
				if want["transactions"][1] > 0 {
					break
				}
			}
			want["transactions"][1] = 0
			if err := os.RemoveAll(w.cfg.State.Dir); err != nil {
				t.Fatal(err)
			}
			cut := w.c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "transactions", Partitions: []int32{1}, Err: kerr.NotLeaderForPartition, Count: -1})
			var got pipeline.StateInfo
			for range 50 { // each goes on where the one before ended
				in := w.run()
				saves := in.metric("refundguard_state_save_seconds")
				w.until("something is saved", func() bool { return in.metric("refundguard_state_save_seconds") >= saves+2 })
				if err := in.end(); err != nil {
					t.Fatal(err)
				}
				if got = w.savedInfo(); !slices.ContainsFunc(got.Streams, func(st pipeline.StateStream) bool { return !slices.Equal(st.Applied, want[st.Stream]) }) {
					break
				}
			}
			cut.Remove()
			for _, st := range got.Streams {
				if !slices.Equal(st.Applied, want[st.Stream]) {
					t.Errorf("saved is %+v, want applied %v", st, want[st.Stream])
				}
			}
			w.produce(after)
			w.hold.Store(false)
			in := w.run()
			w.drained()
			if err := in.end(); err != nil {
				t.Fatal(err)
			}
			w.compare(undisturbed)
		})
	}
}

// savedInfo is what the state folder says of itself while nothing runs.
func (r *held) savedInfo() pipeline.StateInfo {
	r.t.Helper()
	s, err := pipeline.OpenState(r.cfg, slog.New(slog.NewTextHandler(r.t.Output(), nil)))
	if err != nil {
		r.t.Fatal(err)
	}
	defer s.Close()
	return s.Info()
}

// committed is what the last progress says of streams.
func (r *held) committed() (all []pipeline.StateStream) {
	r.t.Helper()
	records := r.read("refundguard-progress")
	var p struct {
		Streams []struct {
			Stream     string `json:"stream"`
			Partitions []struct {
				Decided int64 `json:"decided"`
			} `json:"partitions"`
		} `json:"streams"`
	}
	if err := json.Unmarshal(records[len(records)-1].Value, &p); err != nil {
		r.t.Fatal(err)
	}
	for _, st := range p.Streams {
		of := pipeline.StateStream{Stream: st.Stream}
		for _, part := range st.Partitions {
			of.Decided = append(of.Decided, part.Decided)
		}
		all = append(all, of)
	}
	return all
}
