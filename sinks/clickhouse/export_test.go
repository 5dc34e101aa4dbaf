package clickhouse

import (
	"context"
	"errors"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/refundguard/refundguard/rules/event"
)

// SlowColumns are those of all tables that the driver has to write.
func SlowColumns(typeOf func(table, column string) string) (slow []string) {
	slow = append(slow, slowColumns(decisions(), typeOf)...)
	slow = append(slow, slowColumns(hits(), typeOf)...)
	slow = append(slow, slowColumns(alerts(), typeOf)...)
	slow = append(slow, slowColumns(labels(), typeOf)...)
	slow = append(slow, slowColumns(cases(), typeOf)...)
	slow = append(slow, slowColumns(statuses(), typeOf)...)
	slow = append(slow, slowColumns(deadLetters(), typeOf)...)
	slow = append(slow, slowColumns(unreadable(), typeOf)...)
	for _, stream := range inputs(event.Builtin(), true) {
		slow = append(slow, slowColumns(input(stream), typeOf)...)
	}
	return slow
}

func slowColumns[T any](t *table[T], typeOf func(table, column string) string) (slow []string) {
	for i := range t.columns {
		name := t.columns[i].name
		if as := typeOf(t.name, name); t.columns[i].wire(proto.ColumnType(as)) == nil {
			slow = append(slow, t.name+"."+name+" "+as)
		}
	}
	return slow
}

// Refresh computes at most n of the hours whose rollups are stale, as if
// committed at a time that the test chooses: what is committed just now counts a
// little later only.
func (s *Sink) Refresh(ctx context.Context, n int, committed time.Time) error {
	r := &refresher{to: s.target()}
	hours, err := r.stale(ctx)
	for hours = hours[:min(n, len(hours))]; err == nil && len(hours) > 0; {
		some := min(len(hours), hoursAtOnce)
		err = r.compute(ctx, hours[:some], committed)
		hours = hours[some:]
	}
	return err
}

// KeepOld is what a pass does where rows are deleted at an age.
func (s *Sink) KeepOld(ctx context.Context, age time.Duration) error {
	return (&refresher{to: s.target(), keep: age}).keepOld(ctx)
}

// CleanRollups deletes the rows of rollups that no view reads.
func (s *Sink) CleanRollups(ctx context.Context) error {
	return (&refresher{to: s.target()}).clean(ctx)
}

// EraseInterrupted is Erase that ends with an error after one of the tables.
func EraseInterrupted(ctx context.Context, cfg Config, customers []string, after string) error {
	_, err := erase(ctx, cfg, customers, false, func(table string) error {
		if table == after {
			return errors.New("interrupted after " + table)
		}
		return nil
	})
	return err
}

// ErasureTables are the tables that Erase has a policy for, in its order.
func ErasureTables() (tables []string) {
	for _, p := range erasures {
		tables = append(tables, p.table)
	}
	return tables
}
