package pipeline

import (
	"context"
	"math"
	"slices"
	"time"
)

// A state is also saved while it is being recovered, and by a standby: it is
// behind what is committed then. So a recovery that reads for hours need not
// begin again if it is cut off, and needs no more memory than the service that
// follows it.

// saveBehind saves the state as it is now, on its way to a progress. It has at
// least what the journal holds before a mark. Whose folder this is, and what its
// state lacks, isn't that of who wrote the progress.
func (s *session) saveBehind(p *progress, journal mark) {
	own := *p
	own.Writer, own.Host, own.Left = s.cfg.writer, s.cfg.host, false
	own.Saved, own.Lost, own.LostRefunds = s.kept, s.lost, s.lostRefunds
	own.Streams = nil
	for _, in := range s.inputs { // of what isn't read, this state has nothing
		sp := p.stream(in.stream.Name)
		if sp == nil {
			continue
		}
		mine := *sp
		mine.Partitions = slices.Clone(sp.Partitions)
		for i := range mine.Partitions {
			pp, part := &mine.Partitions[i], in.partitions[i]
			at := part.recovered()
			pp.From, pp.Cut, pp.Applied, pp.Decided = part.from, part.cut, at, min(pp.Decided, at)
		}
		own.Streams = append(own.Streams, mine)
	}
	s.beginSave(&own)
	s.saving.committed = true
	st := &s.saving.state
	st.Journal, st.Alerts, st.Cases = journal.journal, journal.alerts, journal.cases
}

// saveRecovered begins to save what is recovered by now, if it is time, or if
// much was added to more than there is room for.
func (s *session) saveRecovered(p *progress, r *recovery) error {
	if !s.canSave() || s.engine.Evicting() {
		return nil
	}
	bytes, room := s.engine.Stats().Bytes, s.cfg.State.Memory
	s.metrics.stateBytes.Set(float64(bytes))
	r.least = min(r.least, bytes)
	if !s.saveDue() && (room == 0 || bytes < room || bytes < r.least+room/8+minGrowth) {
		return nil
	}
	if s.rejoining() {
		return nil
	}
	r.least = math.MaxInt64
	if err := s.restoreRest(r.past, false); err != nil {
		return err
	}
	s.saveBehind(p, r.from)
	s.saving.state.Part = true
	return nil
}

// minGrowth is what is worth a save of its own.
const minGrowth = 32 << 20

// makeRoom waits for a save, and for what may leave memory then, where much more
// is in memory than there is room for. It doesn't wait for room on the disk: that
// may never come, and somebody must decide.
func (s *session) makeRoom(ctx context.Context) error {
	room := s.cfg.State.Memory
	for room > 0 && s.saver != nil && !s.saver.full.Load() && (s.saving != nil || s.engine.Evicting()) && s.engine.Stats().Bytes > room+room/4+minGrowth {
		if err := s.stateErr(); err != nil {
			return err
		}
		if !s.saveSome() {
			if err := sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}
