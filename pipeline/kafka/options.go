package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
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
		config, err := c.TLS.client()
		faults = append(faults, err)
		options = append(options, kgo.DialTLSConfig(config))
	}
	var mechanisms []sasl.Mechanism
	for i, s := range c.SASL {
		if _, err := s.password(); err != nil {
			faults = append(faults, fmt.Errorf("sasl[%d].%w", i, err))
		}
		if s.Mechanism == Plain && !c.TLS.Enabled {
			logger.Warn("the Kafka password travels unencrypted: use kafka.tls, or a SCRAM mechanism", "mechanism", Plain)
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

func (t TLS) client() (*tls.Config, error) {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,
		InsecureSkipVerify: t.SkipCertVerify,
	}
	var faults []error
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		config.RootCAs = x509.NewCertPool()
		if err != nil {
			faults = append(faults, fmt.Errorf("tls.ca_file: %w", err))
		} else if !config.RootCAs.AppendCertsFromPEM(pem) {
			faults = append(faults, fmt.Errorf("tls.ca_file: %s holds no certificate in PEM form", t.CAFile))
		}
	}
	if t.CertFile != "" {
		if _, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err != nil {
			faults = append(faults, fmt.Errorf("tls.cert_file: %s with key %s: %w", t.CertFile, t.KeyFile, err))
		}
		// Read at each handshake, so that a renewed certificate is used.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("kafka.tls.cert_file %s: %w", t.CertFile, err)
			}
			return &pair, nil
		}
	}
	return config, errors.Join(faults...)
}

func (s SASL) login() (sasl.Mechanism, error) {
	scramAuth := func(context.Context) (scram.Auth, error) {
		password, err := s.password()
		return scram.Auth{User: s.Username, Pass: password}, err
	}
	switch s.Mechanism {
	case Plain:
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := s.password()
			return plain.Auth{User: s.Username, Pass: password}, err
		}), nil
	case ScramSHA256:
		return scram.Sha256(scramAuth), nil
	case ScramSHA512:
		return scram.Sha512(scramAuth), nil
	}
	return nil, fmt.Errorf("mechanism: %q is unknown", s.Mechanism)
}
