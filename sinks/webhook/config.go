package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Config is the configuration's section webhooks: the endpoints. Without any
// the sink is off.
type Config []Endpoint

// Endpoint is one receiver of alerts. A field left at its zero value is what
// [DefaultEndpoint] says.
type Endpoint struct {
	Name   string `koanf:"name"`   // in metrics, logs, and the group's name: letters, digits, - and _
	URL    string `koanf:"url"`    // http or https; never logged whole, since some hold a token
	Format string `koanf:"format"` // standard (Standard Webhooks), slack, alertmanager (API v2)

	// Secret signs, in the standard format: whsec_ and 24 to 64 bytes in base64. While keys rotate it is
	// several, separated by white space; each of them signs.
	Secret     string `koanf:"secret"`
	SecretFile string `koanf:"secret_file"` // resolved into Secret by the caller

	MinSeverity string            `koanf:"min_severity"` // low, medium, high, critical
	Headers     map[string]string `koanf:"headers"`      // sent along, e.g. Authorization
	Group       string            `koanf:"group"`        // default refundguard-webhook-NAME

	Timeout     time.Duration `koanf:"timeout"`       // of one try, from dial to the last byte read
	MaxInFlight int           `koanf:"max_in_flight"` // tries at the same time

	// Retries are the pauses before the second, third… try of one alert; when
	// they are used up it goes to the dead letters.
	Retries []time.Duration `koanf:"retries"`
	// GiveUpAfter bounds tries that Retries doesn't count, because the endpoint
	// as a whole was down or asked for patience: after such a one, an alert
	// that is older goes to the dead letters.
	GiveUpAfter time.Duration `koanf:"give_up_after"`

	// AllowPrivate lists what may be dialled although it isn't a public
	// address: host names, addresses and CIDRs. "true" (or "1", which decoders
	// make of a YAML true) stands for loopback, private and link-local ones.
	AllowPrivate []string `koanf:"allow_private"`

	TLS TLS `koanf:"tls"`
}

// TLS says whom to trust.
type TLS struct {
	CAFile string `koanf:"ca_file"` // PEM; in place of the system's authorities
}

// DefaultConfig is no endpoint at all.
func DefaultConfig() Config { return nil }

// DefaultEndpoint holds what an endpoint has unless it says otherwise. Its
// pauses are those that Standard Webhooks recommends, together some three days.
func DefaultEndpoint() Endpoint {
	return Endpoint{
		Format:      "standard",
		MinSeverity: "low",
		Timeout:     15 * time.Second,
		MaxInFlight: 8,
		Retries: []time.Duration{
			5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
			10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
		},
		GiveUpAfter: 96 * time.Hour,
	}
}

func (e Endpoint) withDefaults() Endpoint {
	d := DefaultEndpoint()
	e.Format = either(e.Format, d.Format)
	e.MinSeverity = either(e.MinSeverity, d.MinSeverity)
	e.Group = either(e.Group, "refundguard-webhook-"+e.Name)
	e.Timeout = either(e.Timeout, d.Timeout)
	e.MaxInFlight = either(e.MaxInFlight, d.MaxInFlight)
	e.GiveUpAfter = either(e.GiveUpAfter, d.GiveUpAfter)
	if e.Retries == nil {
		e.Retries = d.Retries
	}
	return e
}

func either[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Bounds of the configuration.
const (
	alertmanagerPath = "/api/v2/alerts"

	maxInFlight = 64
	maxRetries  = 50
	minTimeout  = 10 * time.Millisecond
	maxTimeout  = 5 * time.Minute
	maxPause    = 7 * 24 * time.Hour
)

// Validate reports all faults at once. It opens the files that are named, and
// makes no connection.
func (c Config) Validate() error {
	var errs []error
	names, groups := map[string]int{}, map[string]int{}
	for i, e := range c {
		e = e.withDefaults()
		at := fmt.Sprintf("webhooks[%d]", i)
		if e.Name != "" {
			at += " " + e.Name
		}
		for _, err := range e.faults() {
			errs = append(errs, fmt.Errorf("%s: %w", at, err))
		}
		if j, taken := names[e.Name]; taken && e.Name != "" {
			errs = append(errs, fmt.Errorf("%s: name: webhooks[%d] has it already; give each endpoint a name of its own", at, j))
		} else if j, taken := groups[e.Group]; taken && e.Name != "" {
			errs = append(errs, fmt.Errorf("%s: group: webhooks[%d] reads with %q already, and each would get a part of the alerts; give each a group of its own", at, j, e.Group))
		}
		names[e.Name], groups[e.Group] = i, i
	}
	return errors.Join(errs...)
}

func (e Endpoint) faults() (errs []error) {
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if !validName(e.Name) {
		fault("name: %q is not 1 to 64 letters, digits, - or _", e.Name)
	}
	errs = append(errs, urlFaults(e.URL)...)
	switch e.Format {
	case "standard":
		if _, err := parseSecrets(e.Secret); err != nil {
			fault("secret: %w", err)
		}
	case "slack", "alertmanager":
		if e.Secret != "" {
			fault("secret: %s takes no signatures; leave it out, and put what it asks for in headers", e.Format)
		}
		if u, err := url.Parse(e.URL); e.Format == "alertmanager" && err == nil && !strings.HasSuffix(u.Path, alertmanagerPath) {
			fault("url: Alertmanager takes alerts at https://HOST%s", alertmanagerPath)
		}
	default:
		fault("format: %q is not known; it is standard, slack or alertmanager", e.Format)
	}
	if _, ok := severityRank(e.MinSeverity); !ok {
		fault("min_severity: %q is not low, medium, high or critical", e.MinSeverity)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		if err := headerFault(name, e.Headers[name]); err != nil {
			fault("headers: %w", err)
		}
	}
	if e.Timeout < minTimeout || e.Timeout > maxTimeout {
		fault("timeout: %v is not between %v and %v", e.Timeout, minTimeout, maxTimeout)
	}
	if e.MaxInFlight < 1 || e.MaxInFlight > maxInFlight {
		fault("max_in_flight: %d is not between 1 and %d", e.MaxInFlight, maxInFlight)
	}
	if len(e.Retries) > maxRetries {
		fault("retries: %d of them, at most %d are possible", len(e.Retries), maxRetries)
	}
	for i, d := range e.Retries {
		if d <= 0 || d > maxPause {
			fault("retries: number %d, %v, is not between 0 and %v", i+1, d, maxPause)
		}
	}
	if e.GiveUpAfter < 0 {
		fault("give_up_after: %v is negative", e.GiveUpAfter)
	}
	if _, err := newGuard(e.AllowPrivate); err != nil {
		fault("allow_private: %w", err)
	}
	if e.TLS.CAFile != "" {
		if _, err := loadCAs(e.TLS.CAFile); err != nil {
			fault("tls.ca_file: %w", err)
		}
	}
	return errs
}

func validName(name string) bool {
	return name != "" && len(name) <= 64 && only(name, "-_")
}

// only reports whether s is nothing but ASCII letters, digits and these others.
func only(s, others string) bool {
	for _, c := range []byte(s) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && strings.IndexByte(others, c) < 0 {
			return false
		}
	}
	return true
}

func urlFaults(text string) (errs []error) {
	if text == "" {
		return []error{errors.New("url: missing")}
	}
	u, err := url.Parse(text)
	if err != nil {
		// The text stays out: it may hold a token.
		return []error{errors.New("url: is not a URL; write it as https://host/path")}
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		errs = append(errs, fmt.Errorf("url: the scheme %q is neither https nor http", u.Scheme))
	}
	if u.Hostname() == "" {
		errs = append(errs, errors.New("url: has no host; write it as https://host/path"))
	}
	if u.User != nil {
		errs = append(errs, errors.New("url: holds a user; set the header Authorization in headers in its place"))
	}
	return errs
}

func headerFault(name, value string) error {
	if name == "" || !only(name, "!#$%&'*+-.^_`|~") {
		return fmt.Errorf("%q is not a header's name", name)
	}
	if strings.ContainsFunc(value, unicode.IsControl) {
		return fmt.Errorf("%s: the value holds characters that a header can't have", name)
	}
	switch canonical := http.CanonicalHeaderKey(name); canonical {
	case "Host", "Content-Type", "Content-Length", "Transfer-Encoding", "Connection",
		"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature":
		return fmt.Errorf("%s is set by refundguard and can't be another", canonical)
	}
	return nil
}

const secretPrefix = "whsec_"

// parseSecrets splits what Endpoint.Secret holds. Its errors don't show it.
func parseSecrets(text string) ([]string, error) {
	secrets := strings.Fields(text)
	if len(secrets) == 0 {
		return nil, errors.New("missing; make one with: echo whsec_$(openssl rand -base64 32)")
	}
	for i, s := range secrets {
		encoded, ok := strings.CutPrefix(s, secretPrefix)
		if !ok {
			return nil, fmt.Errorf("number %d doesn't begin with %s; make one with: echo whsec_$(openssl rand -base64 32)", i+1, secretPrefix)
		}
		key, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("what follows %s in number %d is not base64 with padding", secretPrefix, i+1)
		}
		if len(key) < 24 || len(key) > 64 {
			return nil, fmt.Errorf("number %d holds %d bytes, a key has 24 to 64", i+1, len(key))
		}
	}
	return secrets, nil
}
