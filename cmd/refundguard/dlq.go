package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/clickhouse"
)

func newDLQCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Looks at the dead letters, and sends them again",
		Long: `Dead letters are records that were refused: unreadable ones, those that conflict
with an earlier one of their id, and those that a sink could not deliver. Each is
in the topic dead-letters as it came, with the reason in its headers.`,
		Example: "  refundguard dlq list -c refundguard.yaml\n  refundguard dlq show 0:12\n  refundguard dlq replay 0:12 0:13",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDLQListCmd(), newDLQShowCmd(), newDLQReplayCmd())
	return cmd
}

// letter is a dead letter as the commands show it.
type letter struct {
	Place     string    `json:"place"` // in dead-letters
	At        time.Time `json:"at"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Code      string    `json:"code"`
	Field     string    `json:"field,omitempty"`
	Message   string    `json:"message"`
	Bytes     int       `json:"bytes"`

	record *kgo.Record
}

func letterOf(r *kgo.Record) letter {
	l := letter{Place: place(r.Partition, r.Offset), At: r.Timestamp.UTC(), Bytes: len(r.Value), record: r}
	d, err := event.ParseDeadLetter(headersOf(r))
	if err != nil {
		l.Code, l.Message = "UNKNOWN", err.Error()
		return l
	}
	l.Topic, l.Partition, l.Offset, l.Code, l.Field, l.Message = d.Topic, d.Partition, d.Offset, d.Code, d.Field, d.Message
	return l
}

// letterFilter is which dead letters a command is about.
type letterFilter struct {
	*topicReader
	topic, code *string
}

func newLetterFilter(cmd *cobra.Command) *letterFilter {
	return &letterFilter{topicReader: newTopicReader(cmd).flags(cmd),
		topic: cmd.Flags().String("topic", "", "only those of this topic, e.g. refunds"),
		code:  cmd.Flags().String("code", "", "only those with this code, e.g. INVALID_VALUE")}
}

// read gives the dead letters at some places, or all that the flags choose.
func (f *letterFilter) read(ctx context.Context, options []kgo.Opt, topic string, places map[string]bool) ([]letter, error) {
	records, err := f.topicReader.read(ctx, options, topic, func(r *kgo.Record) bool {
		if len(places) > 0 && !places[place(r.Partition, r.Offset)] {
			return false
		}
		l := letterOf(r)
		return (*f.topic == "" || l.Topic == *f.topic) && (*f.code == "" || strings.EqualFold(l.Code, *f.code))
	})
	var letters []letter
	for _, r := range records {
		letters = append(letters, letterOf(r))
	}
	return letters, err
}

func newDLQListCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "Lists dead letters: when, what, why",
		Example: "  refundguard dlq list --since 1h\n  refundguard dlq list --topic refunds --code CONFLICTING_ID -o json",
		Args:    cobra.NoArgs,
	}
	filter, output := newLetterFilter(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		c, options, err := filter.open()
		if err != nil {
			return err
		}
		letters, err := filter.read(cmd.Context(), options, c.Pipeline.Names().DeadLetters, nil)
		if err != nil {
			return err
		}
		if *output == "json" {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(slices.Concat([]letter{}, letters))
		}
		if len(letters) == 0 {
			fmt.Fprintln(cmd.OutOrStdout(), "no dead letters")
			return nil
		}
		t := newTable(cmd.OutOrStdout(), "place", "at", "topic", "code", "field", "message", "bytes")
		for _, l := range letters {
			t.AppendRow([]any{l.Place, shortTime(l.At), l.Topic, l.Code, l.Field, cut(l.Message, 80), l.Bytes})
		}
		t.Render()
		return nil
	}
	return cmd
}

func newDLQShowCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show PLACE", Short: "Shows one dead letter: its headers and its bytes",
		Example: "  refundguard dlq show 0:12\n  refundguard dlq show 0:12 --raw > record.json",
		Args:    cobra.ExactArgs(1),
	}
	reader, output := newTopicReader(cmd), outputFlag(cmd)
	raw := cmd.Flags().Bool("raw", false, "only the record's bytes, as they came")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		places, err := parsePlaces(args)
		if err != nil {
			return err
		}
		c, options, err := reader.open()
		if err != nil {
			return err
		}
		records, err := reader.read(cmd.Context(), options, c.Pipeline.Names().DeadLetters, func(r *kgo.Record) bool {
			return places[place(r.Partition, r.Offset)]
		})
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return fmt.Errorf("no dead letter at %s: see refundguard dlq list", args[0])
		}
		return showLetter(cmd.OutOrStdout(), letterOf(records[0]), *raw, *output)
	}
	return cmd
}

func showLetter(out io.Writer, l letter, raw bool, output string) error {
	r := l.record
	if raw {
		_, err := out.Write(r.Value)
		return err
	}
	if output == "json" {
		headers := map[string]string{}
		for _, h := range r.Headers {
			headers[h.Key] = string(h.Value)
		}
		return json.NewEncoder(out).Encode(struct {
			letter
			Key     string            `json:"key"`
			Value   string            `json:"value"`
			Headers map[string]string `json:"headers"`
		}{l, string(r.Key), string(r.Value), headers})
	}
	fmt.Fprintf(out, "place    %s, %s\nfrom     %s partition %d offset %d\ncode     %s\n", l.Place, shortTime(l.At), l.Topic, l.Partition, l.Offset, l.Code)
	if l.Field != "" {
		fmt.Fprintf(out, "field    %s\n", l.Field)
	}
	fmt.Fprintf(out, "message  %s\nkey      %q\n", l.Message, r.Key)
	for _, h := range r.Headers {
		fmt.Fprintf(out, "header   %s: %q\n", h.Key, h.Value)
	}
	fmt.Fprintf(out, "\n%s\n", r.Value)
	return nil
}

// headerReplayed says, on a record that was sent again, which dead letter it was.
const headerReplayed = "refundguard-replay-of"

func newDLQReplayCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "replay [PLACE]...", Short: "Sends dead letters again to where they came from",
		Long: `Sends dead letters again to the topic and partition that they came from: named
by their places, or all that the flags choose with --all. Do so after what
refused them was mended, e.g. a field of the configuration: a refund is then
decided as if it arrived now, once. One that was decided meanwhile is a
duplicate, and one that still can't be read is a dead letter again.`,
		Example: "  refundguard dlq replay 0:12 0:13\n  refundguard dlq replay --all --topic refunds --code UNKNOWN_CURRENCY --since 1d --dry-run",
	}
	filter := newLetterFilter(cmd)
	all := cmd.Flags().Bool("all", false, "all that the flags choose")
	dry := cmd.Flags().Bool("dry-run", false, "only say what would be sent")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *all == (len(args) > 0) {
			return usage{errors.New("name places, or give --all: see refundguard dlq list")}
		}
		places, err := parsePlaces(args)
		if err != nil {
			return err
		}
		c, options, err := filter.open()
		if err != nil {
			return err
		}
		if len(places) > 0 {
			filter.since, filter.limit = "0", 0
		}
		letters, err := filter.read(cmd.Context(), options, c.Pipeline.Names().DeadLetters, places)
		if err != nil {
			return err
		}
		if len(letters) < len(places) {
			return fmt.Errorf("%d of %d dead letters were not found: see refundguard dlq list", len(places)-len(letters), len(places))
		}
		return replay(cmd, c, options, letters, *dry)
	}
	return cmd
}

func replay(cmd *cobra.Command, c config, options []kgo.Opt, letters []letter, dry bool) error {
	schema, err := c.Pipeline.Schema()
	if err != nil {
		return err
	}
	inputs := map[string]bool{}
	for _, s := range schema.Streams {
		inputs[s.Topic] = true
	}
	var records []*kgo.Record
	for _, l := range letters {
		switch {
		case l.Code == clickhouse.CodeRefused:
			return fmt.Errorf("%s was refused by clickhouse, not by the service: it is in %s as ever, and only a table lacks it: mend the table, then insert the row", l.Place, l.Topic)
		case l.Topic == c.Pipeline.Names().Alerts:
			return fmt.Errorf("%s is an alert: send it with refundguard alerts replay", l.Place)
		case !inputs[l.Topic]:
			return fmt.Errorf("%s came from %q, which is no stream of this configuration", l.Place, l.Topic)
		case l.Bytes == 0:
			return fmt.Errorf("%s has no bytes: the record was too large to be kept, or empty", l.Place)
		}
		records = append(records, replayed(l))
		fmt.Fprintf(cmd.OutOrStdout(), "%s  %s to %s partition %d\n", l.Place, map[bool]string{true: "would go", false: "goes"}[dry], l.Topic, l.Partition)
	}
	if dry || len(records) == 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "%d dead letters, nothing was sent\n", len(records))
		return nil
	}
	cl, err := kgo.NewClient(append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordDeliveryTimeout(30*time.Second))...)
	if err != nil {
		return fmt.Errorf("kafka client: %w", err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(cmd.Context(), records...).FirstErr(); err != nil {
		return fmt.Errorf("sending dead letters again (some may have gone; sending one twice does no harm): %w", err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%d dead letters were sent again\n", len(records))
	return nil
}

// replayed is the record as it first came, and a header that tells of it.
func replayed(l letter) *kgo.Record {
	r := &kgo.Record{Topic: l.Topic, Partition: l.Partition, Key: l.record.Key, Value: l.record.Value}
	for _, h := range l.record.Headers {
		if h.Key == event.HeaderErrorTopic {
			break // ours from here on
		}
		if h.Key != headerReplayed {
			r.Headers = append(r.Headers, h)
		}
	}
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: headerReplayed, Value: []byte(l.Place)})
	return r
}
