package sim

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestEvict has a member's connection end while it waits for another to join.
// kfake never takes it out of the group, as a broker does; evict does, and leaves
// the member that lives.
func TestEvict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sim{t: t, rng: newRand(1, 10), net: newNetwork(newRand(1, 11)), log: newLog(), brokers: []string{"127.0.0.1:9092"}}
		s.checker = s.net.host("checker", time.Millisecond)
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(s.net.listen))
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()
		client := func(h *host) *kgo.Client {
			cl, err := kgo.NewClient(append(s.options(h), kgo.RequestRetries(0))...)
			if err != nil {
				t.Fatal(err)
			}
			return cl
		}
		checker := client(s.checker)
		defer checker.Close()
		members := func() (hosts []string) {
			described, err := kadm.NewClient(checker).DescribeGroups(t.Context(), group)
			if err != nil || described[group].Err != nil {
				t.Fatal(err, described[group].Err)
			}
			for _, m := range described[group].Members {
				hosts = append(hosts, m.ClientHost)
			}
			slices.Sort(hosts)
			return hosts
		}

		living := &hook{s: s, host: s.net.host("living", time.Millisecond)}
		leader := client(living.host)
		defer leader.Close()
		id := memberID(t, leader)
		generation, err := join(t.Context(), leader, id)
		if err != nil {
			t.Fatal(err)
		}
		forgets := func() bool {
			mortal := s.net.host("mortal", time.Millisecond)
			follower := client(mortal)
			defer follower.Close()
			dead, left := memberID(t, follower), make(chan error)
			go func() { _, err := join(t.Context(), follower, dead); left <- err }()
			time.Sleep(time.Second)
			mortal.cut()
			if err := <-left; err == nil {
				t.Fatal("the group did not wait for its leader to join")
			}
			time.Sleep(time.Second)
			if generation, err = join(t.Context(), leader, id); err != nil {
				t.Fatal(err)
			}
			for range 100 { // five minutes
				time.Sleep(3 * time.Second)
				if !beat(t, leader, id, generation) {
					generation, err = join(t.Context(), leader, id)
					return false
				}
			}
			return true
		}
		// kfake tosses a coin: between the connection's end, and its queue.
		for tries := 0; !forgets(); tries++ {
			if tries == 50 {
				t.Fatal("kfake evicts who is dead: nobody need do it instead")
			}
		}
		if got := members(); !slices.Equal(got, []string{"living", "mortal"}) {
			t.Fatalf("members of the group after five minutes: %v", got)
		}
		living.evict()
		if got := members(); !slices.Equal(got, []string{"living"}) {
			t.Errorf("members of the group: %v", got)
		}
	})
}

// memberID is what a coordinator calls a new member.
func memberID(t *testing.T, cl *kgo.Client) string {
	resp, err := joinRequest("").RequestWith(t.Context(), cl)
	if err != nil {
		t.Fatal(err)
	}
	return resp.MemberID
}

func joinRequest(id string) *kmsg.JoinGroupRequest {
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name = "any"
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = group, id, "any"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 6000, 60_000
	req.Protocols = append(req.Protocols, protocol)
	return req
}

// join waits for the end of a rebalance; the leader assigns nothing.
func join(ctx context.Context, cl *kgo.Client, id string) (generation int32, err error) {
	joined, err := joinRequest(id).RequestWith(ctx, cl)
	if err != nil {
		return 0, err
	}
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.Generation = group, id, joined.Generation
	_, err = sync.RequestWith(ctx, cl)
	return joined.Generation, err
}

// beat reports whether the group is as it was.
func beat(t *testing.T, cl *kgo.Client, id string, generation int32) bool {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = group, id, generation
	resp, err := req.RequestWith(t.Context(), cl)
	if err != nil {
		t.Fatal(err)
	}
	return resp.ErrorCode == 0
}
