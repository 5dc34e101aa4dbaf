package clickhouse

import (
	"context"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// OpenReader connects for questions, as a user who may do nothing else can: it
// changes no setting. A context with a deadline would change one. A question
// ends after cfg.Timeout.
func OpenReader(ctx context.Context, cfg Config) (driver.Conn, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	opts, err := cfg.options()
	if err != nil {
		return nil, err
	}
	opts.Settings = nil
	conn, err := ch.Open(opts)
	if err != nil {
		return nil, fault("connect", err)
	}
	if err := conn.Ping(ctx); err != nil {
		conn.Close()
		return nil, fault("connect to database "+cfg.Database, err)
	}
	return conn, nil
}
