package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
)

// idle are the running brokers that no test has at the moment. A broker takes
// seconds to start, so that tests of one binary hand them on; that this is
// shared by the whole process is the point of it.
var idle struct {
	sync.Mutex
	brokers []*apache
}

// leaseApache gives the test a real broker, and takes it back when the test
// ends. A broker that can't be made empty again is not handed on.
func leaseApache(t testing.TB, c *Cluster) *apache {
	t.Helper()
	a, err := takeApache()
	if errors.Is(err, errMissing) && os.Getenv("CI") != "true" {
		t.Skipf("kafkatest: %v", err)
	}
	if err != nil {
		t.Fatalf("kafkatest: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kafkatest: the broker's last words:\n%s", a.logTail())
		}
		var err error
		if c.stopped {
			err = a.restart()
		}
		if err == nil {
			err = a.empty()
		}
		if err != nil {
			t.Logf("kafkatest: the broker is given up: %v", err)
			a.watch.Close()
			return
		}
		idle.Lock()
		idle.brokers = append(idle.brokers, a)
		idle.Unlock()
	})
	return a
}

func takeApache() (*apache, error) {
	idle.Lock()
	if n := len(idle.brokers); n > 0 {
		a := idle.brokers[n-1]
		idle.brokers = idle.brokers[:n-1]
		idle.Unlock()
		return a, nil
	}
	idle.Unlock()
	jars, err := install()
	if err != nil {
		return nil, err
	}
	return newApache(jars)
}

// empty removes what the last test made: its topics and groups. The broker's
// own topics stay, and what they know of transactional ids.
func (a *apache) empty() error {
	return withAdmin(a.addr(), func(ctx context.Context, adm *kadm.Client) error {
		topics, err := adm.ListTopics(ctx)
		if err != nil {
			return fmt.Errorf("list topics: %w", err)
		}
		if _, err := adm.DeleteTopics(ctx, topics.Names()...); err != nil {
			return fmt.Errorf("delete %s: %w", strings.Join(topics.Names(), ", "), err)
		}
		groups, err := adm.ListGroups(ctx)
		if err != nil {
			return fmt.Errorf("list groups: %w", err)
		}
		gone, err := adm.DeleteGroups(ctx, groups.Groups()...)
		if err != nil {
			return fmt.Errorf("delete groups: %w", err)
		}
		return gone.Error()
	})
}
