package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// Summary is what a demo came to.
type Summary struct {
	Outcomes        map[string]int64            `json:"outcomes"`
	Rules           map[string]int64            `json:"rules"`   // hits
	Refused         map[string]int64            `json:"refused"` // dead letters, by topic, code and field
	Events          int64                       `json:"events"`
	EventsPerSecond float64                     `json:"events_per_second"`
	Seconds         float64                     `json:"seconds"`
	ClickHouse      map[string]int64            `json:"clickhouse"` // rows by table
	Topics          map[string]int64            `json:"topics"`     // committed records
	Alerts          Alerts                      `json:"alerts"`
	Labels          map[string]Caught           `json:"labels"` // by kind of attack
	Honest          *Caught                     `json:"honest,omitempty"`
	Programs        map[string]map[string]int64 `json:"programs"`    // what each did, by kind
	Findings        map[string]Finding          `json:"findings"`    // by rule of the alert, what was planted and what was found
	LifeAlerts      map[string]int64            `json:"life_alerts"` // of the life of refunds, by rule
	Balance         Balance                     `json:"balance"`
	OK              bool                        `json:"ok"` // no faults
	Faults          []string                    `json:"faults,omitempty"`
}

// Alerts counts them.
type Alerts struct {
	Raised    int64 `json:"raised"`    // in the topic, different ones
	Delivered int64 `json:"delivered"` // to the receiver, with a valid signature
	Repeats   int64 `json:"repeats"`   // delivered once more, and dropped
	Refused   int64 `json:"refused"`
}

// summary judges. left says what the demo waited for in vain.
func (s *stage) summary(took time.Duration, rows map[string]int64, rowsErr error, left string) *Summary {
	t := s.audit.Tally()
	c := s.receiver.Counts()
	sum := &Summary{
		Outcomes: t.Outcomes, Rules: t.Rules, Refused: t.Refused, Events: s.feeder.events.Load(), Seconds: math.Round(took.Seconds()*1000) / 1000,
		ClickHouse: rows, Topics: t.Topics, Labels: t.Labels,
		Alerts: Alerts{Raised: t.Alerts, Delivered: int64(c.Alerts), Repeats: int64(c.Repeats), Refused: int64(c.Refused)},
	}
	life := faults{}
	sum.Programs, sum.Findings = s.cast.did(), s.cast.judge(t, &life)
	sum.LifeAlerts = map[string]int64{}
	for rule := range t.Found {
		sum.LifeAlerts[rule] = t.Found.count(rule)
	}
	for topic, n := range s.cast.wrote() {
		sum.Topics[topic] = max(n, sum.Topics[topic])
	}
	for topic, n := range s.feeder.sentTo() {
		sum.Topics[topic] = max(n, sum.Topics[topic])
	}
	if took > 0 {
		sum.EventsPerSecond = math.Round(float64(sum.Events) / took.Seconds())
	}
	if len(t.Labels) > 0 {
		sum.Honest = &t.Honest
	}
	sum.Balance, sum.Faults = s.audit.Verify()
	fault := func(format string, args ...any) { sum.Faults = append(sum.Faults, fmt.Sprintf(format, args...)) }
	sum.Faults = append(sum.Faults, life.all()...)
	if err := s.cast.deeds.failed; err != nil { // nobody works any more
		fault("%v", err)
	}
	if left != "" {
		fault("not done in time: %s", left)
		if w := s.say.lastWarning(); w != "" {
			fault("the last warning in the log: %s", w)
		}
	}
	if rowsErr != nil {
		fault("%v", rowsErr)
	} else {
		expected := expectedRows(t)
		for _, table := range sorted(expected) {
			if want := expected[table]; rows[table] != want {
				fault("ClickHouse holds %d rows of %s, the topics %d", rows[table], table, want)
			}
		}
	}
	if sum.Alerts.Delivered != sum.Alerts.Raised {
		fault("%d alerts were raised, %d delivered", sum.Alerts.Raised, sum.Alerts.Delivered)
	}
	sum.OK = len(sum.Faults) == 0
	return sum
}

func (sum *Summary) print(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(sum)
	}
	b := sum.Balance
	verdict := "The balance holds, and everything arrived."
	if !sum.OK {
		verdict = "FAULTS were found."
	}
	_, err := fmt.Fprintf(w, `
%s events in %.1f s (%s a second)
outcomes    %s
rules       %s
refused     %s
attacks     %s
alerts      %s raised, %s delivered
ClickHouse  %s
%s%s
balance     %s
%s
`, number(sum.Events), sum.Seconds, number(int64(sum.EventsPerSecond)), outcomes(sum.Outcomes), top(sum.Rules, 100), top(sum.Refused, 100),
		attacks(sum.Labels, sum.Honest), number(sum.Alerts.Raised), number(sum.Alerts.Delivered), top(sum.ClickHouse, 100), programs(sum.Programs), "found       "+findings(sum.Findings), b, verdict)
	return err
}

// programs is a line for each that worked.
func programs(all map[string]map[string]int64) string {
	var b strings.Builder
	for _, name := range sorted(all) {
		fmt.Fprintf(&b, "%-12s%s\n", name, top(all[name], 100))
	}
	return b.String()
}

// findings is what was found of what was planted.
func findings(all map[string]Finding) string {
	var parts []string
	for _, rule := range sorted(all) {
		if f := all[rule]; f.Planted > 0 || f.Found > 0 {
			parts = append(parts, fmt.Sprintf("%s %d of %d", rule, f.Found, f.Planted))
		}
	}
	if len(parts) == 0 {
		return "nothing was to be found"
	}
	return strings.Join(parts, ", ")
}

func (b Balance) String() string {
	return fmt.Sprintf("%s read = %s approved + %s in review + %s rejected + %s dead-lettered + %s duplicates + %s history",
		number(b.Read), number(b.Approved), number(b.InReview), number(b.Rejected), number(b.DeadLettered), number(b.Duplicates), number(b.History))
}

func outcomes(m map[string]int64) string {
	return fmt.Sprintf("%s approved, %s to review, %s rejected", number(m["approve"]), number(m["review"]), number(m["reject"]))
}

func attacks(labels map[string]Caught, honest *Caught) string {
	if len(labels) == 0 {
		return "no labels"
	}
	var parts []string
	for _, kind := range sorted(labels) {
		parts = append(parts, fmt.Sprintf("%s %d of %d caught", kind, labels[kind].Caught, labels[kind].Total))
	}
	text := strings.Join(parts, ", ")
	if honest != nil {
		text += fmt.Sprintf("; honest refunds held %s of %s", number(honest.Caught), number(honest.Total))
	}
	return text
}

// top lists the most frequent first.
func top(m map[string]int64, n int) string {
	names := sorted(m)
	slices.SortStableFunc(names, func(a, b string) int { return int(max(-1, min(1, m[b]-m[a]))) })
	var parts []string
	for _, name := range names {
		if len(parts) == n {
			parts = append(parts, fmt.Sprintf("and %d more", len(names)-n))
			break
		}
		parts = append(parts, name+" "+number(m[name]))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// number writes 12345 as 12,345.
func number(v int64) string {
	text := fmt.Sprint(v)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
