package clickhouse

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

// versionTable is where goose remembers what it has done.
const versionTable = "schema_version"

// Migrate brings the database to this program's schema, creating it if it is
// missing, and returns the names of the migrations that it applied. It resumes
// where another one was interrupted: each step may be done twice. Then it makes
// the tables forget what clickhouse.ttl says.
func Migrate(ctx context.Context, cfg Config) ([]string, error) {
	opts, err := cfg.checkedOptions()
	if err != nil {
		return nil, err
	}
	return migrate(ctx, cfg, opts)
}

func migrate(ctx context.Context, cfg Config, opts *ch.Options) (applied []string, err error) {
	if err := createDatabase(ctx, cfg, *opts); err != nil {
		return nil, err
	}
	db := ch.OpenDB(opts)
	defer db.Close()
	provider, err := newProvider(db, cfg)
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return nil, fault("read the version of database "+cfg.Database, err)
	}
	if current > target {
		return nil, newer(cfg.Database, current, target)
	}
	results, err := provider.Up(ctx)
	if partial := new(goose.PartialError); errors.As(err, &partial) {
		results = partial.Applied
		err = fault("migration "+path.Base(partial.Failed.Source.Path), partial.Err)
	} else {
		err = fault("migrate database "+cfg.Database, err)
	}
	for _, r := range results {
		applied = append(applied, path.Base(r.Source.Path))
	}
	if err != nil {
		return applied, err
	}
	return applied, applyTTL(ctx, db, cfg)
}

// migrationFiles are the migrations as the server, or the cluster, gets them.
func migrationFiles(cfg Config) (fs.FS, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil || cfg.Cluster == "" {
		return files, err
	}
	c, err := newClustered(files, cfg.Cluster, cfg.Database)
	return clusteredFiles{files, c}, err
}

func newProvider(db *sql.DB, cfg Config) (*goose.Provider, error) {
	files, err := migrationFiles(cfg)
	if err != nil {
		return nil, err
	}
	options := []goose.ProviderOption{goose.WithIsolateDDL(true), goose.WithDisableGlobalRegistry(true)}
	if cfg.Cluster == "" {
		return goose.NewProvider(goose.DialectClickHouse, db, files, append(options, goose.WithTableName(versionTable))...)
	}
	store, err := database.NewStoreFromQuerier(versionTable, versions{cfg.Cluster, cfg.Database})
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectCustom, db, files, append(options, goose.WithStore(store))...)
}

// newestVersion is that of this program's schema.
func newestVersion() (newest int64) {
	files, _ := fs.Glob(migrations, "migrations/*.sql")
	for _, file := range files {
		n, _ := strconv.ParseInt(path.Base(file)[:5], 10, 64)
		newest = max(newest, n)
	}
	return newest
}

// createDatabase asks first: a user who may not create databases may well have
// been given one.
func createDatabase(ctx context.Context, cfg Config, opts ch.Options) error {
	opts.Auth.Database = ""
	db := ch.OpenDB(&opts)
	defer db.Close()
	var there uint8
	err := db.QueryRowContext(ctx, "SELECT count() > 0 FROM system.databases WHERE name = $1", cfg.Database).Scan(&there)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fault("look for database "+cfg.Database, err)
	}
	if err := writable(db.QueryRowContext(ctx, asksWhetherReadonly), cfg.Username); err != nil {
		return err
	}
	if there == 1 {
		return nil
	}
	_, err = db.ExecContext(ctx, createsDatabase(cfg))
	return fault("create database "+cfg.Database, err)
}

// createsDatabase names identifiers: Validate says so.
func createsDatabase(cfg Config) string {
	if cfg.Cluster != "" {
		return "CREATE DATABASE IF NOT EXISTS " + cfg.Database + " ON CLUSTER " + cfg.Cluster
	}
	return "CREATE DATABASE IF NOT EXISTS " + cfg.Database
}
