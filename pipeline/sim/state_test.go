package sim

import (
	"bytes"
	"encoding/json"
	"log/slog"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/pipeline/integration/model"
	"github.com/refundguard/refundguard/pipeline/store"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// checkSaved holds the last state that was saved to the topics and the model: each
// case as its last record says, and what counts in refunded as the model says. It
// is of the last instance, which had the topics alone or an earlier state, too.
func (s *sim) checkSaved(c *model.Comparison) {
	last := model.LastProgress(s.t, topics{s})
	for _, m := range s.machines {
		st, err := store.OpenToRead(m.disk, stateDir, slog.New(slog.DiscardHandler))
		if err != nil || st.Meta() == nil {
			continue // nothing is there, or what a crash left
		}
		s.checkMachine(m, st, c, last.Epoch)
		if err := st.Close(); err != nil {
			s.t.Error(err)
		}
	}
}

func (s *sim) checkMachine(m *machine, st *store.Store, c *model.Comparison, epoch int64) {
	var saved struct {
		Progress struct{ Epoch int64 }
		Engine   json.RawMessage
	}
	if err := json.Unmarshal(st.Meta(), &saved); err != nil {
		s.t.Errorf("%s: %v", m.name, err)
		return
	}
	if saved.Progress.Epoch != epoch {
		return // an earlier one
	}
	schema, err := s.cfg.Schema()
	if err != nil {
		s.t.Fatal(err)
	}
	contents, err := engine.Inspect(saved.Engine, schema)
	if err != nil {
		s.t.Errorf("%s: %v", m.name, err)
		return
	}
	s.result.States++
	book, sums := map[string]*cases.Case{}, map[string]event.Money{}
	err = st.Scan([]byte{1}, nil, func(key, part []byte) error {
		one, id, err := cases.Entry(key, part)
		if err != nil || id != "" {
			if one != nil {
				book[id] = one
			}
			return err
		}
		e, err := contents.Entry(key, part)
		if e.Kind == "refunded" {
			sums[e.ID], _ = event.ParseMoney([]byte(e.Amount))
		}
		return err
	})
	if err != nil {
		s.t.Errorf("%s: %v", m.name, err)
	}
	s.checkBook(m, book)
	for tx, all := range c.Reserved {
		sum, mixed := event.Money(0), false
		for _, r := range all {
			sum += event.Money(r.Amount)
			mixed = mixed || r.Currency != all[0].Currency
		}
		if !mixed && sums[tx] != sum {
			s.t.Errorf("%s: %v of transaction %s count as refunded, %v should: %+v", m.name, sums[tx], tx, sum, all)
		}
	}
	for tx, sum := range sums {
		if len(c.Reserved[tx]) == 0 && sum != 0 {
			s.t.Errorf("%s: %v of transaction %s count as refunded, nothing should", m.name, sum, tx)
		}
	}
}

// checkBook compares cases with their last records.
func (s *sim) checkBook(m *machine, book map[string]*cases.Case) {
	told := map[string]*cases.Case{}
	for _, r := range s.read(casesTopic) {
		one, err := pipeline.ParseCase(r)
		if err != nil {
			s.t.Error(err)
			continue
		}
		told[one.RefundID] = one
	}
	for id, want := range told {
		got := book[id]
		if got == nil {
			s.t.Errorf("%s: no case of refund %s is saved", m.name, id)
			continue
		}
		if !got.Settled {
			s.t.Errorf("%s: what refund %s counts as is not in the state that is saved with it", m.name, id)
		}
		if got.Settled = false; !bytes.Equal(got.Append(nil), want.Append(nil)) {
			s.t.Errorf("%s: the case of refund %s is saved as %+v, and told as %+v", m.name, id, got, want)
		}
	}
	if len(book) > len(told) {
		s.t.Errorf("%s: %d cases are saved, %d were told of", m.name, len(book), len(told))
	}
}
