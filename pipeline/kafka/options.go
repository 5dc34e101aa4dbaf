package kafka

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/plugin/kslog"
)

// Options turns a Config that Validate found right into what every client of
// the program begins with; topics, groups and the transactional id are for the
// caller to add. It reads the files that Config names, and reports every one
// that it can't use, under its key.
func (c Config) Options(logger *slog.Logger, hooks ...kgo.Hook) ([]kgo.Opt, error) {
	options := []kgo.Opt{
		kgo.SeedBrokers(c.SeedBrokers...),
		kgo.ClientID(c.ClientID),
		kgo.WithLogger(kslog.New(slog.New(newQuietHandler(logger.Handler())))),
		kgo.WithHooks(hooks...),
		// A broker that restarts ends connections at any byte. Wrong TLS or
		// SASL looks the same to the client: Check tells them apart.
		kgo.AlwaysRetryEOF(),
		// Shorter than the 10 s that a shutdown may take.
		kgo.DialTimeout(5 * time.Second),
		// New partitions of an input topic are noticed within a minute.
		kgo.MetadataMaxAge(time.Minute),
	}
	var faults []error
	if c.TLS.Enabled {
		config, err := c.TLS.Client("kafka")
		faults = append(faults, err)
		options = append(options, kgo.DialTLSConfig(config))
	}
	var mechanisms []sasl.Mechanism
	for i, s := range c.SASL {
		if (s.Mechanism == Plain || s.Mechanism == OAuthBearer) && !c.TLS.Enabled {
			logger.Warn("the secret of the Kafka login travels unencrypted: use kafka.tls, or a SCRAM mechanism", "mechanism", s.Mechanism)
		}
		mechanism, err := s.login()
		if err != nil {
			faults = append(faults, fmt.Errorf("sasl[%d].%w", i, err))
			continue
		}
		mechanisms = append(mechanisms, mechanism)
	}
	if len(mechanisms) > 0 {
		options = append(options, kgo.SASL(mechanisms...))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return options, nil
}
