package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	chgo "github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
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
	wire func(proto.ColumnType) writer[T]    // the fast way, by the column's type: see wire.go
	add  func(driver.BatchColumn, []T) error // by the driver: another type, or over HTTP
}

func each[T, V any](name string, value func(*T) V) column[T] {
	return column[T]{name, write(value), func(c driver.BatchColumn, rows []T) error {
		values := make([]V, len(rows))
		for i := range rows {
			values[i] = value(&rows[i])
		}
		return c.Append(values)
	}}
}

// one is for columns of arrays and maps, where the driver is faster row by row.
func one[T, V any](name string, value func(*T) V) column[T] {
	return column[T]{name, write(value), func(c driver.BatchColumn, rows []T) error {
		for i := range rows {
			if err := c.AppendRow(value(&rows[i])); err != nil {
				return err
			}
		}
		return nil
	}}
}

// mapping is for a map, whose keys are different.
func mapping[T any](name string, pairs func(row *T, add func(key, value string))) column[T] {
	c := one(name, func(r *T) map[string]string {
		m := make(map[string]string)
		pairs(r, func(key, value string) { m[key] = value })
		return m
	})
	c.wire = writePairs(pairs)
	return c
}

func moment[T any](name string, ms func(*T) int64) column[T] {
	c := each(name, func(r *T) int64 { return storable(ms(r)) })
	c.wire = writeEach(typeMoment, func(r *T) int64 { return storable(ms(r)) }, (*wire).int64)
	return c
}

// momentOrNull is a time that may be missing.
func momentOrNull[T any](name string, ms func(*T) (at int64, ok bool)) column[T] {
	c := each(name, func(r *T) *int64 {
		at, ok := ms(r)
		if !ok {
			return nil
		}
		at = storable(at)
		return &at
	})
	c.wire = writeNullable(typeMoment, func(r *T) (int64, bool) {
		at, ok := ms(r)
		return storable(at), ok
	}, (*wire).int64)
	return c
}

// moneyOrNull is an amount that may be missing.
func moneyOrNull[T any](name string, amount func(*T) (m event.Money, ok bool)) column[T] {
	c := each(name, func(r *T) *decimal.Decimal {
		m, ok := amount(r)
		if !ok {
			return nil
		}
		d := decimal.New(int64(m), -4)
		return &d
	})
	c.wire = writeNullable(typeMoney, func(r *T) (int64, bool) {
		m, ok := amount(r)
		return int64(m), ok
	}, (*wire).int64)
	return c
}

func money[T any](name string, amount func(*T) event.Money) column[T] {
	c := each(name, func(r *T) decimal.Decimal { return decimal.New(int64(amount(r)), -4) })
	c.wire = writeEach(typeMoney, func(r *T) int64 { return int64(amount(r)) }, (*wire).int64)
	return c
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
	native   *native // nil: rows go over conn
	database string
	cluster  string // the tables are distributed over its; "": one server
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
		query := "INSERT INTO " + to.name(t.name) + " (" + strings.Join(names, ", ") + ")"
		return fault("insert into "+t.name, t.send(ctx, to, query, rows, token))
	}
	return l
}

// any reports whether the table has rows of these records already.
func (l *load) any(ctx context.Context, in target, topic string, partition int32, c span) (found bool, err error) {
	query := "SELECT count() > 0 FROM " + in.name(l.table) +
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

// settings are those of an insert.
func (to *target) settings(token string) ch.Settings {
	settings := ch.Settings{
		"async_insert": 0, "insert_deduplicate": 1, "insert_deduplication_token": token,
		// Repeats within a block are rare and go with the next merge; looking
		// for them at each insert took most of the server's time.
		"optimize_on_insert": 0,
		// Without it a materialized view gets a batch again that its table has
		// dropped as a repeat, or never gets one that failed in the view.
		"deduplicate_blocks_in_dependent_materialized_views": 1,
	}
	if to.cluster != "" {
		settings["distributed_foreground_insert"] = 1 // an answer means that the shards have the rows
	}
	return settings
}

func (t *table[T]) send(ctx context.Context, to target, query string, rows []T, token string) error {
	columns, err := t.wired(ctx, to, rows)
	if err != nil {
		return err
	}
	if columns != nil {
		var options []chgo.Setting
		for key, value := range to.settings(token) {
			options = append(options, chgo.Setting{Key: key, Value: fmt.Sprint(value), Important: true})
		}
		return to.native.insert(ctx, query+" VALUES", t.name, options, columns)
	}
	ctx = ch.Context(ctx, ch.WithSettings(to.settings(token)))
	batch, err := to.conn.PrepareBatch(ctx, query)
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

// wired are the columns of rows as they can be sent the fast way; nil where they
// can't, because of the protocol or of a column that somebody has changed.
func (t *table[T]) wired(ctx context.Context, to target, rows []T) (proto.Input, error) {
	if to.native == nil {
		return nil, nil
	}
	types, err := to.native.typesOf(ctx, to, t.name)
	if err != nil {
		return nil, err
	}
	columns := make(proto.Input, len(t.columns))
	for i := range t.columns {
		c := &t.columns[i]
		write := c.wire(types[c.name])
		if write == nil {
			return nil, nil
		}
		columns[i] = proto.InputColumn{Name: c.name, Data: &wireColumn[T]{rows, types[c.name], write}}
	}
	return columns, nil
}

// columnError is a value that the driver can't write into the column that the
// table has; nothing was sent.
type columnError struct {
	column string
	err    error
}

func (e *columnError) Error() string { return "column " + e.column + ": " + e.err.Error() }
func (e *columnError) Unwrap() error { return e.err }
