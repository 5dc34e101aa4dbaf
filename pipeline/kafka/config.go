// Package kafka holds what every Kafka client of the program shares: how to
// connect, how to log about it, and a check that says why it can't.
package kafka

import (
	"errors"
	"fmt"

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
