package clickhouse_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/sinks"
	"github.com/refundguard/refundguard/sinks/clickhouse"
)

// produceAll writes decisions, alerts and dead letters.
func (w *world) produceAll(n int) {
	w.t.Helper()
	w.produceDecisions(n)
	var records []*kgo.Record
	for range n/10 + 1 {
		i := len(records) + 1000*w.produced
		records = append(records, alert(i), deadLetter(i))
	}
	w.transaction(kgo.TryCommit, records...)
}

// retries is how many tries have failed.
func (w *world) retries() (n float64) {
	w.t.Helper()
	for _, reason := range sinks.Reasons() {
		n += w.metric(`refundguard_clickhouse_retries_total{reason="` + string(reason) + `"}`)
	}
	return n
}

// failing waits until more tries have failed, and Ready says why.
func (w *world) failing(s *clickhouse.Sink, why string) {
	w.t.Helper()
	before := w.retries()
	w.wait("failed tries: "+why, func() bool { return w.retries() >= before+4 })
	w.wait("Ready to say "+why, func() bool { err := s.Ready(); return err != nil && strings.Contains(err.Error(), why) })
}

// logged collects what the sink logs.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// Whatever stands between the sink and the server, or befalls it, in the end
// tables and rollups have what the topics have.
func TestOutages(t *testing.T) {
	slow(t)
	for name, outage := range map[string]func(*world, *door, *clickhouse.Sink){
		"refused": func(w *world, d *door, s *clickhouse.Sink) {
			d.shut()
			w.produceAll(300)
			w.failing(s, "unreachable")
			d.open()
		},
		"slow": func(w *world, d *door, s *clickhouse.Sink) {
			d.slow.Store(int64(300 * time.Millisecond))
			w.produceAll(300)
			w.produceAll(300)
			d.slow.Store(int64(time.Minute)) // slower than the timeout
			w.produceAll(100)
			w.failing(s, "timeout")
			d.slow.Store(0)
			d.cut() // with what is kept back
		},
		"broken in the middle of an insert": func(w *world, d *door, s *clickhouse.Sink) {
			for range 12 {
				cuts := make(chan bool)
				d.after(1+rand.Int64N(20_000), func() { d.cut(); close(cuts) })
				w.produceAll(100)
				w.wait("the middle", func() bool {
					select {
					case <-cuts:
						return true
					default:
						w.produceAll(5)
						return false
					}
				})
			}
		},
		"answers swallowed": func(w *world, d *door, s *clickhouse.Sink) {
			for range 3 {
				d.mute.Store(true)
				w.produceAll(60)
				w.failing(s, "timeout")
				d.mute.Store(false)
				d.cut()
			}
		},
		"network errors at random": func(w *world, d *door, s *clickhouse.Sink) {
			d.harm.Store(120) // of a thousand chunks, of which an insert has few
			for range 40 {
				w.produceAll(20)
			}
			w.wait("broken connections", func() bool {
				enough := d.cuts.Load() >= 20
				if !enough {
					w.produceAll(5) // what is sent breaks, and what is stored already isn't sent
				}
				return enough
			})
			d.harm.Store(0)
		},
		"server errors at random": serverErrors,
		"no space left": func(w *world, d *door, s *clickhouse.Sink) {
			w.exec("ALTER TABLE decisions MODIFY SETTING min_free_disk_bytes_to_perform_insert = 1000000000000000000")
			w.produceAll(300)
			w.failing(s, "no_space")
			w.exec("ALTER TABLE decisions RESET SETTING min_free_disk_bytes_to_perform_insert")
		},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "broken in the middle of an insert" {
				t.Skip("takes seconds")
			}
			w := newWorld(t, ownServer(t))
			w.addRollups()
			direct := w.cfg.Addr
			d := newDoor(t, direct[0])
			w.cfg.Addr = []string{d.addr}
			w.cfg.BatchRows, w.cfg.Timeout = 40, time.Second
			w.log = slog.New(slog.DiscardHandler)
			s, _ := w.start()
			w.cfg.Addr = direct
			w.produceAll(100)
			w.drain(s)
			outage(w, d, s)
			w.produceAll(100)
			w.drain(s)
			w.audit(nil)
			w.wait("Ready", func() bool { return s.Ready() == nil })
			if got := w.metric(`refundguard_clickhouse_refused_total{topic="refund-decisions"}`); got != 0 {
				t.Errorf("%v records were given up", got)
			}
		})
	}
}

// serverErrors makes the server itself fail: inserts are cancelled, tables are
// away, full of parts, out of space, out of memory.
func serverErrors(w *world, _ *door, s *clickhouse.Sink) {
	tables := []string{"decisions", "hits", "alerts", "dead_letters", "per_day", "per_rule"}
	for range 12 {
		table := tables[rand.IntN(len(tables))]
		do, undo := "RENAME TABLE "+table+" TO away", "RENAME TABLE away TO "+table
		switch rand.IntN(4) {
		case 0:
			do, undo = "ALTER TABLE "+table+" MODIFY SETTING max_parts_in_total = 1", "ALTER TABLE "+table+" RESET SETTING max_parts_in_total"
		case 1:
			do, undo = "ALTER TABLE "+table+" MODIFY SETTING min_free_disk_bytes_to_perform_insert = 1000000000000000000", "ALTER TABLE "+table+" RESET SETTING min_free_disk_bytes_to_perform_insert"
		case 2:
			do = "KILL QUERY WHERE query LIKE 'INSERT INTO " + w.cfg.Database + ".%' SYNC"
			undo = do
		}
		w.exec(do)
		before := w.retries()
		for i := 0; i < 20 && w.retries() == before; i++ {
			w.produceAll(20)
		}
		w.exec(undo)
	}
	if w.retries() == 0 {
		w.t.Error("nothing has failed")
	}
}

// While ClickHouse has no space this is said once, in words that help.
func TestNoSpaceIsSaid(t *testing.T) {
	w := newWorld(t, server(t))
	if _, err := clickhouse.Migrate(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
	w.exec("ALTER TABLE alerts MODIFY SETTING min_free_disk_bytes_to_perform_insert = 1000000000000000000")
	var log logged
	w.log = slog.New(slog.NewTextHandler(&log, nil))
	s, _ := w.start()
	w.transaction(kgo.TryCommit, alert(1))
	w.produceDecisions(100)
	w.failing(s, "no_space")
	if n := w.metric(`refundguard_clickhouse_retries_total{reason="no_space"}`); n < 4 {
		t.Errorf("the metric says %v", n)
	}
	if !log.has("no_space: code: 243") || !log.has("free some") {
		t.Errorf("the log: %s", log.text.String())
	}
	// The other topics don't wait.
	w.wait("decisions", func() bool { return w.query("SELECT count() FROM decisions") == "100" })
	w.exec("ALTER TABLE alerts RESET SETTING min_free_disk_bytes_to_perform_insert")
	w.drain(s)
	w.audit(nil)
	if !log.has("works again") {
		t.Errorf("the log: %s", log.text.String())
	}
}

func TestServerThatIsKilledInTheMiddleOfAnInsert(t *testing.T) {
	engine, again := restartable(t)
	w := newWorld(t, engine)
	w.addRollups()
	d := newDoor(t, engine.Addr())
	direct := w.cfg.Addr
	w.cfg.Addr = []string{d.addr}
	w.cfg.BatchRows = 40
	w.log = slog.New(slog.DiscardHandler)
	s, _ := w.start()
	w.cfg.Addr = direct
	for range 4 {
		var killed atomic.Bool
		d.after(1+rand.Int64N(80_000), func() { engine.Kill(); killed.Store(true) })
		w.wait("the middle", func() bool { w.produceAll(50); return killed.Load() })
		w.produceAll(50)
		w.wait("Ready to say so", func() bool { return s.Ready() != nil })
		engine = again()
	}
	defer engine.Close()
	w.drain(s)
	w.audit(nil)
	t.Log(fmt.Sprint(w.produced), "decisions,", w.retries(), "failed tries")
}
