package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/user"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// controlWriter is what the commands share that put something in force, or end it.
type controlWriter struct {
	*topicReader
	as, reason, output *string
}

func newControlWriter(cmd *cobra.Command) *controlWriter {
	name := ""
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return &controlWriter{topicReader: newControlReader(cmd), output: outputFlag(cmd), reason: new(string),
		as: cmd.Flags().String("as", name, "who does it, as it will be shown")}
}

// newControlReader reads all of the topic, which observing instances read, too.
func newControlReader(cmd *cobra.Command) *topicReader {
	return &topicReader{file: configFlag(cmd), observe: new(bool), since: "0"}
}

// reasoned adds --reason.
func (w *controlWriter) reasoned(cmd *cobra.Command) *controlWriter {
	cmd.Flags().StringVar(w.reason, "reason", "", "why, for colleagues")
	return w
}

// check finds what is given wrongly; a reason is wanted where it can be given.
func (w *controlWriter) check(cmd *cobra.Command) error {
	switch {
	case checkOutput(*w.output) != nil:
		return checkOutput(*w.output)
	case *w.as == "":
		return usage{errors.New("--as is empty: name who does it")}
	case cmd.Flag("reason") != nil && *w.reason == "":
		return usage{errors.New("--reason is missing: colleagues will ask why")}
	case len(*w.reason) > 2000 || len(*w.as) > 256:
		return usage{errors.New("--reason is at most 2000 bytes, and --as 256")}
	}
	return nil
}

// listed is a control as it is shown.
type listed struct {
	ID      string
	Control *event.Control
}

// MarshalJSON is the control with its id.
func (l listed) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID      string          `json:"id"`
		Control json.RawMessage `json:"control"`
	}{l.ID, l.Control.Append(nil)})
}

// inForce are the controls of one kind that haven't ended, by id.
func (t *topicReader) inForce(ctx context.Context, options []kgo.Opt, topic, kind string) ([]listed, error) {
	records, err := t.read(ctx, options, topic, func(*kgo.Record) bool { return true })
	if err != nil {
		return nil, err
	}
	// In the order of the topic: timestamps are those of whoever wrote.
	slices.SortFunc(records, func(a, b *kgo.Record) int { return int(a.Offset - b.Offset) })
	all := map[string]*event.Control{}
	for _, r := range records {
		if len(r.Value) == 0 {
			delete(all, string(r.Key))
		} else if c, err := event.ParseControl(r.Value); err == nil {
			all[string(r.Key)] = c
		}
	}
	found := []listed{}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if c := all[id]; c.Kind == kind && (c.Until == 0 || time.Now().UnixMilli() < c.Until) {
			found = append(found, listed{id, c})
		}
	}
	return found, nil
}

// put writes a control; nil ends it.
func (w *controlWriter) put(ctx context.Context, options []kgo.Opt, topic, id string, c *event.Control) error {
	if usable, err := kafka.Check(ctx, options); !usable {
		return err
	}
	r := &kgo.Record{Topic: topic, Key: []byte(id)}
	if c != nil {
		c.By, c.Reason, c.At = *w.as, *w.reason, time.Now().UnixMilli()
		r.Value = c.Append(nil)
		if _, err := event.ParseControl(r.Value); err != nil {
			return usage{err}
		}
	}
	cl, err := kgo.NewClient(append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordDeliveryTimeout(30*time.Second), kgo.UnknownTopicRetries(2))...)
	if err != nil {
		return fmt.Errorf("kafka client: %w", err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
		return fmt.Errorf("writing %s to %s (the service creates the topic when it starts): %w", id, topic, err)
	}
	return nil
}

// say prints what was put in force, or ended.
func (w *controlWriter) say(cmd *cobra.Command, id string, c *event.Control, text string) error {
	if *w.output == "json" {
		if c == nil {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{"id": id, "ended": time.Now().UTC().Format(time.RFC3339)})
		}
		return json.NewEncoder(cmd.OutOrStdout()).Encode(listed{id, c})
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s (%s). It takes effect within a second or two.\n", text, id)
	return err
}

// knownRule refuses a rule that rules.dir doesn't have.
func knownRule(file, id string) error {
	target, err := findRules(file, "")
	if err != nil {
		return err
	}
	set, err := rules.Load(target.dir, target.options)
	if err != nil {
		return fmt.Errorf("rules in %s:\n%w", target.dir, err)
	}
	all := set.Rules
	if set.Transactions != nil {
		all = slices.Concat(all, set.Transactions.Rules)
	}
	for _, r := range all {
		if r.ID == id {
			return nil
		}
	}
	return usage{fmt.Errorf("there is no rule %q in %s: see refundguard rules list", id, target.dir)}
}
