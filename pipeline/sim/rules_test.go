package sim

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The model knows the rules of this file. What a simulation has beside them
// decides nothing: it is there for what the program must do about it. Its rules
// are called sim-…, and ask for windows of ownWindow, by which what they leave in
// a decision can be told.
const (
	modelRules = "../integration/testdata/rules/strange.yaml"
	ownRule    = "sim-"
	ownWindow  = `within("13d")`
)

var ownRules = []string{
	"rules: []\n",
	`rules:
  - {id: sim-decisions, mode: shadow, action: review, on_missing: skip, when: 'decisions.by(customer_id).within("13d").count() > 2'}
`,
	`rules:
  - {id: sim-hits, mode: shadow, action: reject, on_missing: skip, when: 'hits.by(customer_id).within("13d").count() > 2'}
`,
	`rules:
  - {id: sim-greatest, mode: shadow, score: 10, on_missing: skip, when: 'refunds.by(customer_id).within("13d").max(amount) < amount'}
  - {id: sim-paid, mode: shadow, action: alert, on_missing: skip, when: 'transactions.by(instrument_id).within("13d").count() > 3'}
`,
	`rules:
  - {id: sim-payment, on: transactions, action: alert, severity: low, on_missing: skip, when: 'transactions.by(customer_id).within("13d").count() > 1'}
  - {id: sim-hits, mode: shadow, action: reject, on_missing: skip, when: 'hits.by(customer_id).within("13d").count() > 2'}
`,
}

// paymentRule is there all the time, or never: then each payment that it is for
// must alert once.
const paymentRule = `rules:
  - {id: sim-large, on: transactions, action: alert, severity: low, on_missing: skip, when: 'status == "settled"'}
`

// writeRules makes the folder of the rules.
func (s *sim) writeRules() {
	text, err := os.ReadFile(s.modelRules)
	if err != nil {
		s.t.Fatal(err)
	}
	s.ruleFile("strange.yaml", string(text))
	if s.payments {
		s.ruleFile("payments.yaml", paymentRule)
	}
	s.ruleFile("own.yaml", ownRules[s.rng.IntN(len(ownRules))])
}

func (s *sim) ruleFile(name, text string) {
	const tmp = "new"
	err := os.WriteFile(tmp, []byte(text), 0o600)
	if err == nil {
		err = os.Rename(tmp, filepath.Join(s.cfg.Rules.Dir, name))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// reload changes the rules, now and then to some that don't check.
func (s *sim) reload() {
	n := s.rng.IntN(len(ownRules) + 1)
	s.rulesBroken.Store(n == len(ownRules))
	if n == len(ownRules) {
		s.say("rules that don't check")
		s.ruleFile("own.yaml", "rules: [{id: sim-broken, action: review, when: 'nothing(]'}]\n")
		return
	}
	s.say("rules %d", n)
	s.ruleFile("own.yaml", ownRules[n])
}

// topics are read without what the simulation's own rules leave there.
type topics struct{ s *sim }

func (t topics) ReadCommitted(topic string) []*kgo.Record {
	all := t.s.read(topic)
	switch topic {
	case casesTopic:
		return t.s.cases.with(all)
	case "refund-decisions":
		for i, r := range all {
			all[i] = withoutOwn(t.s, r)
		}
	case "dead-letters": // the service's, not the webhooks'
		kept := all[:0]
		for _, r := range all {
			if deadFrom(r) != "alerts" {
				kept = append(kept, r)
			}
		}
		return kept
	case "alerts":
		kept := all[:0]
		for _, r := range all {
			if !bytes.Contains(r.Value, []byte(`"rule":"`+ownRule)) && !bytes.Contains(r.Value, []byte(`"rule":"ruleset-refused"`)) {
				kept = append(kept, r)
			}
		}
		return kept
	}
	return all
}

// deadFrom is the topic that a dead letter was read from.
func deadFrom(r *kgo.Record) string {
	for _, h := range r.Headers {
		if h.Key == "__connect.errors.topic" {
			return string(h.Value)
		}
	}
	return ""
}

// withoutOwn is a decision as it were without the simulation's own rules.
func withoutOwn(s *sim, r *kgo.Record) *kgo.Record {
	var d map[string]any
	in := json.NewDecoder(bytes.NewReader(r.Value))
	in.UseNumber()
	if err := in.Decode(&d); err != nil {
		s.t.Fatalf("decision %s: %v", r.Value, err)
	}
	own := func(v any) bool {
		switch v := v.(type) {
		case string:
			return strings.HasPrefix(v, ownRule) || strings.Contains(v, ownWindow)
		case map[string]any:
			name, _ := v["rule"].(string)
			return strings.HasPrefix(name, ownRule)
		}
		return false
	}
	for _, key := range []string{"hits", "errors", "skipped", "warming"} {
		list, _ := d[key].([]any)
		var kept []any
		for _, v := range list {
			if !own(v) {
				kept = append(kept, v)
			}
		}
		if d[key] = kept; kept == nil {
			delete(d, key)
		}
	}
	if features, ok := d["features"].(map[string]any); ok {
		for text := range features {
			if own(text) {
				delete(features, text)
			}
		}
	}
	value, err := json.Marshal(d)
	if err != nil {
		s.t.Fatal(err)
	}
	stripped := *r
	stripped.Value = value
	return &stripped
}
