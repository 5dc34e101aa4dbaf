package fault

import (
	"context"
	"encoding/json"
	"fmt"
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
	seen  time.Time
	count int
	wrong error // a record that doesn't read, or a balance that doesn't hold
}

func watch(t *testing.T, brokers []string) *watcher {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.AlwaysRetryEOF(), kgo.ConsumeTopics("refundguard-progress"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.MetadataMaxAge(2*time.Second), kgo.FetchMaxWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{}
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
	if err != nil && w.wrong == nil {
		w.wrong = err
	}
	w.last, w.seen = p, time.Now()
	w.count++
}

// after is when the first epoch that was closed at a time or later was seen
// to be committed; zero if there is none yet.
func (w *watcher) after(t time.Time) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last.At > t.UnixMilli() {
		return w.seen
	}
	return time.Time{}
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
