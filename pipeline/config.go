package pipeline

import (
	"time"

	"github.com/refundguard/refundguard/pipeline/calendar"
	"github.com/refundguard/refundguard/pipeline/messages"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// Config is what the pipeline needs to be told. The keys are those of the
// configuration file; times are Go durations ("25ms", "1h").
type Config struct {
	Streams  map[string]StreamConfig `koanf:"streams"`
	Topics   Topics                  `koanf:"topics"`
	Rules    RulesConfig             `koanf:"rules"`
	State    StateConfig             `koanf:"state"`
	Limits   LimitsConfig            `koanf:"limits"`
	Holdout  HoldoutConfig           `koanf:"holdout"`
	Currency CurrencyConfig          `koanf:"currency"`
	Alerts   AlertsConfig            `koanf:"alerts"`
	Review   ReviewConfig            `koanf:"review"`
	Labels   LabelsConfig            `koanf:"labels"`
	ETA      map[string]string       `koanf:"eta"` // by method: calendar.ParseSpan
	Messages messages.Config         `koanf:"messages"`
	Engine   EngineConfig            `koanf:"engine"`

	// Observe decides and records beside a live deployment: every topic
	// written, and the transactional.id, has "-observe" appended, and nothing
	// is written to refunds-approved. It is a flag, not a key.
	Observe bool `koanf:"-"`
}

// StreamConfig is what configuration says of one input stream.
type StreamConfig struct {
	event.StreamConfig `koanf:",squash"`

	// DecideFrom says, for the refunds stream only, which refunds are to be
	// decided on the first start: earliest, latest, or an RFC 3339 time (of
	// Kafka's timestamps). Older ones only feed windows.
	DecideFrom string `koanf:"decide_from"`
}

// Topics names the topics written.
type Topics struct {
	Approved    string `koanf:"approved"`
	Decisions   string `koanf:"decisions"`
	Status      string `koanf:"status"`
	Alerts      string `koanf:"alerts"`
	DeadLetters string `koanf:"dead_letters"`
	Labels      string `koanf:"labels"`
	Cases       string `koanf:"cases"`
	Progress    string `koanf:"progress"`
	Controls    string `koanf:"controls"` // which is read, too
}

// all lists the topics with what they are called in the configuration.
func (t *Topics) all() []struct {
	key  string
	name *string
} {
	return []struct {
		key  string
		name *string
	}{
		{"approved", &t.Approved}, {"decisions", &t.Decisions}, {"status", &t.Status}, {"alerts", &t.Alerts},
		{"dead_letters", &t.DeadLetters}, {"labels", &t.Labels}, {"cases", &t.Cases}, {"progress", &t.Progress}, {"controls", &t.Controls},
	}
}

// ByKey are the names by what they are called in the configuration.
func (t Topics) ByKey() map[string]string {
	names := map[string]string{}
	for _, f := range t.all() {
		names[f.key] = *f.name
	}
	return names
}

// WithPrefix puts something before each name.
func (t Topics) WithPrefix(prefix string) Topics {
	for _, f := range t.all() {
		*f.name = prefix + *f.name
	}
	return t
}

// Names returns the topics as they are written: with Observe, each has
// "-observe" appended; but the controls are those of the live deployment.
func (c Config) Names() Topics {
	t := c.Topics
	if c.Observe {
		for _, f := range t.all() {
			if f.name != &t.Controls {
				*f.name += "-observe"
			}
		}
	}
	return t
}

// RulesConfig says where the rule files are.
type RulesConfig struct {
	Dir    string        `koanf:"dir"`
	Reload time.Duration `koanf:"reload"` // how often the folder is looked at; 0: never
	Strict bool          `koanf:"strict"` // warnings refuse a rule set
}

// StateConfig says where state lives and for how long.
type StateConfig struct {
	Dir       string        `koanf:"dir"`
	Retention time.Duration `koanf:"retention"`
	Dedup     time.Duration `koanf:"dedup"`
	Originals time.Duration `koanf:"originals"`

	// Memory is about how many bytes of state are kept in memory: what was unused
	// for longest is read from Dir when it is asked for. 0: all is kept there.
	Memory int64 `koanf:"memory"`

	// SaveInterval is how often the state is saved in Dir; "" is nowhere, and
	// each start reads everything again from the topics.
	SaveInterval time.Duration `koanf:"save_interval"`

	// Checkpoint is the bucket, or folder, that copies of what is saved go to; ""
	// is none. CheckpointKeep of them are kept.
	Checkpoint         string        `koanf:"checkpoint"`
	CheckpointInterval time.Duration `koanf:"checkpoint_interval"`
	CheckpointKeep     int           `koanf:"checkpoint_keep"`

	// ExactEvents is how many events per key and series are kept one by one; the
	// oldest beyond go to time buckets.
	ExactEvents int `koanf:"exact_events"`
}

// LimitsConfig bounds what is accepted.
type LimitsConfig struct {
	MaxRecordBytes int           `koanf:"max_record_bytes"`
	MaxFieldBytes  int           `koanf:"max_field_bytes"`
	MaxDepth       int           `koanf:"max_depth"`
	MaxEventDelay  time.Duration `koanf:"max_event_delay"` // 0: off
	OnDegraded     string        `koanf:"on_degraded"`     // review, decide
	OnWarming      string        `koanf:"on_warming"`      // decide, review
	MaxHoldShare   Share         `koanf:"max_hold_share"`  // that one rule may hold by itself: see breaker; 0: any
}

// HoldoutConfig says which refunds are approved although rules would hold them,
// so that the rules' precision can be measured: see engine.Holdout.
type HoldoutConfig struct {
	Share     Share  `koanf:"share"`
	MaxAmount string `koanf:"max_amount"` // a decimal, in the base currency
	Key       string `koanf:"key"`        // "": derived from the transactional.id
}

// CurrencyConfig converts amounts for amount_base.
type CurrencyConfig struct {
	Base  string            `koanf:"base"`
	Rates map[string]string `koanf:"rates"` // decimals: how much of the base one unit is worth
}

// AlertsConfig says which hits alert, beside those of rules with action alert.
type AlertsConfig struct {
	MinSeverity string `koanf:"min_severity"` // low, medium, high, critical; empty: none
}

// ReviewConfig says how long a held refund may wait, by severity, and what
// becomes of it.
type ReviewConfig struct {
	SLA        map[string]time.Duration `koanf:"sla"`         // of the calendar's time
	OnDeadline BySeverity               `koanf:"on_deadline"` // escalate, approve, reject
	Calendar   calendar.Config          `koanf:"calendar"`

	// SecondAbove is the amount in currency.base above which two analysts must
	// approve, 0: always; "": one is enough.
	SecondAbove string `koanf:"second_above"`

	// MinutesPerCase is what an analyst spends on a case, for what rules cost.
	// How long a case was open says nothing of that: it mostly waited.
	MinutesPerCase float64 `koanf:"minutes_per_case"`
}

// LabelsConfig says how labels are judged by.
type LabelsConfig struct {
	// Maturity is how old a decision must be to be judged by its label:
	// charge-backs come late.
	Maturity time.Duration `koanf:"maturity"`
}

// BySeverity is a setting that each severity has. One value in its place is that
// of all.
type BySeverity map[string]string

// Keys are the severities.
func (BySeverity) Keys() []string { return severities }

// EngineConfig tunes throughput and latency.
type EngineConfig struct {
	Workers        int           `koanf:"workers"`         // 0: one per CPU
	CommitInterval time.Duration `koanf:"commit_interval"` // shortest time between two commits
	ReadAhead      time.Duration `koanf:"read_ahead"`      // event time applied beyond the earliest undecided refund
	AlignTimeout   time.Duration `koanf:"align_timeout"`   // how long a silent partition is waited for
	BufferRecords  int           `koanf:"buffer_records"`  // per partition

	// TakeoverAfter is for how long no progress must have come before an instance
	// takes over from one that works; 0: at once, without standing by.
	TakeoverAfter time.Duration `koanf:"takeover_after"`
}

// DefaultConfig is what holds where the configuration is silent.
func DefaultConfig() Config {
	return Config{
		Streams: map[string]StreamConfig{},
		Topics: Topics{
			Approved: "refunds-approved", Decisions: "refund-decisions", Status: "refund-status", Alerts: "alerts",
			DeadLetters: "dead-letters", Labels: "refund-labels", Cases: "refundguard-cases", Progress: "refundguard-progress", Controls: "refundguard-controls",
		},
		Rules: RulesConfig{Dir: "rules", Reload: time.Second},
		State: StateConfig{Retention: 400 * 24 * time.Hour, Dedup: 35 * 24 * time.Hour, Originals: 180 * 24 * time.Hour, ExactEvents: 16384, SaveInterval: 5 * time.Second,
			CheckpointInterval: 10 * time.Minute, CheckpointKeep: 3},
		Limits:   LimitsConfig{MaxRecordBytes: 64 << 10, MaxFieldBytes: 4 << 10, MaxDepth: 16, OnDegraded: "review", OnWarming: "decide", MaxHoldShare: 20_0000},
		Currency: CurrencyConfig{Base: "USD", Rates: map[string]string{}},
		Review: ReviewConfig{MinutesPerCase: 5, SLA: map[string]time.Duration{
			"critical": 15 * time.Minute, "high": time.Hour, "medium": 4 * time.Hour, "low": 24 * time.Hour},
			OnDeadline: BySeverity{"critical": "escalate", "high": "escalate", "medium": "escalate", "low": "escalate"}},
		Labels:   LabelsConfig{Maturity: 30 * 24 * time.Hour},
		Messages: messages.Config{Language: "en"},
		ETA:      map[string]string{"original": "5d", "balance": "1h", "bank_transfer": "3d", "other": "3d"},
		Engine: EngineConfig{CommitInterval: 25 * time.Millisecond, ReadAhead: time.Hour, AlignTimeout: 5 * time.Second,
			BufferRecords: 16384, TakeoverAfter: 3 * time.Second},
	}
}

// Schema is the built-in schema with what the configuration adds.
func (c Config) Schema() (*event.Schema, error) {
	s := event.Builtin()
	ext := make(map[string]event.StreamConfig, len(c.Streams))
	for name, sc := range c.Streams {
		ext[name] = sc.StreamConfig
	}
	if err := s.Extend(ext); err != nil {
		return nil, err
	}
	return s, nil
}

// RuleOptions is what rule sets are loaded against.
func (c Config) RuleOptions(schema *event.Schema) rules.Options {
	o := rules.Options{Schema: schema, Rates: map[event.Currency]string{}, Strict: c.Rules.Strict}
	o.Base, _ = event.ParseCurrency(c.Currency.Base)
	for code, rate := range c.Currency.Rates {
		currency, _ := event.ParseCurrency(code)
		o.Rates[currency] = rate
	}
	return o
}
