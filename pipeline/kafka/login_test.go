package kafka_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/refundguard/refundguard/connect"
	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/pipeline/kafkatest"
)

// token is an unsecured one (RFC 7515, appendix A.5), for brokers of tests.
func token(user string, lasts time.Duration) string {
	encode := base64.RawURLEncoding.EncodeToString
	now := time.Now()
	return encode([]byte(`{"alg":"none"}`)) + "." + encode(fmt.Appendf(nil, `{"sub":%q,"iat":%d,"exp":%d}`, user, now.Unix()-1, now.Add(lasts).Unix())) + "."
}

// Every mechanism, over TLS, on a broker that isn't ours.
func TestLogsInToTheRealBroker(t *testing.T) {
	secure := kafkatest.Start(t).Secure()
	asked := atomic.Int32{}
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, ok := r.BasicAuth()
		if body, _ := io.ReadAll(r.Body); !ok || id != "client" || secret != "s3cret" || !strings.Contains(string(body), "scope=kafka+write") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"bearer","expires_in":3600}`, token("guard", time.Hour))
	}))
	t.Cleanup(idp.Close)
	with := func(mechanism string) kafka.SASL {
		return kafka.SASL{Mechanism: mechanism, Username: secure.Username, Password: secure.Password}
	}
	for name, c := range map[string]struct {
		login kafka.SASL
		fails string
	}{
		"PLAIN":                 {login: with(kafka.Plain)},
		"SCRAM-SHA-256":         {login: with(kafka.ScramSHA256)},
		"SCRAM-SHA-512":         {login: with(kafka.ScramSHA512)},
		"wrong PLAIN":           {login: kafka.SASL{Mechanism: kafka.Plain, Username: secure.Username, Password: "wrong"}, fails: "it refused the login"},
		"wrong SCRAM":           {login: kafka.SASL{Mechanism: kafka.ScramSHA512, Username: secure.Username, Password: "wrong"}, fails: "it refused the login"},
		"a token":               {login: kafka.SASL{Mechanism: kafka.OAuthBearer, Token: token("guard", time.Hour)}},
		"a token in a file":     {login: kafka.SASL{Mechanism: kafka.OAuthBearer, TokenFile: write(t, "token", []byte(token("guard", time.Hour)+"\n"))}},
		"an old token":          {login: kafka.SASL{Mechanism: kafka.OAuthBearer, Token: token("guard", -time.Hour)}, fails: "it refused the login"},
		"a client's secret":     {login: kafka.SASL{Mechanism: kafka.OAuthBearer, TokenURL: idp.URL, ClientID: "client", ClientSecret: "s3cret", Scopes: []string{"kafka", "write"}}},
		"another secret":        {login: kafka.SASL{Mechanism: kafka.OAuthBearer, TokenURL: idp.URL, ClientID: "client", ClientSecret: "wrong"}, fails: "kafka.sasl.token_url: it answers 401"},
		"nobody at the address": {login: kafka.SASL{Mechanism: kafka.OAuthBearer, TokenURL: "http://127.0.0.1:1", ClientID: "client", ClientSecret: "wrong"}, fails: "kafka.sasl.token_url: "},
	} {
		t.Run(name, func(t *testing.T) {
			config := kafka.DefaultConfig()
			config.SeedBrokers = []string{secure.Addr}
			config.TLS = connect.TLS{Enabled: true, CAFile: secure.CAFile}
			config.SASL = []kafka.SASL{c.login}
			usable, err := check(t, config)
			if c.fails == "" {
				if !usable || err != nil {
					t.Fatal(usable, err)
				}
				return
			}
			if usable || err == nil || !strings.Contains(err.Error(), c.fails) || strings.Contains(err.Error(), "wrong") {
				t.Errorf("usable %v, want %q in: %v", usable, c.fails, err)
			}
		})
	}
	if asked.Load() == 0 {
		t.Error("nobody asked for a token")
	}
}

func TestTokenFaults(t *testing.T) {
	for _, c := range []struct {
		login kafka.SASL
		want  string
	}{
		{kafka.SASL{}, "sasl[0].token_file: give one of token, token_file and token_url, there are 0"},
		{kafka.SASL{Token: "a", TokenFile: "b"}, "there are 2"},
		{kafka.SASL{Token: "a", Username: "u"}, "sasl[0].username: is not for OAUTHBEARER"},
		{kafka.SASL{TokenURL: "idp", ClientID: "a", ClientSecret: "b"}, "sasl[0].token_url: is not a URL"},
		{kafka.SASL{TokenURL: "https://idp", ClientSecret: "b"}, "sasl[0].client_id: is missing"},
		{kafka.SASL{TokenURL: "https://idp", ClientID: "a"}, "sasl[0].client_secret: is missing"},
		{kafka.SASL{TokenURL: "https://idp", ClientID: "a", ClientSecret: "b", ClientSecretFile: "c"}, "sasl[0].client_secret_file: is set beside"},
	} {
		config := kafka.DefaultConfig()
		config.SeedBrokers = []string{"a:1"}
		c.login.Mechanism = kafka.OAuthBearer
		config.SASL = []kafka.SASL{c.login}
		if err := config.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
	config := kafka.DefaultConfig()
	config.SASL = []kafka.SASL{{Mechanism: kafka.OAuthBearer, TokenFile: "no/such"}}
	if _, err := config.Options(slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "sasl[0].token_file: ") || !os.IsNotExist(err) && !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a missing token file: %v", err)
	}
}
