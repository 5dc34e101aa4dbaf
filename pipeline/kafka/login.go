package kafka

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/refundguard/refundguard/connect"
)

// SASL is one way to log in. Secrets are given, or read from a file at each
// login, so that they can be rotated without a restart.
type SASL struct {
	Mechanism    string `koanf:"mechanism"`
	Username     string `koanf:"username"`
	Password     string `koanf:"password"`
	PasswordFile string `koanf:"password_file"`

	// OAUTHBEARER only: a token, or where to get one with the client's secret.
	Token            string            `koanf:"token"`
	TokenFile        string            `koanf:"token_file"`
	TokenURL         string            `koanf:"token_url"` // RFC 6749, section 4.4
	ClientID         string            `koanf:"client_id"`
	ClientSecret     string            `koanf:"client_secret"`
	ClientSecretFile string            `koanf:"client_secret_file"`
	Scopes           []string          `koanf:"scopes"`
	Extensions       map[string]string `koanf:"extensions"` // RFC 7628, section 3.1
}

// The mechanisms.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
	OAuthBearer = "OAUTHBEARER"
)

// Mechanisms returns every SASL mechanism that Config takes.
func Mechanisms() []string { return []string{Plain, ScramSHA256, ScramSHA512, OAuthBearer} }

// tokenTimeout bounds asking for a token.
const tokenTimeout = 10 * time.Second

func (s SASL) faults(at string) (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(at+format, args...)) }
	foreign := func(mechanism string, keys ...string) {
		for i := 0; i < len(keys); i += 2 {
			if keys[i+1] != "" {
				fault("%s: is not for %s; leave it out", keys[i], mechanism)
			}
		}
	}
	switch s.Mechanism {
	case Plain, ScramSHA256, ScramSHA512:
		if s.Username == "" {
			fault("username: is missing")
		}
		switch {
		case s.Password == "" && s.PasswordFile == "":
			fault("password: is missing; give it, or password_file")
		case s.Password != "" && s.PasswordFile != "":
			fault("password_file: is set beside password; give one of the two")
		}
		foreign(s.Mechanism, "token", s.Token, "token_file", s.TokenFile, "token_url", s.TokenURL, "client_id", s.ClientID,
			"client_secret", s.ClientSecret, "client_secret_file", s.ClientSecretFile)
	case OAuthBearer:
		foreign(s.Mechanism, "username", s.Username, "password", s.Password, "password_file", s.PasswordFile)
		faults = append(faults, s.tokenFaults(at)...)
	case "":
		fault("mechanism: is missing; one of %s", strings.Join(Mechanisms(), ", "))
	default:
		fault("mechanism: %q is not one of %s", s.Mechanism, strings.Join(Mechanisms(), ", "))
	}
	return faults
}

func (s SASL) tokenFaults(at string) (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(at+format, args...)) }
	ways := 0
	for _, way := range []string{s.Token, s.TokenFile, s.TokenURL} {
		if way != "" {
			ways++
		}
	}
	if ways != 1 {
		fault("token_file: give one of token, token_file and token_url, there are %d", ways)
	}
	if s.TokenURL == "" {
		return faults
	}
	if u, err := url.Parse(s.TokenURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		fault("token_url: is not a URL; write it as https://host/path")
	}
	if s.ClientID == "" {
		fault("client_id: is missing; token_url needs it")
	}
	switch {
	case s.ClientSecret == "" && s.ClientSecretFile == "":
		fault("client_secret: is missing; give it, or client_secret_file")
	case s.ClientSecret != "" && s.ClientSecretFile != "":
		fault("client_secret_file: is set beside client_secret; give one of the two")
	}
	return faults
}

// login is the mechanism. It reads the files that s names once, to say early
// which can't be used.
func (s SASL) login() (sasl.Mechanism, error) {
	password := func() (string, error) { return connect.Secret(s.Password, s.PasswordFile, "password_file") }
	scramAuth := func(context.Context) (scram.Auth, error) {
		p, err := password()
		return scram.Auth{User: s.Username, Pass: p}, err
	}
	_, err := password()
	switch s.Mechanism {
	case Plain:
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			p, err := password()
			return plain.Auth{User: s.Username, Pass: p}, err
		}), err
	case ScramSHA256:
		return scram.Sha256(scramAuth), err
	case ScramSHA512:
		return scram.Sha512(scramAuth), err
	case OAuthBearer:
		token, err := s.tokens()
		return oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
			text, err := token(ctx)
			return oauth.Auth{Token: text, Extensions: s.Extensions}, err
		}), err
	}
	return nil, fmt.Errorf("mechanism: %q is unknown", s.Mechanism)
}

// tokens is what gives the token for a login. Those of a token_url are used
// until they expire.
func (s SASL) tokens() (func(context.Context) (string, error), error) {
	if s.TokenURL == "" {
		given := func(context.Context) (string, error) { return connect.Secret(s.Token, s.TokenFile, "token_file") }
		_, err := given(context.Background())
		return given, err
	}
	source := oauth2.ReuseTokenSource(nil, credentials{s})
	_, err := connect.Secret(s.ClientSecret, s.ClientSecretFile, "client_secret_file")
	return func(context.Context) (string, error) {
		t, err := source.Token()
		if err != nil {
			return "", err
		}
		return t.AccessToken, nil
	}, err
}

// credentials asks for a token with the secret as it is now.
type credentials struct{ s SASL }

func (c credentials) Token() (*oauth2.Token, error) {
	secret, err := connect.Secret(c.s.ClientSecret, c.s.ClientSecretFile, "client_secret_file")
	if err != nil {
		return nil, err
	}
	config := clientcredentials.Config{ClientID: c.s.ClientID, ClientSecret: secret, TokenURL: c.s.TokenURL, Scopes: c.s.Scopes}
	// Several brokers' connections wait for the same token, so it isn't bound to
	// the context of one of them.
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Timeout: tokenTimeout})
	t, err := config.Token(ctx)
	if refused := (*oauth2.RetrieveError)(nil); errors.As(err, &refused) && refused.Response != nil {
		// The body of the answer may show what was sent.
		err = fmt.Errorf("it answers %s %s", refused.Response.Status, refused.ErrorCode)
	}
	if err != nil {
		return nil, &tokenError{err}
	}
	return t, nil
}

// tokenError is why there is no token.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return fmt.Sprintf("kafka.sasl.token_url: %v", e.err) }
func (e *tokenError) Unwrap() error { return e.err }
