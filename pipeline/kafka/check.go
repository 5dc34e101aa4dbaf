package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fault is one broker that can't be used, and what to do about it.
type Fault struct {
	Broker     string // host:port
	Advertised bool   // named by the cluster, not by kafka.seed_brokers
	Err        error
	Hint       string
}

func (f *Fault) Error() string {
	what := "broker"
	if f.Advertised {
		what = "broker (as the cluster advertises it)"
	}
	if token := (*tokenError)(nil); errors.As(f.Err, &token) {
		return fmt.Sprintf("%s %s: %v: %s", what, f.Broker, token, f.Hint)
	}
	var closed *kgo.ErrFirstReadEOF
	if errors.As(f.Err, &closed) { // its text guesses at what Hint knows
		return fmt.Sprintf("%s %s closed the connection: %s", what, f.Broker, f.Hint)
	}
	reason := f.Err
	if dial := (*net.OpError)(nil); errors.As(reason, &dial) && dial.Op == "dial" { // repeats the address
		reason = dial.Err
	}
	return fmt.Sprintf("%s %s: %v: %s", what, f.Broker, reason, f.Hint)
}

func (f *Fault) Unwrap() error { return f.Err }

// Check logs in to each seed broker, then to each broker that they name: an
// address that only the cluster knows is the commonest wrong set-up. The error
// joins a *Fault for each that can't be used; usable says that the cluster can
// be worked with all the same. The options are what Options returned.
func Check(ctx context.Context, options []kgo.Opt) (usable bool, err error) {
	probeClient, err := kgo.NewClient(options...)
	if err != nil {
		return false, fmt.Errorf("kafka client: %w", err)
	}
	seeds, _ := probeClient.OptValue(kgo.SeedBrokers).([]string)
	probeClient.Close()

	named, seedFaults := probeAll(ctx, options, seeds)
	others := slices.DeleteFunc(named, func(a string) bool { return slices.Contains(seeds, a) })
	_, otherFaults := probeAll(ctx, options, others)
	var faults []error
	for _, f := range seedFaults {
		faults = append(faults, f)
	}
	for _, f := range otherFaults {
		f.Advertised = true
		f.Hint += "; the address comes from the broker's advertised.listeners"
		faults = append(faults, f)
	}
	usable = len(seedFaults) < len(seeds) && (len(otherFaults) == 0 || len(otherFaults) < len(others))
	return usable, errors.Join(faults...)
}

// probeAll asks all addresses at once and returns the brokers that they name,
// sorted, and the faults in the order of the addresses.
func probeAll(ctx context.Context, options []kgo.Opt, addresses []string) (named []string, faults []*Fault) {
	results := make([]*Fault, len(addresses))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, address := range addresses {
		wg.Go(func() {
			brokers, fault := probe(ctx, options, address)
			mu.Lock()
			defer mu.Unlock()
			results[i] = fault
			named = append(named, brokers...)
		})
	}
	wg.Wait()
	slices.Sort(named)
	return slices.Compact(named), slices.DeleteFunc(results, func(f *Fault) bool { return f == nil })
}

func probe(ctx context.Context, options []kgo.Opt, address string) (named []string, fault *Fault) {
	seen := &progress{}
	seen.request.Store(dialing)
	client, err := kgo.NewClient(append(slices.Clone(options),
		kgo.SeedBrokers(address),
		kgo.WithLogger(nil), // what goes wrong is in the Fault
		kgo.RequestRetries(0),
		kgo.WithHooks(seen))...)
	if err != nil {
		return nil, &Fault{Broker: address, Err: err, Hint: "correct the configuration of kafka"}
	}
	defer client.Close()
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{} // none; nil would be all
	response, err := request.RequestWith(ctx, client.SeedBrokers()[0])
	if err != nil {
		secure, _ := client.OptValue(kgo.DialTLSConfig).(*tls.Config)
		return nil, &Fault{Broker: address, Err: err, Hint: hint(err, seen.request.Load(), secure != nil)}
	}
	for _, b := range response.Brokers {
		named = append(named, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
	}
	return named, nil
}

// progress remembers the last request that went out on a connection: many
// brokers answer a wrong set-up by closing it, and only this says which part
// was wrong.
type progress struct{ request atomic.Int32 }

// dialing is progress before the first request.
const dialing = -1

// OnBrokerWrite is franz-go's hook.
func (p *progress) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	p.request.Store(int32(key))
}

// hint says what to do about an error that came while request was under way.
func hint(err error, request int32, secure bool) string {
	var (
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		alert     tls.AlertError
		record    tls.RecordHeaderError
		timeout   net.Error
	)
	switch {
	case errors.As(err, new(*tokenError)):
		return "without a token there is no login; check the address, client_id and the secret"
	case errors.As(err, &dns):
		return "the name does not resolve here; correct kafka.seed_brokers, or the DNS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there; is the broker up, and are host and port those of its listener?"
	case errors.As(err, &authority):
		return "its certificate is signed by an authority that is not trusted here; set kafka.tls.ca_file to the authority's certificate"
	case errors.As(err, &name):
		return "its certificate is for another name; connect under that name, or set kafka.tls.server_name"
	case errors.As(err, &invalid):
		return "its certificate is not valid now, or not for servers; renew it, and compare the clocks"
	case errors.As(err, &alert):
		return "it refused our side of TLS; if it asks for client certificates, set kafka.tls.cert_file and kafka.tls.key_file"
	case errors.As(err, &record):
		return "it does not speak TLS on this port; use the port of its TLS listener, or set kafka.tls.enabled: false"
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return "it does not offer this SASL mechanism; set kafka.sasl.mechanism to one that it has"
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "it refused the login; check kafka.sasl.username and the password"
	case errors.Is(err, kerr.IllegalSaslState):
		return "it does not expect a login on this port; use the port of its SASL listener, or leave kafka.sasl out"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		if secure && request == dialing {
			return "no answer in time; is the port right, does it speak TLS, and is a firewall between?"
		}
		return "no answer in time; is the port right, and is a firewall between?"
	}
	// What is left is mostly a connection that the broker closed.
	switch kmsg.Key(request) {
	case dialing:
		if secure {
			return "it broke off the TLS handshake; does it speak TLS on this port? If not, set kafka.tls.enabled: false"
		}
		return "check that host and port are those of a Kafka listener"
	case kmsg.ApiVersions:
		if secure {
			return "it speaks TLS, but not Kafka, or asks for a client certificate (kafka.tls.cert_file, kafka.tls.key_file)"
		}
		return "it broke off at the first request; it probably expects TLS (kafka.tls.enabled: true), or is not Kafka"
	case kmsg.SASLHandshake:
		return "it does not take this SASL mechanism; check kafka.sasl.mechanism"
	case kmsg.SASLAuthenticate:
		return "it refused the login; check kafka.sasl.username and the password"
	}
	return "it broke off the first real request; if it expects a login, set kafka.sasl"
}
