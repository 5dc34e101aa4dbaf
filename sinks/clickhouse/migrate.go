package clickhouse

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/pressly/goose/v3"

	"github.com/refundguard/refundguard/sinks"
)

//go:embed migrations/*.sql
var migrations embed.FS

// versionTable is where goose remembers what it has done.
const versionTable = "schema_version"

// Migrate brings the database to this program's schema, creating it if it is
// missing, and returns the names of the migrations that it applied. It resumes
// where another one was interrupted: each step may be done twice.
func Migrate(ctx context.Context, cfg Config) ([]string, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	opts, err := cfg.options()
	if err != nil {
		return nil, err
	}
	return migrate(ctx, opts)
}

func migrate(ctx context.Context, opts *ch.Options) (applied []string, err error) {
	if err := createDatabase(ctx, *opts); err != nil {
		return nil, err
	}
	db := ch.OpenDB(opts)
	defer db.Close()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	provider, err := goose.NewProvider(goose.DialectClickHouse, db, files,
		goose.WithTableName(versionTable), goose.WithIsolateDDL(true), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return nil, fault("read the version of database "+opts.Auth.Database, err)
	}
	if current > target {
		return nil, &sinks.Error{Op: "migrate", Reason: sinks.Rejected, Err: fmt.Errorf(
			"database %s has schema version %d, and this program knows %d: use a newer refundguard, or another clickhouse.database",
			opts.Auth.Database, current, target)}
	}
	results, err := provider.Up(ctx)
	if partial := new(goose.PartialError); errors.As(err, &partial) {
		results = partial.Applied
		err = fault("migration "+path.Base(partial.Failed.Source.Path), partial.Err)
	} else {
		err = fault("migrate database "+opts.Auth.Database, err)
	}
	for _, r := range results {
		applied = append(applied, path.Base(r.Source.Path))
	}
	return applied, err
}

// createDatabase asks first: a user who may not create databases may well have
// been given one.
func createDatabase(ctx context.Context, opts ch.Options) error {
	name := opts.Auth.Database
	opts.Auth.Database = ""
	db := ch.OpenDB(&opts)
	defer db.Close()
	var there uint8
	err := db.QueryRowContext(ctx, "SELECT count() > 0 FROM system.databases WHERE name = $1", name).Scan(&there)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fault("look for database "+name, err)
	}
	if there == 1 {
		return nil
	}
	_, err = db.ExecContext(ctx, "CREATE DATABASE IF NOT EXISTS "+name) // an identifier: Validate says so
	return fault("create database "+name, err)
}
