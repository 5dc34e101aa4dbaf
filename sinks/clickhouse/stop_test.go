package clickhouse_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kgo"
)

// slowDoor forwards to a server, whose answers take long once it is asked to.
type slowDoor struct {
	net.Listener
	slow atomic.Bool
	mu   sync.Mutex
	open []net.Conn
}

func newSlowDoor(t *testing.T, server string) *slowDoor {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &slowDoor{Listener: listener}
	t.Cleanup(d.close)
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				in.Close()
				continue
			}
			d.mu.Lock()
			d.open = append(d.open, in, out)
			d.mu.Unlock()
			go func() { io.Copy(out, in); out.Close() }()
			go func() { io.Copy(answers{d, in}, out); in.Close() }()
		}
	}()
	return d
}

func (d *slowDoor) close() {
	d.Listener.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.open {
		c.Close()
	}
}

type answers struct {
	door *slowDoor
	to   net.Conn
}

func (a answers) Write(p []byte) (int, error) {
	if a.door.slow.Load() {
		time.Sleep(time.Second)
	}
	return a.to.Write(p)
}

// A sink that is told to stop while a batch is under way, written perhaps, must
// leave word of it: its successor's batches would overlap with it otherwise.
func TestStoppedWithinABatch(t *testing.T) {
	w := newWorld(t, server(t))
	direct := w.cfg
	door := newSlowDoor(t, w.cfg.Addr[0])
	w.cfg.Addr = []string{door.Addr().String()}
	w.cfg.BatchRows, w.cfg.BatchInterval = 5, time.Minute // full batches only
	produce := func(n int) {
		var records []*kgo.Record
		for range n {
			r := w.decision(w.produced)
			r.Key = []byte("one partition")
			records = append(records, r)
			w.produced++
		}
		w.transaction(kgo.TryCommit, records...)
	}
	_, stop := w.start()
	w.cfg.Addr = direct.Addr
	anywhere, err := ch.Open(&ch.Options{Addr: w.cfg.Addr, Auth: ch.Auth{Username: w.cfg.Username, Password: w.cfg.Password}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { anywhere.Close() })
	stored := func(n uint64) {
		w.wait("rows", func() bool {
			var rows uint64
			query := "SELECT sum(rows) FROM system.parts WHERE active AND table = 'hits' AND database = '" + w.cfg.Database + "'"
			if err := anywhere.QueryRow(t.Context(), query).Scan(&rows); err != nil {
				t.Fatal(err)
			}
			return rows >= n
		})
	}
	produce(5)
	stored(10)
	time.Sleep(time.Second) // the decisions follow their hits
	door.slow.Store(true)
	produce(5)
	stored(20) // and for a second the sink can't know
	stop()

	w.cfg.BatchRows, w.cfg.BatchInterval = direct.BatchRows, direct.BatchInterval
	produce(7)
	s, _ := w.start()
	w.drain(s)
	w.expectDecisions(17)
}
