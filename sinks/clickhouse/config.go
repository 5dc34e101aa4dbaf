// Package clickhouse copies what refundguard decides from Kafka to ClickHouse:
// decisions, rule hits, alerts, labels, cases, statuses and dead letters, and what was sent: transactions,
// refunds and the ledger's results. Each row is there once. README.md says what is in the tables, and why nothing is lost or doubled.
package clickhouse

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/refundguard/refundguard/connect"
)

// Protocols that Config.Protocol accepts.
const (
	Native = "native"
	HTTP   = "http"
)

// Config is the section clickhouse of the configuration. Without Addr there is
// no such sink.
type Config struct {
	Addr         []string    `koanf:"addr"` // host:port; several only where they are replicas of one server
	Database     string      `koanf:"database"`
	Username     string      `koanf:"username"`
	Password     string      `koanf:"password"`
	PasswordFile string      `koanf:"password_file"` // read at start, instead of Password
	Protocol     string      `koanf:"protocol"`
	TLS          connect.TLS `koanf:"tls"`
	Migrate      bool        `koanf:"migrate"` // create and change the tables at start
	Cluster      string      `koanf:"cluster"` // of servers that have the tables; "": one server
	Raw          bool        `koanf:"raw"`     // copy transactions and refunds as they were sent, too

	// TTL is for how long the rows of a table are kept, by its name; 0, or none:
	// for ever.
	TTL map[string]time.Duration `koanf:"ttl"`

	Group          string        `koanf:"group"`           // Kafka consumer group
	BatchRows      int           `koanf:"batch_rows"`      // records in one insert, at most
	BatchBytes     int           `koanf:"batch_bytes"`     // of these records, about
	BatchInterval  time.Duration `koanf:"batch_interval"`  // a record waits for others this long
	Timeout        time.Duration `koanf:"timeout"`         // of one insert; then it is sent again
	RollupInterval time.Duration `koanf:"rollup_interval"` // between two looks for hours whose rollups are out of date
	MaxRefused     int           `koanf:"max_refused"`     // records of a partition that may be dead-lettered in a row
}

// DefaultConfig is what is used where the configuration says nothing.
func DefaultConfig() Config {
	return Config{
		Database: "refundguard", Username: "default", Protocol: Native, Migrate: true, Raw: true, TTL: map[string]time.Duration{},
		Group: "refundguard-clickhouse", BatchRows: 50_000, BatchBytes: 32 << 20,
		BatchInterval: time.Second, Timeout: time.Minute, RollupInterval: 10 * time.Second, MaxRefused: 10,
	}
}

const usualPorts = "ClickHouse's are 9000 (native), 9440 (native, TLS), 8123 (http), 8443 (http, TLS)"

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Validate reports all faults, each under its key. Files are looked at by New.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(c.Addr) == 0 {
		fault(`addr: none is given; name at least one server, e.g. ["127.0.0.1:9000"]`)
	}
	for i, addr := range c.Addr {
		if why := connect.AddressFault(addr, usualPorts); why != "" {
			fault("addr[%d]: %q %s", i, addr, why)
		}
	}
	if !identifier.MatchString(c.Database) {
		fault("database: %q is not a name of letters, digits and _", c.Database)
	}
	if c.Cluster != "" && !identifier.MatchString(c.Cluster) {
		fault("cluster: %q is not a name of letters, digits and _", c.Cluster)
	}
	if c.Username == "" {
		fault("username: is empty; leave it out for %q", DefaultConfig().Username)
	}
	if c.Protocol != Native && c.Protocol != HTTP {
		fault("protocol: %q is unknown; %s or %s", c.Protocol, Native, HTTP)
	}
	if c.Group == "" {
		fault("group: is empty; leave it out for %q", DefaultConfig().Group)
	}
	faults = append(faults, c.TLS.Faults()...)
	faults = append(faults, ttlFaults(c.TTL)...)
	for _, number := range []struct {
		key          string
		is, from, to int
	}{
		{"batch_rows", c.BatchRows, 1, 200_000},
		{"batch_bytes", c.BatchBytes, 64 << 10, 256 << 20},
		{"max_refused", c.MaxRefused, 0, 1_000_000},
	} {
		if number.is < number.from || number.is > number.to {
			fault("%s: %d is not from %d to %d", number.key, number.is, number.from, number.to)
		}
	}
	for _, span := range []struct {
		key          string
		is, from, to time.Duration
	}{
		{"batch_interval", c.BatchInterval, time.Millisecond, time.Minute},
		{"timeout", c.Timeout, time.Second, time.Hour},
		{"rollup_interval", c.RollupInterval, time.Second, time.Hour},
	} {
		if span.is < span.from || span.is > span.to {
			fault("%s: %v is not from %v to %v", span.key, span.is, span.from, span.to)
		}
	}
	return errors.Join(faults...)
}

// checkedOptions are options of a configuration that is right.
func (c Config) checkedOptions() (*ch.Options, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c.options()
}

// options are the driver's. It reads the files that c names.
func (c Config) options() (*ch.Options, error) {
	password, noPassword := connect.Secret(c.Password, c.PasswordFile, "password_file")
	config, noTLS := c.TLS.Client("clickhouse")
	if err := errors.Join(noPassword, noTLS); err != nil {
		return nil, err
	}
	protocol := ch.Native
	if c.Protocol == HTTP {
		protocol = ch.HTTP
	}
	// With async_insert, the default of late, an answer would not mean that rows
	// are stored, nor would tokens be looked at.
	settings := ch.Settings{"async_insert": 0, "insert_deduplicate": 1}
	if c.Cluster != "" {
		settings["distributed_foreground_insert"] = 1 // the same, of the shards
	}
	return &ch.Options{
		Protocol: protocol, Addr: c.Addr, TLS: config,
		Auth:         ch.Auth{Database: c.Database, Username: c.Username, Password: password},
		Settings:     settings,
		Compression:  &ch.Compression{Method: ch.CompressionLZ4},
		DialTimeout:  5 * time.Second,
		ReadTimeout:  c.Timeout,
		MaxOpenConns: maxInserts + 4,
		MaxIdleConns: maxInserts,
	}, nil
}
