package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"

	"github.com/refundguard/refundguard/rules/event"
)

// table says how rows of type T are written to a table.
type table[T any] struct {
	name    string
	time    func(*T) int64 // what the table is partitioned by, in Unix milliseconds
	columns []column[T]
}

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

// An insert writes one part per month, and ClickHouse refuses more than 100.
// Times are the senders', so a batch may hold any number of months: it is
// written in pieces then, which the rows alone decide on.
const maxMonths = 50

func (t *table[T]) pieces(rows []T) [][]T {
	months := make(map[int]int)
	for i := range rows {
		months[t.month(&rows[i])] = 0
	}
	if len(months) <= maxMonths {
		return [][]T{rows}
	}
	order := make([]int, 0, len(months))
	for m := range months {
		order = append(order, m)
	}
	slices.Sort(order)
	for i, m := range order {
		months[m] = i / maxMonths
	}
	pieces := make([][]T, (len(order)-1)/maxMonths+1)
	for i := range rows {
		p := months[t.month(&rows[i])]
		pieces[p] = append(pieces[p], rows[i])
	}
	return pieces
}

func (t *table[T]) month(row *T) int {
	at := time.UnixMilli(storable(t.time(row))).UTC()
	return at.Year()*12 + int(at.Month())
}

// target is where tables are.
type target struct {
	conn     driver.Conn
	database string
}

// insert writes rows so that the same rows under the same token are written
// once, however often this is called. After an error they may be written or
// not.
func (t *table[T]) insert(ctx context.Context, to target, rows []T, token string) error {
	if len(rows) == 0 {
		return nil
	}
	names := make([]string, len(t.columns))
	for i := range t.columns {
		names[i] = t.columns[i].name
	}
	query := "INSERT INTO " + to.database + "." + t.name + " (" + strings.Join(names, ", ") + ")"
	pieces := t.pieces(rows)
	for i, piece := range pieces {
		id := token
		if len(pieces) > 1 {
			id = fmt.Sprintf("%s-%d/%d", token, i+1, len(pieces))
		}
		if err := t.send(ctx, to.conn, query, piece, id); err != nil {
			return fault("insert into "+t.name, err)
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
	}))
	batch, err := conn.PrepareBatch(ctx, query)
	if err != nil {
		return err
	}
	defer batch.Close()
	for i := range t.columns {
		if err := t.columns[i].add(batch.Column(i), rows); err != nil {
			return fmt.Errorf("column %s: %w", t.columns[i].name, err)
		}
	}
	return batch.Send()
}
