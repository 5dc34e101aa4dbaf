package kafka_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/connect"
	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/pipeline/kafkatest"
)

const username, password = "guard", "correct horse"

// authority writes a certificate for 127.0.0.1 that signs itself, and returns
// the server's side of it and the files.
func authority(t *testing.T, hosts ...string) (*tls.Config, string, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		DNSNames: hosts,
	}
	if len(hosts) == 0 {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}, write(t, "cert.pem", certPEM), write(t, "key.pem", keyPEM)
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func cluster(t *testing.T, opts ...kfake.Opt) kafka.Config {
	t.Helper()
	kafkatest.InProcess(t)
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	config := kafka.DefaultConfig()
	config.SeedBrokers = c.ListenAddrs()
	return config
}

// hangsUp is a listener that ends each connection after its first bytes, as
// Apache Kafka does with a TLS handshake on a plaintext port.
func hangsUp(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 4))
			conn.Close()
		}
	}()
	return listener.Addr().String()
}

func check(t *testing.T, config kafka.Config) (bool, error) {
	t.Helper()
	if err := config.Validate(); err != nil {
		t.Fatal(err)
	}
	options, err := config.Options(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return kafka.Check(ctx, options)
}

func TestConnects(t *testing.T) {
	server, cert, key := authority(t)
	t.Run("plain", func(t *testing.T) {
		if usable, err := check(t, cluster(t)); !usable || err != nil {
			t.Fatal(usable, err)
		}
	})
	t.Run("TLS", func(t *testing.T) {
		config := cluster(t, kfake.TLS(server.Clone()))
		config.TLS = connect.TLS{Enabled: true, CAFile: cert}
		if usable, err := check(t, config); !usable || err != nil {
			t.Fatal(usable, err)
		}
	})
	t.Run("client certificate", func(t *testing.T) {
		mutual := server.Clone()
		mutual.ClientAuth = tls.RequireAnyClientCert
		config := cluster(t, kfake.TLS(mutual))
		config.TLS = connect.TLS{Enabled: true, CAFile: cert, CertFile: cert, KeyFile: key}
		if usable, err := check(t, config); !usable || err != nil {
			t.Fatal(usable, err)
		}
	})
	for _, mechanism := range []string{kafka.Plain, kafka.ScramSHA256, kafka.ScramSHA512} { // kfake knows no other
		t.Run(mechanism, func(t *testing.T) {
			config := cluster(t, kfake.TLS(server.Clone()), kfake.EnableSASL(), kfake.Superuser(mechanism, username, password))
			config.TLS = connect.TLS{Enabled: true, CAFile: cert}
			config.SASL = []kafka.SASL{{Mechanism: mechanism, Username: username, Password: password}}
			if usable, err := check(t, config); !usable || err != nil {
				t.Fatal(usable, err)
			}
		})
		t.Run(mechanism+" from a file", func(t *testing.T) {
			config := cluster(t, kfake.EnableSASL(), kfake.Superuser(mechanism, username, password))
			config.SASL = []kafka.SASL{{Mechanism: mechanism, Username: username,
				PasswordFile: write(t, "password", []byte(password+"\n"))}}
			if usable, err := check(t, config); !usable || err != nil {
				t.Fatal(usable, err)
			}
		})
	}
}

// A password file is read at each login: a rotated password needs no restart.
func TestPasswordRotates(t *testing.T) {
	config := cluster(t, kfake.EnableSASL(), kfake.Superuser(kafka.ScramSHA256, username, password))
	file := write(t, "password", []byte("old"))
	config.SASL = []kafka.SASL{{Mechanism: kafka.ScramSHA256, Username: username, PasswordFile: file}}
	options, err := config.Options(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if usable, _ := kafka.Check(t.Context(), options); usable {
		t.Fatal("logged in with the old password")
	}
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	if usable, err := kafka.Check(t.Context(), options); !usable {
		t.Fatal(err)
	}
}

func TestCheckSaysWhy(t *testing.T) {
	kafkatest.InProcess(t)
	server, cert, _ := authority(t)
	elsewhere, elsewhereCert, _ := authority(t, "kafka.example")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()

	login := func(mechanism, password string) []kafka.SASL {
		return []kafka.SASL{{Mechanism: mechanism, Username: username, Password: password}}
	}
	for name, c := range map[string]struct {
		config func() kafka.Config
		want   string
	}{
		"nobody listens": {func() kafka.Config {
			config := kafka.DefaultConfig()
			config.SeedBrokers = []string{nobody}
			return config
		}, "nothing listens there"},
		"name that does not exist": {func() kafka.Config {
			config := kafka.DefaultConfig()
			config.SeedBrokers = []string{"no-such-host.invalid:9092"}
			return config
		}, "does not resolve"},
		"TLS against plaintext": {func() kafka.Config {
			config := kafka.DefaultConfig()
			config.SeedBrokers = []string{hangsUp(t)}
			config.TLS = connect.TLS{Enabled: true, CAFile: cert}
			return config
		}, "does it speak TLS on this port?"},
		"plaintext against TLS": {func() kafka.Config {
			return cluster(t, kfake.TLS(server.Clone()))
		}, "kafka.tls.enabled: true"},
		"unknown authority": {func() kafka.Config {
			config := cluster(t, kfake.TLS(server.Clone()))
			config.TLS = connect.TLS{Enabled: true}
			return config
		}, "kafka.tls.ca_file"},
		"certificate of another name": {func() kafka.Config {
			config := cluster(t, kfake.TLS(elsewhere.Clone()))
			config.TLS = connect.TLS{Enabled: true, CAFile: elsewhereCert}
			return config
		}, "kafka.tls.server_name"},
		"no client certificate": {func() kafka.Config {
			mutual := server.Clone()
			mutual.ClientAuth = tls.RequireAnyClientCert
			config := cluster(t, kfake.TLS(mutual))
			config.TLS = connect.TLS{Enabled: true, CAFile: cert}
			return config
		}, "kafka.tls.cert_file"},
		"wrong password, PLAIN": {func() kafka.Config {
			config := cluster(t, kfake.EnableSASL(), kfake.Superuser(kafka.Plain, username, password))
			config.SASL = login(kafka.Plain, "wrong")
			return config
		}, "it refused the login"},
		"wrong password, SCRAM-SHA-256": {func() kafka.Config {
			config := cluster(t, kfake.EnableSASL(), kfake.Superuser(kafka.ScramSHA256, username, password))
			config.SASL = login(kafka.ScramSHA256, "wrong")
			return config
		}, "it refused the login"},
		"wrong password, SCRAM-SHA-512": {func() kafka.Config {
			config := cluster(t, kfake.EnableSASL(), kfake.Superuser(kafka.ScramSHA512, username, password))
			config.SASL = login(kafka.ScramSHA512, "wrong")
			return config
		}, "it refused the login"},
		"no login where one is expected": {func() kafka.Config {
			return cluster(t, kfake.EnableSASL(), kfake.Superuser(kafka.Plain, username, password))
		}, "set kafka.sasl"},
	} {
		t.Run(name, func(t *testing.T) {
			config := c.config()
			usable, err := check(t, config)
			if usable || err == nil {
				t.Fatalf("usable %v, error %v", usable, err)
			}
			if fault := (*kafka.Fault)(nil); !errors.As(err, &fault) || fault.Broker != config.SeedBrokers[0] {
				t.Errorf("does not name the broker %s: %v", config.SeedBrokers[0], err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %q in: %v", c.want, err)
			}
			if strings.Contains(err.Error(), "wrong") {
				t.Errorf("shows the password: %v", err)
			}
			t.Log(err)
		})
	}
}

// One seed broker that is down is reported, and does not stop anything.
func TestOneSeedDown(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	config := cluster(t)
	config.SeedBrokers = append(config.SeedBrokers, closed.Addr().String())
	usable, err := check(t, config)
	if !usable || err == nil || !strings.Contains(err.Error(), closed.Addr().String()) {
		t.Fatal(usable, err)
	}
}

func TestValidateReportsEverything(t *testing.T) {
	err := kafka.Config{
		SeedBrokers: []string{"localhost", "http://a:1", "a:1,b:2", ":9092", "a:99999"},
		TLS:         connect.TLS{CAFile: "x", KeyFile: "y"},
		SASL:        []kafka.SASL{{Mechanism: "plain"}, {Mechanism: kafka.Plain, Username: "u", Password: "secret", PasswordFile: "f"}, {Mechanism: kafka.Plain}},
	}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, key := range []string{
		"seed_brokers[0]:", "seed_brokers[1]:", "seed_brokers[2]:", "seed_brokers[3]:", "seed_brokers[4]:",
		"client_id:", "transactional_id:", "tls.ca_file:", "tls.key_file:",
		"sasl[0].mechanism:", "sasl[2].username:", "sasl[2].password:", "sasl[1].password_file:",
	} {
		if !strings.Contains("\n"+err.Error(), "\n"+key) {
			t.Errorf("%s is missing in:\n%v", key, err)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("shows the password:\n%v", err)
	}
	good := kafka.DefaultConfig()
	good.SeedBrokers = []string{"127.0.0.1:9092", "[::1]:9092", "kafka-0.kafka:9092"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

func TestOptionsReportsEveryFile(t *testing.T) {
	config := kafka.DefaultConfig()
	config.SeedBrokers = []string{"127.0.0.1:9092"}
	config.TLS = connect.TLS{Enabled: true, CAFile: write(t, "empty", nil), CertFile: "no/such", KeyFile: "no/such"}
	config.SASL = []kafka.SASL{{Mechanism: kafka.Plain, Username: "u", PasswordFile: "no/such"}}
	_, err := config.Options(slog.New(slog.DiscardHandler))
	for _, key := range []string{"tls.ca_file:", "tls.cert_file:", "sasl[0].password_file:"} {
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+key) {
			t.Errorf("%s is missing in:\n%v", key, err)
		}
	}
}

// While a broker is away the client tries again and again; the log says so once.
func TestLogIsQuiet(t *testing.T) {
	var log bytes.Buffer
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	config := kafka.DefaultConfig()
	config.SeedBrokers = []string{closed.Addr().String()}
	options, err := config.Options(slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := client.Ping(t.Context()); err == nil {
			t.Fatal("somebody answered")
		}
	}
	client.Close()
	if n := strings.Count(log.String(), "unable to open connection"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
	if strings.Contains(log.String(), "level=INFO") {
		t.Errorf("the client's own info lines are shown:\n%s", log.String())
	}
}
