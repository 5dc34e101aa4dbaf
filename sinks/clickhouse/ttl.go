package clickhouse

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/agext/levenshtein"
)

// ttlColumns is the time that the rows of a table are as old as: the one that
// it is partitioned by, so that parts are dropped as a whole. A case is as old
// as its last change: what is still in review isn't.
var ttlColumns = map[string]string{
	decisionsTable: "occurred_at", hitsTable: "occurred_at", alertsTable: "at", labelsTable: "at", casesTable: "changed_at",
	statusesTable: "at", ledgerResultsTable: "occurred_at", transactionsTable: "occurred_at", refundsTable: "occurred_at",
	deadLettersTable: "refused_at", unreadableTable: "written_at",
}

// Bounds of a TTL: a shorter one drops what an hour's outage has made late, and
// with a longer one times leave the range that ClickHouse counts them in.
const (
	minTTL = time.Hour
	maxTTL = 50 * 365 * 24 * time.Hour
)

// ttlFaults are what is wrong with clickhouse.ttl.
func ttlFaults(ttl map[string]time.Duration) (faults []error) {
	for _, table := range slices.Sorted(maps.Keys(ttl)) {
		keep := ttl[table]
		switch {
		case ttlColumns[table] == "":
			faults = append(faults, fmt.Errorf("ttl.%s: there is no such table%s", table, likeTable(table)))
		case keep == 0:
		case keep < minTTL || keep > maxTTL || keep%time.Second != 0:
			faults = append(faults, fmt.Errorf("ttl.%s: %v is not from %v to %v in whole seconds; 0 is never", table, keep, minTTL, maxTTL))
		}
	}
	return faults
}

// likeTable is the "did you mean" of a table's name, or all the names.
func likeTable(name string) string {
	known := slices.Sorted(maps.Keys(ttlColumns))
	best := slices.MinFunc(known, func(a, b string) int {
		return levenshtein.Distance(name, a, nil) - levenshtein.Distance(name, b, nil)
	})
	if levenshtein.Distance(name, best, nil) <= (len(name)+1)/3 {
		return " (did you mean " + best + "?)"
	}
	return "; those are " + strings.Join(known, ", ")
}

// ttlStart is how a TTL of ours begins; one that doesn't is somebody else's.
func ttlStart(table string) string {
	return "toDateTime(least(greatest(" + ttlColumns[table] + ", "
}

// ttlExpression bounds the time before it is counted with: a sender's year 2261
// would come out as one that has passed.
func ttlExpression(table string, keep time.Duration) string {
	return fmt.Sprintf("%stoDateTime64('1970-01-02 00:00:00', 3, 'UTC')), toDateTime64('2050-01-01 00:00:00', 3, 'UTC')), 'UTC') + toIntervalSecond(%d)",
		ttlStart(table), int64(keep/time.Second))
}

// applyTTL makes the tables forget what ttl says, where they don't yet. A TTL
// that an operator has made by hand stays, unless ttl names its table.
func applyTTL(ctx context.Context, db *sql.DB, cfg Config) error {
	for _, table := range tableNames() {
		keep, named := cfg.TTL[table]
		statements, err := ttlStatements(ctx, db, cfg, table, keep, named)
		if err != nil {
			return fault("read the TTL of "+table, err)
		}
		for _, statement := range statements {
			if _, err := db.ExecContext(ctx, statement); err != nil {
				return fault("change the TTL of "+table, err)
			}
		}
	}
	return nil
}

// ttlOf is the TTL of a CREATE TABLE, in ClickHouse's own words.
const ttlOf = `extract(%s, '\\sTTL (.*?)(?: SETTINGS .*)?$')`

// ttlStatements make the table's TTL what it should be; none: it is.
func ttlStatements(ctx context.Context, db *sql.DB, cfg Config, table string, keep time.Duration, named bool) ([]string, error) {
	stored := table
	if cfg.Cluster != "" {
		stored = localName(table)
	}
	var want, is string
	if keep > 0 {
		row := db.QueryRowContext(ctx, "SELECT "+fmt.Sprintf(ttlOf, "formatQuerySingleLine(?)"), "CREATE TABLE x (a UInt8) ENGINE = MergeTree ORDER BY a TTL "+ttlExpression(table, keep))
		if err := row.Scan(&want); err != nil {
			return nil, err
		}
	}
	row := db.QueryRowContext(ctx, "SELECT "+fmt.Sprintf(ttlOf, "engine_full")+" FROM system.tables WHERE database = ? AND name = ?", cfg.Database, stored)
	if err := row.Scan(&is); err != nil {
		return nil, err
	}
	ours := strings.HasPrefix(is, ttlStart(table))
	alter := "ALTER TABLE " + target{database: cfg.Database, cluster: cfg.Cluster}.stored(table)
	switch {
	case is == want, !named && !ours:
		return nil, nil
	case want == "":
		return []string{alter + " REMOVE TTL"}, nil
	}
	// What lies there already is told its end, too, without being written anew.
	return []string{
		alter + " MODIFY SETTING ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1",
		alter + " MODIFY TTL " + want + " SETTINGS materialize_ttl_after_modify = 1, mutations_sync = 0",
	}, nil
}
