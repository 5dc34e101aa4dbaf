package demo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/refundguard/refundguard/sinks/clickhouse/local"
)

// left says in words what is still to be done until everything sent is decided
// and delivered; "" is nothing.
func (s *stage) left(ctx context.Context) string {
	what, sent := s.undecided(ctx, s.audit.Tally())
	if what != "" {
		return what
	}
	if what := s.cast.left(ctx, s.audit.Tally().Found); what != "" {
		return what
	}
	// Whoever had nothing to do may have had since: a turn without anything new
	// is the end.
	if what, now := s.undecided(ctx, s.audit.Tally()); what != "" || now != sent {
		return cmp.Or(what, "what the programs did last is read")
	}
	if what := s.unread(ctx); what != "" {
		return what
	}
	t := s.audit.Tally()
	if got := int64(s.receiver.Counts().Alerts); got < t.Alerts {
		return fmt.Sprintf("%d of %d alerts are delivered", got, t.Alerts)
	}
	rows, err := s.countRows(ctx)
	if err != nil {
		return err.Error()
	}
	expected := expectedRows(t)
	for _, table := range sorted(expected) { // in order: the caller sees by the text whether anything moves
		if want := expected[table]; rows[table] < want {
			return fmt.Sprintf("ClickHouse has %d of %d %s", rows[table], want, table)
		}
	}
	return ""
}

// undecided looks at the service's progress: is everything sent applied, and
// every refund accounted for?
func (s *stage) undecided(ctx context.Context, t Tally) (what string, all int64) {
	ends, err := s.admin.ListEndOffsets(ctx, s.inputs...)
	if err != nil {
		return fmt.Sprintf("asking where the topics end: %v", err), 0
	}
	for _, topic := range s.inputs {
		sent := int64(0)
		for _, o := range ends[topic] {
			sent += o.Offset
		}
		all += sent
		if got := t.progress.applied(topic); got < sent {
			return fmt.Sprintf("%d of %d records of %s are read", got, sent, topic), all
		}
		switch b := t.progress.Balance; topic {
		case topicRefunds:
			if b.Read < sent || b.sum() < sent {
				return fmt.Sprintf("%d of %d refunds are decided", b.sum(), sent), all
			}
		case topicReviews, topicConfirmations, topicResults:
			if got := t.progress.decided(topic); got < sent {
				return fmt.Sprintf("%d of %d records of %s had their turn", got, sent, topic), all
			}
		}
	}
	return "", all
}

// unread looks whether our own reader has seen all that is committed.
func (s *stage) unread(ctx context.Context) (what string) {
	ends, err := s.admin.ListCommittedOffsets(ctx, topicRefunds, topicApproved, topicDecisions, topicStatus, topicAlerts, topicDeadLetters, topicLabels, topicCases)
	if err != nil {
		return fmt.Sprintf("asking where the topics end: %v", err)
	}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err == nil && !s.audit.reached(o.Topic, o.Partition, o.Offset) {
			what = "the demo itself is behind in " + o.Topic
		}
	})
	return what
}

// catchUp reads everything to the end, once nobody writes any more.
func (s *stage) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.follower.catchUp(ctx)
}

// expectedRows is what ClickHouse must hold, by table.
func expectedRows(t Tally) map[string]int64 {
	return map[string]int64{"decisions": t.Topics[topicDecisions], "hits": t.Hits, "alerts": t.Topics[topicAlerts], "dead_letters": t.Topics[topicDeadLetters],
		"labels": t.Topics[topicLabels], "cases": t.Cases, "unreadable": 0}
}

// countRows counts over HTTP, as the user for dashboards: not with the
// service's own client. It asks at most five times a second.
func (s *stage) countRows(ctx context.Context) (map[string]int64, error) {
	if time.Since(s.rowsAt) < 200*time.Millisecond {
		return s.rowsLast, nil
	}
	var counts []string
	for _, table := range sorted(expectedRows(Tally{})) {
		from := table
		if table == "cases" {
			from += " FINAL" // one row per refund, of all that were written
		}
		counts = append(counts, fmt.Sprintf("(SELECT count() FROM refundguard.%s) AS %s", from, table))
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	query := "SELECT " + strings.Join(counts, ", ") + " FORMAT JSONEachRow"
	address := "http://" + s.server.HTTPAddr() + "/?" + url.Values{"query": {query}, "output_format_json_quote_64bit_integers": {"0"}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("counting ClickHouse's rows: %w", err)
	}
	req.Close = true // ClickHouse ends at once where nobody is connected
	req.SetBasicAuth(local.ReadOnly, s.server.Password())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("counting ClickHouse's rows: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return nil, fmt.Errorf("counting ClickHouse's rows: %w", err)
	}
	rows := map[string]int64{}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("counting ClickHouse's rows: %s: %.300s", resp.Status, bytes.TrimSpace(body))
	}
	if err := json.Unmarshal(body, &rows); err != nil {
		return nil, fmt.Errorf("counting ClickHouse's rows: %w in %.300s", err, body)
	}
	s.rowsAt, s.rowsLast = time.Now(), rows
	return rows, nil
}
