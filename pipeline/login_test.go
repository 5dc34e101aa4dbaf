package pipeline_test

import (
	"context"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Before it was live once, a pipeline that may not do its work says which grant
// is missing, and ends.
func TestUnauthorizedAtTheStart(t *testing.T) {
	for name, c := range map[string]struct {
		begin func(*held) func()
		says  string
	}{
		"transactional.id": {lasting(kerr.TransactionalIDAuthorizationFailed, "", kmsg.InitProducerID), "grant WRITE and DESCRIBE on it"},
		"write":            {lasting(kerr.TopicAuthorizationFailed, "refundguard-progress", kmsg.Produce), "grant WRITE"},
		"describe":         {lasting(kerr.TopicAuthorizationFailed, "refunds", kmsg.Metadata), "grant READ and DESCRIBE"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newHeld(t, 1, 1)
			r.send("refunds", 0, refund("x", "", "ann", "1", 0))
			c.begin(r)
			if err := r.run().wait(); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("ended with %v, want %q", err, c.says)
			}
		})
	}
}

// A login that is revoked while the pipeline runs is waited out: secrets are
// read again at each login.
func TestALoginThatIsRevoked(t *testing.T) {
	slow(t)
	admin := []kgo.Opt{kgo.SASL(plain.Auth{User: "admin", Pass: "admin"}.AsMechanism())}
	r := newHeldAs(t, admin, 1, 1, kfake.EnableSASL(), kfake.Superuser("PLAIN", "admin", "admin"),
		kfake.BrokerConfigs(map[string]string{"connections.max.reauth.ms": "2000"}))
	allow := func() {
		set, err := r.adm.AlterUserSCRAMs(context.Background(), nil, []kadm.UpsertSCRAM{{User: "guard", Mechanism: kadm.ScramSha256, Iterations: 4096, Password: "secret"}})
		if err == nil {
			err = set.Error()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	allow()
	r.opts = []kgo.Opt{kgo.SASL(scram.Auth{User: "guard", Pass: "secret"}.AsSha256Mechanism())}
	r.trouble(trouble{shows: "it refused the login", begin: func(*held) func() {
		set, err := r.adm.AlterUserSCRAMs(context.Background(), []kadm.DeleteSCRAM{{User: "guard", Mechanism: kadm.ScramSha256}}, nil)
		if err != nil || set.Error() != nil {
			t.Fatal(err, set)
		}
		return allow
	}})
}
