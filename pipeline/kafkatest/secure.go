package kafkatest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Secure is the listener of the real broker that speaks TLS and asks for a
// login: with PLAIN, SCRAM or OAUTHBEARER (unsecured tokens, RFC 7515 appendix
// A.5) of this user.
type Secure struct {
	Addr               string // host:port
	CAFile             string // of the certificate
	Username, Password string
}

const secureUser, securePassword = "guard", "correct horse"

// secureProperties follow properties.
const secureProperties = `listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location=%[1]s
listener.name.secure.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_%[2]s="%[3]s";
listener.name.secure.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
listener.name.secure.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler
`

// Secure is how the real broker is reached safely. With the fake the test is
// skipped: kfake has options for that.
func (c *Cluster) Secure() Secure {
	c.t.Helper()
	a, ok := c.broker.(*apache)
	if !ok {
		c.t.Skip("kafkatest: only the real broker has a secure listener")
	}
	for _, m := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} {
		c.admin("make a SCRAM user", func(ctx context.Context, adm *kadm.Client) error {
			made, err := adm.AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{{User: secureUser, Mechanism: m, Iterations: 4096, Password: securePassword}})
			if err != nil {
				return err
			}
			return made.Error()
		})
	}
	return Secure{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(a.securePort)), CAFile: filepath.Join(a.dir, "ca.pem"),
		Username: secureUser, Password: securePassword}
}

// writeCertificate makes a certificate for 127.0.0.1 that signs itself: ca.pem,
// and server.pem with its key.
func (a *apache) writeCertificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the broker's key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return fmt.Errorf("make the broker's certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("make the broker's key: %w", err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(filepath.Join(a.dir, "ca.pem"), cert, 0o600); err != nil {
		return fmt.Errorf("write the broker's certificate: %w", err)
	}
	server := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), cert...)
	if err := os.WriteFile(filepath.Join(a.dir, "server.pem"), server, 0o600); err != nil {
		return fmt.Errorf("write the broker's certificate: %w", err)
	}
	return nil
}
