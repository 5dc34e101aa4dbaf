// Package connect holds what every connection of the program is configured
// with: addresses, certificates, and secrets that stand in files; and how a
// transaction ends.
package connect

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLS says how servers prove who they are, and we to them. Files are in PEM
// form.
type TLS struct {
	Enabled        bool   `koanf:"enabled"`
	CAFile         string `koanf:"ca_file"`     // the only authorities trusted then; "": the system's
	CertFile       string `koanf:"cert_file"`   // our certificate, for servers that ask for one
	KeyFile        string `koanf:"key_file"`    // its key
	ServerName     string `koanf:"server_name"` // the name expected in certificates, where it isn't the host
	SkipCertVerify bool   `koanf:"skip_cert_verify"`
}

// Faults says what is wrong with the settings, each under its key in the
// section tls. Files are looked at by Client.
func (t TLS) Faults() (faults []error) {
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

// Client is the configuration of a client, nil if TLS isn't enabled. Our
// certificate is read at each handshake, so that a renewed one is used; section
// names it in the errors of those, e.g. "kafka".
func (t TLS) Client(section string) (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.SkipCertVerify}
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
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("%s.tls.cert_file %s: %w", section, t.CertFile, err)
			}
			return &pair, nil
		}
	}
	return config, errors.Join(faults...)
}
