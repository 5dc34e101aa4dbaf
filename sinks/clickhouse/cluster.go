package clickhouse

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strings"
)

// On a cluster each table is two: a replicated one on each shard (name_local),
// and over these a Distributed one with the plain name, which is what is
// written and read. The statements are made of those for one server, so that
// there is one schema and not two that must agree.

// localName is the part of a table that a shard has.
func localName(table string) string { return table + "_local" }

// shardBy is where a row lies: what repeats each other, or belongs to one
// refund, meets on one shard.
var shardBy = map[string]string{
	decisionsTable: "cityHash64(refund_id)", hitsTable: "cityHash64(refund_id)", casesTable: "cityHash64(refund_id)",
	statusesTable: "cityHash64(refund_id)", ledgerResultsTable: "cityHash64(refund_id)", refundsTable: "cityHash64(refund_id)",
	labelsTable: "cityHash64(refund_id, transaction_id)", transactionsTable: "cityHash64(transaction_id)",
	alertsTable:      "cityHash64(alert_id)",
	hourTouchedTable: "cityHash64(hour)", rollupHoursTable: "cityHash64(hour)",
	"refunds_hourly": "cityHash64(hour)", "merchants_hourly": "cityHash64(hour)", "rule_hits_hourly": "cityHash64(hour)",
	deadLettersTable: "cityHash64(kafka_partition, kafka_offset)", unreadableTable: "cityHash64(kafka_partition, kafka_offset)",
}

// clustered makes the statements for a cluster.
type clustered struct {
	cluster, database string
	tables            map[string]bool // of all migrations
}

func newClustered(files fs.FS, cluster, database string) (*clustered, error) {
	c := &clustered{cluster, database, make(map[string]bool)}
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		for _, m := range createsTable.FindAllSubmatch(text, -1) {
			c.tables[string(m[1])] = true
		}
	}
	return c, nil
}

const name = `([a-z_0-9]+)`

var (
	createsTable   = regexp.MustCompile(`(?m)^CREATE TABLE IF NOT EXISTS ` + name)
	createsView    = regexp.MustCompile(`^CREATE VIEW IF NOT EXISTS ` + name)
	materializes   = regexp.MustCompile(`^CREATE MATERIALIZED VIEW IF NOT EXISTS ` + name + ` TO ` + name)
	altersTable    = regexp.MustCompile(`^ALTER TABLE ` + name)
	dropsTable     = regexp.MustCompile(`^DROP TABLE IF EXISTS ` + name)
	dropsView      = regexp.MustCompile(`^DROP VIEW IF EXISTS ` + name)
	insertsInto    = regexp.MustCompile(`^INSERT INTO ` + name)
	engine         = regexp.MustCompile(`\nENGINE = ([A-Za-z]*MergeTree)(?:\(([^)]*)\))?`)
	comment        = regexp.MustCompile(`\nCOMMENT '(?:[^']|'')*'$`)
	reads          = regexp.MustCompile(`\b(FROM|JOIN) ` + name)
	window         = regexp.MustCompile(`\bnon_replicated_deduplication_window = `)
	startOfColumn  = regexp.MustCompile(`\b(ADD|MODIFY|COMMENT|DROP|RENAME) COLUMN\b`)
	startOfStorage = regexp.MustCompile(`\b(ADD|MODIFY|DROP|MATERIALIZE|RESET) (INDEX|SETTING|TTL|PROJECTION|CONSTRAINT|ORDER BY)\b`)
)

// migration is a migration's text for the cluster.
func (c *clustered) migration(text string) (string, error) {
	var out, statement strings.Builder
	for _, line := range strings.SplitAfter(text, "\n") {
		if strings.HasPrefix(line, "--") && strings.TrimSpace(statement.String()) == "" {
			out.WriteString(line)
			continue
		}
		statement.WriteString(line)
		if whole, ended := strings.CutSuffix(strings.TrimRight(statement.String(), "\n"), ";"); ended {
			all, err := c.statement(strings.TrimLeft(whole, "\n"))
			if err != nil {
				return "", err
			}
			out.WriteString(strings.Join(all, ";\n") + ";\n")
			statement.Reset()
		}
	}
	if rest := strings.TrimSpace(statement.String()); rest != "" {
		return "", fmt.Errorf("a statement without its semicolon: %.80q", rest)
	}
	return out.String(), nil
}

// statement is one statement for the cluster, which may take two.
func (c *clustered) statement(s string) ([]string, error) {
	on := " ON CLUSTER " + c.cluster
	// begin replaces how the statement begins.
	begin := func(m []string, with string) string { return with + s[len(m[0]):] }
	if m := createsTable.FindStringSubmatch(s); m != nil {
		return c.table(m[1], begin(m, "CREATE TABLE IF NOT EXISTS "+localName(m[1])+on))
	}
	if m := createsView.FindStringSubmatch(s); m != nil {
		return []string{begin(m, m[0]+on)}, nil
	}
	if m := materializes.FindStringSubmatch(s); m != nil {
		// Of each shard's own rows, into its own target.
		view := begin(m, "CREATE MATERIALIZED VIEW IF NOT EXISTS "+m[1]+on+" TO "+localName(m[2]))
		return []string{reads.ReplaceAllStringFunc(view, func(read string) string {
			if word, table, _ := strings.Cut(read, " "); c.tables[table] {
				return word + " " + localName(table)
			}
			return read
		})}, nil
	}
	if m := altersTable.FindStringSubmatch(s); m != nil {
		local := begin(m, "ALTER TABLE "+localName(m[1])+on)
		columns, storage := startOfColumn.MatchString(s), startOfStorage.MatchString(s)
		switch {
		case columns && storage:
			return nil, fmt.Errorf("it changes columns and what only shards have: make two of it: %.80q", s)
		case columns:
			return []string{local, begin(m, "ALTER TABLE "+m[1]+on)}, nil
		case storage:
			return []string{local}, nil
		}
	}
	if m := dropsTable.FindStringSubmatch(s); m != nil {
		return []string{begin(m, m[0]+on), begin(m, "DROP TABLE IF EXISTS "+localName(m[1])+on)}, nil
	}
	if m := dropsView.FindStringSubmatch(s); m != nil {
		return []string{begin(m, m[0]+on)}, nil
	}
	if insertsInto.MatchString(s) {
		return []string{s}, nil
	}
	return nil, fmt.Errorf("it has no form for a cluster: %.80q", s)
}

func (c *clustered) table(table, local string) ([]string, error) {
	m := engine.FindStringSubmatch(local)
	if m == nil {
		return nil, fmt.Errorf("table %s has no engine that can be replicated", table)
	}
	// The path names no UUID: a replica that is added later is given another one.
	args := "'/clickhouse/tables/{shard}/" + c.database + "/" + localName(table) + "', '{replica}'"
	if m[2] != "" {
		args += ", " + m[2]
	}
	local = strings.Replace(local, m[0], "\nENGINE = Replicated"+m[1]+"("+args+")", 1)
	// A replicated table forgets tokens after an hour unless it is told otherwise.
	local = window.ReplaceAllString(local, "replicated_deduplication_window_seconds = 31536000, replicated_deduplication_window = ")
	key := shardBy[table]
	if key == "" {
		key = "rand()" // of rollups: each shard has its own rows'
	}
	return []string{local, fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s ON CLUSTER %s AS %s\nENGINE = Distributed('%s', '%s', '%s', %s)%s",
		table, c.cluster, localName(table), c.cluster, c.database, localName(table), key, comment.FindString(local))}, nil
}

// clusteredFiles are the migrations as the cluster gets them.
type clusteredFiles struct {
	fs.FS
	*clustered
}

func (f clusteredFiles) Open(path string) (fs.File, error) {
	file, err := f.FS.Open(path)
	if err != nil || !strings.HasSuffix(path, ".sql") {
		return file, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	rendered, err := f.migration(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &memoryFile{bytes.NewReader([]byte(rendered)), info}, nil
}

type memoryFile struct {
	*bytes.Reader
	info fs.FileInfo
}

func (f *memoryFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *memoryFile) Close() error               { return nil }

// versions is goose's version table on a cluster: one for all shards.
type versions struct{ cluster, database string }

func (v versions) CreateTable(table string) string {
	return fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s ON CLUSTER %s (
    version_id Int64,
    is_applied UInt8,
    date Date DEFAULT now(),
    tstamp DateTime DEFAULT now()
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/%s/%s', '{shard}-{replica}')
ORDER BY version_id`, table, v.cluster, v.database, table)
}

func (versions) InsertVersion(table string) string {
	return "INSERT INTO " + table + " (version_id, is_applied) VALUES ($1, $2)"
}

func (v versions) DeleteVersion(table string) string {
	return "ALTER TABLE " + table + " DELETE WHERE version_id = $1 SETTINGS mutations_sync = 2"
}

func (versions) GetMigrationByVersion(table string) string {
	return "SELECT tstamp, is_applied FROM " + table + " WHERE version_id = $1 ORDER BY tstamp DESC LIMIT 1"
}

func (versions) ListMigrations(table string) string {
	return "SELECT version_id, is_applied FROM " + table + " ORDER BY version_id DESC"
}

func (versions) GetLatestVersion(table string) string { return "SELECT max(version_id) FROM " + table }
