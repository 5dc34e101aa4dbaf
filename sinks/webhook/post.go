package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/refundguard/refundguard/sinks"
)

const (
	maxResponse   = 16 << 10 // read of a response's body, so that its connection can be used again
	maxShown      = 200      // shown of it in a log line
	maxCause      = 500      // shown of why there was no answer
	maxRetryAfter = time.Hour
)

// failure is a try that was not answered with a 2xx.
type failure struct {
	err    *sinks.Error
	status int // 0: no answer
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// gone reports whether the receiver wants no more alerts, ever.
func (f *failure) gone() bool { return f.status == http.StatusGone }

// throttles reports whether the receiver, or what stands before it, asks for
// patience, whatever is sent.
func (f *failure) throttles() bool {
	switch f.status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// blames reports whether the failure may be this alert's own. A 429 never is.
func (f *failure) blames() bool { return f.status != http.StatusTooManyRequests }

// dialer makes a connection, as net.Dialer.DialContext does.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// poster makes one endpoint's tries.
type poster struct {
	url     string
	host    string // what may be shown of url
	headers map[string]string
	timeout time.Duration
	sign    signer // empty: nothing is signed
	client  *http.Client
}

func newPoster(e Endpoint, dial dialer) (*poster, error) {
	var secrets signer
	if e.Format == "standard" {
		var err error
		if secrets, err = newSigner(e.Secret); err != nil {
			return nil, err
		}
	}
	u, err := url.Parse(e.URL)
	if err != nil {
		return nil, errors.New("the URL can't be read")
	}
	guard, err := newGuard(e.AllowPrivate)
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.TLS.CAFile != "" {
		if conf.RootCAs, err = loadCAs(e.TLS.CAFile); err != nil {
			return nil, err
		}
	}
	if dial == nil {
		dial = guard.dial
	}
	transport := &http.Transport{
		// No Proxy: the guard would see the proxy's address in place of the receiver's.
		DialContext:            dial,
		TLSClientConfig:        conf,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    e.MaxInFlight,
		IdleConnTimeout:        90 * time.Second,
		DisableCompression:     true, // a few compressed bytes could become many
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &poster{
		url: e.URL, host: u.Host, headers: e.Headers, timeout: e.Timeout, sign: secrets,
		client: &http.Client{
			Transport: transport,
			// A redirect could lead anywhere, and turn the POST into a GET.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// dial connects, unless the guard objects to the resolved address.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{KeepAlive: 30 * time.Second}
	if host, _, err := net.SplitHostPort(address); err != nil || !g.trusts(host) {
		d.Control = g.control
	}
	return d.DialContext(ctx, network, address)
}

func loadCAs(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the authorities to trust: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return pool, nil
}

// post makes one try; nil is success.
func (p *poster) post(ctx context.Context, a *alert) *failure {
	op := "posting to " + p.host
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(a.body))
	if err != nil {
		return &failure{err: &sinks.Error{Op: op, Reason: sinks.Other, Retryable: true, Err: errors.New("the request can't be made")}}
	}
	for name, value := range p.headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/json")
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "refundguard")
	}
	if err := p.sign.sign(req.Header, a, time.Now()); err != nil {
		return &failure{err: &sinks.Error{Op: op, Reason: sinks.Other, Retryable: true, Err: fmt.Errorf("signing: %w", err)}}
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return &failure{err: &sinks.Error{Op: op, Reason: reasonOf(err), Retryable: true, Err: p.cause(err)}}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	if resp.StatusCode/100 == 2 {
		return nil // it has been taken, even where the rest of the answer got lost
	}
	shown := ""
	if s := strings.TrimSpace(string(text[:min(len(text), maxShown)])); s != "" && err == nil {
		shown = fmt.Sprintf(": %q", s)
	}
	f := &failure{status: resp.StatusCode, err: &sinks.Error{
		Op: op, Reason: statusReason(resp.StatusCode), Retryable: true,
		Err: fmt.Errorf("status %d%s", resp.StatusCode, shown),
	}}
	f.err.Retryable = !f.gone()
	if f.throttles() {
		f.err.After = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	return f
}

// cause is err without the URL that http.Client puts before it, since that may
// hold a token, and a time-out in plain words.
func (p *poster) cause(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v", p.timeout)
	}
	if text := err.Error(); len(text) > maxCause { // net/http quotes what is no answer, up to 64 KiB of it
		return errors.New(strings.ToValidUTF8(text[:maxCause], "") + "…")
	}
	return err
}

func reasonOf(err error) sinks.Reason {
	if _, ok := errors.AsType[*refusedError](err); ok {
		return sinks.Denied
	}
	return sinks.NetworkReason(err)
}

func statusReason(status int) sinks.Reason {
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return sinks.Overloaded
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return sinks.Denied
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return sinks.Timeout
	}
	if status >= 500 {
		return sinks.Server
	}
	return sinks.Rejected
}

// retryAfter reads the header's two forms: seconds and a date. It is 0 for
// anything else, and at most maxRetryAfter.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 63); err == nil {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	if date, err := http.ParseTime(header); err == nil {
		return min(max(date.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
