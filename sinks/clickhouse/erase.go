package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Erased is what Erase did, or would do, with a customer's rows in one table.
type Erased struct {
	Table  string `json:"table"`
	Rows   uint64 `json:"rows"`
	Action string `json:"action"` // delete, blank; missing: the schema is older than this table
}

// What happens to rows.
const (
	erasesRows    = "delete"
	erasesColumns = "blank"
	erasesNothing = "missing"
)

// erasures says for every table what becomes of a customer's rows. What counts
// of refunds and money are made of is blanked, so that they stay true: who it
// was goes, what was decided stays. What was sent, what the customer was told, and what
// couldn't be read is in no count, and is deleted. Ids of refunds and
// transactions stay where rows are blanked: tables are sorted and joined by
// them, and without the rest nobody can be found by them here.
//
// The order is that in which it is done: what names no customer comes first,
// as it is found by way of the others, and what most is found by comes last. So
// who repeats it after an interruption finds what is left.
var erasures = []struct {
	table string
	blank []string // columns; none: its rows are deleted
}{
	{ledgerResultsTable, []string{"error", "custom", "raw"}},
	{labelsTable, []string{"by", "note", "raw"}},
	{deadLettersTable, nil},
	{unreadableTable, nil},
	{statusesTable, nil},
	{alertsTable, []string{"customer_id", "device_id", "instrument_id", "message", "raw"}},
	{hitsTable, []string{"customer_id", "message"}},
	{refundsTable, nil},
	// Ids of snoozes and holds may be made of whom they are for.
	{decisionsTable, []string{"customer_id", "original_instrument_id", "features", "controls", "raw"}},
	{casesTable, []string{"customer_id", "raw"}},
	{transactionsTable, nil},
}

// Erase removes a customer from all tables, or says, if dry, what there is to
// remove. Customers are all values that stand for one person: the id and its
// pseudonym. It can be interrupted and repeated; rows that are written
// meanwhile, and what is still in Kafka, want another run. What was erased
// before an error is returned with it.
func Erase(ctx context.Context, cfg Config, customers []string, dry bool) ([]Erased, error) {
	return erase(ctx, cfg, customers, dry, func(string) error { return nil })
}

// erase calls done after each table.
func erase(ctx context.Context, cfg Config, customers []string, dry bool, done func(table string) error) ([]Erased, error) {
	if len(customers) == 0 {
		return nil, errors.New("erase: no customer is named")
	}
	for _, c := range customers {
		if c == "" || !utf8.ValidString(c) {
			return nil, fmt.Errorf("erase customer %q: an id is text that isn't empty: empty are all guests'", c)
		}
	}
	e := &eraser{cfg: cfg, to: target{database: cfg.Database, cluster: cfg.Cluster}, customers: customers}
	if err := e.open(ctx, dry); err != nil {
		return nil, err
	}
	defer e.conn.Close()
	if err := e.collect(ctx); err != nil {
		return nil, err
	}
	var all []Erased
	for _, p := range erasures {
		did, err := e.table(ctx, p.table, p.blank, dry)
		if err != nil {
			return all, err
		}
		all = append(all, did)
		if p.table == decisionsTable && !dry {
			if err := e.touch(ctx); err != nil {
				return all, err
			}
		}
		if err := done(p.table); err != nil {
			return all, err
		}
	}
	return all, nil
}

// eraseWait bounds the wait for one change of a table, which may have to write
// months of it anew.
const eraseWait = 12 * time.Hour

// eraseIDs is how many ids one statement names at most: over HTTP a server takes
// parameters of 128 KiB.
const eraseIDs = 200

type eraser struct {
	cfg       Config
	to        target
	conn      driver.Conn
	columns   map[string][]string // by table
	customers []string

	named        []string // refunds that rows of the customer name
	refunds      []string // of these, those that are nobody else's
	transactions []string // likewise
}

// open connects. To look takes no right to change anything.
func (e *eraser) open(ctx context.Context, dry bool) (err error) {
	if dry {
		if e.conn, err = OpenReader(ctx, e.cfg); err != nil {
			return err
		}
	} else {
		opts, err := e.cfg.checkedOptions()
		if err != nil {
			return err
		}
		opts.ReadTimeout = eraseWait
		if e.cfg.Cluster != "" {
			opts.Settings["distributed_ddl_task_timeout"] = int(eraseWait.Seconds())
		}
		if e.conn, err = ch.Open(opts); err != nil {
			return fault("connect", err)
		}
		if err := e.mayErase(ctx); err != nil {
			e.conn.Close()
			return err
		}
	}
	if err := e.readColumns(ctx); err != nil {
		e.conn.Close()
		return err
	}
	return nil
}

// mayErase asks before anything is changed.
func (e *eraser) mayErase(ctx context.Context) error {
	if err := fault("connect to database "+e.cfg.Database, e.conn.Ping(ctx)); err != nil {
		return err
	}
	if err := writable(e.conn.QueryRow(ctx, asksWhetherReadonly), e.cfg.Username); err != nil {
		return err
	}
	rights := []string{"SELECT", "INSERT", "ALTER UPDATE", "ALTER DELETE"}
	if e.cfg.Cluster != "" {
		rights = append(rights, "CLUSTER")
	}
	var faults []error
	for _, right := range rights {
		faults = append(faults, granted(ctx, e.conn, e.cfg, right))
	}
	return errors.Join(faults...)
}

func (e *eraser) readColumns(ctx context.Context) error {
	op := "read the columns of database " + e.cfg.Database
	rows, err := e.conn.Query(ctx, "SELECT table, name FROM system.columns WHERE database = ?", e.cfg.Database)
	if err != nil {
		return fault(op, err)
	}
	defer rows.Close()
	e.columns = make(map[string][]string)
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			return fault(op, err)
		}
		e.columns[table] = append(e.columns[table], column)
	}
	if err := rows.Err(); err != nil {
		return fault(op, err)
	}
	if e.columns[decisionsTable] == nil {
		return databaseOrTablesMissing(ctx, e.conn, e.cfg.Database)
	}
	return nil
}

// databaseOrTablesMissing says why there is no table decisions.
func databaseOrTablesMissing(ctx context.Context, conn driver.Conn, database string) error {
	if err := databaseThere(ctx, conn, database); err != nil {
		return err
	}
	return fmt.Errorf("erase in database %s: it has no table decisions, or nothing of it is granted to us%s", database, elsewhere(ctx, conn))
}

// table erases the customer's rows of one table, if not dry.
func (e *eraser) table(ctx context.Context, table string, blank []string, dry bool) (Erased, error) {
	did := Erased{Table: table, Action: erasesRows}
	if e.columns[table] == nil {
		did.Action = erasesNothing
		return did, nil
	}
	change, unless := " DELETE", ""
	if len(blank) > 0 {
		var sets, left []string
		for _, column := range blank {
			if e.has(table, column) { // or the schema is older
				sets = append(sets, column+" = defaultValueOfArgumentType("+column+")")
				left = append(left, "notEmpty("+column+")")
			}
		}
		did.Action, change, unless = erasesColumns, " UPDATE "+strings.Join(sets, ", "), " AND ("+strings.Join(left, " OR ")+")"
	}
	for _, c := range e.conditions(table) {
		var n uint64
		in := e.with(ctx, c.ids, c.payments...)
		if err := e.conn.QueryRow(in, "SELECT count() FROM "+e.to.name(table)+" WHERE "+c.where+unless).Scan(&n); err != nil {
			return did, fault("count the customer's rows in "+table, err)
		}
		if n > 0 && !dry {
			// 2 waits for all replicas.
			if err := e.conn.Exec(in, "ALTER TABLE "+e.to.stored(table)+change+" WHERE "+c.where+unless+" SETTINGS mutations_sync = 2"); err != nil {
				return did, fault("erase the customer's rows in "+table, err)
			}
		}
		did.Rows += n
	}
	return did, nil
}

// touch makes the hours of the customer's refunds be computed anew: while a
// refund's decisions are blanked one after the other it looks like two.
func (e *eraser) touch(ctx context.Context) error {
	if e.columns[hourTouchedTable] == nil {
		return nil
	}
	for part := range slices.Chunk(e.named, eraseIDs) {
		err := e.conn.Exec(e.with(ctx, part), "INSERT INTO "+e.to.name(hourTouchedTable)+" (hour, touches) SELECT dateTrunc('hour', occurred_at) AS hour, rand64() AS touches FROM "+
			e.to.name(decisionsTable)+" WHERE "+isOneOf("refund_id", "ids")+" GROUP BY hour")
		if err != nil {
			return fault("note which rollups are to be computed anew", err)
		}
	}
	return nil
}
