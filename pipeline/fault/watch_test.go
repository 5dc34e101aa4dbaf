package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/integration/model"
)

// watcher reads the committed progress as it comes.
type watcher struct {
	mu    sync.Mutex
	last  model.Progress
	seen  []sighting
	wrote map[writer]bool
	wrong error // a record that doesn't read or that nobody may have written, or a balance that doesn't hold
}

// sighting is an epoch, and when it was seen to be committed.
type sighting struct {
	model.Progress
	at time.Time
}

// writer is an instance between two recoveries.
type writer = struct {
	Instance string
	Session  int64
}

func watch(t *testing.T, brokers []string) *watcher {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.AlwaysRetryEOF(), kgo.ConsumeTopics("refundguard-progress"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.MetadataMaxAge(2*time.Second), kgo.FetchMaxWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{wrote: make(map[writer]bool)}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			client.PollFetches(ctx).EachRecord(w.see) // errors are our own faults
		}
	}()
	t.Cleanup(func() {
		stop()
		<-done
		client.Close()
	})
	return w
}

func (w *watcher) see(r *kgo.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var p model.Progress
	err := json.Unmarshal(r.Value, &p)
	if err == nil && !p.Balance.Holds() {
		err = fmt.Errorf("after the commit at offset %d the balance is %+v", r.Offset, p.Balance)
	}
	if err == nil && p.Balance.Read < w.last.Balance.Read {
		err = fmt.Errorf("at offset %d progress goes back from %+v to %+v", r.Offset, w.last.Balance, p.Balance)
	}
	if err == nil && p.Writer != w.last.Writer && w.wrote[p.Writer] {
		err = fmt.Errorf("at offset %d, epoch %d is of %s %+v, which %s %+v had replaced", r.Offset, p.Epoch, p.Host, p.Writer, w.last.Host, w.last.Writer)
	}
	if err != nil && w.wrong == nil {
		w.wrong = err
	}
	if p.Epoch != w.last.Epoch { // else a claim: the epoch before again, in a successor's name
		w.seen = append(w.seen, sighting{p, time.Now()})
	}
	w.wrote[p.Writer], w.last = true, p
}

// after is when the first epoch that was closed after a time, and not by this
// instance, was seen to be committed; the zero time if there is none yet.
func (w *watcher) after(t time.Time, but *instance) (at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range slices.Backward(w.seen) {
		if s.At <= t.UnixMilli() {
			break
		}
		if but == nil || !but.wrote(s.Progress) {
			at = s.at
		}
	}
	return at
}

func (w *watcher) now() model.Progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *watcher) fault() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wrong
}
