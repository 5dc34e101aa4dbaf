package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"

	"github.com/refundguard/refundguard/rules/event"
)

// table says how rows of type T are written to a table.
type table[T any] struct {
	name    string
	time    string         // column that the table is partitioned by
	ms      func(*T) int64 // its value
	columns []column[T]
}

func (t *table[T]) at(row *T) int64 { return storable(t.ms(row)) }

// column adds one column of rows to a batch. Columns, not rows: the driver is
// several times faster so.
type column[T any] struct {
	name string
	add  func(driver.BatchColumn, []T) error
}

func each[T, V any](name string, value func(*T) V) column[T] {
	return column[T]{name, func(c driver.BatchColumn, rows []T) error {
		values := make([]V, len(rows))
		for i := range rows {
			values[i] = value(&rows[i])
		}
		return c.Append(values)
	}}
}

// one is for columns of arrays and maps, where the driver is faster row by row.
func one[T, V any](name string, value func(*T) V) column[T] {
	return column[T]{name, func(c driver.BatchColumn, rows []T) error {
		for i := range rows {
			if err := c.AppendRow(value(&rows[i])); err != nil {
				return err
			}
		}
		return nil
	}}
}

func moment[T any](name string, ms func(*T) int64) column[T] {
	return each(name, func(r *T) int64 { return storable(ms(r)) })
}

func money[T any](name string, amount func(*T) event.Money) column[T] {
	return each(name, func(r *T) decimal.Decimal { return decimal.New(int64(amount(r)), -4) })
}

// storable is the nearest time that DateTime64 holds and the driver, which
// counts nanoseconds, can write. An event's time is
// whatever its sender wrote.
func storable(ms int64) int64 {
	return min(max(ms, -2208988800000), 9214646399999) // 1900 to 2261
}

// target is where tables are.
type target struct {
	conn     driver.Conn
	database string
}

// load is one insert: rows of one table.
type load struct {
	table string
	rows  int
	// insert writes the rows so that the same ones under the same token are
	// written once, however often this is called. After an error they may be
	// written or not.
	insert func(ctx context.Context, to target, token string) error
	// within is a condition that all rows fulfil, and that few others do.
	within string
	months func() []load // the same rows, as they are kept: month by month
}

func newLoad[T any](t *table[T], rows []T) load {
	l := load{table: t.name, rows: len(rows)}
	if len(rows) == 0 {
		return l
	}
	from, to := t.at(&rows[0]), t.at(&rows[0])
	for i := range rows {
		from, to = min(from, t.at(&rows[i])), max(to, t.at(&rows[i]))
	}
	l.within = fmt.Sprintf("%s BETWEEN fromUnixTimestamp64Milli(%d, 'UTC') AND fromUnixTimestamp64Milli(%d, 'UTC')", t.time, from, to)
	l.months = func() (months []load) {
		byMonth := make(map[int][]T)
		for i := range rows {
			m := month(t.ms(&rows[i]))
			byMonth[m] = append(byMonth[m], rows[i])
		}
		for _, m := range slices.Sorted(maps.Keys(byMonth)) {
			months = append(months, newLoad(t, byMonth[m]))
		}
		return months
	}
	l.insert = func(ctx context.Context, to target, token string) error {
		names := make([]string, len(t.columns))
		for i := range t.columns {
			names[i] = t.columns[i].name
		}
		query := "INSERT INTO " + to.database + "." + t.name + " (" + strings.Join(names, ", ") + ")"
		return fault("insert into "+t.name, t.send(ctx, to.conn, query, rows, token))
	}
	return l
}

// any reports whether the table has rows of these records already.
func (l *load) any(ctx context.Context, in target, topic string, partition int32, c span) (found bool, err error) {
	query := "SELECT count() > 0 FROM " + in.database + "." + l.table +
		" WHERE " + l.within + " AND kafka_topic = ? AND kafka_partition = ? AND kafka_offset BETWEEN ? AND ?"
	err = in.conn.QueryRow(ctx, query, topic, partition, c.from, c.to).Scan(&found)
	return found, fault("look for rows in "+l.table, err)
}

// restore writes what a repeated insert should have found there and didn't. A
// server notes a token before it has the rows: one that is killed in between
// drops every repeat as known.
func (l *load) restore(ctx context.Context, in target, topic string, partition int32, c span, token string) error {
	for _, m := range l.months() {
		for n := 1; ; n++ {
			found, err := m.any(ctx, in, topic, partition, c)
			if err != nil {
				return err
			}
			if found {
				break
			}
			if err := m.insert(ctx, in, fmt.Sprintf("%s-%d", token, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *table[T]) send(ctx context.Context, conn driver.Conn, query string, rows []T, token string) error {
	ctx = ch.Context(ctx, ch.WithSettings(ch.Settings{
		"async_insert": 0, "insert_deduplicate": 1, "insert_deduplication_token": token,
		// Repeats within a block are rare and go with the next merge; looking
		// for them at each insert took most of the server's time.
		"optimize_on_insert": 0,
		// Without it a materialized view gets a batch again that its table has
		// dropped as a repeat, or never gets one that failed in the view.
		"deduplicate_blocks_in_dependent_materialized_views": 1,
	}))
	batch, err := conn.PrepareBatch(ctx, query)
	if err != nil {
		return err
	}
	defer batch.Close()
	for i := range t.columns {
		if err := t.columns[i].add(batch.Column(i), rows); err != nil {
			return &columnError{t.columns[i].name, err}
		}
	}
	return batch.Send()
}

// columnError is a value that the driver can't write into the column that the
// table has; nothing was sent.
type columnError struct {
	column string
	err    error
}

func (e *columnError) Error() string { return "column " + e.column + ": " + e.err.Error() }
func (e *columnError) Unwrap() error { return e.err }
