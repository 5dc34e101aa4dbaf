package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strings"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/refundguard/refundguard/sinks"
)

// Finding is one thing that the sink needs of ClickHouse.
type Finding struct {
	What string // settings, server, login, writable, database, schema, or GRANT with what is needed
	Err  error  // nil: fine; else what is wrong and what to do about it
}

// Check asks for all that the sink needs, and changes nothing: that the server
// answers, takes our login, lets us write, has the database, with this
// program's schema, and that each right is there. What can't be asked after a
// fault, such as the rights of a login that is refused, is left out.
func Check(ctx context.Context, cfg Config) (findings []Finding) {
	add := func(what string, err error) bool {
		findings = append(findings, Finding{what, err})
		return err == nil
	}
	opts, err := cfg.checkedOptions()
	if err != nil {
		add("settings", err)
		return findings
	}
	// Neither a database that isn't there nor a user who may not change
	// settings must keep us from asking.
	opts.Auth.Database, opts.Settings = "", nil
	conn, err := ch.Open(opts)
	if err != nil {
		add("settings", fmt.Errorf("options of the ClickHouse client: %w", err))
		return findings
	}
	defer conn.Close()
	if err := fault("ask ClickHouse whether it is there", conn.Ping(ctx)); err != nil {
		if e := new(sinks.Error); errors.As(err, &e) && e.Reason == sinks.Denied {
			add("server", nil)
			add("login", err)
		} else {
			add("server", err)
		}
		return findings
	}
	add("server", nil)
	add("login", nil)
	add("writable", writable(conn.QueryRow(ctx, asksWhetherReadonly), cfg.Username))
	if add("database", databaseThere(ctx, conn, cfg.Database)) {
		add("schema", currentSchema(ctx, conn, cfg.Database))
	} else if cfg.Migrate {
		add(grantOf(cfg, "CREATE DATABASE"), granted(ctx, conn, cfg, "CREATE DATABASE"))
	}
	for _, right := range cfg.rights() {
		add(grantOf(cfg, right), granted(ctx, conn, cfg, right))
	}
	return findings
}

// rights are what the user needs on the database.
func (c Config) rights() []string {
	rights := []string{"SELECT", "INSERT"}
	if c.Migrate {
		rights = append(rights, "ALTER", "CREATE TABLE", "CREATE VIEW", "DROP VIEW")
		if c.Cluster != "" {
			rights = append(rights, "CLUSTER")
		}
	}
	return rights
}

func grantOf(cfg Config, right string) string {
	on := cfg.Database
	if right == "CLUSTER" { // it is not of a database
		on = "*"
	}
	return "GRANT " + right + " ON " + on + ".*"
}

func granted(ctx context.Context, conn driver.Conn, cfg Config, right string) error {
	grant := grantOf(cfg, right)
	var yes uint8
	if err := conn.QueryRow(ctx, "CHECK "+grant).Scan(&yes); err != nil {
		return fault("ask whether there is "+grant, err)
	}
	if yes == 0 {
		return &sinks.Error{Op: "ask whether there is " + grant, Reason: sinks.Denied, Err: fmt.Errorf("%s lacks it: run %s TO %s", cfg.Username, grant, quoteName(cfg.Username))}
	}
	return nil
}

const asksWhetherReadonly = "SELECT toString(getSetting('readonly'))"

// writable says whether the user's profile lets anybody write, by the answer to
// asksWhetherReadonly: of somebody whom it doesn't the server only says that
// rights are missing, which wouldn't help.
func writable(answer interface{ Scan(...any) error }, user string) error {
	var is string
	if err := answer.Scan(&is); err != nil {
		return fault("ask whether we may write", err)
	}
	if is != "0" {
		return &sinks.Error{Op: "ask whether we may write", Reason: sinks.Denied, Err: fmt.Errorf("%s is read-only (readonly = %s): %s", user, is, readonlyAdvice)}
	}
	return nil
}

func databaseThere(ctx context.Context, conn driver.Conn, database string) error {
	op := "look for database " + database
	var there bool
	if err := conn.QueryRow(ctx, "SELECT count() > 0 FROM system.databases WHERE name = ?", database).Scan(&there); err != nil {
		return fault(op, err)
	}
	if there {
		return nil
	}
	return &sinks.Error{Op: op, Reason: sinks.Rejected, Err: fmt.Errorf("it isn't there, or nothing of it is granted to us: run `refundguard migrate`%s", elsewhere(ctx, conn))}
}

// currentSchema is nil where the database has this program's schema.
func currentSchema(ctx context.Context, conn driver.Conn, database string) error {
	op := "read the version of database " + database
	var is int64
	err := conn.QueryRow(ctx, "SELECT max(version_id) FROM "+database+"."+versionTable).Scan(&is)
	if code, _ := serverCode(err); code == codeUnknownTable {
		return &sinks.Error{Op: op, Reason: sinks.Rejected, Retryable: true, Err: fmt.Errorf("it has no tables of refundguard's: run `refundguard migrate`%s", elsewhere(ctx, conn))}
	}
	if err != nil {
		return fault(op, err)
	}
	switch knows := newestVersion(); {
	case is > knows:
		return newer(database, is, knows)
	case is < knows:
		return &sinks.Error{Op: op, Reason: sinks.Rejected, Retryable: true, Err: fmt.Errorf("it has schema version %d, and this program needs %d: run `refundguard migrate`, or set clickhouse.migrate", is, knows)}
	}
	return nil
}

func newer(database string, is, knows int64) error {
	return &sinks.Error{Op: "migrate", Reason: sinks.Rejected, Err: fmt.Errorf(
		"database %s has schema version %d, and this program knows %d: use a newer refundguard, or another clickhouse.database", database, is, knows)}
}

// elsewhere names the databases that do have our tables, as a hint.
func elsewhere(ctx context.Context, conn driver.Conn) string {
	var names []string
	err := conn.QueryRow(ctx, "SELECT arraySort(groupUniqArray(5)(database)) FROM system.tables WHERE name = '"+versionTable+"' AND database IN (SELECT database FROM system.tables WHERE name = '"+decisionsTable+"')").Scan(&names)
	if err != nil || len(names) == 0 {
		return ""
	}
	return "; refundguard's tables are in " + strings.Join(names, ", ") + ": is clickhouse.database right?"
}
