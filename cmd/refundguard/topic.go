package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/cmd/refundguard/settings"
	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/rules/event"
)

// topicReader is what the commands that look into our own topics share.
type topicReader struct {
	file    *string
	observe *bool
	since   string // how far back; 0: everything
	limit   int    // the newest so many; 0: all
}

func newTopicReader(cmd *cobra.Command) *topicReader {
	return &topicReader{file: configFlag(cmd), observe: observeFlag(cmd), since: "0"}
}

// flags lets the user say how much is read.
func (t *topicReader) flags(cmd *cobra.Command) *topicReader {
	cmd.Flags().StringVar(&t.since, "since", "7d", "how far back, such as 30m, 12h or 7d; 0 is everything")
	cmd.Flags().IntVar(&t.limit, "limit", 100, "at most so many, the newest; 0 is all")
	return t
}

// open loads the configuration and what reaches Kafka.
func (t *topicReader) open() (config, []kgo.Opt, error) {
	l, err := loadConfig(*t.file, os.Environ())
	if err != nil {
		return config{}, nil, err
	}
	if err := l.check(); err != nil {
		return config{}, nil, err
	}
	c := l.config
	if *t.observe {
		c = c.observed()
	}
	options, err := c.Kafka.Options(slog.New(slog.DiscardHandler))
	return c, options, err
}

// read gives the records of a topic that want takes, the newest of them, by
// time. A topic that doesn't exist has none.
func (t *topicReader) read(ctx context.Context, options []kgo.Opt, topic string, want func(*kgo.Record) bool) ([]*kgo.Record, error) {
	since, err := settings.ParseDuration(t.since)
	if err != nil {
		return nil, usage{fmt.Errorf("--since: %w", err)}
	}
	var from time.Time
	if since > 0 {
		from = time.Now().Add(-since)
	}
	if usable, err := kafka.Check(ctx, options); !usable {
		return nil, err
	}
	var found []*kgo.Record
	err = kafka.Read(ctx, options, topic, from, func(r *kgo.Record) error {
		if want(r) {
			found = append(found, r)
		}
		return nil
	})
	if err != nil && !errors.Is(err, kafka.ErrNoTopic) {
		return nil, err
	}
	slices.SortStableFunc(found, func(a, b *kgo.Record) int {
		return cmp.Or(a.Timestamp.Compare(b.Timestamp), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	if n := len(found) - t.limit; t.limit > 0 && n > 0 {
		found = found[n:]
	}
	return found, nil
}

// writeRecords writes what records hold, which is JSON, as one list.
func writeRecords(cmd *cobra.Command, records []*kgo.Record) error {
	values := []json.RawMessage{}
	for _, r := range records {
		values = append(values, r.Value)
	}
	return json.NewEncoder(cmd.OutOrStdout()).Encode(values)
}

// scan gives each committed record of a topic from a Kafka timestamp on (zero:
// all), with a progress bar. An error of each ends it and is returned.
func scan(cmd *cobra.Command, options []kgo.Opt, topic string, from time.Time, each func(*kgo.Record) error) error {
	if usable, err := kafka.Check(cmd.Context(), options); !usable {
		return err
	}
	return scanChecked(cmd, options, topic, from, each)
}

// scanChecked is scan where the brokers were checked before.
func scanChecked(cmd *cobra.Command, options []kgo.Opt, topic string, from time.Time, each func(*kgo.Record) error) error {
	ctx := cmd.Context()
	spans, err := kafka.Spans(ctx, options, topic, from)
	if err != nil {
		return err
	}
	var done, all int64
	next := map[int32]int64{}
	for id, s := range spans {
		next[id] = s.From
		all += max(s.To-s.From, 0)
	}
	b := newBar(cmd.ErrOrStderr(), topic)
	defer b.close()
	var failed error // each's own, which is no fault of reading
	err = kafka.ReadRanges(ctx, options, topic, spans, func(r *kgo.Record) error {
		done += r.Offset + 1 - next[r.Partition]
		next[r.Partition] = r.Offset + 1
		b.set(done, all)
		failed = each(r)
		return failed
	})
	if err != nil && failed == nil {
		return fmt.Errorf("reading %s: %w", topic, err)
	}
	return err
}

// place is a record's place as commands take and show it: PARTITION:OFFSET.
func place(partition int32, offset int64) string { return fmt.Sprintf("%d:%d", partition, offset) }

func parsePlaces(args []string) (map[string]bool, error) {
	places := map[string]bool{}
	for _, a := range args {
		p, o, ok := strings.Cut(a, ":")
		partition, err1 := strconv.ParseInt(p, 10, 32)
		offset, err2 := strconv.ParseInt(o, 10, 64)
		if !ok || err1 != nil || err2 != nil || partition < 0 || offset < 0 {
			return nil, usage{fmt.Errorf("%q is not a place PARTITION:OFFSET, as the list shows it", a)}
		}
		places[place(int32(partition), offset)] = true
	}
	return places, nil
}

func headersOf(r *kgo.Record) []event.Header {
	out := make([]event.Header, len(r.Headers))
	for i, h := range r.Headers {
		out[i] = event.Header(h)
	}
	return out
}

func newTable(out io.Writer, header ...string) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(out)
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	var row table.Row
	for _, h := range header {
		row = append(row, strings.ReplaceAll(strings.ToUpper(h), "Μ", "µ")) // its capital is read as milli
	}
	t.AppendHeader(row)
	return t
}

func shortTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// cut shortens a text for one cell of a table.
func cut(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
