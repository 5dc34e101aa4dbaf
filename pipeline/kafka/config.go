// Package kafka holds what every Kafka client of the program shares: how to
// connect, how to log about it, and a check that says why it can't.
package kafka

import (
	"errors"
	"fmt"
	"strings"

	"github.com/refundguard/refundguard/connect"
)

// Config says how brokers are reached. The names of its keys are those that
// users of Kafka and Redpanda Connect know.
type Config struct {
	SeedBrokers     []string    `koanf:"seed_brokers"` // host:port, any of the cluster
	ClientID        string      `koanf:"client_id"`
	TLS             connect.TLS `koanf:"tls"`
	SASL            []SASL      `koanf:"sasl"`             // the first that the broker offers is used
	TransactionalID string      `koanf:"transactional_id"` // one per deployment; who takes it fences who had it
	CreateTopics    bool        `koanf:"create_topics"`    // create missing topics
}

// SASL is one way to log in. The password is given, or read from a file at
// each login, so that it can be rotated without a restart.
type SASL struct {
	Mechanism    string `koanf:"mechanism"`
	Username     string `koanf:"username"`
	Password     string `koanf:"password"`
	PasswordFile string `koanf:"password_file"`
}

// The mechanisms.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
)

// Mechanisms returns every SASL mechanism that Config takes.
func Mechanisms() []string { return []string{Plain, ScramSHA256, ScramSHA512} }

// DefaultConfig is Config without brokers, which have no default.
func DefaultConfig() Config {
	return Config{ClientID: "refundguard", TransactionalID: "refundguard", CreateTopics: true}
}

// Validate reports all faults at once. Each error begins with the key, relative
// to Config, and a colon. Files are looked at by Options.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	if len(c.SeedBrokers) == 0 {
		fault(`seed_brokers: none is given; name at least one broker, e.g. ["127.0.0.1:9092"]`)
	}
	for i, broker := range c.SeedBrokers {
		if why := connect.AddressFault(broker, "Kafka's usual port is 9092"); why != "" {
			fault("seed_brokers[%d]: %q %s", i, broker, why)
		}
	}
	if c.ClientID == "" {
		fault("client_id: is empty; leave it out for %q", DefaultConfig().ClientID)
	}
	if c.TransactionalID == "" {
		fault("transactional_id: is empty; leave it out for %q", DefaultConfig().TransactionalID)
	}
	faults = append(faults, c.TLS.Faults()...)
	for i, s := range c.SASL {
		faults = append(faults, s.faults(fmt.Sprintf("sasl[%d].", i))...)
	}
	return errors.Join(faults...)
}

func (s SASL) faults(at string) (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(at+format, args...)) }
	switch s.Mechanism {
	case Plain, ScramSHA256, ScramSHA512:
	case "":
		fault("mechanism: is missing; one of %s", strings.Join(Mechanisms(), ", "))
	default:
		fault("mechanism: %q is not one of %s", s.Mechanism, strings.Join(Mechanisms(), ", "))
	}
	if s.Username == "" {
		fault("username: is missing")
	}
	switch {
	case s.Password == "" && s.PasswordFile == "":
		fault("password: is missing; give it, or password_file")
	case s.Password != "" && s.PasswordFile != "":
		fault("password_file: is set beside password; give one of the two")
	}
	return faults
}

// password is the password to log in with now.
func (s SASL) password() (string, error) {
	return connect.Secret(s.Password, s.PasswordFile, "password_file")
}
