package pipeline_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/store"
	"github.com/refundguard/refundguard/rules/engine"
)

func TestALookAtTheState(t *testing.T) {
	r := newHeld(t, 1, 1)
	r.cfg.State.Dir = t.TempDir()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	if _, err := pipeline.OpenState(r.cfg, log); !errors.Is(err, pipeline.ErrNoState) {
		t.Errorf("of an empty folder: %v", err)
	}
	r.send("transactions", 0, tx("t1", "ann", "100", 0))
	r.send("transactions", 0, func() fields { f := tx("t1", "ann", "100", time.Minute); f["status"] = "settled"; return f }())
	r.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
	in := r.run()
	r.until("decided", func() bool { return in.Balance().Read == 1 })
	if _, err := pipeline.OpenState(r.cfg, log); !errors.Is(err, store.ErrInUse) {
		t.Errorf("while it is in use: %v", err)
	}
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	s, err := pipeline.OpenState(r.cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	info := s.Info()
	if info.Balance.Approved != 1 || info.TransactionalID != "refundguard" || len(info.Contents.Series) != 1 ||
		info.Contents.Series[0].Name != "refunds.by(customer_id)" {
		t.Errorf("%+v, %+v", info, info.Contents)
	}
	var got []engine.SavedEntry
	if err := s.Each(func(e engine.SavedEntry) error { e.Bytes, e.Day = 0, ""; got = append(got, e); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, want := range []engine.SavedEntry{
		{Kind: "id", Of: "refunds", ID: "X"},
		{Kind: "transaction", Of: "transactions", ID: "t1"},
		{Kind: "update", Of: "transactions", ID: "t1", Status: "settled"},
		{Kind: "refunded", ID: "t1", Amount: "60.00", Currency: "USD"},
		{Kind: "window", Of: "refunds.by(customer_id)", Key: []string{"ann"}, Events: 1},
	} {
		if !slices.ContainsFunc(got, func(e engine.SavedEntry) bool {
			return slices.Equal(e.Key, want.Key) && e.Kind == want.Kind && e.Of == want.Of && e.ID == want.ID && e.Status == want.Status && e.Currency == want.Currency && e.Events == want.Events
		}) {
			t.Errorf("%+v is not in %+v", want, got)
		}
	}
	if n, err := s.Verify(); err != nil || n != 4 {
		t.Errorf("verified %d keys: %v", n, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(r.cfg.State.Dir, "db", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	for _, path := range tables {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[10] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if s, err = pipeline.OpenState(r.cfg, log); err == nil {
		_, err = s.Verify()
		err = errors.Join(err, s.Close())
	}
	if err == nil {
		t.Error("a damaged folder is fine")
	}
}
