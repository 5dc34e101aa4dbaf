package window_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/window"
)

// Texts come back from First and Last, and those that no event has any more
// are forgotten.
func TestTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := window.Spec{Horizon: rapid.SampledFrom([]int64{0, 5, 50}).Draw(t, "horizon"), Columns: 2, Plain: 3, Texts: 2, Names: true}
		p := newPair(fatal{R: t}, spec)
		ever := map[string]int64{"": p.store.Intern("")}
		for range rapid.IntRange(1, 80).Draw(t, "events") {
			e := window.Event{
				Time:    rapid.Int64Range(0, 200).Draw(t, "time"),
				ID:      rapid.Uint64Range(0, 5).Draw(t, "id"),
				Present: rapid.Uint32Range(0, 3).Draw(t, "present"),
			}
			text := rapid.StringMatching("[ab]{0,3}").Draw(t, "text")
			ever[text] = p.store.Intern(text)
			if got := p.store.Text(ever[text]); got != text {
				t.Fatalf("Text(Intern(%q)) = %q", text, got)
			}
			e.Name, e.Values = nameOf(e.ID), []int64{1, ever[text]}
			p.insert(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key"), &e)
		}
		p.compareAll()
		here := map[int64]bool{}
		for _, key := range []string{"a", "b"} {
			for _, e := range p.model.events(key) {
				here[e.Values[1]] = here[e.Values[1]] || e.Present&2 != 0
			}
		}
		for text, v := range ever {
			got := p.store.Text(v)
			if here[v] && got != text || !here[v] && got != text && got != "" {
				t.Fatalf("Text(%d) = %q, want %q (held: %v)", v, got, text, here[v])
			}
			if spec.Horizon == 0 && !here[v] && got != "" {
				t.Fatalf("%q is still there", got)
			}
		}
	})
}

// What a store holds of texts and names is bounded by the events that it holds.
func TestTextsAreForgotten(t *testing.T) {
	s := window.New(window.Spec{Horizon: 100, Columns: 1, Plain: 1, Texts: 1, Names: true})
	r := rand.New(rand.NewPCG(1, 2))
	var after int64
	for i := range int64(40_000) {
		at := i
		if i%7 == 0 {
			at -= r.Int64N(1000) // some come too late
		}
		v := s.Intern(fmt.Sprint("text ", i))
		s.Insert(1, "k", &window.Event{Time: at, ID: uint64(i), Present: 1, Values: []int64{v}, Name: fmt.Sprint("name ", i)})
		if i == 5000 {
			after = s.Bytes()
		}
	}
	if s.Bytes() > after*2 {
		t.Errorf("%d bytes, %d after 5,000 events", s.Bytes(), after)
	}
	k, _ := s.Find(1, "k")
	if v, _, _ := pick(s, k, window.Span{From: 0, To: 40_000}).Last(0); s.Text(v) != "text 39999" {
		t.Errorf("Last is %q", s.Text(v))
	}
}

// Of the events of one time, the names decide; of one name, the ids.
func TestTiesOfFirstAndLast(t *testing.T) {
	for _, names := range []bool{true, false} {
		s := window.New(window.Spec{Columns: 1, Plain: 1, Names: names})
		for i, name := range []string{"b", "c", "a", "c", "a"} {
			s.Insert(1, "k", &window.Event{Time: 5, ID: uint64(i), Present: 1, Values: []int64{int64(i)}, Name: name})
		}
		s.Insert(1, "k", &window.Event{Time: 5, ID: 9, Values: []int64{9}, Name: ""}) // has no value
		k, _ := s.Find(1, "k")
		for _, c := range []struct {
			sp          window.Span
			first, last int64
		}{
			{window.Span{To: 9}, map[bool]int64{true: 2, false: 0}[names], map[bool]int64{true: 3, false: 4}[names]},
			{window.Span{To: 9, HasSkip: true, SkipTime: 5, Skip: 2}, map[bool]int64{true: 4, false: 0}[names], map[bool]int64{true: 3, false: 4}[names]},
			{window.Span{To: 9, HasSkip: true, SkipTime: 5, Skip: 3}, map[bool]int64{true: 2, false: 0}[names], map[bool]int64{true: 1, false: 4}[names]},
		} {
			first, _, _ := pick(s, k, c.sp).First(0)
			last, _, ok := pick(s, k, c.sp).Last(0)
			if first != c.first || last != c.last || !ok {
				t.Errorf("names %v, %+v: %d and %d, want %d and %d", names, c.sp, first, last, c.first, c.last)
			}
		}
	}
}
