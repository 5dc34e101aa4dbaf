package window

import (
	"strings"

	"github.com/zeebo/xxh3"
)

// texts holds each text once, under a number, with how many events have it.
type texts struct {
	by    map[uint64]*text
	bytes int64
}

type text struct {
	text  string
	holds int
}

// textCost is what a text takes beside its own bytes, its place in the map
// included.
const textCost = 52

func newTexts() texts { return texts{by: map[uint64]*text{}} }

// add is the text under a number, which is entered if it is not there.
func (t *texts) add(id uint64, s string) (x *text, isNew bool) {
	if x = t.by[id]; x != nil {
		return x, false
	}
	x = &text{text: strings.Clone(s)}
	t.by[id] = x
	t.bytes += textCost + int64(len(s))
	return x, true
}

func (t *texts) remove(id uint64, x *text) {
	delete(t.by, id)
	t.bytes -= textCost + int64(len(x.text))
}

// hold counts one more event that has a text.
func (t *texts) hold(id uint64) {
	if x := t.by[id]; x != nil {
		x.holds++
	}
}

// drop counts one event less.
func (t *texts) drop(id uint64) {
	if x := t.by[id]; x != nil {
		if x.holds--; x.holds <= 0 {
			t.remove(id, x)
		}
	}
}

// of is the text under a number, "" if there is none.
func (t *texts) of(id uint64) string {
	if x := t.by[id]; x != nil {
		return x.text
	}
	return ""
}

// Intern is the number that stands for a text in a column, the same in every
// store: a hash of 64 bits. The store keeps the text for [Store.Text]. If the
// columns of texts are named in Spec.Texts, that is until the end of the next
// Insert and as long as an event has it there; else for ever. It writes to the
// store, as Insert does.
func (s *Store) Intern(text string) int64 {
	id := xxh3.HashString(text)
	if _, isNew := s.texts.add(id, text); isNew && s.spec.Texts != 0 {
		s.loose = append(s.loose, id)
	}
	return int64(id)
}

// Text is the text that Intern gave the number for, or "" if it is not kept.
func (s *Store) Text(v int64) string { return s.texts.of(uint64(v)) }

// sweep forgets the texts that were interned for an event and that it did not
// bring in.
func (s *Store) sweep() {
	for _, id := range s.loose {
		if x := s.texts.by[id]; x != nil && x.holds == 0 {
			s.texts.remove(id, x)
		}
	}
	s.loose = s.loose[:0]
}

// hold counts the texts and the name of an event that comes in.
func (s *Store) hold(e *Event) {
	if !s.spec.Names && s.spec.Texts == 0 {
		return
	}
	if s.spec.Names {
		x, _ := s.names.add(e.ID, e.Name)
		x.holds++
	}
	for c, rest := 0, s.spec.Texts&e.Present; rest>>c != 0; c++ {
		if rest>>c&1 != 0 {
			s.texts.hold(uint64(e.Values[c]))
		}
	}
}

// release is for the entries [lo, hi) of a record that go.
func (s *Store) release(r *record, lo, hi int) {
	if !s.spec.Names && s.spec.Texts == 0 {
		return
	}
	for i := lo; i < hi; i++ {
		s.load(r, i, &s.going)
		if s.spec.Names {
			s.names.drop(s.going.ID)
		}
		for c, rest := 0, s.spec.Texts&s.going.Present; rest>>c != 0; c++ {
			if rest>>c&1 != 0 {
				s.texts.drop(uint64(s.going.Values[c]))
			}
		}
	}
}
