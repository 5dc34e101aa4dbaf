// Package kafka holds what every Kafka client of the program shares: how to
// connect, how to log about it, and a check that says why it can't.
package kafka

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// Config says how brokers are reached. The names of its keys are those that
// users of Kafka and Redpanda Connect know.
type Config struct {
	SeedBrokers     []string `koanf:"seed_brokers"` // host:port, any of the cluster
	ClientID        string   `koanf:"client_id"`
	TLS             TLS      `koanf:"tls"`
	SASL            []SASL   `koanf:"sasl"`             // the first that the broker offers is used
	TransactionalID string   `koanf:"transactional_id"` // one per deployment; who takes it fences who had it
	CreateTopics    bool     `koanf:"create_topics"`    // create missing topics
}

// TLS says how brokers prove who they are, and we to them.
type TLS struct {
	Enabled        bool   `koanf:"enabled"`
	CAFile         string `koanf:"ca_file"`     // PEM; the only authorities trusted then
	CertFile       string `koanf:"cert_file"`   // PEM; our certificate, for brokers that ask for one
	KeyFile        string `koanf:"key_file"`    // PEM; its key
	ServerName     string `koanf:"server_name"` // the name expected in certificates, where it isn't the host
	SkipCertVerify bool   `koanf:"skip_cert_verify"`
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
		if why := addressFault(broker); why != "" {
			fault("seed_brokers[%d]: %q %s", i, broker, why)
		}
	}
	if c.ClientID == "" {
		fault("client_id: is empty; leave it out for %q", DefaultConfig().ClientID)
	}
	if c.TransactionalID == "" {
		fault("transactional_id: is empty; leave it out for %q", DefaultConfig().TransactionalID)
	}
	faults = append(faults, c.TLS.faults()...)
	for i, s := range c.SASL {
		faults = append(faults, s.faults(fmt.Sprintf("sasl[%d].", i))...)
	}
	return errors.Join(faults...)
}

// addressFault says what is wrong with host:port, or "".
func addressFault(address string) string {
	if strings.Contains(address, "://") {
		return "is a URL; write host:port"
	}
	if strings.ContainsAny(address, ", ") {
		return "holds several addresses; write a list, one address each"
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "is not host:port; Kafka's usual port is 9092"
	}
	if host == "" {
		return "has no host before the colon"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "has a port that is not a number from 1 to 65535"
	}
	return ""
}

func (t TLS) faults() (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !t.Enabled {
		for _, set := range []struct {
			key string
			is  bool
		}{
			{"ca_file", t.CAFile != ""},
			{"cert_file", t.CertFile != ""},
			{"key_file", t.KeyFile != ""},
			{"server_name", t.ServerName != ""},
			{"skip_cert_verify", t.SkipCertVerify},
		} {
			if set.is {
				fault("tls.%s: is set, but tls.enabled is not true; set it, or leave this out", set.key)
			}
		}
	}
	if t.CertFile != "" && t.KeyFile == "" {
		fault("tls.cert_file: needs tls.key_file, the certificate's key")
	}
	if t.KeyFile != "" && t.CertFile == "" {
		fault("tls.key_file: needs tls.cert_file, the key's certificate")
	}
	return faults
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
	if s.PasswordFile == "" {
		return s.Password, nil
	}
	text, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("password_file: %w", err)
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if secret == "" {
		return "", fmt.Errorf("password_file: %s is empty", s.PasswordFile)
	}
	return secret, nil
}
