package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// clinic is a deployment to be looked at.
type clinic struct {
	t       *testing.T
	brokers []string
	adm     *kadm.Client
}

func newClinic(t *testing.T, brokers int) *clinic {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &clinic{t, cluster.ListenAddrs(), kadm.NewClient(cl)}
}

func (c *clinic) topic(name string, replicas int16, set map[string]string) {
	c.t.Helper()
	values := map[string]*string{}
	for k, v := range set {
		values[k] = &v
	}
	if _, err := c.adm.CreateTopic(c.t.Context(), 1, replicas, values, name); err != nil {
		c.t.Fatal(err)
	}
}

// expect runs doctor with one rule and more settings. The warnings that it finds are
// these, each as check and a part of what it says, and there is no problem.
func (c *clinic) expect(when, more string, warnings ...[2]string) {
	c.t.Helper()
	dir := c.t.TempDir()
	rule := fmt.Sprintf("rules: [{id: one, action: review, on_missing: skip, when: '%s'}]\n", when)
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(rule), 0o600); err != nil {
		c.t.Fatal(err)
	}
	machines := !strings.Contains(more, "state:") // the disk that tests run on may be full
	if machines {
		more += fmt.Sprintf("\nstate: {dir: %q}", filepath.Join(c.t.TempDir(), "state"))
	}
	found, r := askDoctor(c.t, write(c.t, "refundguard.yaml", fmt.Sprintf("kafka: {seed_brokers: [%q]}\nrules: {dir: %q}\n%s\n", c.brokers[0], dir, more)))
	found = slices.DeleteFunc(found, func(f checked) bool {
		return f.Result != "warning" && f.Result != "problem" || machines && f.Check == "state.dir" && f.Result == "warning"
	})
	slices.SortFunc(found, func(a, b checked) int { return strings.Compare(a.Check, b.Check) })
	fits := len(found) == len(warnings) && r.code == exitFine
	for i := range min(len(found), len(warnings)) {
		fits = fits && found[i].Result == "warning" && found[i].Check == warnings[i][0] && strings.Contains(found[i].Says, warnings[i][1])
	}
	if !fits {
		c.t.Errorf("%s\n%s\nexit %d, %q, want warnings %q", when, more, r.code, found, warnings)
	}
}

// An input that forgets what a window looks back to is told of, with the longest of
// them; one that is kept as long, or for ever, isn't.
func TestDoctorComparesRetentionWithWindows(t *testing.T) {
	c := newClinic(t, 1)
	day := "86400000"
	c.topic("day", 1, map[string]string{"retention.ms": day})
	c.topic("week", 1, map[string]string{"retention.ms": "604800000"})
	c.topic("ever", 1, map[string]string{"retention.ms": "-1"})
	c.topic("keys", 1, map[string]string{"retention.ms": day, "cleanup.policy": "compact"})
	const week = `refunds.by(customer_id).within("7d").count() > 3`
	short := func(topic, reads, back, ms string) [2]string {
		return [2]string{"topic " + topic, "keeps 1d, and " + reads + " looks back " + back + ": where a start finds no saved state, such expressions are warming for so long; set retention.ms=" + ms}
	}
	weekly := short("day", "refunds.by(customer_id)", "7d", "604800000")
	c.expect(week, "streams: {refunds: {topic: day}}", weekly)
	c.expect(week+` and refunds.by(device_id).within("1d").count() > 3`, "streams: {refunds: {topic: day}}", weekly)
	c.expect(week+` and refunds.by(customer_id).ever().count() > 9`, "streams: {refunds: {topic: day}}", weekly)
	c.expect(`refunds.by(customer_id).within("7d").delayed("7d").count() > 3`, "streams: {refunds: {topic: week}}",
		[2]string{"topic week", "keeps 7d, and refunds.by(customer_id) looks back 14d"})
	c.expect(`complaints.by(customer_id).within("2d").count() > 3`, "streams: {complaints: {topic: day}}", short("day", "complaints.by(customer_id)", "2d", "172800000"))
	c.expect(`updates.by(customer_id).within("2d").count() > 3`, "streams: {transactions: {topic: day}}", short("day", "updates.by(customer_id)", "2d", "172800000"))
	for _, topic := range []string{"week", "ever", "keys"} {
		c.expect(week, "streams: {refunds: {topic: "+topic+"}}")
	}
	c.expect(`amount > 5`, "streams: {refunds: {topic: day}}")
	c.expect(`transactions.by(customer_id).within("7d").count() > 3`, "streams: {refunds: {topic: day}, transactions: {topic: week}}")
	c.expect(`refunds.by(customer_id).ever().count() > 9`, "streams: {refunds: {topic: day}}")
}

func TestDoctorCountsReplicas(t *testing.T) {
	c := newClinic(t, 3)
	c.topic("refunds", 1, nil)
	c.topic("transactions", 3, nil)
	c.topic("alerts", 2, nil)
	c.expect("amount > 5", "", [2]string{"topic refunds", "single replica on a cluster of 3 brokers"})
	alone := newClinic(t, 1)
	alone.topic("refunds", 1, nil)
	alone.expect("amount > 5", "")
}

func TestDoctorConnectsToWebhooks(t *testing.T) {
	c := newClinic(t, 1)
	listening, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listening.Close()
	hook := func(name, addr, more string) string {
		return fmt.Sprintf("{name: %s, url: 'http://%s/hush', format: slack%s}", name, addr, more)
	}
	inside := ", allow_private: [true]"
	there, nobody := listening.Addr().String(), "127.0.0.1:1"
	c.expect("amount > 5", "webhooks: ["+hook("a", there, inside)+"]")
	c.expect("amount > 5", "webhooks: ["+hook("a", nobody, inside)+", "+hook("b", there, inside)+", "+hook("c", there, "")+"]",
		[2]string{"webhook: a", "refused"}, [2]string{"webhook: c", "unless allow_private lists it"})
	found, _ := askDoctor(t, write(t, "refundguard.yaml", fmt.Sprintf("kafka: {seed_brokers: [%q]}\nrules: {dir: %q}\nwebhooks: [%s]\n", c.brokers[0], t.TempDir(), hook("a", nobody, inside))))
	if strings.Contains(fmt.Sprint(found), "hush") {
		t.Errorf("a webhook's path, which may be a secret, is shown: %q", found)
	}
}

// A list that can't be read is a problem of the rules: run refuses them.
func TestDoctorReadsLists(t *testing.T) {
	c := newClinic(t, 1)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte("lists: {bad: {file: lists/bad.csv}}\nrules: [{id: one, action: review, on_missing: skip, when: device_id in lists.bad}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := write(t, "refundguard.yaml", fmt.Sprintf("kafka: {seed_brokers: [%q]}\nrules: {dir: %q}\n", c.brokers[0], dir))
	expectDoctor(t, file, "rules", "lists/bad.csv can't be read")
	if err := os.Mkdir(filepath.Join(dir, "lists"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "lists", "bad.csv"), []byte("dev_1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	expectDoctor(t, file, "", "")
}
