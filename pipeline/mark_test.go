package pipeline_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/refundguard/refundguard/pipeline"
)

// A leader may commit several epochs between the moment at which a standby looks
// for its progress and that at which it reads the journal; and of the last of them,
// the decisions may be readable before the progress is. What the standby saves
// then has all decisions that it says it has.
func TestReviewAStandbySavesNoOffsetsAheadOfItsState(t *testing.T) {
	slow(t)
	r := newStateful(t, time.Millisecond)
	r.cfg.Engine.TakeoverAfter = time.Minute
	var view, asked atomic.Int64 // the end of the progress as readers see it; 0: as it is
	r.c.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.c.KeepControl()
		q := req.(*kmsg.ListOffsetsRequest)
		if view.Load() == 0 || q.IsolationLevel != 1 || q.Topics[0].Topic != "refundguard-progress" || q.Topics[0].Partitions[0].Timestamp != -1 {
			return nil, nil, false
		}
		asked.Add(1)
		sp := kmsg.NewListOffsetsResponseTopicPartition()
		sp.Offset = view.Load()
		st := kmsg.NewListOffsetsResponseTopic()
		st.Topic, st.Partitions = q.Topics[0].Topic, append(st.Partitions, sp)
		resp := q.ResponseKind().(*kmsg.ListOffsetsResponse)
		resp.Topics = append(resp.Topics, st)
		return resp, nil, true
	})
	dir := t.TempDir()
	a := r.join(filepath.Join(dir, "a"))
	r.leader(a)
	type epoch struct {
		Epoch   int64
		Balance pipeline.Balance
		end     int64
	}
	epochs := func() (all []epoch) {
		was := view.Swap(0)
		defer view.Store(was)
		for _, rec := range r.read("refundguard-progress") {
			var e epoch
			if err := json.Unmarshal(rec.Value, &e); err != nil {
				t.Fatal(err)
			}
			e.end = rec.Offset + 1
			all = append(all, e)
		}
		return all
	}
	first := len(epochs()) - 1
	r.until("it goes on", func() bool { return len(epochs()) > first+4 })
	r.send("refunds", 0, refund("X", "", "ann", "60", time.Hour))
	r.until("X is decided", func() bool { return a.Balance().Read == 1 })
	all := epochs()
	of := first
	for all[of].Balance.Read == 0 {
		of++
	}

	see := func(n int) {
		view.Store(all[n].end)
	}
	see(first)
	b := r.join(filepath.Join(dir, "b"))
	r.until("b has begun", func() bool { return strings.Contains(fmt.Sprint(b.Ready()), "catching up") })
	before := asked.Load()
	r.until("b has looked", func() bool { return asked.Load() > before+2 })
	for _, n := range []int{first + 1, of - 1, of} {
		see(n)
		r.until("b follows", func() bool {
			return errors.Is(b.Ready(), pipeline.ErrStandby) && strings.HasSuffix(b.Ready().Error(), fmt.Sprint("at epoch ", all[n].Epoch))
		})
	}
	before = asked.Load()
	r.until("b has had time to save", func() bool { return asked.Load() > before+20 })
	if err := b.end(); err != nil {
		t.Fatal(err)
	}
	view.Store(0)
	b = r.join(filepath.Join(dir, "b"))
	r.standsBy(b)
	if err := a.end(); err != nil {
		t.Fatal(err)
	}
	r.leader(b)
	r.send("refunds", 0, refund("X", "", "ann", "60", time.Hour))
	r.until("it came again", func() bool { return b.Balance().Read == 2 })
	if d := r.decided()["X"]; len(d) != 1 || b.Balance().Duplicates != 1 {
		t.Errorf("X: %v, %+v", d, b.Balance())
	}
}
