package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// rollups are the tables that hold what the views of their names and "_now"
// compute: hour by hour, as it was when something of the hour was written last.
var rollups = []string{"refunds_hourly", "merchants_hourly", "rule_hits_hourly"}

const (
	hourTouchedTable = "hour_touched"
	rollupHoursTable = "rollup_hours"

	// hoursAtOnce bounds the memory of one computation, and its partitions.
	hoursAtOnce = 24
	// patiencePasses is how often an hour that something is being written to
	// is left for later: views compute it meanwhile.
	patiencePasses = 30
	// garbageAge is how long rows stay that no view reads any more: queries
	// that began when they counted have ended.
	garbageAge = time.Hour
)

// refresher computes rollups anew. Several of them do no harm.
type refresher struct {
	to   target
	keep time.Duration // rows of decisions or hits are deleted at this age; 0: never

	seen    map[int64]busy // hours that are to be computed, by their Unix second
	cleaned time.Time
}

// busy is an hour as the pass before saw it.
type busy struct {
	touches uint64
	passes  int
}

// hour is one that is to be computed.
type hour struct {
	At      time.Time `ch:"hour"`
	Touches uint64    `ch:"touches"`
}

// keepRollups refreshes until ctx ends. That it can't is no trouble of the
// sink's: views compute what is missing, if slowly.
func (s *Sink) keepRollups(ctx context.Context) {
	r := &refresher{to: s.target(), keep: s.cfg.rollupAge()}
	failing := troubles{open: map[string]*trouble{}}
	tick := time.NewTicker(s.cfg.RollupInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := r.pass(ctx, s.cfg.Timeout)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.metrics.retried(err)
			failing.report(s.log, "rollups", err)
			continue
		}
		failing.over(s.log, "rollups")
	}
}

// pass computes the hours that nothing was written to since the pass before, and
// those that have waited for too long.
func (r *refresher) pass(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	stale, err := r.stale(ctx)
	if err != nil {
		return err
	}
	seen := make(map[int64]busy, len(stale))
	var quiet []hour
	for _, h := range stale {
		before, known := r.seen[h.At.Unix()]
		if known && (before.touches == h.Touches || before.passes >= patiencePasses) {
			quiet = append(quiet, h)
			continue
		}
		seen[h.At.Unix()] = busy{h.Touches, before.passes + 1}
	}
	r.seen = seen
	for len(quiet) > 0 {
		n := min(len(quiet), hoursAtOnce)
		if err := r.compute(ctx, quiet[:n], time.Time{}); err != nil {
			return err
		}
		quiet = quiet[n:]
	}
	if err := r.keepOld(ctx); err != nil {
		return err
	}
	return r.clean(ctx)
}

// stale are the hours whose rollups don't count, the longest untouched first of
// all that were never computed.
func (r *refresher) stale(ctx context.Context) (hours []hour, err error) {
	err = r.to.conn.Select(ctx, &hours, "SELECT hour, touches FROM "+r.to.name("rollup_state")+" WHERE stale AND "+r.young()+" ORDER BY run = 0 DESC, hour DESC")
	return hours, fault("ask which hours' rollups are to be computed", err)
}

// young is a condition: all rows of the hour are still there. Parts go when all
// of their rows have reached the age, so those of an hour that is younger stay.
func (r *refresher) young() string {
	if r.keep == 0 {
		return "true"
	}
	return fmt.Sprintf("hour > now64(0) - toIntervalSecond(%d)", int64(r.keep.Seconds())-7200)
}

// compute writes the rollups of hours, then says that they count: as of
// committed, or else now. What was interrupted before counts nowhere. The hours'
// touches were read before, so that whatever is written from then on shows.
func (r *refresher) compute(ctx context.Context, hours []hour, committed time.Time) error {
	var list, rows []string
	pass := rand.Uint64()
	when := "now64(3)"
	if !committed.IsZero() {
		when = fmt.Sprintf("fromUnixTimestamp64Milli(%d, 'UTC')", committed.UnixMilli())
	}
	for _, h := range hours {
		at := fmt.Sprintf("toDateTime64(%d, 0, 'UTC')", h.At.Unix())
		list = append(list, at)
		rows = append(rows, fmt.Sprintf("SELECT %s AS hour, cityHash64(%d, hour) AS run, %d AS touches, %s AS committed_at", at, pass, h.Touches, when))
	}
	for _, name := range rollups {
		columns, err := r.columns(ctx, name)
		if err != nil {
			return err
		}
		// Views do without a query's limits on what it reads.
		query := fmt.Sprintf("INSERT INTO %s (run, computed_at, %s) SELECT cityHash64(%d, hour) AS run, now64(3) AS computed_at, %s FROM %s WHERE hour IN [%s]",
			r.to.name(name), columns, pass, columns, r.to.name(name+"_now"), strings.Join(list, ", "))
		if err := r.to.conn.Exec(ctx, query); err != nil {
			return fault("compute rollup "+name, err)
		}
	}
	query := "INSERT INTO " + r.to.name(rollupHoursTable) + " (hour, run, touches, committed_at) " + strings.Join(rows, " UNION ALL ")
	return fault("commit rollups", r.to.conn.Exec(ctx, query))
}

// columns are those that the table and the view of a rollup share.
func (r *refresher) columns(ctx context.Context, name string) (list string, err error) {
	err = r.to.conn.QueryRow(ctx, "SELECT arrayStringConcat(groupArray(name), ', ') FROM (SELECT name FROM system.columns WHERE database = $1 AND table = $2 ORDER BY position)",
		r.to.database, name+"_now").Scan(&list)
	if err == nil && list == "" {
		err = errors.New("the view is missing: run `refundguard migrate`")
	}
	return list, fault("ask for the columns of "+name+"_now", err)
}

// keepOld makes rollups final before the rows that they are of are deleted for
// their age: what is computed later would be of a part of them.
func (r *refresher) keepOld(ctx context.Context) error {
	if r.keep == 0 {
		return nil
	}
	query := fmt.Sprintf(`INSERT INTO %s (hour, run, touches, kept, committed_at)
		SELECT s.hour, s.run, s.touches, true, now64(3) FROM %s AS s WHERE s.clean AND NOT s.kept AND NOT (%s)`,
		r.to.name(rollupHoursTable), r.to.name("rollup_state"), r.young())
	return fault("keep the rollups of hours whose rows are to be deleted", r.to.conn.Exec(ctx, query))
}

// clean deletes, once in a while, rows of rollups that no view reads.
func (r *refresher) clean(ctx context.Context) error {
	if time.Since(r.cleaned) < garbageAge {
		return nil
	}
	for _, name := range rollups {
		query := fmt.Sprintf("ALTER TABLE %s DELETE WHERE computed_at < now64(3) - toIntervalSecond(%d) AND run NOT IN (SELECT run FROM %s)",
			r.to.stored(name), int64(garbageAge.Seconds()), r.to.name("rollup_state"))
		if err := r.to.conn.Exec(ctx, query); err != nil {
			return fault("delete rows of "+name+" that are of no use any more", err)
		}
	}
	r.cleaned = time.Now()
	return nil
}

// rollupAge is the age at which rows go that rollups are of; 0: never.
func (c Config) rollupAge() (age time.Duration) {
	for _, table := range []string{decisionsTable, hitsTable} {
		if keep := c.TTL[table]; keep > 0 && (age == 0 || keep < age) {
			age = keep
		}
	}
	return age
}

func (t target) name(table string) string { return t.database + "." + table }

// stored is where a table's rows are, for an ALTER TABLE.
func (t target) stored(table string) string {
	if t.cluster == "" {
		return t.name(table)
	}
	return t.name(localName(table)) + " ON CLUSTER " + t.cluster
}

// touch notes the hours of rows that were stored, or whose labels were. It comes
// after them, so that a rollup that was computed before they could be seen isn't
// taken to have them: ClickHouse's own views touch them a moment too early.
func (p *partition) touch(ctx context.Context, rows *rows, c span) error {
	query := ""
	to := p.sink.target()
	switch {
	case len(rows.decisions) > 0:
		hours := make(map[int64]bool)
		var list []string
		for i := range rows.decisions {
			ms := storable(rows.decisions[i].OccurredAt)
			at := time.UnixMilli(ms).UTC().Truncate(time.Hour).Unix()
			if !hours[at] {
				hours[at] = true
				list = append(list, fmt.Sprint(at))
			}
		}
		query = fmt.Sprintf("INSERT INTO %s (hour, touches) SELECT toDateTime64(arrayJoin([%s]::Array(Int64)), 0, 'UTC') AS hour, rand64() AS touches", to.name(hourTouchedTable), strings.Join(list, ", "))
	case len(rows.labels) > 0:
		these := fmt.Sprintf("FROM %s WHERE kafka_topic = '%s' AND kafka_partition = %d AND kafka_offset BETWEEN %d AND %d", to.name(labelsTable), p.topic, p.id, c.from, c.to)
		one := func(id, which string) string {
			return fmt.Sprintf("SELECT dateTrunc('hour', occurred_at) AS hour FROM %s WHERE %s IN (SELECT %s %s AND %s) GROUP BY hour", to.name(decisionsTable), id, id, these, which)
		}
		query = fmt.Sprintf("INSERT INTO %s (hour, touches) SELECT hour, rand64() AS touches FROM (%s UNION ALL %s) GROUP BY hour", to.name(hourTouchedTable),
			one("refund_id", "refund_id != ''"), one("transaction_id", "refund_id = '' AND transaction_id != ''"))
	default:
		return nil
	}
	return p.sink.persist(ctx, p.name(), func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, p.sink.cfg.Timeout)
		defer cancel()
		return fault("note which rollups are to be computed anew", to.conn.Exec(ctx, query))
	})
}
