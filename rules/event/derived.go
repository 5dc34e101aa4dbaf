package event

// Derived streams have no topic: the program makes their events itself, of what
// it decides. Conditions read them as past events like any other stream.

// Hits is the schema of the stream hits: one event for each hit of a rule, live
// or shadow, at the time of what was hit. Beside rule, severity and mode it has
// the entity fields of refunds: all identifiers, and ip. What hits a rule on
// transactions has of them what a transaction has.
func Hits(refunds *Stream) *Stream {
	s := &Stream{
		Name: "hits", Key: "customer_id",
		Doc: "Hits of rules on earlier refunds and transactions.",
		Fields: []Field{
			required(id("hit_id", "identity of the hit")),
			required(id("rule", "the rule's id")),
			required(strict(enum("severity", "the rule's severity", "low", "medium", "high", "critical"))),
			required(strict(enum("mode", "whether the rule acts", "live", "shadow", "snoozed"))),
			required(occurredAt("when the refund was asked for, or the payment made")),
		},
	}
	s.adopt(refunds, func(f *Field) bool { return f.ID || f.Name == "ip" })
	return s
}

// Decisions is the schema of the stream decisions: one event for each refund
// that the program has decided, at the refund's time. Beside outcome and score
// it has all fields of the refund, as far as a stream can hold them (MaxFields).
func Decisions(refunds *Stream) *Stream {
	s := &Stream{
		Name: "decisions", Key: "customer_id",
		Doc: "What the program has decided about earlier refunds.",
		Fields: []Field{
			required(id("decision_id", "identity of the decision")),
			required(strict(enum("outcome", "what the program decided", "approve", "review", "reject"))),
			required(Field{Name: "score", Type: TypeInt, Doc: "sum of the scores of the rules that hit"}),
		},
	}
	s.adopt(refunds, func(*Field) bool { return true })
	return s
}

// adopt adds those fields of another stream that s does not have itself.
func (s *Stream) adopt(from *Stream, wanted func(*Field) bool) {
	own := s.Fields
	has := func(name string) bool {
		for i := range own {
			if own[i].Name == name {
				return true
			}
		}
		return false
	}
	for i := range from.Fields {
		f := from.Fields[i]
		if !wanted(&f) || has(f.Name) || len(s.Fields) == MaxFields {
			continue
		}
		// An event of s may be made of something that lacks what refunds must have.
		f.Required = f.Required && s.Name == "decisions"
		f.From = nil
		s.Fields = append(s.Fields, f)
	}
	s.index()
}

// Projection says where each field of a derived stream is found in the events of
// another one: by slot of to, the slot of the same name and type in from, or -1.
// What a derived stream has of its own (rule, outcome, …) is -1.
func Projection(from, to *Stream) []int {
	own := map[string]bool{"hit_id": true, "rule": true, "severity": true, "mode": true}
	if to.Name == "decisions" {
		own = map[string]bool{"decision_id": true, "outcome": true, "score": true}
	}
	slots := make([]int, len(to.Fields))
	for i := range to.Fields {
		slots[i] = -1
		f := &to.Fields[i]
		if j := from.Slot(f.Name); j >= 0 && !own[f.Name] && from.Fields[j].Type == f.Type {
			slots[i] = j
		}
	}
	return slots
}
